import type { MeterTerms } from '#config/meter-terms.ts';
import { add, compare, type Exact, exact, multiply, ONE, subtract, ZERO } from '#core/exact.ts';
import { daysTouched, type Period } from '#core/time.ts';

/**
 * Meters whose order of events matters: the latest value, a level weighted by how long it lasted, seats that come and
 * go. Pure: from what stood before a period and what happened in it to its quantity and to what stands after it.
 */

/** One event as such a meter sees it, in the order of (time, source, id). */
export interface Point {
  readonly atMs: number;
  /** Of a unique count: 0. */
  readonly value: Exact;
  /** Of a unique count: what is counted. */
  readonly item: string;
  readonly operation: 'add' | 'remove';
}

/** What stands at an instant. */
export interface Level {
  /** Null before the first event. */
  readonly value: Exact | null;
  readonly items: ReadonlySet<string>;
}

export const NO_LEVEL: Level = { value: null, items: new Set() };

export interface LevelReading {
  /** Null where there is nothing to read: no event, and nothing that stood before. */
  readonly quantity: Exact | null;
  readonly after: Level;
}

export interface Span {
  readonly period: Period;
  /** What shares of a period are counted in: the whole interval where the period is a part of one. */
  readonly whole: Period;
  readonly zone: string;
}

export function readLevel(terms: MeterTerms, before: Level, points: readonly Point[], span: Span): LevelReading {
  switch (terms.aggregation) {
    case 'latest':
      return latest(before, points);
    case 'time_weighted':
      return timeWeighted(before, points, span.period, terms.values === 'changes');
    case 'sum':
      return runningSum(before, points, span, terms.proration);
    case 'unique':
      return activeItems(before, points, span, terms.proration);
    default:
      throw new RangeError(`${terms.aggregation} is no level`);
  }
}

function latest(before: Level, points: readonly Point[]): LevelReading {
  const value = points.at(-1)?.value ?? before.value;
  return { quantity: value && notNegative(value), after: { ...before, value } };
}

/**
 * The level, weighted by the time that it lasted, over the time of the period: a month that has one hour less is divided
 * by what it has. What the last event left lasts to the end of the period.
 */
function timeWeighted(before: Level, points: readonly Point[], period: Period, changes: boolean): LevelReading {
  let level = before.value;
  let sinceMs = period.startMs;
  let weighted = ZERO;
  const lasted = (untilMs: number) => {
    if (level) weighted = add(weighted, multiply(notNegative(level), { num: BigInt(untilMs - sinceMs), den: 1n }));
    sinceMs = untilMs;
  };
  for (const point of points) {
    lasted(point.atMs);
    level = changes ? add(level ?? ZERO, point.value) : point.value;
  }
  lasted(period.endMs);
  const lengthMs = BigInt(period.endMs - period.startMs);
  return { quantity: level && exact(weighted.num, weighted.den * lengthMs), after: { ...before, value: level } };
}

/**
 * Without proration the level at the end. With it, what stood at the start counts for all of the period, and each rise
 * above the highest so far for what is left of it: less in between takes nothing back, and up to the same height again
 * costs nothing more.
 */
function runningSum(
  before: Level,
  points: readonly Point[],
  span: Span,
  proration: MeterTerms['proration'],
): LevelReading {
  let level = before.value;
  let highest = notNegative(level ?? ZERO);
  let prorated = proration === 'none' ? ZERO : multiply(highest, shareFrom(span.period.startMs, span, proration));
  for (const point of points) {
    level = add(level ?? ZERO, point.value);
    if (proration === 'none' || compare(level, highest) <= 0) continue;
    prorated = add(prorated, multiply(subtract(level, highest), shareFrom(point.atMs, span, proration)));
    highest = level;
  }
  const quantity = level && (proration === 'none' ? notNegative(level) : prorated);
  return { quantity, after: { ...before, value: level } };
}

/** What is there at any time of the period, each once; with proration, for the share that was left when it came first. */
function activeItems(
  before: Level,
  points: readonly Point[],
  span: Span,
  proration: MeterTerms['proration'],
): LevelReading {
  const active = new Set(before.items);
  const counted = new Set(before.items);
  const share = (atMs: number) => (proration === 'none' ? ONE : shareFrom(atMs, span, proration));
  let quantity = multiply({ num: BigInt(counted.size), den: 1n }, share(span.period.startMs));
  for (const point of points) {
    if (point.operation === 'remove') active.delete(point.item);
    else {
      active.add(point.item);
      if (!counted.has(point.item)) quantity = add(quantity, share(point.atMs));
      counted.add(point.item);
    }
  }
  const known = points.length > 0 || before.items.size > 0;
  return { quantity: known ? quantity : null, after: { ...before, items: active } };
}

/** Which part of the whole interval is left of the period at an instant; by day, the day of the instant counts. */
function shareFrom(atMs: number, { period, whole, zone }: Span, by: 'by_day' | 'by_second'): Exact {
  const left = { startMs: atMs, endMs: period.endMs };
  if (by === 'by_second') return exact(BigInt(left.endMs - left.startMs), BigInt(whole.endMs - whole.startMs));
  return exact(BigInt(daysTouched(left, zone)), BigInt(daysTouched(whole, zone)));
}

/** More can have been taken away than was there; nobody is billed less than nothing. */
function notNegative(value: Exact): Exact {
  return value.num < 0n ? ZERO : value;
}
