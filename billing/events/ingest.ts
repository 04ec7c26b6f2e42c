import { type Correcting, correctEvents, customersCorrected } from '#billing/corrections/correct.ts';
import { costedEvent } from '#billing/costs/event-cost.ts';
import { type Database, sqlStateOf } from '#billing/db/database.ts';
import { lockExtremes, shareCustomerLocks } from '#billing/db/lock.ts';
import { customersOfKeys } from '#billing/keys/key.ts';
import { recordLateEvents } from '#billing/late-usage/late-usage.ts';
import { isExtreme, measure, measuredRowOf } from '#billing/measurements/measure.ts';
import type { Gauge } from '#billing/meters/measured.ts';
import { gaugesInForce } from '#billing/meters/meter.ts';
import { park } from '#billing/parked-events/parked-event.ts';
import type { FaultIssue } from '#core/fault.ts';
import type { PriceBook } from '#core/price.ts';
import {
  type Correction,
  isCorrection,
  isParked,
  isStorable,
  type ParkedEvent,
  type ParkedReason,
  type ParsedEvent,
  parkedEvent,
  parseEvent,
  type StorableEvent,
} from './event.ts';
import { findHashes, insertConflicts, insertEvents } from './store.ts';

/**
 * What became of one event. accepted: counted now. duplicate: the same was counted before. conflict: another body
 * stands under this id; the first one stays, this one is listed. parked: it cannot be counted as it is; kept with its
 * reason. Whatever the answer, nothing is left to do for the sender: every outcome is durable.
 */
export type IngestResult = { source: string | null; id: string | null } & (
  | { status: 'accepted' | 'duplicate' | 'conflict' }
  | { status: 'parked'; reason: ParkedReason; detail: string; issues: readonly FaultIssue[] }
);

/**
 * Takes a batch of events as untrusted JSON values, each counted exactly once however often, in whatever order and by
 * however many at once it is sent. Results stand in the order of the batch. One transaction, so that a failure means
 * that nothing of the batch is known; sending it again is always right.
 */
export async function ingest(
  db: Database,
  values: readonly unknown[],
  nowMs: number,
  book?: PriceBook,
): Promise<IngestResult[]> {
  const events = values.map((value) => parseEvent(value, nowMs));
  return await take(db, events, nowMs, book);
}

/** The same for what was read from some other format. Gateways cost what they send; for others the price book does. */
export async function take(
  db: Database,
  events: readonly ParsedEvent[],
  nowMs: number,
  book?: PriceBook,
): Promise<IngestResult[]> {
  // An id goes to the database once; what stands twice in the batch is compared here.
  const firstById = new Map<string, Kept>();
  for (const event of events) {
    if (!isParked(event) && !firstById.has(keyOf(event))) firstById.set(keyOf(event), event);
  }
  const first = [...firstById.values()];
  return await db.transaction(async (tx) => {
    await park(tx, events.filter(isParked), nowMs);
    const standing: Standing = new Map();
    const gauges = first.length > 0 ? await gaugesInForce(tx) : [];
    const costed = (event: StorableEvent) => (book ? costedEvent(book, event) : event);
    const counted = (await attribute(tx, first.filter(isStorable))).map(costed);
    const corrections = await attributeCorrected(tx, first.filter(isCorrection));
    await lockExtremesOf(tx, counted, corrections, gauges);
    if (counted.length > 0) await count(tx, counted, gauges, standing, nowMs);
    // After the events, which they may be about.
    if (corrections.length > 0) await correctAll(tx, corrections, { gauges, costed }, standing, nowMs);
    const results = events.map((event) => resultOf(event, firstById, standing));
    const conflicts = events.filter((_, i) => results[i]?.status === 'conflict').filter((event) => !isParked(event));
    if (conflicts.length > 0) await insertConflicts(tx, conflicts, nowMs);
    return results;
  });
}

type Kept = StorableEvent | Correction;

/** By event id: whether the batch's first one was accepted, the hash of the one that stood there before, or why none can stand. */
type Standing = Map<string, 'accepted' | { hash: string } | ParkedEvent>;

function resultOf(event: ParsedEvent, firstById: ReadonlyMap<string, Kept>, standing: Standing): IngestResult {
  const { source, id } = event;
  if (isParked(event)) return parkedResult(event);
  const first = firstById.get(keyOf(event));
  const found = standing.get(keyOf(event));
  if (!first || !found) throw new Error('an event of the batch was left out');
  if (found !== 'accepted' && 'reason' in found && found.hash === event.hash) return parkedResult(found);
  if (found === 'accepted' && event === first) return { source, id, status: 'accepted' };
  const { hash } = found === 'accepted' ? first : found;
  return { source, id, status: event.hash === hash ? 'duplicate' : 'conflict' };
}

function parkedResult({ source, id, reason, detail, issues }: ParkedEvent): IngestResult {
  return { source, id, status: 'parked', reason, detail, issues };
}

/** An event that names its key and no customer is the customer's whose key it is. */
async function attribute(tx: Database, events: readonly StorableEvent[]): Promise<readonly StorableEvent[]> {
  const keys = new Set(events.filter(({ customer, key }) => customer === '' && key !== '').map(({ key }) => key));
  if (keys.size === 0) return events;
  const customers = await customersOfKeys(tx, [...keys]);
  return events.map((event) =>
    event.customer === '' ? { ...event, customer: customers.get(event.key) ?? '' } : event,
  );
}

/** The same for what stands in the place of an event. */
async function attributeCorrected(tx: Database, corrections: readonly Correction[]): Promise<readonly Correction[]> {
  const named = corrections.flatMap(({ event }) => event ?? []);
  const attributed = new Map((await attribute(tx, named)).map((event, i) => [named[i], event]));
  return corrections.map((correction) => ({
    ...correction,
    event: correction.event && (attributed.get(correction.event) ?? correction.event),
  }));
}

/**
 * Before any row is locked, and as corrections want it where there are some: two batches that share it, or that lock rows
 * and it in different orders, would wait for each other in a circle.
 */
async function lockExtremesOf(
  tx: Database,
  events: readonly StorableEvent[],
  corrections: readonly Correction[],
  gauges: readonly Gauge[],
): Promise<void> {
  if (!gauges.some(isExtreme)) return;
  const corrected = corrections.length > 0 ? await customersCorrected(tx, corrections) : [];
  const customers = [...new Set([...events.map((event) => event.customer), ...corrected])];
  await shareCustomerLocks(tx, customers);
  await lockExtremes(tx, customers, corrections.length > 0);
}

/** Counts events of different ids. */
async function count(
  tx: Database,
  events: readonly StorableEvent[],
  gauges: readonly Gauge[],
  standing: Standing,
  nowMs: number,
): Promise<void> {
  await shareCustomerLocks(tx, [...new Set(events.map((event) => event.customer))]);
  await insertAll(tx, events, standing, nowMs);
  const taken = events.filter((event) => standing.get(keyOf(event)) === 'accepted');
  const rows = taken.map((event) => ({ ...event, revision: 0, sign: 1 }));
  await recordLateEvents(tx, rows, nowMs);
  if (gauges.length > 0) await measure(tx, gauges, rows.map(measuredRowOf));
}

/**
 * Inserts events of different ids. Should the database refuse a value that we thought it would take, the batch is
 * halved until the one that it refuses stands alone and is parked: a bad row never blocks the others.
 */
async function insertAll(
  tx: Database,
  events: readonly StorableEvent[],
  standing: Standing,
  nowMs: number,
): Promise<void> {
  const insert = (part: Database) => insertEvents(part, events, nowMs);
  const positions = await halved(tx, events, insert, (half) => insertAll(tx, half, standing, nowMs), standing, nowMs);
  if (!positions) return;
  for (const event of events) standing.set(keyOf(event), 'accepted');
  await note(
    tx,
    positions.map((at) => events[at] as StorableEvent),
    standing,
  );
}

/** The same for corrections. */
async function correctAll(
  tx: Database,
  corrections: readonly Correction[],
  by: Correcting,
  standing: Standing,
  nowMs: number,
): Promise<void> {
  const correct = (part: Database) => correctEvents(part, corrections, by, nowMs);
  const outcomes = await halved(
    tx,
    corrections,
    correct,
    (half) => correctAll(tx, half, by, standing, nowMs),
    standing,
    nowMs,
  );
  if (!outcomes) return;
  const of = (outcome: (typeof outcomes)[number]) => corrections.filter((_, i) => outcomes[i] === outcome);
  for (const correction of of('accepted')) standing.set(keyOf(correction), 'accepted');
  await note(tx, of('taken'), standing);
  const early = of('unknown_event').map((correction) => {
    const detail = `There is no event ${correction.targetId} of ${correction.targetSource} yet.`;
    return parkedEvent(correction, correction.body, 'unknown_event', [{ pointer: '#/data/id', detail }]);
  });
  for (const parked of early) standing.set(`${parked.source}\u0000${parked.id}`, parked);
  await park(tx, early, nowMs);
}

/** Runs a part that can fail alone; undefined when its halves were run, or its only row was parked, instead. */
async function halved<Row extends Kept, T>(
  tx: Database,
  rows: readonly Row[],
  work: (part: Database) => Promise<T>,
  again: (half: readonly Row[]) => Promise<void>,
  standing: Standing,
  nowMs: number,
): Promise<T | undefined> {
  try {
    return await tx.transaction(work);
  } catch (thrown) {
    if (!isRefusedValue(thrown)) throw thrown;
    const half = rows.length >> 1;
    if (half > 0) {
      await again(rows.slice(0, half));
      await again(rows.slice(half));
      return undefined;
    }
    const detail = `The database refuses it (${sqlStateOf(thrown)}).`;
    const parked = rows.map((row) => parkedEvent(row, row.body, 'malformed', [{ detail }]));
    await park(tx, parked, nowMs);
    rows.forEach((row, i) => {
      standing.set(keyOf(row), parked[i] as ParkedEvent);
    });
    return undefined;
  }
}

/** What stands under ids that were taken. */
async function note(tx: Database, taken: readonly Kept[], standing: Standing): Promise<void> {
  if (taken.length === 0) return;
  const hashes = await findHashes(tx, taken);
  if (hashes.length !== taken.length) throw new Error('an event id was taken and is not there');
  taken.forEach((event, i) => {
    standing.set(keyOf(event), { hash: hashes[i] as string });
  });
}

/** SQLSTATE class 22 (data exception) and 54 (a limit of Postgres, as the size of an index row). */
function isRefusedValue(thrown: unknown): boolean {
  const state = sqlStateOf(thrown);
  return state !== undefined && (state.startsWith('22') || state.startsWith('54'));
}

function keyOf(event: Kept): string {
  return `${event.source}\u0000${event.id}`;
}
