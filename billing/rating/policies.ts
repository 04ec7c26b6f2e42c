import { z } from 'zod';
import { percentText } from '#config/decimal-text.ts';
import { compare, getExact, parseExact, ZERO } from '#core/exact.ts';

/**
 * How a subscription is billed where the field has more than one custom. Stored on the subscription, frozen on each
 * period when it opens, printed by `explain`. A field gets a second value only when the engine can do it.
 */
export const policies = z.strictObject({
  version: z.literal(1).default(1),
  /** Each document line once, to the currency's exponent, ties away from zero. */
  rounding: z.literal('half_up').default('half_up'),
  /** The fee of a period that does not cover the whole interval. By day: local days, the first and the last both count. */
  proration: z.enum(['by_day', 'by_second', 'none']).default('by_day'),
  /** Whether a charge without usage is rated (and so bills the flat part of its first tier). */
  zero_usage: z.enum(['skip', 'bill']).default('skip'),
  /**
   * Usage that comes, is corrected or deleted after its invoice was finalised: the difference that it makes goes onto the
   * customer's next invoice, or is listed under late usage and not billed by itself.
   */
  late_usage: z.enum(['next_invoice', 'report']).default('next_invoice'),
  /** Tax on what the lines of a document come to, rounded once for the document. One rate; where none is owed, none. */
  tax_percent: percentText
    .refine((text) => compare(parseExact(text) ?? ZERO, getExact('100')) <= 0, 'must be at most 100')
    .default('0'),
  /** Whether the close of a period finalises its invoice, or leaves a draft for a person. */
  finalization: z.enum(['automatic', 'manual']).default('automatic'),
});

export type Policies = z.output<typeof policies>;

export const DEFAULT_POLICIES: Policies = policies.parse({});
