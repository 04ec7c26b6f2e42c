import type { Database } from '#billing/db/database.ts';
import type { EventPlace } from '#billing/http/page.ts';
import { findMeterOfUnit } from '#billing/meters/meter.ts';
import type { UsageQuantity } from '#billing/rating/rating.ts';
import type { UsageCut, UsagePart } from '#billing/rating/usage-part.ts';
import type { Period } from '#billing/subscriptions/period.ts';
import { exactOfNumeric, multiply } from '#core/exact.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';
import { cutIntoHours, type SlotCut } from '#core/time.ts';
import { readingEventsOf, readingHoursOf, readingPartsOf } from './billed-meters.ts';
import {
  type BilledEventRow,
  type BilledHourRow,
  listBilledEvents,
  listBilledHours,
  listBilledParts,
  sumBilledUsage,
} from './store.ts';

/**
 * The usage that a period bills: whole hours from the roll-ups, the parts of hours at its two ends from the events
 * themselves (periods begin at the instant of a start, and at midnights that are no UTC hour), less what came late.
 * Rating reads nothing else, and explain shows the same down to the events.
 */
/** Which late rows count: none for the invoice of the period itself, those up to a number for an adjustment, or all. */
export const AS_INVOICED = 0n;
export const AS_OF_NOW = 2n ** 62n;

export type BilledHour = BilledHourRow;
export type BilledEvent = BilledEventRow;

function cutOf(period: Period): SlotCut {
  return cutIntoHours({ startMs: period.start_at, endMs: period.end_at });
}

/** By model and unit, in one statement and so as of one instant. */
export async function billedUsageOf(db: Database, period: Period, lateSeq = AS_INVOICED): Promise<UsageQuantity[]> {
  const rows = await sumBilledUsage(db, period, cutOf(period), lateSeq);
  return rows.map(({ model, unit, quantity }) => ({ model, unit, quantity: exactOfNumeric(quantity) }));
}

/** The usage of a charge as finely as its price wants it. What events carry counts in the currency of the plan. */
export async function billedPartsOf(
  db: Database,
  period: Period,
  line: { unit: string; models: readonly string[] },
  { cut, currency, lateSeq }: { cut: UsageCut; currency: string; lateSeq: bigint },
): Promise<UsagePart[]> {
  const meter = await findMeterOfUnit(db, line.unit);
  if (meter) return readingPartsOf(db, period, meter, line.models, cut.dimensions, lateSeq);
  const rows = await listBilledParts(db, period, lateSeq, line, cut, currency);
  return rows.map(({ quantity, window_at, carried, ...row }) => ({
    ...row,
    quantity: exactOfNumeric(quantity),
    windowMs: window_at,
    carried: carried === null ? null : multiply(exactOfNumeric(carried), { num: NANOS_PER_UNIT, den: 1n }),
  }));
}

/** What a line's quantity consists of, hour by hour and model by model. */
export async function billedHoursOf(
  db: Database,
  period: Period,
  lateSeq: bigint,
  line: { unit: string; models: readonly string[] },
  page: { after: { hour: string; model: string } | undefined; count: number },
): Promise<BilledHour[]> {
  const meter = await findMeterOfUnit(db, line.unit);
  if (meter) return readingHoursOf(db, period, meter, lateSeq, line.models, page);
  return listBilledHours(db, period, cutOf(period), lateSeq, line, page);
}

/** What a line's quantity consists of, event by event, in the order of their time. */
export async function billedEventsOf(
  db: Database,
  period: Period,
  lateSeq: bigint,
  line: { unit: string; models: readonly string[] },
  page: { after: EventPlace | undefined; count: number },
): Promise<BilledEvent[]> {
  const meter = await findMeterOfUnit(db, line.unit);
  if (meter) return readingEventsOf(db, period, meter, lateSeq, line.models, page);
  return listBilledEvents(db, period, lateSeq, line, page);
}
