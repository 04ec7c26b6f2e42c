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
const scope: CallScope = { model: 'gpt-4o', user: null, session: null, labels: {} };

test('counters have names that no store takes for something else, whatever operators and callers call things', () => {
  const hostile = '#@"\\{}|,\n\u0000 *[?]%ü/';
  const limits = (['requests', 'tokens', 'concurrency', 'budget', 'quantity'] as const).flatMap((kind) => {
    const each = { id: hostile, kind, per: kind === 'concurrency' ? null : ('month' as const), currency: 'USD' };
    return [limit({ ...each, scope: 'key', by: 'user' }), limit({ ...each, by: `label:${hostile}` })];
  });
  const called = { model: hostile, user: `${hostile}\ud800`, session: hostile, labels: { [hostile]: hostile } };
  const { holds } = holdsFor(policy(limits, hostile), called, worst, NOON, true);
  expect(holds).toHaveLength(10);
  for (const { counter } of holds) expect(counter).toMatch(/^[a-z][\w!'()*.~%/=-]*$/);
});

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

describe('limits that are for some calls', () => {
  const of = (limits: LimitPolicy[], call: Partial<CallScope> = {}, atMs = NOON) =>
    holdsFor(policy(limits), { ...scope, ...call }, worst, atMs);
  const counters = (limits: LimitPolicy[], call: Partial<CallScope> = {}, atMs = NOON) =>
    of(limits, call, atMs).holds.map(({ counter }) => counter);

  test('are held by these only, and each hold stands beside its limit', () => {
    const limits = [
      limit({ id: 'gpt', models: ['gpt-4o*'] }),
      limit({ id: 'all' }),
      limit({ id: 'search', labels: { team: 'search', app: 'x' } }),
    ];
    expect(of(limits).limits.map(({ id }) => id)).toEqual(['gpt', 'all']);
    const other = of(limits, { model: 'claude', labels: { team: 'search', app: 'x', more: 'y' } });
    expect(other.limits.map(({ id }) => id)).toEqual(['all', 'search']);
    expect(other.holds).toHaveLength(2);
    expect(of(limits, { labels: { team: 'search' } }).limits).toHaveLength(2);
    const every = [limit({})];
    expect(of(every).limits).toEqual(every);
  });

  test('count each user, session, model or label by itself, and those without one together', () => {
    const by = (dimension: NonNullable<LimitPolicy['by']>) => [limit({ by: dimension })];
    expect(counters(by('user'), { user: 'ann/é' })).toEqual(['requests/minute/l1/=ann%2F%C3%A9']);
    expect(counters(by('user'))).toEqual(['requests/minute/l1/-']);
    expect(counters(by('user'), { user: '-' })).toEqual(['requests/minute/l1/=-']);
    expect(counters(by('user'), { user: 'half \ud800' })).toEqual(['requests/minute/l1/=half%20%EF%BF%BD']);
    expect(counters(by('model'))).toEqual(['requests/minute/l1/=gpt-4o']);
    expect(counters(by('label:team'), { labels: { team: 'a' } })).toEqual(['requests/minute/l1/=a']);
    expect(counters([budget({ by: 'session' })], { session: 's' })).toEqual(['budget/month/monthly/=s/2026-07']);
  });

  test('count a session until it is quiet, and let calls that belong to none alone', () => {
    const session = [budget({ per: 'session' })];
    expect(counters(session, { session: 's' })).toEqual(['budget/session/monthly/=s']);
    expect(of(session)).toEqual({ limits: [], holds: [] });
    expect(of(session, { session: 's' }).holds[0]).toMatchObject({ expiresAtMs: NOON + 30 * DAY_MS });
  });

  test('count any unit, with the worst case of tokens and nothing for what has no bound', () => {
    const unit = (name: NonNullable<LimitPolicy['unit']>) => limit({ kind: 'quantity', unit: name, per: 'day' });
    const { limits, holds } = of([unit('input_audio_tokens'), unit('output_tokens'), unit('calls'), unit('images')]);
    expect(holds.map(({ amount }) => amount)).toEqual([1_000n, 500n, 1n, 0n]);
    const counts = { calls: 1n, input_audio_tokens: 3n, images: 2n };
    expect(usedOf(limits, { holds }, { counts, costNanos: 0n, model: 'gpt-4o' })).toEqual([3n, 0n, 1n, 2n]);
  });
});

describe('periods', () => {
  const at = (per: LimitPolicy['per'], timezone: string, when: string) => {
    const { counter, period } = quotaCounter(limit({ per, timezone }), 'k', null, Date.parse(when));
    const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
    return [counter.split('/').at(-1), iso(period.startMs), iso(period.endMs)];
  };

  test.each([
    // Clocks go forward on 29 March in Paris: a day of 23 hours; back on 25 October: one of 25.
    [
      'day',
      'Europe/Paris',
      '2026-03-29T12:00:00Z',
      '2026-03-29',
      '2026-03-28T23:00:00.000Z',
      '2026-03-29T22:00:00.000Z',
    ],
    [
      'day',
      'Europe/Paris',
      '2026-10-25T12:00:00Z',
      '2026-10-25',
      '2026-10-24T22:00:00.000Z',
      '2026-10-25T23:00:00.000Z',
    ],
    [
      'day',
      'Asia/Kathmandu',
      '2026-07-10T18:15:00Z',
      '2026-07-11',
      '2026-07-10T18:15:00.000Z',
      '2026-07-11T18:15:00.000Z',
    ],
    [
      'day',
      'Australia/Lord_Howe',
      '2026-04-04T20:00:00Z',
      '2026-04-05',
      '2026-04-04T13:00:00.000Z',
      '2026-04-05T13:30:00.000Z',
    ],
    // Midnight does not exist in Santiago on that day.
    [
      'day',
      'America/Santiago',
      '2026-09-06T12:00:00Z',
      '2026-09-06',
      '2026-09-06T04:00:00.000Z',
      '2026-09-07T03:00:00.000Z',
    ],
    // Noon is midnight of UTC there, until clocks go forward on that day.
    [
      'day',
      'Pacific/Auckland',
      '2026-09-25T12:00:00Z',
      '2026-09-26',
      '2026-09-25T12:00:00.000Z',
      '2026-09-26T12:00:00.000Z',
    ],
    [
      'day',
      'Pacific/Auckland',
      '2026-09-26T12:00:00Z',
      '2026-09-27',
      '2026-09-26T12:00:00.000Z',
      '2026-09-27T11:00:00.000Z',
    ],
    [
      'week',
      'America/New_York',
      '2026-07-13T03:59:59Z',
      '2026-07-09',
      '2026-07-06T04:00:00.000Z',
      '2026-07-13T04:00:00.000Z',
    ],
    [
      'week',
      'America/New_York',
      '2026-07-13T04:00:00Z',
      '2026-07-16',
      '2026-07-13T04:00:00.000Z',
      '2026-07-20T04:00:00.000Z',
    ],
    ['quarter', 'UTC', '2026-08-01T00:00:00Z', '2026-08', '2026-07-01T00:00:00.000Z', '2026-10-01T00:00:00.000Z'],
    ['year', 'Asia/Tokyo', '2026-12-31T15:00:00Z', '2027', '2026-12-31T15:00:00.000Z', '2027-12-31T15:00:00.000Z'],
  ] as const)('%s in %s at %s', (per, zone, when, name, start, end) => {
    expect(at(per, zone, when)).toEqual([name, start, end]);
  });

  test('have a counter each, whichever comes first', () => {
    const daily = [limit({ per: 'day', timezone: 'Asia/Kolkata' })];
    const names = [0, 1, 2, 1, 0, -1].map((day) => countersOf(daily, 'k', NOON + day * DAY_MS)[0]);
    expect(names.map((name) => name?.split('/').at(-1))).toEqual([
      '2026-07-10',
      '2026-07-11',
      '2026-07-12',
      '2026-07-11',
      '2026-07-10',
      '2026-07-09',
    ]);
  });
});

describe('what is in force', () => {
  test('is the override until it ends, with its thresholds and its burst', () => {
    const month = [budget({ amount: '1000', warnAt: [50, 95], override: { amount: '2001', untilMs: NOON } })];
    const hold = (limits: LimitPolicy[], atMs: number) => holdsFor(policy(limits), scope, worst, atMs).holds[0];
    expect(hold(month, NOON - 1)).toMatchObject({ limit: 2_001n, warnAt: [1_001n, 1_901n] });
    expect(hold(month, NOON)).toMatchObject({ limit: 1_000n, warnAt: [500n, 950n] });
    const rate = [limit({ override: { amount: '5', untilMs: NOON } })];
    expect(hold(rate, NOON - 1)).toMatchObject({ limit: 5n, burst: 5n });
    expect(hold(rate, NOON)).toMatchObject({ limit: 600n, burst: 600n });
  });

  test('is soft where the mode is not hard, and then takes what has no price', () => {
    for (const mode of ['soft', 'shadow'] as const) {
      const { holds } = holdsFor(policy([budget({ mode })]), scope, { ...worst, costNanos: null }, NOON);
      expect(holds[0]).toMatchObject({ soft: true, amount: 0n });
    }
    expect(holdsFor(policy([budget()]), scope, worst, NOON).holds[0]).not.toHaveProperty('soft');
  });
});

describe("a budget in the customer's price", () => {
  const priced = budget({
    currency: 'EUR',
    basis: 'price',
    prices: [
      { unit: 'input_tokens', model: 'gpt-*', amount: '3', per: '1000000' },
      { unit: 'cache_read_tokens', model: '*', amount: '5', per: '1000000' },
      { unit: 'input_tokens', model: '*', amount: '100', per: '1000000' },
      { unit: 'output_tokens', model: 'gpt-*', amount: '0.0000001', per: '3' },
      { unit: 'calls', model: '*', amount: '0.01', per: '1' },
    ],
  });
  const used = (counts: Counts, model = 'gpt-4o') =>
    usedOf(
      [priced],
      { holds: holdsFor(policy([priced]), scope, worst, NOON).holds },
      { counts, costNanos: null, model },
    );

  test('holds the dearest input, the dearest output and the call, whatever the provider charges', () => {
    const hold = (model: string) =>
      holdsFor(policy([priced]), { ...scope, model }, { ...worst, costNanos: null }, NOON).holds[0]?.amount;
    expect(hold('gpt-4o')).toBe(1_000n * 5_000n + 16_667n + 10_000_000n);
    expect(hold('claude')).toBe(1_000n * 100_000n + 10_000_000n);
  });

  test('is settled with the first price that matches, exact, rounded up once, and nothing for what is not billed', () => {
    expect(used({ calls: 1n, input_tokens: 10n, cache_read_tokens: 2n, output_tokens: 1n })).toEqual([
      10_000_000n + 30_000n + 10_000n + 34n,
    ]);
    expect(used({ input_tokens: 1n }, 'claude')).toEqual([100_000n]);
    expect(used({ images: 5n, output_tokens: 9n }, 'claude')).toEqual([0n]);
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

  test('names the limit that refuses longest, and never a soft one', () => {
    const wait = { fits: false, waitMs: 60 };
    const both = refused(2, { used: 10_000_000n }, [wait]);
    expect(refusalOf(limits, reservation, both)).toMatchObject({ limit: 'monthly', final: true });
    expect(refusalOf(limits, reservation, refused(1, { held: 50n }, [wait]))).toMatchObject({ limit: 'tpm' });
    const holds = reservation.holds.map((hold, i) => (i === 2 ? { ...hold, soft: true as const } : hold));
    expect(refusalOf(limits, { ...reservation, holds }, both)).toMatchObject({ limit: 'tpm' });
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
