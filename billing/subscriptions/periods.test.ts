import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exact, ONE } from '#core/exact.ts';
import { formatInstant, localDate } from '#core/time.ts';
import {
  anchorOf,
  type BillingDay,
  type BillingPeriod,
  feeShare,
  firstPeriod,
  nextPeriod,
  type Schedule,
} from './periods.ts';

function schedule(start: string, zone: string, billingDay: BillingDay = 'anniversary', end?: string): Schedule {
  const startMs = Date.parse(start);
  return {
    startMs,
    anchorOn: anchorOf(startMs, billingDay, zone),
    billingDay,
    endMs: end === undefined ? null : Date.parse(end),
  };
}

function periodsOf(of: Schedule, zone: string, count: number): BillingPeriod[] {
  const periods = [firstPeriod(of, zone)];
  while (periods.length < count) {
    const next = nextPeriod(of, periods.at(-1) as BillingPeriod, zone);
    if (!next) break;
    periods.push(next);
  }
  return periods;
}

describe('the periods of a subscription', () => {
  it('come back to the 31st after each shorter month', () => {
    const ends = periodsOf(schedule('2022-12-31T00:00:00Z', 'UTC'), 'UTC', 15).map(({ endMs }) =>
      localDate(endMs, 'UTC'),
    );
    expect(ends.slice(0, 4)).toEqual(['2023-01-31', '2023-02-28', '2023-03-31', '2023-04-30']);
    expect(ends.slice(-3)).toEqual(['2024-01-31', '2024-02-29', '2024-03-31']);
  });

  it('begin at the exact start, and later at midnight in the zone of the customer', () => {
    const [first, second] = periodsOf(schedule('2024-01-15T06:30:00Z', 'Asia/Kolkata'), 'Asia/Kolkata', 2);
    expect(first && formatInstant(first.startMs)).toBe('2024-01-15T06:30:00.000Z');
    expect(second && formatInstant(second.startMs)).toBe('2024-02-14T18:30:00.000Z');
  });

  it('are as long as the local month where the clock changes', () => {
    const [march] = periodsOf(schedule('2024-03-01T00:00:00+01:00', 'Europe/Paris'), 'Europe/Paris', 1);
    expect(march && (march.endMs - march.startMs) / 1000).toBe(2_674_800);
    expect(march && feeShare(march, 'by_day')).toEqual(ONE);
    expect(march && feeShare(march, 'by_second')).toEqual(ONE);
  });

  it('keep their zone when the customer moves, and go on in the new one without gap or overlap', () => {
    const of = schedule('2024-01-31T10:00:00Z', 'Asia/Tokyo');
    const first = firstPeriod(of, 'Asia/Tokyo');
    const second = nextPeriod(of, first, 'America/New_York');
    expect(formatInstant(first.endMs)).toBe('2024-02-28T15:00:00.000Z');
    expect(second?.startMs).toBe(first.endMs);
    expect(second && formatInstant(second.endMs)).toBe('2024-03-31T04:00:00.000Z');
    expect(second && feeShare(second, 'by_day')).toEqual(ONE);
  });

  it('end with the subscription', () => {
    const of = schedule('2024-01-10T00:00:00Z', 'UTC', 'anniversary', '2024-02-20T12:00:00Z');
    const periods = periodsOf(of, 'UTC', 9);
    expect(periods.map(({ endMs }) => formatInstant(endMs))).toEqual([
      '2024-02-10T00:00:00.000Z',
      '2024-02-20T12:00:00.000Z',
    ]);
  });

  it('follow each other without gap or overlap from any start, in any zone, clamped to the day of the anchor', () => {
    const zones = ['UTC', 'Europe/Paris', 'America/New_York', 'Asia/Kolkata', 'America/Sao_Paulo'];
    const starts = fc.integer({ min: Date.parse('2010-01-01'), max: Date.parse('2030-01-01') });
    fc.assert(
      fc.property(
        starts,
        fc.constantFrom(...zones),
        fc.constantFrom<BillingDay>('anniversary', 'calendar'),
        (startMs, zone, day) => {
          const of: Schedule = { startMs, anchorOn: anchorOf(startMs, day, zone), billingDay: day, endMs: null };
          const periods = periodsOf(of, zone, 14);
          const anchorDay = Number(of.anchorOn.slice(8));
          expect(periods[0]?.startMs).toBe(startMs);
          for (const [i, period] of periods.entries()) {
            expect(period.endMs).toBeGreaterThan(period.startMs);
            if (i > 0) expect(period.startMs).toBe(periods[i - 1]?.endMs);
            const [year = 0, month = 0, endDay = 0] = localDate(period.endMs, zone).split('-').map(Number);
            expect(endDay).toBe(Math.min(anchorDay, new Date(Date.UTC(year, month, 0)).getUTCDate()));
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('the share of the fee', () => {
  it.each([
    ['started on the 15th', '2024-03-15T09:00:00Z', undefined, 17n, 31n],
    ['started and ended on one day', '2024-02-05T09:00:00Z', '2024-02-05T17:00:00Z', 1n, 29n],
    ['ended on the 12th, which counts', '2024-02-01T00:00:00Z', '2024-02-12T06:00:00Z', 12n, 29n],
    ['ended at midnight before the 12th', '2024-02-01T00:00:00Z', '2024-02-12T00:00:00Z', 11n, 29n],
  ])('counts local days: %s', (_, start, end, num, den) => {
    const period = firstPeriod(schedule(start, 'UTC', 'calendar', end), 'UTC');
    expect(feeShare(period, 'by_day')).toEqual(exact(num, den));
  });

  it('counts the local day of the customer, not that of UTC', () => {
    const of = schedule('2024-03-31T03:00:00Z', 'America/Denver', 'calendar');
    expect(feeShare(firstPeriod(of, 'America/Denver'), 'by_day')).toEqual(exact(2n, 31n));
  });

  it('is whole for a first period from its anniversary, at whatever hour it began', () => {
    const period = firstPeriod(schedule('2024-03-15T21:55:18Z', 'UTC'), 'UTC');
    expect(feeShare(period, 'by_day')).toEqual(ONE);
    expect(feeShare(period, 'by_second')).toEqual(ONE);
  });

  it('counts seconds, or nothing, where the policy says so', () => {
    const period = firstPeriod(schedule('2024-01-21T21:55:18Z', 'UTC', 'calendar'), 'UTC');
    expect(feeShare(period, 'by_second')).toEqual(exact(871_482n, 2_678_400n));
    expect(feeShare(period, 'none')).toEqual(ONE);
  });
});
