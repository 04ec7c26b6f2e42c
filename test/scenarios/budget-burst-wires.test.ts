import { afterAll, describe, expect, it } from 'vitest';
import { compare, getExact, sum } from '#core/exact.ts';
import { tiktokenCounter } from '#proxy/tokens/tiktoken-node.ts';
import { startGateway } from '#test/support/running-gateway.ts';
import { startTokenUpstream, streamOnce } from './token-stream.ts';
import { TOKEN_WIRES, type TokenWire } from './token-wires.ts';
import { until } from './until.ts';

/**
 * Of tokens that nobody can tell (vocabularies that are not public) the bytes are the bound: six times what " token" is.
 * Some of the budget is left over then, for whoever calls next.
 */
const SPENT_MIN = { exact: '0.0495', bounded: '0.02' } as const;

const STREAMS = 20;
/** At 10 USD a million: all that there is, for each of them. */
const TOKENS_EACH = 5_000;

const PRICES =
  '[{ provider: PROVIDER, model: "*", prices: [{ unit: input_tokens, amount: 1, per: 1M }, { unit: output_tokens, amount: 10, per: 1M }] }]';

const tokens = tiktokenCounter();

afterAll(() => tokens.close());

describe('a burst of 20 streams that each could cost all of a budget of 0.05 USD', () => {
  it.concurrent.each(Object.entries(TOKEN_WIRES))('is served, and never passes it: %s', { timeout: 60_000 }, burst);
});

async function burst(_name: string, wire: TokenWire): Promise<void> {
  const { family, provider, model, exact } = wire;
  const upstream = await startTokenUpstream({ tokensPerSecond: 100, wire });
  const weir = await startGateway({
    upstreamUrl: { [family]: family === 'openai' ? upstream.url : upstream.url.replace('/v1', '') },
    provider,
    models: [model],
    prices: PRICES.replace('PROVIDER', provider),
    limits: '[{ budget: 0.05 USD, per: month, mode: hard }]',
    tokens,
  });
  try {
    const { origin: gatewayUrl, secret, events } = weir;
    const streams = await Promise.all(
      Array.from({ length: STREAMS }, (_, number) =>
        streamOnce({ gatewayUrl, secret, number, maxTokens: TOKENS_EACH, wire }),
      ),
    );
    expect(streams.filter((one) => one.tokens > 0).length).toBeGreaterThanOrEqual(18);
    expect(streams.filter(({ end }) => end === 'broken')).toEqual([]);

    const begun = upstream.begun.size;
    await until(async () => events.size === begun, 'all events');
    const spent = sum([...events.values()].map(({ data }) => getExact(data.cost?.amount ?? '0')));
    expect(compare(spent, getExact('0.05'))).toBeLessThanOrEqual(0);
    expect(compare(spent, getExact(SPENT_MIN[exact ? 'exact' : 'bounded']))).toBeGreaterThanOrEqual(0);
  } finally {
    await weir.stop();
    await upstream[Symbol.asyncDispose]();
  }
}
