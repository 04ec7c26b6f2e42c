import { describe, expect, it, vi } from 'vitest';
import { Fault } from '#core/fault.ts';
import type { LimitPolicy } from '#core/key-policy.ts';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  post,
  type StubAnswer,
  sha256,
  startGateway,
  startStub,
  type TestGateway,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import { type MemoryCounters, memoryCounters } from './limits/memory.ts';

const USAGE = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
const answer: StubAnswer = (response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ model: 'gpt-4o', choices: [{ message: { content: 'Hi' } }], usage: USAGE }));
};
const CALL = { model: 'gpt-4o', max_tokens: 5, messages: [{ role: 'user', content: 'Hi' }] };

/** Counters whose store can be taken away. */
function mortal(): { counters: MemoryCounters; away: boolean } {
  const inner = memoryCounters({ clock: Date.now });
  const store = { counters: inner, away: false };
  const mayFail =
    <A extends unknown[], R>(verb: (...args: A) => R) =>
    (...args: A): R => {
      if (store.away) throw new Fault('limits_unavailable');
      return verb(...args);
    };
  store.counters = {
    ...inner,
    reserve: mayFail(inner.reserve),
    extend: mayFail(inner.extend),
    release: mayFail(inner.release),
  };
  return store;
}

async function start(limits: LimitPolicy[], stub: { url: string }, { seeded = false, clock = Date.now } = {}) {
  const store = mortal();
  const config = configOf([upstreamConfig('openai', stub.url)]);
  const weir = await startGateway(config, [keyPolicy({ limits })], { counters: { ...store.counters, seeded }, clock });
  return { weir, store };
}

async function statusOf(weir: TestGateway, headers: Record<string, string> = {}): Promise<string> {
  const response = await post(`${weir.url}/v1/chat/completions`, CALL, headers);
  const body = (await response.json()) as { error?: { weir: { code: string } } };
  return body.error?.weir.code ?? 'served';
}

const hard = (changes: Partial<LimitPolicy> = {}) => limitPolicy({ kind: 'concurrency', amount: '5', ...changes });
const rpm = (changes: Partial<LimitPolicy> = {}) =>
  limitPolicy({ kind: 'requests', amount: '1000', per: 'minute', ...changes });
const total = (changes: Partial<LimitPolicy> = {}) =>
  limitPolicy({ kind: 'tokens', amount: '1000000', per: 'total', ...changes });

describe('while the counters cannot be reached', () => {
  it.each([
    { name: 'a hard limit refuses', limits: [hard()], wanted: 'limits_unavailable' },
    {
      name: 'a soft and a shadow limit let through',
      limits: [hard({ mode: 'soft' }), rpm({ mode: 'shadow' })],
      wanted: 'served',
    },
    { name: 'a limit that says open lets through', limits: [hard({ onStoreDown: 'open' })], wanted: 'served' },
    {
      name: 'the strictest limit of a call decides',
      limits: [hard({ onStoreDown: 'open' }), rpm()],
      wanted: 'limits_unavailable',
    },
  ])('$name', async ({ limits, wanted }) => {
    await using stub = await startStub(answer);
    const { weir, store } = await start(limits, stub);
    await using _ = weir;
    expect(await statusOf(weir)).toBe('served');
    store.away = true;
    expect(await statusOf(weir)).toBe(wanted);
    store.away = false;
    await vi.waitFor(async () => expect(await statusOf(weir)).toBe('served'));
  });

  it('a gateway lets through what it may by itself, counts it when the store is back, and gives no more each time', async () => {
    await using stub = await startStub(answer);
    // A call is held with its worst case, some 200 tokens, and uses 15.
    const limit = total({ onStoreDown: 'local', localAmount: '250' });
    const { weir, store } = await start([limit], stub);
    await using _ = weir;
    expect(await statusOf(weir)).toBe('served');
    store.away = true;
    const outcomes: string[] = [];
    for (let i = 0; i < 12; i++) outcomes.push(await statusOf(weir));
    const served = outcomes.filter((outcome) => outcome === 'served').length;
    expect(served).toBeGreaterThan(1);
    expect(outcomes.slice(served)).toEqual(Array(12 - served).fill('budget_exhausted'));
    expect(served * 15).toBeLessThanOrEqual(250);
    // It comes and goes: the allowance is what it was.
    store.away = false;
    await vi.waitFor(async () => expect(weir.counters !== undefined && (await statusOf(weir))).toBe('served'), {
      timeout: 3_000,
    });
    store.away = true;
    expect(await statusOf(weir)).toBe('budget_exhausted');
    store.away = false;
    // All of it counts: what was let through, and what came before and after.
    const events = await eventsOf(weir, stub.requests.length);
    const counter = weir.sink.closed[0]?.reservation.holds[0]?.counter ?? '';
    expect(store.counters.read('acme', counter)).toEqual({ used: BigInt(events.length * 15), held: 0n });
  });

  it('an allowance is of what this gateway lets through, whatever the store would have to ask billing about', async () => {
    await using stub = await startStub(answer);
    const { weir, store } = await start([total({ onStoreDown: 'local', localAmount: '250' })], stub, { seeded: true });
    await using _ = weir;
    store.away = true;
    expect(await statusOf(weir)).toBe('served');
    const outcomes: string[] = [];
    for (let i = 0; i < 12; i++) outcomes.push(await statusOf(weir));
    expect(new Set(outcomes)).toEqual(new Set(['served', 'budget_exhausted']));
  });

  it('calls in flight at once stay within the allowance however long they take', async () => {
    const { promise: mayAnswer, resolve: answerNow } = Promise.withResolvers<void>();
    await using stub = await startStub(async (...asked) => {
      await mayAnswer;
      await answer(...asked);
    });
    let laterMs = 0;
    const limit = hard({ onStoreDown: 'local', localAmount: '1' });
    const { weir, store } = await start([limit], stub, { clock: () => Date.now() + laterMs });
    await using _ = weir;
    store.away = true;
    const first = statusOf(weir);
    await vi.waitFor(() => expect(stub.requests).toHaveLength(1));
    laterMs = 3_600_000;
    expect(await statusOf(weir)).toBe('concurrency_limited');
    answerNow();
    expect(await first).toBe('served');
    expect(await statusOf(weir)).toBe('served');
  });

  it('a customer whose part of the store is there is held by it while another one is away', async () => {
    await using stub = await startStub(answer);
    const inner = memoryCounters({ clock: Date.now });
    const counters: MemoryCounters = {
      ...inner,
      reserve: (reservation) => {
        if (reservation.customer === 'globex') throw new Fault('limits_unavailable');
        return inner.reserve(reservation);
      },
    };
    const limits = [rpm({ amount: '1', onStoreDown: 'open' })];
    const secret = 'wr_test_globex';
    const globex = keyPolicy({ key: 'key_globex', customer: 'globex', secretHashes: [sha256(secret)], limits });
    const config = configOf([upstreamConfig('openai', stub.url)]);
    await using weir = await startGateway(config, [keyPolicy({ limits }), globex], { counters });
    expect(await statusOf(weir)).toBe('served');
    for (let i = 0; i < 3; i++) {
      expect(await statusOf(weir, { authorization: `Bearer ${secret}` })).toBe('served');
      expect(await statusOf(weir)).toBe('rate_limited');
    }
  });

  it('one refusal by its own allowance names that allowance', async () => {
    await using stub = await startStub(answer);
    const { weir, store } = await start(
      [rpm({ onStoreDown: 'open' }), total({ onStoreDown: 'local', localAmount: '10' })],
      stub,
    );
    await using _ = weir;
    store.away = true;
    const refused = await post(`${weir.url}/v1/chat/completions`, CALL);
    expect(await refused.json()).toMatchObject({
      error: { weir: { code: 'budget_exhausted', limit: 'tokens', amount: '10', used: '0' } },
    });
  });
});

describe('while nobody says what was used', () => {
  it('a limit that only warns stops no call, and the others hold', async () => {
    await using stub = await startStub(answer);
    const { weir, store } = await start([rpm({ amount: '2' }), total({ mode: 'soft' })], stub, { seeded: true });
    await using _ = weir;
    expect([await statusOf(weir), await statusOf(weir)]).toEqual(['served', 'served']);
    expect(await statusOf(weir)).toBe('rate_limited');
    const counter = weir.sink.closed[0]?.reservation.holds[1]?.counter ?? '';
    expect(store.counters.read('acme', counter)).toEqual({ used: 30n, held: 0n });
  });

  it('a limit that lets through then does not let through what another one refuses', async () => {
    await using stub = await startStub(answer);
    const open = { onStoreDown: 'open' } as const;
    const limits = [rpm({ amount: '1', ...open }), total(open)];
    const { weir } = await start(limits, stub, { seeded: true });
    await using _ = weir;
    expect(await statusOf(weir)).toBe('served');
    await vi.waitFor(() => expect(weir.sink.closed).toHaveLength(1));
    expect(await statusOf(weir)).toBe('rate_limited');
  });

  it('a hard limit refuses', async () => {
    await using stub = await startStub(answer);
    const { weir } = await start([total(), rpm({ mode: 'soft' })], stub, { seeded: true });
    await using _ = weir;
    expect(await statusOf(weir)).toBe('limits_unavailable');
  });
});
