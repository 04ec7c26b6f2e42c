import { z } from 'zod';
import { compare, formatExact, getExact, parseExact, ZERO } from '#core/exact.ts';
import { parseCount } from './scalars.ts';

/** Numbers of plans: text in plain notation, in the file as over the API, so that none passes through a binary float. */

/** A non-negative decimal, brought to its shortest form: "1.50" is stored as "1.5", so equal terms compare equal. */
export const decimalText = z
  .string({ error: 'must be a non-negative decimal such as "12.5"' })
  .refine((text) => (parseExact(text)?.num ?? -1n) >= 0n, 'must be a non-negative decimal such as "12.5"')
  .transform((text) => formatExact(getExact(text)))
  .meta({ format: 'decimal' });

const AMOUNT_MAX = '1000000000000000';

/** A fee or a price: bounded, so that whatever is used, its documents can be written and read. */
export const amountText = decimalText.refine(
  (text) => compare(parseExact(text) ?? ZERO, getExact(AMOUNT_MAX)) <= 0,
  `must be at most ${AMOUNT_MAX}`,
);

/** A bound, a size or a factor that cannot be nothing. */
export const positiveText = amountText.refine((text) => text !== '0', 'must not be zero');

/** Hundredths: "2.9" is 2.9 %. */
export const percentText = decimalText.refine(
  (text) => compare(parseExact(text) ?? ZERO, getExact('10000')) <= 0,
  'must be at most 10000',
);

/** A positive whole number, in full or as 1k, 1M, 1G. */
export const countText = z
  .string({ error: 'must be a positive whole number' })
  .refine((text) => (parseCount(text) ?? 0n) > 0n && text.length <= 18, 'must be a positive whole number')
  .transform((text) => (parseCount(text) ?? 1n).toString());

/** The same, or none. */
export const wholeText = z
  .string({ error: 'must be a whole number' })
  .regex(/^\d{1,18}$/, 'must be a whole number')
  .transform((text) => BigInt(text).toString());
