import { type Exact, exact, ONE } from '#core/exact.ts';
import { anchoredBoundary, anchoredPeriod, daysTouched, localDate, type Period, startOfDate } from '#core/time.ts';
import type { Policies } from '../rating/policies.ts';

/** How the days on which periods end are chosen: the day on which it began, or the first of each month. */
export type BillingDay = 'anniversary' | 'calendar';

/** What the periods of a subscription are derived from. */
export interface Schedule {
  readonly startMs: number;
  /** The local day that all periods are counted from, YYYY-MM-DD; never moved, so the 31st comes back after February. */
  readonly anchorOn: string;
  readonly billingDay: BillingDay;
  /** Exclusive; null while it goes on. */
  readonly endMs: number | null;
}

export const MONTHS_PER_INTERVAL = 1;

/** A billing period: what is billed, and the whole interval that it is part of. */
export interface BillingPeriod extends Period {
  readonly index: number;
  /** Frozen: a customer who moves gets its new zone with the next period. */
  readonly zone: string;
  readonly whole: Period;
}

export function anchorOf(startMs: number, billingDay: BillingDay, zone: string): string {
  const day = localDate(startMs, zone);
  return billingDay === 'calendar' ? `${day.slice(0, 8)}01` : day;
}

/**
 * The first period begins at the exact instant of the start and ends at the next boundary, which is a local midnight.
 * Where the interval began earlier (billing by calendar month), the period covers a part of it.
 */
export function firstPeriod(schedule: Schedule, zone: string): BillingPeriod {
  const anchorMs = startOfDate(schedule.anchorOn, zone);
  const { index, endMs } = anchoredPeriod(anchorMs, MONTHS_PER_INTERVAL, schedule.startMs, zone);
  const wholeStartMs =
    schedule.billingDay === 'anniversary'
      ? schedule.startMs
      : anchoredBoundary(anchorMs, MONTHS_PER_INTERVAL, index, zone);
  return cutAt(schedule, { index, zone, startMs: schedule.startMs, endMs, whole: { startMs: wholeStartMs, endMs } });
}

/**
 * The period after another begins where that one ended, to the millisecond, whatever zone each was counted in: no gap
 * and no overlap. Undefined where the subscription has ended by then.
 */
export function nextPeriod(schedule: Schedule, previous: BillingPeriod, zone: string): BillingPeriod | undefined {
  const startMs = previous.endMs;
  if (schedule.endMs !== null && schedule.endMs <= startMs) return undefined;
  const index = previous.index + 1;
  const anchorMs = startOfDate(schedule.anchorOn, zone);
  const endMs = anchoredBoundary(anchorMs, MONTHS_PER_INTERVAL, index + 1, zone);
  return cutAt(schedule, { index, zone, startMs, endMs, whole: { startMs, endMs } });
}

/** The period as it is once the schedule has an end inside it. */
export function cutAt(schedule: Schedule, period: BillingPeriod): BillingPeriod {
  const { endMs } = schedule;
  return endMs !== null && endMs < period.whole.endMs ? { ...period, endMs } : { ...period, endMs: period.whole.endMs };
}

/** The share of the fee that a period bills: how much of the whole interval it covers, as an exact ratio. */
export function feeShare(period: BillingPeriod, proration: Policies['proration']): Exact {
  const { whole, zone } = period;
  if (proration === 'none') return ONE;
  if (proration === 'by_second') {
    return exact(BigInt(period.endMs - period.startMs), BigInt(whole.endMs - whole.startMs));
  }
  return exact(BigInt(daysTouched(period, zone)), BigInt(daysTouched(whole, zone)));
}
