import { describe, expect, test } from 'vitest';
import { KEY_POLICY_VERSION, type KeyPolicy, type LimitPolicy } from '#core/key-policy.ts';
import { COUNTER_MAX, type Refused, type Reservation } from './counters.ts';
import { budgetCounter, holdsFor, refusalOf, usedOf } from './policy.ts';

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
const countersOf = (limits: LimitPolicy[], key?: string, atMs = NOON) =>
  holdsFor(policy(limits, key), worst, atMs).map(({ counter }) => counter);

describe('the holds of a call', () => {
  test('are one for each limit, with the worst case of what it counts', () => {
    const limits = [
      limit({}),
      limit({ id: 'tpm', kind: 'tokens', amount: '200000', burst: '50000' }),
      limit({ id: 'many', kind: 'concurrency', amount: '50', per: null }),
      budget(),
    ];
    expect(holdsFor(policy(limits), worst, NOON)).toEqual([
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
    expect(() => holdsFor(policy([budget()]), { ...worst, costNanos: null }, NOON)).toThrow(unpriced);
    expect(() => holdsFor(policy([budget()]), { ...worst, currency: 'EUR' }, NOON)).toThrow(unpriced);
    expect(holdsFor(policy([limit({})]), { ...worst, costNanos: null }, NOON)).toHaveLength(1);
  });

  test('stay within what counters can hold, whatever the client asks for', () => {
    const absurd = { ...worst, outputTokens: 10n ** 40n, costNanos: 10n ** 40n };
    const holds = holdsFor(policy([limit({ kind: 'tokens' }), budget()]), absurd, NOON);
    expect(holds.map(({ amount }) => amount)).toEqual([COUNTER_MAX, COUNTER_MAX]);
  });

  test('are seeded under the name and end that calls use', () => {
    const scoped = budget({ scope: 'key', timezone: 'Europe/Paris' });
    const [hold] = holdsFor(policy([scoped]), worst, NOON);
    const seeded = budgetCounter(scoped, 'key_1', NOON);
    expect(hold).toMatchObject({ counter: seeded.counter, expiresAtMs: seeded.expiresAtMs });
    expect(seeded.period).toEqual({ startMs: Date.UTC(2026, 5, 30, 22), endMs: Date.UTC(2026, 6, 31, 22) });
  });
});

describe('what is settled', () => {
  const limits = [
    limit({}),
    limit({ id: 'tpm', kind: 'tokens' }),
    limit({ id: 'many', kind: 'concurrency', per: null }),
    budget(),
  ];
  const holds = holdsFor(policy(limits), worst, NOON);

  test('is every token once and the cost', () => {
    const counts = { calls: 1n, input_tokens: 10n, cache_read_tokens: 20n, output_tokens: 5n, images: 3n };
    expect(usedOf({ holds }, counts, 42n)).toEqual([1n, 35n, 1n, 42n]);
    expect(usedOf({ holds }, {}, 0n)).toEqual([1n, 0n, 1n, 0n]);
  });

  test('is the worst case where the cost is not known', () => {
    expect(usedOf({ holds }, { output_tokens: 5n }, null)).toEqual([1n, 5n, 1n, 7_500_000n]);
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
    holds: holdsFor(of, worst, NOON),
  };
  const refused = (values: Partial<Refused>): Refused => ({
    admitted: false,
    index: 0,
    used: 0n,
    held: 0n,
    retryAfterMs: null,
    ...values,
  });

  test('of a rate says when the call fits', () => {
    expect(refusalOf(of, reservation, refused({ used: 400n, held: 300n, retryAfterMs: 60 }))).toEqual({
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
    const large = { ...reservation, holds: holdsFor(of, { ...worst, inputTokens: 1_501n }, NOON) };
    expect(refusalOf(of, large, refused({}))).toMatchObject({ final: true, resetAtMs: null, wanted: 2_001n });
  });

  test('of concurrency depends on the calls in flight', () => {
    expect(refusalOf(of, reservation, refused({ index: 1, held: 50n }))).toMatchObject({
      code: 'concurrency_limited',
      left: 0n,
      resetAtMs: null,
      final: false,
    });
  });

  test('of a budget names the end of its period, and is final when no call in flight can give back enough', () => {
    const endMs = Date.UTC(2026, 6, 31, 22);
    expect(refusalOf(of, reservation, refused({ index: 2, used: 2_600_000n }))).toMatchObject({
      code: 'budget_exhausted',
      currency: 'USD',
      left: 7_400_000n,
      resetAtMs: endMs,
      final: true,
    });
    expect(refusalOf(of, reservation, refused({ index: 2, used: 2_500_000n, held: 1n }))).toMatchObject({
      resetAtMs: endMs,
      final: false,
    });
    expect(refusalOf(of, reservation, refused({ index: 2, used: 12_000_000n }))).toMatchObject({ left: 0n });
  });
});
