import { billedReadingsOf, metersOf } from '#billing/billed-usage/billed-meters.ts';
import { AS_INVOICED, billedPartsOf, billedUsageOf } from '#billing/billed-usage/billed-usage.ts';
import { leftOver } from '#billing/billed-usage/left-over.ts';
import type { Database } from '#billing/db/database.ts';
import { getPlanVersion, type Plan, termsOf } from '#billing/plans/plan.ts';
import { type Charge, cutFor, type Span } from '#billing/rating/charge.ts';
import { assign, type DocumentLine, documentOf, rate, type Terms, type UsageQuantity } from '#billing/rating/rating.ts';
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
  return { ...(await ratePeriodAs(db, period, { terms: termsOf(plan), lateSeq })), plan };
}

/** The same under other terms, and as if other models had been used. */
export async function ratePeriodAs(
  db: Database,
  period: Period,
  {
    terms,
    lateSeq,
    modelOf = (model) => model,
  }: { terms: Terms; lateSeq: bigint; modelOf?: (model: string) => string },
): Promise<Omit<PeriodRating, 'plan'>> {
  const span = spanOf(period);
  const meters = await metersOf(
    db,
    terms.charges.map((charge) => charge.unit),
  );
  const readings = await billedReadingsOf(db, period, meters, lateSeq);
  const recorded: UsageQuantity[] = [...(await billedUsageOf(db, period, lateSeq)), ...readings];
  const usage = recorded.map(({ model, unit, quantity }) => ({ model: modelOf(model), unit, quantity }));
  const assigned = assign(terms.charges, usage);
  const parts = new Map<Charge, UsagePart[]>();
  for (const [charge, used] of assigned.byCharge) {
    const cut = cutFor(charge, span);
    if (!cut || charge.unit === null) continue;
    const models = recorded.map(({ model }) => model).filter((model) => used.has(modelOf(model)));
    const line = { unit: charge.unit, models: [...new Set(models)] };
    const read = await billedPartsOf(db, period, line, { cut, currency: terms.currency, lateSeq });
    parts.set(
      charge,
      read.map((part) => ({ ...part, model: modelOf(part.model) })),
    );
  }
  const rating = rate(terms, assigned, span, period.policies, parts);
  const measured = readings.map(({ meter, model, measured: quantity }) => ({
    ...{ meter, model: modelOf(model), measured: quantity },
  }));
  const unrated = leftOver(rating.unrated, meters, measured);
  return { usage, unrated, ...documentOf(rating, terms.currency, period.policies) };
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
