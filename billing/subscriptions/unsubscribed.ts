import type { Database } from '#billing/db/database.ts';
import { Fault } from '#core/fault.ts';
import { HOUR_MS } from '#core/time.ts';
import { sumUnsubscribed } from './store.ts';

/** How much one look may read. */
export const HOURS_MAX = 31 * 24;

/**
 * Usage that no period will ever bill, since no subscription covers its instant: of customers without a plan, before the
 * first subscription, between two. Often meant; never to be found out by accident.
 */
export async function listUnsubscribedUsage(
  db: Database,
  fromMs: number,
  toMs: number,
  page: { after: { customer: string; unit: string } | undefined; count: number },
): Promise<{ customer: string; unit: string; quantity: string }[]> {
  const whole = fromMs % HOUR_MS === 0 && toMs % HOUR_MS === 0;
  if (!whole || toMs <= fromMs || toMs - fromMs > HOURS_MAX * HOUR_MS) {
    throw new Fault('validation_failed', {
      issues: [{ parameter: 'to', detail: 'Wants whole hours, one at least and 31 days at most.' }],
    });
  }
  return sumUnsubscribed(db, fromMs, toMs, page);
}
