import { compare, type Exact, subtract, ZERO } from '#core/exact.ts';

/**
 * What the points of a stream count. A stream is a series since one of its starts. Of a sum since the start, each point
 * counts what came since the point before it by time: a point that comes late takes its part from the one after it. So
 * what is counted hangs on which points there are, and on nothing else.
 */
export interface StreamPoint {
  readonly timeNanos: bigint;
  readonly value: Exact;
  counted: Exact;
  /** Nothing before it is counted any more. */
  readonly isFloor: boolean;
}

/** same: known, or it adds nothing. taken: another value stands at this time. late: before all that is still known. */
export type Placed = 'added' | 'same' | 'taken' | 'late';

/**
 * Places a point in what is known of its stream around it, in the order of time. `changed` gets the points that count
 * something else than before. `isSinceStart`: the value is a sum since the start; `startsAtZero`: which is known, so that
 * the first value is all usage.
 */
export function place<Of extends StreamPoint>(
  known: Of[],
  point: Of,
  { isSinceStart, floor, changed }: { isSinceStart: boolean; floor: Of | null; changed: Set<Of> },
): Placed {
  let at = placeOf(known, point.timeNanos);
  const next = known[at];
  if (next?.timeNanos === point.timeNanos) return compare(next.value, point.value) === 0 ? 'same' : 'taken';
  let before = known[at - 1];
  if (isSinceStart) {
    if (!before && next?.isFloor) return 'late';
    if (!before && !next && floor) {
      at = known.push(floor);
      changed.add(floor);
      before = floor;
    }
    if (before && compare(before.value, point.value) === 0) return 'same';
    point.counted = before ? since(before.value, point.value) : ZERO;
    if (next) {
      next.counted = since(point.value, next.value);
      changed.add(next);
    }
  } else point.counted = point.value;
  known.splice(at, 0, point);
  changed.add(point);
  return 'added';
}

/** Of the first that is not before a time: by halves, since a request may bring very many of one stream. */
function placeOf(known: readonly StreamPoint[], timeNanos: bigint): number {
  let [low, high] = [0, known.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((known[middle]?.timeNanos ?? timeNanos) < timeNanos) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A sum that fell without saying so began anew. */
function since(before: Exact, now: Exact): Exact {
  return compare(now, before) < 0 ? now : subtract(now, before);
}
