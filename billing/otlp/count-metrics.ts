import type { Database } from '#billing/db/database.ts';
import { parseExactObject } from '#billing/event-formats/exact-json.ts';
import { isTimeInRange, type ParsedEvent, parseEvent } from '#billing/events/event.ts';
import { CORRECTION_TYPE } from '#billing/events/event-schema.ts';
import { type IngestResult, take } from '#billing/events/ingest.ts';
import { canonicalJson } from '#core/canonical-json.ts';
import { exactOfNumeric, formatExact, ZERO } from '#core/exact.ts';
import { formatInstant } from '#core/time.ts';
import { millisOf, sourceOf } from './attributes.ts';
import {
  type CallUse,
  callEvent,
  type NamedUse,
  namedEvent,
  parkedPoint,
  quantitiesOf,
  senderOf,
  useOf,
} from './metrics.ts';
import { hashOf, type Point, seriesHash } from './points.ts';
import {
  forgetPointsBefore,
  listPointsAround,
  listPointsOfFamilies,
  listStanding,
  lockSenders,
  type PointRow,
  type StandingRow,
  upsertPoints,
} from './store.ts';
import { place, type StreamPoint } from './streams.ts';
import { parseCount } from './token-units.ts';

/**
 * Counts points of metrics exactly once, however they are split over requests, in whatever order these come and however
 * often. Which points there are is kept, and an event says what its points come to: where a later request brings more of
 * a collection, or a point from before others, the events that it changes are corrected.
 */
export async function countMetrics(tx: Database, points: readonly Point[], nowMs: number): Promise<IngestResult[]> {
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
  return events.length > 0 ? await take(tx, events, nowMs) : [];
}

/** Of a point that would stand between others: what is counted for these must not hang on it. */
function wrongIn(point: Point, value: StreamPoint['value'] | undefined, nowMs: number): string | undefined {
  const atMs = millisOf(BigInt(point.timeNanos));
  if (!value) return 'It is below zero.';
  return isTimeInRange(atMs, nowMs) ? undefined : `${formatInstant(atMs)} is in a past or a future that nobody bills.`;
}

interface Counting extends StreamPoint {
  /** Before this request. */
  readonly countedBefore: StreamPoint['value'];
  readonly row: Omit<PointRow, 'value' | 'counted' | 'time_nanos'>;
  /** As it came in this request. */
  readonly point: Point | undefined;
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

type Figures = { quantities: Record<string, string> } | { value: string } | null;

/** An event as its points have it. */
interface Told {
  source: string;
  id: string;
  nanos: bigint;
  /** Whether points of it were known before. */
  known: boolean;
  /** Null of nothing. */
  before: Figures;
  now: Figures;
  /** A new event of these points; undefined where no point of this request is of it. */
  made: Record<string, unknown> | undefined;
}

type Use = Parameters<typeof quantitiesOf>[0][number];

async function callsChanged(
  tx: Database,
  changed: ReadonlySet<Counting>,
  added: ReadonlySet<Counting>,
): Promise<Told[]> {
  const families = new Set([...changed].flatMap(({ row }) => row.family ?? []));
  if (families.size === 0) return [];
  const changes = new Map([...changed].map((one) => [`${one.row.stream} ${one.timeNanos}`, one]));
  const pointOf = new Map([...added].map(({ row, point }) => [row.stream, point]));
  const byFamily = new Map<string, { row: PointRow; before: Use | undefined; now: Use }[]>();
  for (const row of await listPointsOfFamilies(tx, [...families])) {
    const { usage, former } = row;
    const change = changes.get(`${row.stream} ${row.time_nanos}`);
    const now = { usage, former, counted: exactOfNumeric(row.counted) };
    const before = change && added.has(change) ? undefined : { ...now, counted: change?.countedBefore ?? now.counted };
    const of = byFamily.get(row.family ?? '') ?? [];
    of.push({ row, before, now });
    byFamily.set(row.family ?? '', of);
  }
  const told: Told[] = [];
  for (const all of byFamily.values()) {
    const isLater = {
      before: laterOf(all.flatMap(({ before }) => before ?? [])),
      now: laterOf(all.map(({ now }) => now)),
    };
    for (const uses of Map.groupBy(all, ({ row }) => row.event_id).values()) {
      const { source = null, event_id: id = null, time_nanos = '0' } = uses[0]?.row ?? {};
      if (source === null || id === null) continue;
      const before = uses.flatMap((use) => use.before ?? []);
      const quantities = quantitiesOf(
        uses.map(({ now }) => now),
        isLater.now,
      );
      const point = uses.map(({ row }) => pointOf.get(row.stream)).find((each) => each !== undefined);
      const nanos = BigInt(time_nanos);
      const figures = { before: figuresOf(quantitiesOf(before, isLater.before)), now: figuresOf(quantities) };
      const made = point && callEvent(point, id, nanos, quantities);
      told.push({ source, id, nanos, known: before.length > 0, ...figures, made });
    }
  }
  return told;
}

/** Which of the former names give way. */
function laterOf(uses: readonly Use[]): { tokens: boolean; calls: boolean } {
  const later = uses.filter(({ former, counted }) => !former && counted.num > 0n);
  return { tokens: later.some(({ usage }) => usage !== 'calls'), calls: later.some(({ usage }) => usage === 'calls') };
}

function figuresOf(quantities: Record<string, string>): Figures {
  return Object.keys(quantities).length > 0 ? { quantities } : null;
}

function namedChanged(changed: ReadonlySet<Counting>, added: ReadonlySet<Counting>): Told[] {
  const pointOf = new Map([...added].map(({ row, point }) => [row.stream, point]));
  return [...changed].flatMap((one): Told[] => {
    const { source, event_id: id, family, stream } = one.row;
    if (source === null || id === null || family !== null) return [];
    const point = pointOf.get(stream);
    const use = point && useOf(point);
    const nanos = one.timeNanos;
    const [before, now] = [one.countedBefore, one.counted].map((counted) =>
      counted.num > 0n ? { value: formatExact(counted) } : null,
    );
    const customer = use?.kind === 'named' ? use.customer : undefined;
    const made = point && customer !== undefined ? namedEvent(point, { id, customer }, nanos, now?.value) : undefined;
    return [{ source, id, nanos, known: !added.has(one), before: before ?? null, now: now ?? null, made }];
  });
}

const SOURCE = '/weir/otlp';

/** The event, the correction of the one that stands, or undefined where there is nothing to say. */
function eventOf({ before, now, made, known, nanos }: Told, stands: StandingRow | undefined) {
  // An id that is taken without any point that is known: they were forgotten, and it is a conflict.
  if (!stands || !known) return now ? made : undefined;
  if (isSame(before, now)) return undefined;
  const live = stands.body === null ? undefined : parseExactObject(stands.body);
  const base = live ?? made;
  if (!base) return undefined;
  const data = fieldsOf(live?.data);
  const figures = live && ('quantities' in data ? { quantities: data.quantities } : { value: data.value });
  // What a person said of the figures since is later than any point.
  const isOurs = isSame(before, figures ?? null);
  const event = now && { ...base, data: { ...fieldsOf(base.data), ...now } };
  const { source, id, revision } = stands;
  return {
    specversion: '1.0',
    // As recosting has it: behind all that stands at its time.
    id: `~${revision.toString().padStart(10, '0')}.${hashOf([source, id, event])}`,
    source: SOURCE,
    type: CORRECTION_TYPE,
    time: formatInstant((isOurs ? stands.decided_at : null) ?? millisOf(nanos)),
    data: { source, id, reason: 'More points of its collection came', event },
  };
}

function isSame(a: unknown, b: unknown): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
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
