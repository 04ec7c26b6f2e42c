import { AS_INVOICED, billedPartsOf, billedUsageOf } from '#billing/billed-usage/billed-usage.ts';
import type { Database } from '#billing/db/database.ts';
import { getPlanVersion, type Plan, termsOf } from '#billing/plans/plan.ts';
import { type Charge, cutFor, type Span } from '#billing/rating/charge.ts';
import { assign, type DocumentLine, documentOf, rate, type UsageQuantity } from '#billing/rating/rating.ts';
import type { UsagePart } from '#billing/rating/usage-part.ts';
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
 * The one way from a period to its figures: the usage page, the invoice, the invoice refreshed, adjustments and explain
 * all come through here, so that none can say something else than another. Late rows count up to `lateSeq`.
 */
export async function ratePeriod(db: Database, period: Period, lateSeq = AS_INVOICED): Promise<PeriodRating> {
  const plan = await getPlanVersion(db, period.plan_id, period.plan_version);
  const terms = termsOf(plan);
  const span = spanOf(period);
  const usage = await billedUsageOf(db, period, lateSeq);
  const assigned = assign(terms.charges, usage);
  const parts = new Map<Charge, UsagePart[]>();
  for (const [charge, models] of assigned.byCharge) {
    const cut = cutFor(charge, span);
    if (!cut || charge.unit === null) continue;
    const line = { unit: charge.unit, models: [...models.keys()] };
    parts.set(charge, await billedPartsOf(db, period, line, { cut, currency: plan.currency, lateSeq }));
  }
  const rating = rate(terms, assigned, span, period.policies, parts);
  return { plan, usage, unrated: rating.unrated, ...documentOf(rating, plan.currency, period.policies) };
}

export function spanOf(period: Period): Span {
  return {
    startMs: period.start_at,
    endMs: period.end_at,
    zone: period.zone,
    share: feeShare(periodOf(period), period.policies.proration),
    first: period.period_index === 0,
  };
}
