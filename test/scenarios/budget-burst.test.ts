import { afterEach, describe, expect, it } from 'vitest';
import { compare, getExact, sum } from '#core/exact.ts';
import { type Deployment, deploy } from './deployment.ts';
import { startTokenUpstream, streamOnce, type TokenUpstream } from './token-stream.ts';
import { until } from './until.ts';

const STREAMS = 20;
/** 5,000 tokens of gpt-4o at 10 USD a million: all that there is, for each of them. */
const TOKENS_EACH = 5_000;

let upstream: TokenUpstream | undefined;
let weir: Deployment | undefined;

afterEach(async () => {
  await weir?.stop();
  await upstream?.[Symbol.asyncDispose]();
});

describe('a burst of 20 streams that each could cost all of a budget of 0.05 USD', () => {
  it.each([
    { kind: 'embedded', gateways: 1, where: 'in memory' },
    { kind: 'shared', gateways: 2, where: 'on two gateways and one Redis' },
  ] as const)('is served nearly whole, uses it up and never passes it, $where', { timeout: 120_000 }, async (setup) => {
    upstream = await startTokenUpstream({ tokensPerSecond: 300 });
    weir = await deploy({
      ...setup,
      upstreamUrl: upstream.url,
      limits: '[{ budget: 0.05 USD, per: month, mode: hard }]',
    });
    const { gatewayUrls, secret, events } = weir;
    const streams = await Promise.all(
      Array.from({ length: STREAMS }, (_, number) => {
        const gatewayUrl = gatewayUrls[number % gatewayUrls.length] as string;
        return streamOnce({ gatewayUrl, secret, number, maxTokens: TOKENS_EACH });
      }),
    );
    expect(streams.filter(({ tokens }) => tokens > 0).length).toBeGreaterThanOrEqual(18);
    expect(streams.filter(({ end }) => end === 'broken')).toEqual([]);

    const begun = upstream.begun.size;
    await until(async () => (await events()).length === begun, 'all events to arrive in billing');
    const costs = (await events()).map(({ data }) => getExact(data.cost?.amount ?? '0'));
    expect(costs).toHaveLength(begun);
    const spent = sum(costs);
    expect(compare(spent, getExact('0.05'))).toBeLessThanOrEqual(0);
    expect(compare(spent, getExact('0.0495'))).toBeGreaterThanOrEqual(0);
  });
});
