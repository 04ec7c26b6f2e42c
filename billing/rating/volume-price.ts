import { z } from 'zod';
import { add, type Exact, formatExact } from '#core/exact.ts';
import { priceOf } from '#core/price.ts';
import type { Step } from './step.ts';
import { holds, tiers } from './tiers.ts';
import { getPrice, rateText } from './unit-price.ts';

/** All units at the price of the one tier that the whole quantity reaches. The total may fall as usage grows. */
export const volumePrice = z.strictObject({ kind: z.literal('volume'), tiers });
export type VolumePrice = z.output<typeof volumePrice>;

export function stepsByVolume(price: VolumePrice, quantity: Exact): Step[] {
  const index = price.tiers.findIndex((tier) => holds(tier, quantity));
  const tier = price.tiers[index];
  if (!tier) throw new RangeError('the last tier of a volume price has an upper bound');
  return [
    {
      formula: `tier ${index + 1} (to ${tier.up_to ?? 'any'}): ${formatExact(quantity)} x ${rateText(tier)} + ${tier.flat}`,
      quantity,
      amount: add(priceOf(quantity, getPrice(tier.amount, tier.per)), getPrice(tier.flat, '1').amount),
    },
  ];
}
