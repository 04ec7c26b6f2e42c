import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  anchoredBoundary,
  anchoredPeriod,
  type CalendarUnit,
  calendarPeriod,
  cutIntoHours,
  daysIn,
  formatInstant,
  HOUR_MS,
  isTimeZone,
  parseInstant,
} from './time.ts';

const DAY_MS = 24 * HOUR_MS;

const zones = fc.constantFrom(
  'UTC',
  'Europe/Paris',
  'America/New_York',
  'Asia/Kolkata',
  'America/Sao_Paulo',
  'Pacific/Apia',
  'Australia/Lord_Howe',
);
const instants = fc.integer({ min: at('2005-01-01T00:00:00Z'), max: at('2045-01-01T00:00:00Z') });

describe('calendar periods', () => {
  it.each<[CalendarUnit, string, string, string, string]>([
    ['day', 'UTC', '2024-02-29T12:00:00Z', '2024-02-29T00:00:00Z', '2024-03-01T00:00:00Z'],
    ['week', 'UTC', '2024-03-03T23:59:59Z', '2024-02-26T00:00:00Z', '2024-03-04T00:00:00Z'],
    ['month', 'UTC', '2024-02-29T12:00:00Z', '2024-02-01T00:00:00Z', '2024-03-01T00:00:00Z'],
    ['quarter', 'UTC', '2024-02-29T12:00:00Z', '2024-01-01T00:00:00Z', '2024-04-01T00:00:00Z'],
    ['quarter', 'UTC', '2024-12-31T23:59:59Z', '2024-10-01T00:00:00Z', '2025-01-01T00:00:00Z'],
    ['year', 'UTC', '2024-02-29T12:00:00Z', '2024-01-01T00:00:00Z', '2025-01-01T00:00:00Z'],
    // India is 5:30 ahead: its March begins at 18:30 UTC on the last day of February.
    ['month', 'Asia/Kolkata', '2024-02-29T18:29:59Z', '2024-01-31T18:30:00Z', '2024-02-29T18:30:00Z'],
    ['month', 'Asia/Kolkata', '2024-02-29T18:30:00Z', '2024-02-29T18:30:00Z', '2024-03-31T18:30:00Z'],
    // The day on which Paris springs forward has 23 hours, the one on which it falls back 25.
    ['day', 'Europe/Paris', '2024-03-31T12:00:00Z', '2024-03-30T23:00:00Z', '2024-03-31T22:00:00Z'],
    ['day', 'Europe/Paris', '2024-10-27T12:00:00Z', '2024-10-26T22:00:00Z', '2024-10-27T23:00:00Z'],
    ['month', 'Europe/Paris', '2024-03-31T12:00:00Z', '2024-02-29T23:00:00Z', '2024-03-31T22:00:00Z'],
    // Where the clock springs forward at midnight, the day begins at one o'clock.
    ['day', 'America/Sao_Paulo', '2018-11-04T12:00:00Z', '2018-11-04T03:00:00Z', '2018-11-05T02:00:00Z'],
    // Samoa went without 30 December 2011.
    ['day', 'Pacific/Apia', '2011-12-30T09:59:59Z', '2011-12-29T10:00:00Z', '2011-12-30T10:00:00Z'],
    ['month', 'Pacific/Apia', '2011-12-31T00:00:00Z', '2011-12-01T10:00:00Z', '2011-12-31T10:00:00Z'],
  ])('gives the %s in %s that holds %s', (unit, zone, instant, start, end) => {
    const period = calendarPeriod(unit, at(instant), zone);
    expect([formatInstant(period.startMs), formatInstant(period.endMs)]).toEqual([iso(start), iso(end)]);
  });

  it('holds the instant it was asked for, and meets its neighbours without gap or overlap', () => {
    const units = fc.constantFrom<CalendarUnit>('day', 'week', 'month', 'quarter', 'year');
    fc.assert(
      fc.property(units, instants, zones, (unit, instant, zone) => {
        const period = calendarPeriod(unit, instant, zone);
        expect(period.startMs <= instant && instant < period.endMs).toBe(true);
        expect(calendarPeriod(unit, period.startMs, zone)).toEqual(period);
        expect(calendarPeriod(unit, period.endMs - 1, zone)).toEqual(period);
        expect(calendarPeriod(unit, period.endMs, zone).startMs).toBe(period.endMs);
      }),
    );
  });
});

describe('anchored periods', () => {
  it('clamps the 31st to the end of short months and comes back to it', () => {
    const anchor = at('2023-10-31T00:00:00Z');
    const days = Array.from({ length: 7 }, (_, n) => formatInstant(anchoredBoundary(anchor, 1, n, 'UTC')).slice(0, 10));
    expect(days).toEqual([
      '2023-10-31',
      '2023-11-30',
      '2023-12-31',
      '2024-01-31',
      '2024-02-29',
      '2024-03-31',
      '2024-04-30',
    ]);
  });

  it('begins the first period at the exact instant of the anchor and the later ones at local midnight', () => {
    const anchor = at('2024-01-31T01:00:00Z');
    const first = anchoredPeriod(anchor, 1, at('2024-02-10T00:00:00Z'), 'UTC');
    expect([first.index, first.startMs, formatInstant(first.endMs)]).toEqual([0, anchor, '2024-02-29T00:00:00.000Z']);
    const second = anchoredPeriod(anchor, 1, at('2024-02-29T00:00:00Z'), 'UTC');
    expect([second.index, formatInstant(second.startMs)]).toEqual([1, '2024-02-29T00:00:00.000Z']);
  });

  it("takes the anchor's day in the customer's zone, not in UTC", () => {
    // 20:00 UTC on the 30th is already the 31st in Kolkata.
    const anchor = at('2024-01-30T20:00:00Z');
    expect(formatInstant(anchoredBoundary(anchor, 1, 1, 'Asia/Kolkata'))).toBe('2024-02-28T18:30:00.000Z');
    expect(formatInstant(anchoredBoundary(anchor, 1, 1, 'UTC'))).toBe('2024-02-29T00:00:00.000Z');
    expect(formatInstant(anchoredBoundary(anchor, 1, 2, 'Asia/Kolkata'))).toBe('2024-03-30T18:30:00.000Z');
  });

  it('anchors 29 February of a leap year on the 28th in other years', () => {
    const anchor = at('2024-02-29T00:00:00Z');
    const days = [1, 2, 3, 4].map((n) => formatInstant(anchoredBoundary(anchor, 12, n, 'UTC')).slice(0, 10));
    expect(days).toEqual(['2025-02-28', '2026-02-28', '2027-02-28', '2028-02-29']);
  });

  it('holds the instant it was asked for, and meets its neighbours without gap or overlap', () => {
    const lag = fc.integer({ min: 0, max: 12 * 366 }).map((days) => days * DAY_MS + 12_345_678);
    fc.assert(
      fc.property(instants, lag, fc.constantFrom(1, 3, 12), zones, (anchor, later, months, zone) => {
        const instant = anchor + later;
        const period = anchoredPeriod(anchor, months, instant, zone);
        expect(period.startMs <= instant && instant < period.endMs).toBe(true);
        expect(anchoredPeriod(anchor, months, period.startMs, zone)).toEqual(period);
        expect(anchoredPeriod(anchor, months, period.endMs - 1, zone)).toEqual(period);
        const next = anchoredPeriod(anchor, months, period.endMs, zone);
        expect([next.index, next.startMs]).toEqual([period.index + 1, period.endMs]);
      }),
    );
  });

  it('knows no period before the anchor', () => {
    expect(() => anchoredPeriod(at('2024-01-02T00:00:00Z'), 1, at('2024-01-01T00:00:00Z'), 'UTC')).toThrow('anchor');
  });
});

describe('days and instants', () => {
  it('counts local days, whatever their length', () => {
    const march = calendarPeriod('month', at('2024-03-15T00:00:00Z'), 'Europe/Paris');
    expect(march.endMs - march.startMs).toBe(31 * DAY_MS - HOUR_MS);
    expect(daysIn(march, 'Europe/Paris')).toBe(31);
    expect(daysIn(calendarPeriod('month', at('2024-02-15T00:00:00Z'), 'UTC'), 'UTC')).toBe(29);
    expect(daysIn({ startMs: at('2024-01-31T01:00:00Z'), endMs: at('2024-02-29T00:00:00Z') }, 'UTC')).toBe(29);
  });

  it('reads back the instants it wrote', () => {
    fc.assert(
      fc.property(instants, (instant) => {
        expect(parseInstant(formatInstant(instant))).toBe(instant);
      }),
    );
  });

  it.each([
    ['2024-03-01T00:00:00Z', '2024-03-01T00:00:00.000Z'],
    ['2024-03-01T05:30:00+05:30', '2024-03-01T00:00:00.000Z'],
    ['2024-02-29T19:00:00.5-05:00', '2024-03-01T00:00:00.500Z'],
    ['2024-03-01T00:00:00.123456789Z', '2024-03-01T00:00:00.123Z'],
    ['2024-03-01t00:00:00z', '2024-03-01T00:00:00.000Z'],
  ])('reads %s', (text, instant) => {
    expect(formatInstant(parseInstant(text) ?? Number.NaN)).toBe(instant);
  });

  it.each([
    '2024-03-01T00:00:00',
    '2024-03-01',
    '2024-02-30T00:00:00Z',
    '2024-03-01T24:00:00Z',
    '2024-03-01T00:00Z',
    '20240301T000000Z',
    '2024-03-01T00:00:00+01',
    '2024-03-01T00:00:00+01:00[Europe/Paris]',
    '2024-03-01T00:00:00,5Z',
    '+002024-03-01T00:00:00Z',
    '1709251200',
    '',
  ])('refuses %j, which is no RFC 3339 instant', (text) => {
    expect(parseInstant(text)).toBeUndefined();
  });

  it('knows the zones of the IANA list and no others', () => {
    expect(['UTC', 'Asia/Kolkata', 'Europe/Paris'].every(isTimeZone)).toBe(true);
    expect(['', 'Mars/Olympus', 'Europe/Pariss'].some(isTimeZone)).toBe(false);
  });
});

function at(text: string): number {
  return new Date(text).getTime();
}

function iso(text: string): string {
  return new Date(text).toISOString();
}

describe('a period on the hours', () => {
  const on = (from: string, to: string) => ({ startMs: at(`2026-11-20T${from}Z`), endMs: at(`2026-11-20T${to}Z`) });

  it('is whole hours and what is left at its ends', () => {
    expect(cutIntoHours(on('09:00', '11:00'))).toEqual({ whole: on('09:00', '11:00'), edges: [] });
    expect(cutIntoHours(on('09:10', '11:20'))).toEqual({
      whole: on('10:00', '11:00'),
      edges: [on('09:10', '10:00'), on('11:00', '11:20')],
    });
    expect(cutIntoHours(on('09:10', '10:00')).edges).toEqual([on('09:10', '10:00')]);
    expect(cutIntoHours(on('09:10', '09:20'))).toEqual({
      whole: on('09:10', '09:10'),
      edges: [on('09:10', '09:20')],
    });
  });

  it('is all of it, each instant once', () => {
    const ms = fc.integer({ min: 0, max: 5 * HOUR_MS });
    fc.assert(
      fc.property(ms, ms, (startMs, length) => {
        const { whole, edges } = cutIntoHours({ startMs, endMs: startMs + length });
        const parts = [whole, ...edges]
          .filter((part) => part.endMs > part.startMs)
          .sort((a, b) => a.startMs - b.startMs);
        expect(whole.endMs).toBeGreaterThanOrEqual(whole.startMs);
        let reached = startMs;
        for (const part of parts) {
          expect(part.startMs).toBe(reached);
          reached = part.endMs;
        }
        expect(reached).toBe(startMs + length);
        for (const { startMs: from, endMs: to } of edges) expect(to - from).toBeLessThan(HOUR_MS);
      }),
    );
  });
});
