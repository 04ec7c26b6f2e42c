import { z } from 'zod';
import { fields } from './fields.ts';
import {
  checkMeter,
  isOneWay,
  type MeterTerms,
  meterFields,
  ONE_WAY,
  ROUNDING_DIGITS,
  roundingFields,
} from './meter-terms.ts';
import { flag, setting } from './scalars.ts';

/** Meters as the file writes them: the terms of config/meter-terms.ts, in text as all of the file is read. */
export const meter = fields({
  name: z
    .string({ error: 'must be text' })
    .min(1, { error: 'must not be empty' })
    .max(200, { error: 'must be at most 200 characters' })
    .optional()
    .describe('For people; the id when absent.'),
  ...meterFields,
  recurring: flag(false).optional().describe('The level at the end of a period starts the next.'),
  rounding: fields({
    ...roundingFields,
    digits: setting(ROUNDING_DIGITS).optional().describe('Decimals that are kept.'),
  })
    .refine(isOneWay, { error: ONE_WAY })
    .optional()
    .describe('Of the quantity that is priced.'),
}).superRefine((file, context) => checkMeter(termsOfFile(file), context));
export type MeterFile = z.output<typeof meter>;

export function termsOfFile({ name: _name, recurring = false, ...terms }: MeterFile): MeterTerms {
  return { ...terms, recurring };
}
