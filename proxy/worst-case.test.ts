import { expect, it } from 'vitest';
import { GATEWAY_BOUNDS } from '#config/bounds.ts';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  post,
  type StubAnswer,
  startGateway,
  startStub,
  type TestGateway,
  upstreamConfig,
} from '#test/gateway/harness.ts';

const LIMITS = [
  limitPolicy({ kind: 'tokens', amount: '10000000', per: 'minute' }),
  limitPolicy({ kind: 'budget', amount: '1000000000000', currency: 'USD', per: 'month' }),
];

async function start(answer: StubAnswer, gateway = {}) {
  const stub = await startStub(answer);
  const weir = await startGateway(configOf([upstreamConfig('openai', stub.url)], { gateway }), [
    keyPolicy({ limits: LIMITS }),
  ]);
  return {
    weir,
    async [Symbol.asyncDispose]() {
      await weir[Symbol.asyncDispose]();
      await stub[Symbol.asyncDispose]();
    },
  };
}

/** What the one call was settled with, and would have been after a crash, is no more than it held. */
function expectWithinHolds({ sink }: TestGateway): void {
  const [opening] = sink.opened;
  const [closing] = sink.closed;
  if (!opening || !closing) throw new Error('no call came to its end');
  for (const used of [opening.estimatedUse, closing.used]) {
    opening.reservation.holds.forEach((hold, i) => {
      expect(used[i], hold.counter).toBeLessThanOrEqual(hold.amount);
    });
  }
}

it('holds the whole of a batch of embeddings, each of which fills the context by itself', async () => {
  const tokens = 40 * 8_000;
  await using started = await start((response) => {
    const usage = { prompt_tokens: tokens, total_tokens: tokens };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ object: 'list', model: 'text-embedding-3-small', data: [], usage }));
  });
  const { weir } = started;
  const input = Array.from({ length: 40 }, () => 'ab '.repeat(7_000));
  await post(`${weir.url}/v1/embeddings`, { model: 'text-embedding-3-small', input });
  await eventsOf(weir, 1);
  expectWithinHolds(weir);
});

it('never guesses more than it holds, however much larger than the context a body is', async () => {
  const hangUp = new AbortController();
  await using started = await start(() => hangUp.abort(), { onDisconnect: 'cancel' });
  const { weir } = started;
  const call = fetch(`${weir.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: 'Bearer wr_test_secret' },
    body: JSON.stringify({
      model: 'gpt-4o',
      max_tokens: 1,
      messages: [{ role: 'user', content: 'x'.repeat(900_000) }],
    }),
    signal: hangUp.signal,
  });
  await expect(call).rejects.toThrow();
  const [event] = await eventsOf(weir, 1);
  expect(event?.data.usage_status).toBe('estimated');
  expectWithinHolds(weir);
});

it('takes calls with the longest call timeout that a configuration may set', async () => {
  await using started = await start(
    (response) => {
      response.setHeader('content-type', 'application/json');
      response.end('{"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}');
    },
    { callTimeoutMs: GATEWAY_BOUNDS.callTimeoutMs.max },
  );
  const { weir } = started;
  const response = await post(`${weir.url}/v1/chat/completions`, { model: 'gpt-4o', max_tokens: 1, messages: [] });
  expect(response.status).toBe(200);
});
