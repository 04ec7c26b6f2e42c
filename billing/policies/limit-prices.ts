import type { Database } from '#billing/db/database.ts';
import { findMeterById } from '#billing/meters/meter.ts';
import { getPlanVersion, type Plan } from '#billing/plans/plan.ts';
import { pricesIn } from '#billing/rating/charge.ts';
import { findPeriodOfCustomer, type Period } from '#billing/subscriptions/period.ts';
import { isUnitMeter } from '#config/meter-terms.ts';
import { compare, getExact, ZERO } from '#core/exact.ts';
import { Fault } from '#core/fault.ts';
import type { LimitPolicy, LimitPrice } from '#core/key-policy.ts';
import { UNITS, type Unit } from '#core/quantity.ts';

/**
 * What a customer pays for each unit, for the budgets that count it (`basis: price`): by the plan version of the period
 * that runs. Only prices that ask so much for each unit, whatever came before, can be known before a call.
 */
export interface CustomerPrices {
  currency: string;
  prices: LimitPrice[];
}

export const NO_SUBSCRIPTION = 'the customer has no subscription now';

/** Or a sentence that says why there are none. */
export async function pricesOfCustomer(
  db: Database,
  customer: string,
  nowMs: number,
): Promise<CustomerPrices | string> {
  const period = await findPeriodOfCustomer(db, customer, nowMs);
  if (!period) return NO_SUBSCRIPTION;
  const plan = await getPlanVersion(db, period.plan_id, period.plan_version);
  const prices: LimitPrice[] = [];
  for (const charge of plan.charges) {
    // What is asked whatever is called is no price of a call.
    if (charge.price.kind === 'flat') continue;
    const price = await linearPrice(db, charge, period);
    if (!price) return `plan ${plan.id} asks for more than so much for each unit: ${charge.name}`;
    prices.push(price);
  }
  return prices.length === 0 ? `plan ${plan.id} has no prices of units` : { currency: plan.currency, prices };
}

async function linearPrice(
  db: Database,
  charge: Plan['charges'][number],
  period: Period,
): Promise<LimitPrice | undefined> {
  const { meter, model, allowance, discount_percent: discount, cap, minimum } = charge;
  const { prices } = pricesIn(charge, { startMs: period.start_at, endMs: period.end_at });
  const [price] = prices;
  const unit = UNITS.find((one): one is Unit => one === charge.unit);
  if (meter === null || unit === undefined || prices.length > 1 || price.kind !== 'unit') return undefined;
  if (cap !== null || minimum !== null || !isNothing(allowance) || !isNothing(discount)) return undefined;
  const found = await findMeterById(db, meter);
  return found && isUnitMeter(found.terms) ? { unit, model, amount: price.amount, per: price.per } : undefined;
}

function isNothing(text: string): boolean {
  return compare(getExact(text), ZERO) === 0;
}

export function countsPrice({ basis }: LimitPolicy): boolean {
  return basis === 'price';
}

/** Without prices no call fits: gateways refuse what they cannot price. */
export function withPrices(limit: LimitPolicy, found: CustomerPrices | string): LimitPolicy {
  const usable = typeof found !== 'string' && found.currency === limit.currency;
  return { ...limit, prices: usable ? found.prices : [] };
}

/** A customer who has a plan must have one that such a budget can count. One without is refused calls until it has. */
export async function assertPriced(
  db: Database,
  customer: string,
  limits: readonly LimitPolicy[],
  nowMs: number,
): Promise<void> {
  const counted = limits.filter(countsPrice);
  if (counted.length === 0) return;
  const found = await pricesOfCustomer(db, customer, nowMs);
  if (found === NO_SUBSCRIPTION) return;
  if (typeof found === 'string') {
    throw new Fault('state_conflict', { detail: `A budget cannot count prices: ${found}.` });
  }
  const other = counted.find(({ currency }) => currency !== found.currency);
  if (other) throw new Fault('state_conflict', { detail: `Its plan is in ${found.currency}, ${other.id} is not.` });
}
