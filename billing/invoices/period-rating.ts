import { billedUsageOf } from '#billing/billed-usage/billed-usage.ts';
import type { Database } from '#billing/db/database.ts';
import { getPlanVersion, type Plan, termsOf } from '#billing/plans/plan.ts';
import { type DocumentLine, documentOf, rate, type UsageQuantity } from '#billing/rating/rating.ts';
import { type Period, periodOf } from '#billing/subscriptions/period.ts';
import { feeShare } from '#billing/subscriptions/periods.ts';
import type { Money } from '#core/money.ts';

/** What a period comes to. */
export interface PeriodRating {
  plan: Plan;
  usage: readonly UsageQuantity[];
  lines: readonly DocumentLine[];
  total: Money;
  unrated: readonly UsageQuantity[];
}

/**
 * The one way from a period to its figures: the usage page, the invoice, the invoice refreshed, and explain all come
 * through here, so that none can say something else than another.
 */
export async function ratePeriod(db: Database, period: Period): Promise<PeriodRating> {
  return rateUsage(db, period, await billedUsageOf(db, period));
}

/** The same for other usage than was billed: what late usage would add. */
export async function rateUsage(db: Database, period: Period, usage: readonly UsageQuantity[]): Promise<PeriodRating> {
  const plan = await getPlanVersion(db, period.plan_id, period.plan_version);
  const share = feeShare(periodOf(period), period.policies.proration);
  const rating = rate(termsOf(plan), usage, share, period.policies);
  return { plan, usage, unrated: rating.unrated, ...documentOf(rating, plan.currency, period.policies) };
}
