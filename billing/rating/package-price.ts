import { z } from 'zod';
import { ceil, divide, type Exact, formatExact, getExact } from '#core/exact.ts';
import { priceOf } from '#core/price.ts';
import { amountText, decimalText } from './decimal.ts';
import type { Step } from './step.ts';
import { getPrice } from './unit-price.ts';

/** An amount for every started package of `size` units. */
export const packagePrice = z.strictObject({
  kind: z.literal('package'),
  size: decimalText.refine((text) => text !== '0', 'must not be zero'),
  amount: amountText,
});
export type PackagePrice = z.output<typeof packagePrice>;

export function stepsByPackage(price: PackagePrice, quantity: Exact): Step[] {
  const packages = ceil(divide(quantity, getExact(price.size)));
  return [
    {
      formula: `${formatExact(quantity)} in ${packages} packages of ${price.size}: ${packages} x ${price.amount}`,
      quantity,
      amount: priceOf({ num: packages, den: 1n }, getPrice(price.amount, '1')),
    },
  ];
}
