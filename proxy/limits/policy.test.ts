import { describe, expect, test } from 'vitest';
import { KEY_POLICY_VERSION, type KeyPolicy, type LimitPolicy } from '#core/key-policy.ts';
import type { Counts } from '#core/quantity.ts';
import { COUNTER_MAX, type HoldState, type Reservation, type ReserveAnswer } from './counters.ts';
import { type CallScope, holdsFor, quotaCounter, usedOf } from './policy.ts';
import { refusalOf } from './refusal.ts';

const NOON = Date.UTC(2026, 6, 10, 12);
const DAY_MS = 86_400_000;

function limit(values: Partial<LimitPolicy>): LimitPolicy {
  return {
    id: 'l1',
    scope: 'customer',
    kind: 'requests',
    amount: '600',
    currency: null,
    per: 'minute',
    burst: null,
    timezone: 'UTC',
    ...values,
  };
}
const budget = (values: Partial<LimitPolicy> = {}) =>
  limit({ id: 'monthly', kind: 'budget', amount: '500000000000', currency: 'USD', per: 'month', ...values });

function policy(limits: LimitPolicy[], key = 'key_1'): KeyPolicy {
  return {
    version: KEY_POLICY_VERSION,
    key,
    customer: 'acme',
    secretHashes: [],
    state: 'active',
    expiresAtMs: null,
    models: [],
    labels: {},
    limits,
  };
}

const worst = { inputTokens: 1_000n, outputTokens: 500n, costNanos: 7_500_000n, currency: 'USD' };
const scope: CallScope = { id: 'req_1', model: 'gpt-4o', user: null, session: null, labels: {} };
const countersOf = (limits: LimitPolicy[], key?: string, atMs = NOON) =>
  holdsFor(policy(limits, key), scope, worst, atMs).holds.map(({ counter }) => counter);

describe('the holds of a call', () => {
  test('are one for each limit, with the worst case of what it counts', () => {
    const limits = [
      limit({}),
      limit({ id: 'tpm', kind: 'tokens', amount: '200000', burst: '50000' }),
      limit({ id: 'many', kind: 'concurrency', amount: '50', per: null }),
      budget(),
    ];
    expect(holdsFor(policy(limits), scope, worst, NOON).holds).toEqual([
      {
        kind: 'rate',
        counter: 'requests/minute/l1',
        amount: 1n,
        limit: 600n,
        burst: 600n,
        windowMs: 60_000,
        counted: 'admission',
      },
      {
        kind: 'rate',
        counter: 'tokens/minute/tpm',
        amount: 1_500n,
        limit: 200_000n,
        burst: 50_000n,
        windowMs: 60_000,
        counted: 'settlement',
      },
      { kind: 'concurrency', counter: 'concurrency/many', amount: 1n, limit: 50n },
      {
        kind: 'quota',
        counter: 'budget/month/monthly/2026-07',
        amount: 7_500_000n,
        limit: 500_000_000_000n,
        expiresAtMs: Date.UTC(2026, 7, 1) + 2 * DAY_MS,
      },
    ]);
  });

  test('count by key where the limit is of the key, and never in the counter of another limit', () => {
    expect(countersOf([limit({ scope: 'key' })], 'key_1')).toEqual(['requests/minute/l1/key_1']);
    expect(countersOf([limit({ scope: 'key' })], 'key_2')).toEqual(['requests/minute/l1/key_2']);
    expect(countersOf([limit({ id: 'l1/key_1' })])).toEqual(['requests/minute/l1%2Fkey_1']);
    const names = countersOf([
      limit({}),
      limit({ per: 'hour' }),
      limit({ kind: 'tokens' }),
      limit({ kind: 'concurrency', per: null }),
      limit({ scope: 'key' }),
      budget({ id: 'l1' }),
    ]);
    expect(new Set(names).size).toBe(names.length);
  });

  test('count in the month of admission in the zone of the limit', () => {
    const justBefore = Date.UTC(2026, 6, 31, 21, 59, 59, 999);
    const paris = [budget({ timezone: 'Europe/Paris' })];
    expect(countersOf(paris, 'k', justBefore)).toEqual(['budget/month/monthly/2026-07']);
    expect(countersOf(paris, 'k', justBefore + 1)).toEqual(['budget/month/monthly/2026-08']);
    expect(countersOf(paris, 'k', justBefore)).toEqual(['budget/month/monthly/2026-07']);
    expect(countersOf([budget({ timezone: 'Pacific/Kiritimati' })], 'k', Date.UTC(2026, 6, 31, 10))).toEqual([
      'budget/month/monthly/2026-08',
    ]);
    expect(countersOf([budget({ timezone: 'Pacific/Niue' })], 'k', Date.UTC(2026, 7, 1, 10))).toEqual([
      'budget/month/monthly/2026-07',
    ]);
  });

  test('keep their budget counter when the customer moves to another zone', () => {
    for (const timezone of ['UTC', 'Pacific/Kiritimati', 'Pacific/Niue', 'Europe/Paris']) {
      expect(countersOf([budget({ timezone })])).toEqual(['budget/month/monthly/2026-07']);
    }
  });

  test('do not exist for a budget when the price is unknown or in another currency', () => {
    const unpriced = expect.objectContaining({ code: 'unpriced_model' });
    expect(() => holdsFor(policy([budget()]), scope, { ...worst, costNanos: null }, NOON)).toThrow(unpriced);
    expect(() => holdsFor(policy([budget()]), scope, { ...worst, currency: 'EUR' }, NOON)).toThrow(unpriced);
    expect(holdsFor(policy([limit({})]), scope, { ...worst, costNanos: null }, NOON).holds).toHaveLength(1);
  });

  test('stay within what counters can hold, whatever the client asks for', () => {
    const absurd = { ...worst, outputTokens: 10n ** 40n, costNanos: 10n ** 40n };
    const { holds } = holdsFor(policy([limit({ kind: 'tokens' }), budget()]), scope, absurd, NOON);
    expect(holds.map(({ amount }) => amount)).toEqual([COUNTER_MAX, COUNTER_MAX]);
  });

  test('are seeded under the name and end that calls use', () => {
    const scoped = budget({ scope: 'key', timezone: 'Europe/Paris' });
    const [hold] = holdsFor(policy([scoped]), scope, worst, NOON).holds;
    const { counter, period } = quotaCounter(scoped, 'key_1', null, NOON);
    expect(hold).toMatchObject({ counter, expiresAtMs: period.expiresAtMs });
    expect(period).toMatchObject({ startMs: Date.UTC(2026, 5, 30, 22), endMs: Date.UTC(2026, 6, 31, 22) });
  });
});

describe('what is settled', () => {
  const limits = [
    limit({}),
    limit({ id: 'tpm', kind: 'tokens' }),
    limit({ id: 'many', kind: 'concurrency', per: null }),
    budget(),
  ];
  const { holds } = holdsFor(policy(limits), scope, worst, NOON);
  const used = (counts: Counts, costNanos: bigint | null) =>
    usedOf(limits, { holds }, { counts, costNanos, model: 'gpt-4o' });

  test('is every token once and the cost', () => {
    const counts = { calls: 1n, input_tokens: 10n, cache_read_tokens: 20n, output_tokens: 5n, images: 3n };
    expect(used(counts, 42n)).toEqual([1n, 35n, 1n, 42n]);
    expect(used({}, 0n)).toEqual([1n, 0n, 1n, 0n]);
  });

  test('is the worst case where the cost is not known', () => {
    expect(used({ output_tokens: 5n }, null)).toEqual([1n, 5n, 1n, 7_500_000n]);
  });
});

describe('a refusal', () => {
  const limits = [
    limit({ id: 'tpm', kind: 'tokens', amount: '200000', burst: '2000', scope: 'key' }),
    limit({ id: 'many', kind: 'concurrency', amount: '50', per: null }),
    budget({ amount: '10000000', timezone: 'Europe/Paris' }),
  ];
  const of = policy(limits);
  const reservation: Reservation = {
    id: 'req_1',
    customer: 'acme',
    atMs: NOON,
    leaseMs: 1_000,
    holds: holdsFor(of, scope, worst, NOON).holds,
  };
  const refused = (
    index: number,
    values: Partial<HoldState> = {},
    others: Partial<HoldState>[] = [],
  ): ReserveAnswer => {
    const states = limits.map((_, i): HoldState => ({ used: 0n, held: 0n, fits: true, waitMs: 0, ...others[i] }));
    states[index] = { used: 0n, held: 0n, fits: false, waitMs: null, ...values };
    return { admitted: false, states, crossed: [], unknown: [] };
  };

  test('of a rate says when the call fits', () => {
    expect(refusalOf(limits, reservation, refused(0, { used: 400n, held: 300n, waitMs: 60 }))).toEqual({
      code: 'rate_limited',
      limit: 'tpm',
      scope: 'key',
      kind: 'tokens',
      per: 'minute',
      currency: null,
      amount: 2_000n,
      used: 400n,
      held: 300n,
      left: 1_300n,
      wanted: 1_500n,
      retryAfterMs: 60,
      resetAtMs: NOON + 60,
      final: false,
    });
  });

  test('of a rate that can never hold the call is final', () => {
    const large = { ...reservation, holds: holdsFor(of, scope, { ...worst, inputTokens: 1_501n }, NOON).holds };
    expect(refusalOf(limits, large, refused(0))).toMatchObject({ final: true, resetAtMs: null, wanted: 2_001n });
  });

  test('of concurrency depends on the calls in flight', () => {
    expect(refusalOf(limits, reservation, refused(1, { held: 50n }))).toMatchObject({
      code: 'concurrency_limited',
      left: 0n,
      resetAtMs: null,
      final: false,
    });
  });

  test('of a budget names the end of its period, and is final when no call in flight can give back enough', () => {
    const endMs = Date.UTC(2026, 6, 31, 22);
    expect(refusalOf(limits, reservation, refused(2, { used: 2_600_000n }))).toMatchObject({
      code: 'budget_exhausted',
      currency: 'USD',
      left: 7_400_000n,
      resetAtMs: endMs,
      final: true,
    });
    expect(refusalOf(limits, reservation, refused(2, { used: 2_500_000n, held: 1n }))).toMatchObject({
      resetAtMs: endMs,
      final: false,
    });
    expect(refusalOf(limits, reservation, refused(2, { used: 12_000_000n }))).toMatchObject({ left: 0n });
  });
});
