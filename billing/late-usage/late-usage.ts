import type { Database } from '#billing/db/database.ts';
import type { Period, PeriodKey } from '#billing/subscriptions/period.ts';
import { type Exact, exactOfNumeric } from '#core/exact.ts';
import {
  insertLateEvents,
  type LateEventRow,
  type LatePeriodRow,
  listAdjustable,
  listLateEvents,
  listLatePeriods,
  sumLateUsage,
  updateAdjusted,
} from './store.ts';

/**
 * Usage that came after the invoice of its period was final. It is counted and kept like all usage, is not on that
 * invoice, and stays in sight here until somebody bills it.
 */
export type LateEvent = LateEventRow;
export type LatePeriod = LatePeriodRow;

/**
 * No period closes sooner than this after its end, and so no event that is younger can be late: the ingest need not
 * look. The rest of the grace (billing/jobs) covers calls that last and clocks that differ.
 */
export const CLOSE_GRACE_MS_MIN = 60_000;

export interface TakenEvent {
  source: string;
  id: string;
  revision: number;
  customer: string;
  timeMs: number;
}

/**
 * Called by the ingest for the events that it takes, in its transaction and after it shares the locks of their
 * customers: a period is then either closed, and seen to be, or closes after this transaction with these events in it.
 */
export async function recordLateEvents(tx: Database, events: readonly TakenEvent[], nowMs: number): Promise<void> {
  const old = events.filter((event) => event.timeMs < nowMs - CLOSE_GRACE_MS_MIN);
  if (old.length > 0) await insertLateEvents(tx, old, nowMs);
}

/** Closed periods of the customer of a period, but not that one, for which rows came late that no final invoice has. */
export async function listAdjustablePeriods(
  db: Database,
  period: Period,
): Promise<(PeriodKey & { lateSeq: bigint })[]> {
  const rows = await listAdjustable(db, period);
  return rows.map(({ late_seq, ...key }) => ({ ...key, lateSeq: late_seq }));
}

/** Called when what was found to be adjusted is final: it is not looked at again until something else comes. */
export async function markAdjusted(tx: Database, periods: readonly (PeriodKey & { lateSeq: bigint })[]): Promise<void> {
  if (periods.length > 0) await updateAdjusted(tx, periods);
}

/** What came late for a period, by model and unit. */
export async function lateUsageOf(
  db: Database,
  period: Period,
): Promise<{ model: string; unit: string; quantity: Exact }[]> {
  const rows = await sumLateUsage(db, period);
  return rows.map((row) => ({ ...row, quantity: exactOfNumeric(row.quantity) }));
}

export { listLateEvents, listLatePeriods };
