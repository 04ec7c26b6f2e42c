import type { LimitPeriod, RateWindow } from '#core/key-policy.ts';
import { WINDOW_MS } from '#core/key-policy.ts';
import { type CalendarUnit, calendarPeriod, localDate } from '#core/time.ts';

/** The period that a quota counts in: its end, and its part of the counter's name. */
export interface CountedPeriod {
  /** Empty for one that has no end. */
  readonly name: string;
  readonly startMs: number;
  /** Null where only a new session, or nothing, begins anew. */
  readonly endMs: number | null;
  /** When its counter may be forgotten. */
  readonly expiresAtMs: number;
}

/**
 * How long a period's counter outlives the period: longer than the longest lease and than clocks differ, so that a call
 * of its last second is still held, settled and corrected against it.
 */
const GRACE_MS = 2 * 86_400_000;
/** A session is over when it has been quiet for so long. */
export const SESSION_QUIET_MS = 30 * 86_400_000;
/**
 * How long after a limit per session was first known each new session is asked for: one that was quiet for longer when
 * its count was lost begins anew. Asking about every session for as long as one may last would ask about nearly all.
 */
export const SESSION_ASKED_MS = 3_600_000;
const NEVER_MS = Date.UTC(9999, 0, 1);

const TOTAL: CountedPeriod = { name: '', startMs: 0, endMs: null, expiresAtMs: NEVER_MS };

export function isWindow(per: LimitPeriod | null): per is RateWindow {
  return per !== null && per in WINDOW_MS;
}

export function countedPeriod(per: Exclude<LimitPeriod, RateWindow>, atMs: number, zone: string): CountedPeriod {
  if (per === 'total') return TOTAL;
  if (per === 'session') {
    return { name: '', startMs: atMs - SESSION_QUIET_MS, endMs: null, expiresAtMs: atMs + SESSION_QUIET_MS };
  }
  return calendar(per, atMs, zone);
}

/** What was last asked for, by unit and zone: calendar arithmetic costs more than everything else here together. */
const last = new Map<string, CountedPeriod & { endMs: number }>();

/** How much of the local date of its middle names a period. */
const NAME_CHARS: Readonly<Record<CalendarUnit, number>> = { day: 10, week: 10, month: 7, quarter: 7, year: 4 };

function calendar(unit: CalendarUnit, atMs: number, zone: string): CountedPeriod {
  const key = `${unit} ${zone}`;
  const known = last.get(key);
  if (known && known.startMs <= atMs && atMs < known.endMs) return known;
  const { startMs, endMs } = calendarPeriod(unit, atMs, zone);
  // By its own calendar, which is the same everywhere: a customer that moves to another zone keeps its counter. (By UTC two
  // days in Auckland are one when its clocks change: noon is midnight there.)
  const name = localDate((startMs + endMs) / 2, zone).slice(0, NAME_CHARS[unit]);
  const period = { name, startMs, endMs, expiresAtMs: endMs + GRACE_MS };
  last.set(key, period);
  return period;
}
