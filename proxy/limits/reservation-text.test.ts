import fc from 'fast-check';
import { expect, test } from 'vitest';
import { COUNTER_MAX, type Hold, type Reservation } from './counters.ts';
import { encodeReservation, parseReservation } from './reservation-text.ts';

const amount = fc.bigInt({ min: 0n, max: COUNTER_MAX });
const text = fc.string({ unit: 'binary' });
const common = { counter: text, amount, limit: amount };
const soft = fc.constant(true as const);
const rate = fc.record(
  {
    ...common,
    kind: fc.constant('rate' as const),
    burst: amount,
    windowMs: fc.nat(),
    counted: fc.constantFrom('admission' as const, 'settlement' as const),
    soft,
  },
  { requiredKeys: ['kind', 'counter', 'amount', 'limit', 'burst', 'windowMs', 'counted'] },
);
const concurrency = fc.record(
  { ...common, kind: fc.constant('concurrency' as const), amount: fc.constant(1n as const), soft },
  { requiredKeys: ['kind', 'counter', 'amount', 'limit'] },
);
const quota = fc.record(
  {
    ...common,
    kind: fc.constant('quota' as const),
    expiresAtMs: fc.nat(),
    soft,
    warnAt: fc.array(amount, { minLength: 1, maxLength: 3 }),
    currency: text,
    series: fc.record({ name: text, startMs: fc.nat() }),
  },
  { requiredKeys: ['kind', 'counter', 'amount', 'limit', 'expiresAtMs'] },
);

test('reads any reservation back as it was written, but for where its series began', () => {
  const reservation = fc.record({
    id: text,
    customer: text,
    atMs: fc.nat(),
    leaseMs: fc.nat(),
    holds: fc.array(fc.oneof(rate, concurrency, quota) as fc.Arbitrary<Hold>, { maxLength: 4 }),
  });
  fc.assert(
    fc.property(reservation, (given: Reservation) => {
      const holds = given.holds.map((hold) =>
        hold.kind === 'quota' && hold.series ? { ...hold, series: { name: '', startMs: 0 } } : hold,
      );
      expect(parseReservation(encodeReservation(given))).toEqual({ ...given, holds });
    }),
  );
});
