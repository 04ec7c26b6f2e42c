import type { Database } from '#billing/db/database.ts';
import { closePeriod } from '#billing/invoices/invoice.ts';
import { openDuePeriods, type PeriodKey, periodsEndedBy } from '#billing/subscriptions/period.ts';
import type { Log } from '#core/log.ts';

/**
 * How long after its end a period is closed, unless configured. A call counts at the instant of its admission, and may
 * last (streams are bounded to less than this); its event comes when it ends. What comes later still is late usage.
 */
export const CLOSE_GRACE_MS = 60 * 60_000;

/** What one run did: shown to operators, counted by tests. */
export interface CloseReport {
  invoiced: number;
  empty: number;
  /** Another worker was faster. */
  closedBefore: number;
  failed: number;
}

/** The periods that can be closed now, the earliest first. */
export function duePeriods(db: Database, nowMs: number, graceMs = CLOSE_GRACE_MS): AsyncGenerator<PeriodKey> {
  return periodsEndedBy(db, nowMs - graceMs);
}

/**
 * Opens the periods that have begun and closes those that are due, each in its own transaction. One that cannot be
 * closed is logged and left for the next run; it never holds up the others.
 */
export async function closeDuePeriods(
  db: Database,
  options: { nowMs: number; log: Log; graceMs?: number },
): Promise<CloseReport> {
  const { nowMs, log, graceMs = CLOSE_GRACE_MS } = options;
  const report: CloseReport = { invoiced: 0, empty: 0, closedBefore: 0, failed: 0 };
  await openDuePeriods(db, nowMs, log);
  for await (const key of duePeriods(db, nowMs, graceMs)) {
    try {
      const { outcome } = await closePeriod(db, key, nowMs, graceMs);
      if (outcome === 'invoiced') report.invoiced++;
      if (outcome === 'empty') report.empty++;
      if (outcome === 'closed_before') report.closedBefore++;
    } catch (thrown) {
      report.failed++;
      log.error({ ...key, err: thrown }, 'a period could not be closed');
    }
  }
  return report;
}

export function nameOf(key: PeriodKey): string {
  return `${key.subscription_id}:${key.period_index}`;
}
