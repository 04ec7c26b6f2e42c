import type { Database } from '#billing/db/database.ts';
import type { ParkedEvent, ParkedReason } from '#billing/events/event.ts';
import { deleteOldestParked, deleteParked, insertParked, type ParkedRow, selectParked } from './store.ts';

/**
 * How many are kept of what its sender was told is wrong. What waits for a newer version, or for the event that it is
 * about, is never dropped.
 */
export const PARKED_MAX = 100_000;

/** Keeps what could not be taken, as it came and with the reason; the same again is kept once. */
export async function park(tx: Database, events: readonly ParkedEvent[], nowMs: number): Promise<void> {
  if (events.length > 0) await insertParked(tx, events, nowMs);
}

export interface ParkedFilter {
  reason: ParkedReason | undefined;
  template: string | undefined;
  beforeSeq: bigint | undefined;
  limit: number;
}

export async function listParked(db: Database, filter: ParkedFilter): Promise<ParkedRow[]> {
  return await selectParked(db, filter);
}

/** False when there was none. */
export async function discardParked(db: Database, seq: bigint): Promise<boolean> {
  return (await deleteParked(db, [seq])) === 1;
}

/** Keeps the list within its bound, as a job: the oldest go first. Gives how many. */
export async function trimParked(db: Database, keptMax = PARKED_MAX): Promise<number> {
  return await deleteOldestParked(db, keptMax);
}
