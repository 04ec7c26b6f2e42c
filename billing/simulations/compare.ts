import { AS_OF_NOW } from '#billing/billed-usage/billed-usage.ts';
import type { Database } from '#billing/db/database.ts';
import { type PeriodRating, ratePeriod, ratePeriodAs } from '#billing/invoices/period-rating.ts';
import { getPlan, getPlanVersion, resolveTerms } from '#billing/plans/plan.ts';
import type { Terms } from '#billing/rating/rating.ts';
import type { Period } from '#billing/subscriptions/period.ts';
import { readUsage, type UsageGroup } from '#billing/usage/usage.ts';
import { COST_CURRENCY, listProviders } from '#config/catalogue.ts';
import { builtinPriceBook } from '#config/price-book.ts';
import { add, type Exact, exact, exactOfNumeric, ZERO } from '#core/exact.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';
import { FREE_UNLESS_PRICED, priceOf } from '#core/price.ts';
import { isUnit } from '#core/quantity.ts';
import { costIn, hasCosts, modelIn, type SimulationQuestion } from './question.ts';

/** What one period came to and would have come to. */
export interface Comparison {
  currency: string;
  revenueBefore: bigint;
  revenueAfter: bigint;
  /** Exact, in the currency of the catalogue. */
  costBefore: Exact;
  costAfter: Exact;
  uncosted: string[];
  unrated: string[];
}

/** By the functions that rate invoices, over the usage as it is now, late usage and corrections included. */
export async function comparePeriod(db: Database, period: Period, question: SimulationQuestion): Promise<Comparison> {
  const before = await ratePeriod(db, period, AS_OF_NOW);
  const after = await rateOtherwise(db, period, question, before);
  const groups = await readUsage(db, {
    customer: period.customer_id,
    period: { startMs: period.start_at, endMs: period.end_at },
    groupBy: ['model'],
    zone: 'UTC',
  });
  const uncosted = new Set<string>();
  let costBefore = ZERO;
  let costAfter = ZERO;
  for (const group of groups) {
    const recorded = recordedCost(group);
    costBefore = add(costBefore, recorded);
    costAfter = add(costAfter, costOtherwise(group, recorded, question, period, uncosted));
  }
  return {
    currency: before.total.currency,
    revenueBefore: before.total.nanos,
    revenueAfter: after.total.nanos,
    costBefore,
    costAfter,
    uncosted: [...uncosted].sort(),
    unrated: [...new Set(after.unrated.map(({ model, unit }) => `${model} ${unit}`))].sort(),
  };
}

async function rateOtherwise(
  db: Database,
  period: Period,
  question: SimulationQuestion,
  before: PeriodRating,
): Promise<Omit<PeriodRating, 'plan'>> {
  const other = question.plans[period.plan_id] ?? question.plans['*'];
  if (!other && question.models.length === 0) return before;
  const terms = await termsFor(db, period, other);
  // What is billed in one currency has no sense in another.
  if (terms.currency !== before.total.currency) return before;
  return ratePeriodAs(db, period, { terms, lateSeq: AS_OF_NOW, modelOf: modelIn(question) });
}

async function termsFor(
  db: Database,
  period: Period,
  other: SimulationQuestion['plans'][string] | undefined,
): Promise<Terms> {
  if (other && 'terms' in other) return resolveTerms(db, other.terms, period.start_at);
  const plan = other ? await getPlan(db, other.plan) : await getPlanVersion(db, period.plan_id, period.plan_version);
  return { currency: plan.currency, feeNanos: plan.fee_nanos, charges: plan.charges };
}

function recordedCost(group: UsageGroup): Exact {
  const own = group.costs.find(({ currency }) => currency === COST_CURRENCY);
  return own ? exactOfNumeric(own.amount) : ZERO;
}

/** As recorded, but for models that are mapped to another or have costs of their own in the question. */
function costOtherwise(
  group: UsageGroup,
  recorded: Exact,
  question: SimulationQuestion,
  period: Period,
  uncosted: Set<string>,
): Exact {
  const model = group.model ?? '';
  const target = modelIn(question)(model);
  const listed = hasCosts(question, target);
  if (target === model && !listed) {
    if (group.unpriced > 0n) uncosted.add(`${model} (${group.unpriced} events without a cost)`);
    return recorded;
  }
  let cost = ZERO;
  for (const [unit, text] of Object.entries(group.quantities)) {
    const quantity = exactOfNumeric(text);
    const each = listed ? costIn(question, target, unit, quantity) : catalogueCost(target, unit, quantity, period);
    if (each) cost = add(cost, each);
    else if (!FREE_UNLESS_PRICED.has(unit)) uncosted.add(`${target} ${unit}`);
  }
  return cost;
}

/** By the catalogue's standard price of the model at whichever provider has it, as it is by the end of the period. */
function catalogueCost(model: string, unit: string, quantity: Exact, period: Period): Exact | undefined {
  if (!isUnit(unit)) return undefined;
  const book = builtinPriceBook();
  for (const { provider } of listProviders()) {
    const price = book.findModel(provider, model, '', period.customer_id)?.findPrices(period.end_at)?.standard.prices[
      unit
    ];
    if (!price) continue;
    const nanos = priceOf(quantity, price);
    return exact(nanos.num, nanos.den * NANOS_PER_UNIT);
  }
  return undefined;
}
