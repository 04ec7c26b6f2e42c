import type { Database } from '#billing/db/database.ts';
import { isTimeInRange, type ParsedEvent, parseEvent } from '#billing/events/event.ts';
import { type IngestResult, take } from '#billing/events/ingest.ts';
import { exactOfNumeric, formatExact, ZERO } from '#core/exact.ts';
import type { PriceBook } from '#core/price.ts';
import { formatInstant } from '#core/time.ts';
import { millisOf, sourceOf } from './attributes.ts';
import { type CallUse, type NamedUse, namedEvent, parkedPoint, senderOf, useOf } from './metrics.ts';
import { type Point, seriesHash } from './points.ts';
import {
  forgetPointsBefore,
  listPointsAround,
  listStanding,
  lockSenders,
  type PointRow,
  upsertPoints,
} from './store.ts';
import { place, type StreamPoint } from './streams.ts';
import { parseCount } from './token-units.ts';
import { type Counting, callsChanged, eventOf, namedChanged } from './told-events.ts';

/**
 * Counts points of metrics exactly once, however they are split over requests, in whatever order these come and however
 * often. Which points there are is kept, and an event says what its points come to: where a later request brings more of
 * a collection, or a point from before others, the events that it changes are corrected.
 */
export async function countMetrics(
  tx: Database,
  points: readonly Point[],
  nowMs: number,
  book?: PriceBook,
): Promise<IngestResult[]> {
  const events: ParsedEvent[] = [];
  const counting: Counting[] = [];
  for (const point of points) {
    const use = point.value === undefined ? undefined : useOf(point);
    if (!use) continue;
    const isAlone = use.kind === 'named' && !point.cumulative;
    const value = parseCount(point.value);
    const wrong = point.timeNanos === '0' ? 'It has no time.' : isAlone ? undefined : wrongIn(point, value, nowMs);
    if (wrong !== undefined) events.push(parkedPoint(point, wrong));
    else if (isAlone) events.push(parseEvent(namedEvent(point, use, BigInt(point.timeNanos), point.value), nowMs));
    else if (value) counting.push(countingOf(point, use, value));
  }
  if (counting.length > 0) {
    await lockSenders(tx, [...new Set(points.map(senderOf))]);
    const { changed, added, taken } = await placeAll(tx, counting, nowMs);
    for (const { point } of taken) {
      if (point) events.push(parkedPoint(point, 'Another value was counted for this point.'));
    }
    const told = [...(await callsChanged(tx, changed, added)), ...namedChanged(changed, added)];
    const standing = told.length > 0 ? await listStanding(tx, told) : [];
    const standingOf = new Map(standing.map((row) => [keyOf(row), row]));
    for (const one of told) {
      const event = eventOf(one, standingOf.get(keyOf(one)));
      if (event) events.push(parseEvent(event, nowMs));
    }
  }
  return events.length > 0 ? await take(tx, events, nowMs, book) : [];
}

/** Of a point that would stand between others: what is counted for these must not hang on it. */
function wrongIn(point: Point, value: StreamPoint['value'] | undefined, nowMs: number): string | undefined {
  const atMs = millisOf(BigInt(point.timeNanos));
  if (!value) return 'It is below zero.';
  return isTimeInRange(atMs, nowMs) ? undefined : `${formatInstant(atMs)} is in a past or a future that nobody bills.`;
}

function countingOf(point: Point, use: CallUse | NamedUse, value: StreamPoint['value']): Counting {
  const isCall = use.kind === 'call';
  return {
    timeNanos: BigInt(point.timeNanos),
    ...{ value, counted: ZERO, countedBefore: ZERO, isFloor: false, point },
    row: {
      stream: `${seriesHash(point)} ${point.startNanos}`,
      cumulative: point.cumulative,
      source: sourceOf(point.resource),
      event_id: use.id,
      usage: isCall ? use.usage : null,
      former: isCall && use.former,
      family: isCall ? use.family : null,
      seen_at: 0,
    },
  };
}

function knownOf(row: PointRow): Counting {
  const counted = exactOfNumeric(row.counted);
  return {
    timeNanos: BigInt(row.time_nanos),
    ...{ value: exactOfNumeric(row.value), counted, countedBefore: counted, isFloor: row.event_id === null },
    ...{ row, point: undefined },
  };
}

/** What a sum since a known start begins with. */
function floorOf({ row }: Counting): Counting {
  const nothing = { source: null, event_id: null, usage: null, former: false, family: null };
  const point = { value: ZERO, counted: ZERO, countedBefore: ZERO, isFloor: true, point: undefined };
  return { ...point, timeNanos: -1n, row: { ...row, ...nothing } };
}

const DAY_MS = 86_400_000;

/** Keeps the points that are new. Gives those that count something else than before, those that are new, and those whose place was taken. */
async function placeAll(tx: Database, counting: readonly Counting[], nowMs: number) {
  const spans = new Map<string, { stream: string; fromNanos: bigint; toNanos: bigint }>();
  for (const { row, timeNanos } of counting) {
    const span = spans.get(row.stream) ?? { stream: row.stream, fromNanos: timeNanos, toNanos: timeNanos };
    if (timeNanos < span.fromNanos) span.fromNanos = timeNanos;
    if (timeNanos > span.toNanos) span.toNanos = timeNanos;
    spans.set(row.stream, span);
  }
  const streams = new Map<string, Counting[]>([...spans.keys()].map((stream) => [stream, []]));
  for (const row of await listPointsAround(tx, [...spans.values()])) streams.get(row.stream)?.push(knownOf(row));
  const changed = new Set<Counting>();
  const added = new Set<Counting>();
  const taken: Counting[] = [];
  const seen = new Set<Counting>();
  for (const one of [...counting].sort((a, b) => (a.timeNanos < b.timeNanos ? -1 : 1))) {
    const known = streams.get(one.row.stream) ?? [];
    const hasStart = !one.row.stream.endsWith(' 0');
    const terms = { isSinceStart: one.row.cumulative, floor: hasStart ? floorOf(one) : null, changed };
    const placed = place(known, one, terms);
    if (placed === 'added') added.add(one);
    if (placed === 'taken') taken.push(one);
    const last = known.at(-1);
    // A series that says the same for long is not forgotten.
    if (placed === 'same' && last && !added.has(last) && last.row.seen_at < nowMs - DAY_MS) seen.add(last);
  }
  const rows = [...new Set([...changed, ...seen])].map(({ row, timeNanos, value, counted }) => ({
    ...{ ...row, time_nanos: `${timeNanos}`, value: formatExact(value), counted: formatExact(counted) },
  }));
  if (rows.length > 0) await upsertPoints(tx, rows, nowMs);
  return { changed, added, taken };
}

function keyOf({ source, id }: { source: string; id: string }): string {
  return `${source}\u0000${id}`;
}

/** How long a point may come late, and how long a series may be silent that goes on where it was. */
const POINT_DAYS = 35;
const SERIES_DAYS = 400;

/** As a job. */
export async function forgetPoints(db: Database, nowMs: number): Promise<void> {
  const beforeMs = nowMs - POINT_DAYS * DAY_MS;
  const beforeNanos = BigInt(beforeMs - (beforeMs % 1_000)) * 1_000_000n;
  await db.transaction((tx) => forgetPointsBefore(tx, beforeNanos, nowMs - SERIES_DAYS * DAY_MS));
}
