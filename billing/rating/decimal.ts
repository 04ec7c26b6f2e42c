import { z } from 'zod';
import { compare, formatExact, getExact, parseExact, ZERO } from '#core/exact.ts';

/** A non-negative decimal in plain notation, in its shortest form: "1.50" is stored as "1.5", so equal terms compare equal. */
export const decimalText = z
  .string()
  .refine((text) => (parseExact(text)?.num ?? -1n) >= 0n, 'must be a non-negative decimal such as "12.5"')
  .transform((text) => formatExact(getExact(text)));

const AMOUNT_MAX = '1000000000000000';

/** A fee or a price: bounded, so that whatever is used, its documents can be written and read. */
export const amountText = decimalText.refine(
  (text) => compare(parseExact(text) ?? ZERO, getExact(AMOUNT_MAX)) <= 0,
  `must be at most ${AMOUNT_MAX}`,
);

/** A positive whole number. */
export const countText = z
  .string()
  .regex(/^0*[1-9]\d{0,17}$/, 'must be a positive whole number')
  .transform((text) => BigInt(text).toString());
