import type { Database } from '#billing/db/database.ts';
import type { EventPlace } from '#billing/http/page.ts';
import type { UsageQuantity } from '#billing/rating/rating.ts';
import type { Period } from '#billing/subscriptions/period.ts';
import { exactOfNumeric } from '#core/exact.ts';
import { cutIntoHours, type HourCut } from '#core/time.ts';
import { type BilledEventRow, type BilledHourRow, listBilledEvents, listBilledHours, sumBilledUsage } from './store.ts';

/**
 * The usage that a period bills: whole hours from the roll-ups, the parts of hours at its two ends from the events
 * themselves (periods begin at the instant of a start, and at midnights that are no UTC hour), less what came late.
 * Rating reads nothing else, and explain shows the same down to the events.
 */
export type BilledHour = BilledHourRow;
export type BilledEvent = BilledEventRow;

function cutOf(period: Period): HourCut {
  return cutIntoHours({ startMs: period.start_at, endMs: period.end_at });
}

/** By model and unit, in one statement and so as of one instant. */
export async function billedUsageOf(db: Database, period: Period): Promise<UsageQuantity[]> {
  const rows = await sumBilledUsage(db, period, cutOf(period));
  return rows.map(({ model, unit, quantity }) => ({ model, unit, quantity: exactOfNumeric(quantity) }));
}

/** What a line's quantity consists of, hour by hour and model by model. */
export async function billedHoursOf(
  db: Database,
  period: Period,
  line: { unit: string; models: readonly string[] },
  page: { after: { hour: string; model: string } | undefined; count: number },
): Promise<BilledHour[]> {
  return listBilledHours(db, period, cutOf(period), line, page);
}

/** What a line's quantity consists of, event by event, in the order of their time. */
export async function billedEventsOf(
  db: Database,
  period: Period,
  line: { unit: string; models: readonly string[] },
  page: { after: EventPlace | undefined; count: number },
): Promise<BilledEvent[]> {
  return listBilledEvents(db, period, line, page);
}
