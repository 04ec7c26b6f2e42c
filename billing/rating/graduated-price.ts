import { z } from 'zod';
import { add, type Exact, formatExact, getExact, subtract, ZERO } from '#core/exact.ts';
import { priceOf } from '#core/price.ts';
import type { Step } from './step.ts';
import { holds, tiers } from './tiers.ts';
import { getPrice, rateText } from './unit-price.ts';

/** Each unit at the price of the tier that it falls into. */
export const graduatedPrice = z.strictObject({ kind: z.literal('graduated'), tiers });
export type GraduatedPrice = z.output<typeof graduatedPrice>;

/** A tier is entered by any quantity beyond the bound before it, a fraction of a unit included; the first always is. */
export function stepsByGraduation(price: GraduatedPrice, quantity: Exact): Step[] {
  const steps: Step[] = [];
  let lower: Exact = ZERO;
  for (const [i, tier] of price.tiers.entries()) {
    const upper = tier.up_to === null || holds(tier, quantity) ? quantity : getExact(tier.up_to);
    const units = subtract(upper, lower);
    const flat = getPrice(tier.flat, '1');
    steps.push({
      formula: `tier ${i + 1} (${formatExact(lower)} to ${tier.up_to ?? 'any'}): ${formatExact(units)} x ${rateText(tier)} + ${tier.flat}`,
      quantity: units,
      amount: add(priceOf(units, getPrice(tier.amount, tier.per)), flat.amount),
    });
    if (holds(tier, quantity)) break;
    lower = upper;
  }
  return steps;
}
