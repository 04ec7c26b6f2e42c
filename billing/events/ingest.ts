import { type Database, sqlStateOf } from '#billing/db/database.ts';
import { shareCustomerLocks } from '#billing/db/lock.ts';
import { recordLateEvents } from '#billing/late-usage/late-usage.ts';
import { measure } from '#billing/measurements/measure.ts';
import type { EventRow } from '#billing/meters/measured.ts';
import { gaugesInForce } from '#billing/meters/meter.ts';
import { isParked, type ParkedEvent, type ParkedReason, parseEvent, type StorableEvent } from './event.ts';
import {
  deleteParked,
  findHashes,
  insertConflicts,
  insertEvents,
  insertParked,
  insertPartition,
  listStrayMonths,
  lockParked,
} from './store.ts';

/**
 * What became of one event. accepted: counted now. duplicate: the same was counted before. conflict: another body
 * stands under this id; the first one stays, this one is listed. parked: it cannot be counted as it is; kept with its
 * reason. Whatever the answer, nothing is left to do for the sender: every outcome is durable.
 */
export type IngestResult = { source: string | null; id: string | null } & (
  | { status: 'accepted' | 'duplicate' | 'conflict' }
  | { status: 'parked'; reason: ParkedReason; detail: string }
);

/**
 * Takes a batch of events as untrusted JSON values, each counted exactly once however often, in whatever order and by
 * however many at once it is sent. Results stand in the order of the batch. One transaction, so that a failure means
 * that nothing of the batch is known; sending it again is always right.
 */
export async function ingest(db: Database, values: readonly unknown[], nowMs: number): Promise<IngestResult[]> {
  const events = values.map((value) => parseEvent(value, nowMs));
  const parked = events.filter(isParked);
  // An id goes to the database once; what stands twice in the batch is compared here.
  const firstById = new Map<string, StorableEvent>();
  for (const event of events) {
    if (!isParked(event) && !firstById.has(keyOf(event))) firstById.set(keyOf(event), event);
  }
  const first = [...firstById.values()];
  return await db.transaction(async (tx) => {
    if (parked.length > 0) await insertParked(tx, parked, nowMs);
    const standing: Standing = new Map();
    if (first.length > 0) {
      const gauges = await gaugesInForce(tx);
      await shareCustomerLocks(tx, [...new Set(first.map((event) => event.customer))]);
      await insertAll(tx, first, standing, nowMs);
      const taken = first.filter((event) => standing.get(keyOf(event)) === 'accepted');
      await recordLateEvents(
        tx,
        taken.map((event) => ({ ...event, revision: 0 })),
        nowMs,
      );
      if (gauges.length > 0) await measure(tx, gauges, taken.map(rowOfTaken));
    }
    const results = events.map((event) => resultOf(event, firstById, standing));
    const conflicts = events.filter((_, i) => results[i]?.status === 'conflict').filter(isStorable);
    if (conflicts.length > 0) await insertConflicts(tx, conflicts, nowMs);
    return results;
  });
}

/** As it was stored: read from the text, which holds nothing that Postgres cannot. */
function rowOfTaken(event: StorableEvent): EventRow {
  return { ...event, revision: 0, sign: 1, body: JSON.parse(event.body) };
}

/** By event id: whether the batch's first one was accepted, the hash of the one that stood there before, or why none can stand. */
type Standing = Map<string, 'accepted' | { hash: string } | ParkedEvent>;

function resultOf(
  event: StorableEvent | ParkedEvent,
  firstById: ReadonlyMap<string, StorableEvent>,
  standing: Standing,
): IngestResult {
  const { source, id } = event;
  if (isParked(event)) return { source, id, status: 'parked', reason: event.reason, detail: event.detail };
  const first = firstById.get(keyOf(event));
  const found = standing.get(keyOf(event));
  if (!first || !found) throw new Error('an event of the batch was left out');
  if (found !== 'accepted' && 'reason' in found && found.hash === event.hash) {
    return { source, id, status: 'parked', reason: found.reason, detail: found.detail };
  }
  if (found === 'accepted' && event === first) return { source, id, status: 'accepted' };
  const { hash } = found === 'accepted' ? first : found;
  return { source, id, status: event.hash === hash ? 'duplicate' : 'conflict' };
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
  let taken: StorableEvent[];
  try {
    const positions = await tx.transaction((part) => insertEvents(part, events, nowMs));
    taken = positions.map((at) => events[at] as StorableEvent);
  } catch (thrown) {
    if (!isRefusedValue(thrown)) throw thrown;
    const half = events.length >> 1;
    if (half > 0) {
      await insertAll(tx, events.slice(0, half), standing, nowMs);
      await insertAll(tx, events.slice(half), standing, nowMs);
      return;
    }
    const detail = `The database refuses it (${sqlStateOf(thrown)}).`;
    const parked = events.map(({ source, id, hash, body }): ParkedEvent => {
      return { reason: 'malformed', detail, hash, source, id, body };
    });
    await insertParked(tx, parked, nowMs);
    events.forEach((event, i) => {
      standing.set(keyOf(event), parked[i] as ParkedEvent);
    });
    return;
  }
  for (const event of events) standing.set(keyOf(event), 'accepted');
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

function isStorable(event: StorableEvent | ParkedEvent): event is StorableEvent {
  return !isParked(event);
}

function keyOf(event: StorableEvent): string {
  return `${event.source}\u0000${event.id}`;
}

/** Tries everything that is parked again: what this version understands by now is counted. Gives how many left the list. */
export async function retryParked(db: Database, nowMs: number, rowsMax = 500): Promise<number> {
  let left = 0;
  for (let afterSeq = 0n; ; ) {
    const page = await db.transaction(async (tx) => {
      const rows = await lockParked(tx, afterSeq, rowsMax);
      const ready = rows.filter((row) => !isParked(parseEvent(parseJson(row.body), nowMs)));
      if (ready.length > 0) {
        await deleteParked(
          tx,
          ready.map((row) => row.seq),
        );
        await ingest(
          tx,
          ready.map((row) => parseJson(row.body)),
          nowMs,
        );
      }
      return { last: rows.at(-1)?.seq, left: ready.length };
    });
    left += page.left;
    if (page.last === undefined) return left;
    afterSeq = page.last;
  }
}

/** Text that is no JSON stays the text that it is, and is parked as such. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Partitions of this month and some ahead, and of every month that events came for. Gives how many it made. */
export async function makePartitions(db: Database, nowMs: number, monthsAhead = 3): Promise<number> {
  const now = new Date(nowMs);
  const months = new Set(await listStrayMonths(db));
  for (let i = 0; i <= monthsAhead; i++) months.add(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + i));
  let made = 0;
  for (const month of [...months].sort((a, b) => a - b)) if (await insertPartition(db, month)) made++;
  return made;
}
