import { z } from 'zod';
import { type Exact, formatExact } from '#core/exact.ts';
import { type Price, parsePrice, priceOf } from '#core/price.ts';
import { amountText, countText } from './decimal.ts';
import type { Step } from './step.ts';

/** The same amount for every `per` units. */
export const unitPrice = z.strictObject({ kind: z.literal('unit'), amount: amountText, per: countText.default('1') });
export type UnitPrice = z.output<typeof unitPrice>;

export function stepsByUnit(price: UnitPrice, quantity: Exact): Step[] {
  return [
    {
      formula: `${formatExact(quantity)} x ${rateText(price)}`,
      quantity,
      amount: priceOf(quantity, getPrice(price.amount, price.per)),
    },
  ];
}

/** As `parsePrice`, for terms that were validated when their plan was stored. */
export function getPrice(amount: string, per: string): Price {
  const price = parsePrice(amount, BigInt(per));
  if (!price) throw new RangeError(`not a price: ${amount} per ${per}`);
  return price;
}

export function rateText(price: { amount: string; per: string }): string {
  return price.per === '1' ? price.amount : `${price.amount} / ${price.per}`;
}
