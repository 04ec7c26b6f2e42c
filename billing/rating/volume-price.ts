import type { PriceOf } from '#config/charge-terms.ts';
import { add, compare, type Exact, getExact, multiply } from '#core/exact.ts';
import { formatFraction } from './exact-amount.ts';
import { nanosOf, rateText, unitNanos } from './nanos.ts';
import type { Step } from './step.ts';

/** All units at the price of the one tier that the whole quantity reaches. */
export function stepsByVolume(price: PriceOf<'volume'>, quantity: Exact): Step[] {
  const { tier, place } = reached(price.tiers, quantity);
  return [
    {
      formula: `tier ${place} (to ${tier.up_to ?? 'any'}): ${formatFraction(quantity)} x ${rateText(tier)} + ${tier.flat}`,
      quantity,
      amount: add(multiply(quantity, unitNanos(tier)), nanosOf(tier.flat)),
    },
  ];
}

/** One amount for all, by the step that the whole quantity reaches. */
export function stepsByStairstep(price: PriceOf<'stairstep'>, quantity: Exact): Step[] {
  const { tier, place } = reached(price.tiers, quantity);
  return [
    {
      formula: `step ${place} (to ${tier.up_to ?? 'any'}): ${formatFraction(quantity)} for ${tier.amount}`,
      quantity,
      amount: nanosOf(tier.amount),
    },
  ];
}

function reached<Tier extends { up_to: string | null }>(
  tiers: readonly Tier[],
  quantity: Exact,
): { tier: Tier; place: number } {
  for (const [i, tier] of tiers.entries()) {
    if (tier.up_to === null || compare(quantity, getExact(tier.up_to)) <= 0) return { tier, place: i + 1 };
  }
  throw new RangeError('the last tier has an upper bound');
}
