import type { PriceOf } from '#config/charge-terms.ts';
import { type Exact, exact, getExact, multiply } from '#core/exact.ts';
import { formatFraction } from './exact-amount.ts';
import { nanosOf, rateText, unitNanos } from './nanos.ts';
import type { Step } from './step.ts';

export function stepsByUnit(price: PriceOf<'unit'>, quantity: Exact): Step[] {
  return [
    {
      formula: `${formatFraction(quantity)} x ${rateText(price)}`,
      quantity,
      amount: multiply(quantity, unitNanos(price)),
    },
  ];
}

/** How many credits a quantity burns, and what they cost. */
export function stepsByCredits(price: PriceOf<'credits'>, quantity: Exact): Step[] {
  const { num, den } = getExact(price.credits);
  const credits = multiply(quantity, exact(num, den * BigInt(price.per)));
  const each = rateText({ amount: price.credits, per: price.per });
  return [
    {
      formula: `${formatFraction(quantity)} x ${each} = ${formatFraction(credits)} credits x ${price.credit_amount}`,
      quantity,
      amount: multiply(credits, nanosOf(price.credit_amount)),
    },
  ];
}
