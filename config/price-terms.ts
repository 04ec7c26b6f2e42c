import { z } from 'zod';
import { compare, getExact, parseExact, ZERO } from '#core/exact.ts';
import { amountText, countText, decimalText, percentText, positiveText } from './decimal-text.ts';
import { choice, fields } from './fields.ts';

/**
 * Prices that need nothing but a quantity, as plans write them: in the file and over the API. What they come to is
 * computed in billing/rating, a file for each kind.
 */

/** Each unit costs the same. */
export const unitPrice = fields({ kind: z.literal('unit'), amount: amountText, per: countText.default('1') });

/** A tier reaches up to and including `up_to`; the last one has none. `flat` is added once when the tier is entered. */
const tier = fields({
  name: z.string().trim().min(1).max(100).optional(),
  up_to: decimalText.nullable().default(null),
  amount: amountText,
  per: countText.default('1'),
  flat: amountText.default('0'),
});
export type Tier = z.output<typeof tier>;

const TIERS_MAX = 50;

function ascending<Row extends z.ZodType<{ up_to: string | null }>>(row: Row) {
  return z
    .array(row)
    .min(1)
    .max(TIERS_MAX)
    .refine(isAscending, 'tiers must ascend, and only the last one has no upper bound');
}

/** Each unit at the price of the tier that it falls into. */
export const graduatedPrice = fields({ kind: z.literal('graduated'), tiers: ascending(tier) });

/** All units at the price of the one tier that the whole quantity reaches. The total may fall as usage grows. */
export const volumePrice = fields({ kind: z.literal('volume'), tiers: ascending(tier) });

/** One amount for all, by the step that the whole quantity reaches. */
export const stairstepPrice = fields({
  kind: z.literal('stairstep'),
  tiers: ascending(fields({ up_to: decimalText.nullable().default(null), amount: amountText })),
});

/** An amount for every package of `size` units: for every started one, or for full ones only. */
export const packagePrice = fields({
  kind: z.literal('package'),
  size: positiveText,
  amount: amountText,
  round: choice(['up', 'down']).default('up'),
});

/** The quantity is money: each part of it costs the percentage of the tier that it falls into. */
export const graduatedPercentagePrice = fields({
  kind: z.literal('graduated_percentage'),
  tiers: ascending(
    fields({
      up_to: decimalText.nullable().default(null),
      percent: percentText,
      flat: amountText.default('0'),
    }),
  ),
});

/** Units cost credits, and a credit costs an amount: a row of a burn table. */
export const creditsPrice = fields({
  kind: z.literal('credits'),
  credits: amountText,
  per: countText.default('1'),
  credit_amount: amountText,
});

export const quantityPrice = z.discriminatedUnion(
  'kind',
  [unitPrice, graduatedPrice, volumePrice, stairstepPrice, packagePrice, graduatedPercentagePrice, creditsPrice],
  {
    error:
      'must be a kind of price that needs nothing but a quantity: unit, graduated, volume, stairstep, package, graduated_percentage or credits',
  },
);
export type QuantityPrice = z.output<typeof quantityPrice>;

function isAscending(list: readonly { up_to: string | null }[]): boolean {
  let bound = ZERO;
  for (const [i, { up_to }] of list.entries()) {
    const last = i === list.length - 1;
    if (up_to === null) return last;
    // Looked at before the tiers themselves are known to be right.
    const next = parseExact(up_to);
    if (last || !next || compare(next, bound) <= 0) return false;
    bound = getExact(up_to);
  }
  return false;
}
