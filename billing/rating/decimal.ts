import { z } from 'zod';
import { formatExact, getExact, parseExact } from '#core/exact.ts';

/** A non-negative decimal in plain notation, in its shortest form: "1.50" is stored as "1.5", so equal terms compare equal. */
export const decimalText = z
  .string()
  .refine((text) => (parseExact(text)?.num ?? -1n) >= 0n, 'must be a non-negative decimal such as "12.5"')
  .transform((text) => formatExact(getExact(text)));

/** A positive whole number. */
export const countText = z
  .string()
  .regex(/^0*[1-9]\d{0,17}$/, 'must be a positive whole number')
  .transform((text) => BigInt(text).toString());
