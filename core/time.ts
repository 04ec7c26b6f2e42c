import { Temporal } from 'temporal-polyfill';

/** The clock is an argument everywhere: epoch milliseconds, UTC. */
export type Clock = () => number;

/** Half-open: `startMs` belongs to the period, `endMs` to the next one. Epoch milliseconds. */
export interface Period {
  readonly startMs: number;
  readonly endMs: number;
}

export type CalendarUnit = 'day' | 'week' | 'month' | 'quarter' | 'year';

const MONTHS: Readonly<Record<'month' | 'quarter' | 'year', number>> = { month: 1, quarter: 3, year: 12 };

/** True for an IANA zone that the runtime knows. */
export function isTimeZone(zone: string): boolean {
  try {
    Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(zone);
    return true;
  } catch {
    return false;
  }
}

/** The calendar period in the zone that an instant falls into; weeks begin on Monday. */
export function calendarPeriod(unit: CalendarUnit, atMs: number, zone: string): Period {
  const date = Temporal.Instant.fromEpochMilliseconds(atMs).toZonedDateTimeISO(zone).toPlainDate();
  const first =
    unit === 'day'
      ? date
      : unit === 'week'
        ? date.subtract({ days: date.dayOfWeek - 1 })
        : unit === 'month'
          ? date.with({ day: 1 })
          : unit === 'quarter'
            ? date.with({ month: date.month - ((date.month - 1) % 3), day: 1 })
            : date.with({ month: 1, day: 1 });
  const next =
    unit === 'day'
      ? first.add({ days: 1 })
      : unit === 'week'
        ? first.add({ days: 7 })
        : first.add({ months: MONTHS[unit] });
  return { startMs: startOfDay(first, zone), endMs: startOfDay(next, zone) };
}

/**
 * The n-th billing boundary after the anchor (n = 0 is the anchor's own day), at local midnight. Always derived from the
 * original anchor day, so that the 31st is clamped in February and comes back in March.
 */
export function anchoredBoundary(anchorMs: number, months: number, n: number, zone: string): number {
  const anchor = Temporal.Instant.fromEpochMilliseconds(anchorMs).toZonedDateTimeISO(zone).toPlainDate();
  return startOfDay(anchor.add({ months: months * n }), zone);
}

/** The anchored period that holds an instant; the first one starts at the anchor's exact instant. */
export function anchoredPeriod(
  anchorMs: number,
  months: number,
  atMs: number,
  zone: string,
): Period & { index: number } {
  if (atMs < anchorMs) throw new RangeError('instant before the anchor');
  const anchor = Temporal.Instant.fromEpochMilliseconds(anchorMs).toZonedDateTimeISO(zone).toPlainDate();
  const date = Temporal.Instant.fromEpochMilliseconds(atMs).toZonedDateTimeISO(zone).toPlainDate();
  let index = Math.trunc(((date.year - anchor.year) * 12 + date.month - anchor.month) / months);
  while (anchoredBoundary(anchorMs, months, index, zone) > atMs) index--;
  while (anchoredBoundary(anchorMs, months, index + 1, zone) <= atMs) index++;
  index = Math.max(index, 0);
  return {
    index,
    startMs: index === 0 ? anchorMs : anchoredBoundary(anchorMs, months, index, zone),
    endMs: anchoredBoundary(anchorMs, months, index + 1, zone),
  };
}

/** Whole local days in a period, the first and the last counted as days however long they are. */
export function daysIn(period: Period, zone: string): number {
  const from = Temporal.Instant.fromEpochMilliseconds(period.startMs).toZonedDateTimeISO(zone).toPlainDate();
  const to = Temporal.Instant.fromEpochMilliseconds(period.endMs).toZonedDateTimeISO(zone).toPlainDate();
  return from.until(to, { largestUnit: 'days' }).days;
}

/**
 * Local days of which a period has any part: the first and the last count in full, a day of 23 hours as one.
 */
export function daysTouched(period: Period, zone: string): number {
  const endsAtMidnight = startOfDate(localDate(period.endMs, zone), zone) === period.endMs;
  return daysIn(period, zone) + (endsAtMidnight ? 0 : 1);
}

export const MINUTE_MS = 60_000;
/** The days of every zone begin on a quarter of an hour of UTC. */
export const QUARTER_MS = 15 * MINUTE_MS;
export const HOUR_MS = 3_600_000;

/**
 * How a period lies on the slots (hours of UTC, or shorter ones) that usage is summed by: the whole slots in its middle,
 * and what is left at its ends (a subscription that starts at 10:07; midnight in Kolkata, which is 18:30).
 */
export interface SlotCut {
  readonly whole: Period;
  readonly edges: readonly Period[];
}

export function cutIntoHours(period: Period): SlotCut {
  return cutIntoSlots(period, HOUR_MS);
}

export function cutIntoSlots({ startMs, endMs }: Period, slotMs: number): SlotCut {
  const firstMs = startMs + ((slotMs - (startMs % slotMs)) % slotMs);
  const lastMs = endMs - (endMs % slotMs);
  if (firstMs > lastMs) return { whole: { startMs, endMs: startMs }, edges: [{ startMs, endMs }] };
  const ends = [
    { startMs, endMs: firstMs },
    { startMs: lastMs, endMs },
  ];
  return { whole: { startMs: firstMs, endMs: lastMs }, edges: ends.filter((edge) => edge.startMs < edge.endMs) };
}

/** Whether the zone's days begin within an hour of UTC, in winter or in summer. */
export function hasQuarterOffset(zone: string, atMs: number): boolean {
  return [0, 6].some((months) => {
    const at = Temporal.Instant.fromEpochMilliseconds(atMs).toZonedDateTimeISO(zone).add({ months });
    return (at.offsetNanoseconds / 1_000_000) % HOUR_MS !== 0;
  });
}

/** The calendar day of an instant in a zone, as YYYY-MM-DD. */
export function localDate(atMs: number, zone: string): string {
  return Temporal.Instant.fromEpochMilliseconds(atMs).toZonedDateTimeISO(zone).toPlainDate().toString();
}

/** What the clock on the wall shows: Monday is 1, the time as HH:MM. */
export function localClock(atMs: number, zone: string): { weekday: number; time: string } {
  const local = Temporal.Instant.fromEpochMilliseconds(atMs).toZonedDateTimeISO(zone);
  return { weekday: local.dayOfWeek, time: local.toPlainTime().toString({ smallestUnit: 'minute' }) };
}

/** When a day (YYYY-MM-DD) begins in a zone: midnight, or the first instant after it where midnight is skipped. */
export function startOfDate(date: string, zone: string): number {
  return startOfDay(Temporal.PlainDate.from(date), zone);
}

function startOfDay(date: Temporal.PlainDate, zone: string): number {
  return date.toZonedDateTime(zone).epochMilliseconds;
}

let lastMs = Number.NaN;
let lastText = '';

/** RFC 3339 in UTC with milliseconds. The last is kept: calls come many to a millisecond. */
export function formatInstant(atMs: number): string {
  if (atMs !== lastMs) {
    lastText = new Date(atMs).toISOString();
    lastMs = atMs;
  }
  return lastText;
}

/** Temporal reads more of ISO 8601 than RFC 3339 has: basic format, hours alone as offset, zones in brackets. */
const RFC_3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/;

/** Parses an RFC 3339 instant with its offset. Undefined for anything else, local times included. */
export function parseInstant(text: string): number | undefined {
  if (!RFC_3339.test(text)) return undefined;
  try {
    return Temporal.Instant.from(text).epochMilliseconds;
  } catch {
    return undefined;
  }
}
