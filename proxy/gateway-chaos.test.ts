import { request } from 'node:http';
import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import {
  configOf,
  heldBy,
  keyPolicy,
  limitPolicy,
  SECRET,
  startGateway,
  startStub,
  upstreamConfig,
} from '#test/gateway/harness.ts';

const EVENT = 'data: {"choices":[{"delta":{"content":"12345678"}}],"usage":null}\n\n';
const LAST =
  'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}\n\ndata: [DONE]\n\n';

/** What the upstream does at the n-th attempt, told in the body: how many events, and how it ends. */
interface Plan {
  events: number;
  end: 'done' | 'break' | 'error' | 'hang' | 'silent';
  status: number;
  /** The client hangs up after so many bytes; null for never. */
  leavesAfter: number | null;
  stream: boolean;
}

const plan: fc.Arbitrary<Plan> = fc.record({
  events: fc.nat(20),
  end: fc.constantFrom('done', 'done', 'break', 'error', 'hang', 'silent'),
  status: fc.constantFrom(200, 200, 200, 200, 500, 429, 401),
  leavesAfter: fc.option(fc.nat(1_500)),
  stream: fc.boolean(),
});

it('every call that was opened is closed once or given up, and holds nothing, whatever both sides do', async () => {
  await using stub = await startStub((response, { body }) => {
    const { user } = JSON.parse(body) as { user: string };
    const { events, end, status } = JSON.parse(user) as Plan;
    if (end === 'silent') return;
    response.writeHead(status, { 'content-type': 'text/event-stream' });
    for (let i = 0; i < events; i++) response.write(EVENT);
    if (end === 'done') response.end(LAST);
    else if (end === 'error') response.end('data: {"error":{"message":"x"}}\n\n');
    else if (end === 'break') response.write(EVENT.slice(0, 9), () => response.destroy());
  });
  const limits = [
    limitPolicy({ kind: 'concurrency', amount: '60' }),
    limitPolicy({ kind: 'tokens', amount: '100000000', per: 'hour' }),
    limitPolicy({ kind: 'budget', amount: '8000000000000000', currency: 'USD', per: 'month' }),
  ];
  const gateway = {
    retriesMax: 1,
    headersTimeoutMs: 300,
    idleTimeoutMs: 300,
    callTimeoutMs: 1_000,
    drainTimeoutMs: 200,
    drainsMax: 5,
  };
  const upstreams = [upstreamConfig('a', stub.url), upstreamConfig('b', stub.url)];
  const routes = [
    { model: '*', to: [{ upstream: 'a', weight: 1, model: null }], fallback: [{ upstream: 'b', model: null }] },
  ];
  await using weir = await startGateway(configOf(upstreams, { gateway, routes }), [keyPolicy({ limits })]);

  function call({ leavesAfter, stream, ...rest }: Plan): Promise<void> {
    return new Promise((resolve) => {
      const sent = request(`${weir.url}/v1/chat/completions`, { method: 'POST', headers: { 'x-api-key': SECRET } });
      let left = leavesAfter ?? Number.POSITIVE_INFINITY;
      sent.on('error', () => {});
      sent.on('close', resolve);
      sent.on('response', (answer) => {
        answer.on('error', () => {});
        answer.on('data', (chunk) => {
          left -= chunk.length;
          if (left < 0) sent.destroy();
        });
      });
      const user = JSON.stringify(rest);
      sent.end(JSON.stringify({ model: 'gpt-4o', messages: [], max_tokens: 50, stream, user }), () => {
        if (leavesAfter === 0) sent.destroy();
      });
    });
  }

  const plans = fc.sample(plan, { numRuns: 300, seed: 20_261_120 });
  let next = 0;
  await Promise.all(
    Array.from({ length: 50 }, async () => {
      while (next < plans.length) await call(plans[next++] as Plan);
    }),
  );
  await vi.waitFor(() => expect(weir.gateway.callsInFlight).toBe(0), { timeout: 10_000 });

  const { opened, closed, abandoned } = weir.sink;
  const ends = [...closed, ...abandoned].map(({ reservation }) => reservation.id).sort();
  expect(ends).toEqual(opened.map(({ reservation }) => reservation.id).sort());
  expect(new Set(ends).size).toBe(ends.length);
  expect(closed.length).toBeGreaterThan(200);
  const [last] = opened.slice(-1);
  expect(last && (await heldBy(weir.counters, last.reservation))).toBe(0n);
  for (const { event } of closed) {
    const { outcome, usage_status, quantities } = event.data;
    expect((usage_status === 'none') === (Object.keys(quantities).length === 0)).toBe(true);
    // An error that reports usage all the same is billed by it.
    if (usage_status === 'final') expect(['ok', 'failed']).toContain(outcome);
  }
  // All that was settled is all that the events say.
  const settled = closed.reduce((sum, { used }) => sum + (used[2] ?? 0n), 0n);
  const hold = last?.reservation.holds[2];
  expect(hold && (await weir.counters.read('acme', hold.counter)).used).toBe(settled);
});
