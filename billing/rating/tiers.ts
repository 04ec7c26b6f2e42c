import { z } from 'zod';
import { compare, type Exact, getExact } from '#core/exact.ts';
import { amountText, countText, decimalText } from './decimal.ts';

/** A tier reaches up to and including `up_to`; the last one has none. `flat` is added once when the tier is entered. */
export const tier = z.strictObject({
  up_to: decimalText.nullable(),
  amount: amountText,
  per: countText.default('1'),
  flat: amountText.default('0'),
});
export type Tier = z.output<typeof tier>;

export const TIERS_MAX = 50;

export const tiers = z
  .array(tier)
  .min(1)
  .max(TIERS_MAX)
  .refine(isAscending, 'tiers must ascend, and only the last one has no upper bound');

function isAscending(list: readonly Tier[]): boolean {
  let bound: Exact = getExact('0');
  for (const [i, { up_to }] of list.entries()) {
    const last = i === list.length - 1;
    if (up_to === null) return last;
    if (last) return false;
    const next = getExact(up_to);
    if (compare(next, bound) <= 0) return false;
    bound = next;
  }
  return false;
}

/** Upper bounds are inclusive; the last tier has none. */
export function holds(bound: Tier, quantity: Exact): boolean {
  return bound.up_to === null || compare(quantity, getExact(bound.up_to)) <= 0;
}
