import { z } from '@hono/zod-openapi';
import { add, compare, type Exact, parseExact, ZERO } from '#core/exact.ts';
import { LIMIT_WARNING_TYPE } from '#core/limit-warning.ts';
import { isCurrency } from '#core/money.ts';
import { COST_DECIMALS_MAX } from '#core/price.ts';
import type { Quantities } from '#core/quantity.ts';
import { parseInstant } from '#core/time.ts';
import { USAGE_EVENT_TYPE } from '#core/usage-event.ts';

/** Bounds of one event. Together the identifying texts stay below what a row of a Postgres index can hold (2,704 bytes). */
export const ID_CHARS_MAX = 128;
export const MODEL_CHARS_MAX = 256;
export const UNITS_MAX = 64;
const PARTS_MAX = 1_000;
const REASON_CHARS_MAX = 500;

export const CORRECTION_TYPE = 'weir.correction.v1';

const id = z.string().min(1).max(ID_CHARS_MAX);

/** So many digits that a sum over 10^10 events is still one that core/exact.ts parses. */
const WHOLE_DIGITS_MAX = 18;
const DIGITS = new RegExp(`^\\d{1,${WHOLE_DIGITS_MAX}}(\\.\\d{1,${COST_DECIMALS_MAX}})?$`);
const decimal = z
  .string()
  .regex(DIGITS, `is no non-negative decimal of at most ${WHOLE_DIGITS_MAX} digits and ${COST_DECIMALS_MAX} decimals`);

const quantities = z
  .record(z.string().min(1).max(64), decimal)
  .refine((units) => Object.keys(units).length <= UNITS_MAX, `has more than ${UNITS_MAX} units`);

const money = z.object({ amount: decimal, currency: z.string().refine(isCurrency, 'is no currency code') });
const cost = money.nullable();

/** A number among the properties of an event: as a quantity, and it may be negative. */
export const PROPERTY_NUMBER = new RegExp(`^-?\\d{1,${WHOLE_DIGITS_MAX}}(\\.\\d{1,${COST_DECIMALS_MAX}})?$`);
export const PROPERTY_NUMBER_BOUND = `has more than ${WHOLE_DIGITS_MAX} digits or ${COST_DECIMALS_MAX} decimals`;

const envelope = {
  specversion: z.literal('1.0'),
  id,
  source: id,
  /** The customer. */
  subject: id.optional(),
  /** When it happened; without it, when it came. */
  time: z
    .string()
    .refine((text) => parseInstant(text) !== undefined, 'is no RFC 3339 instant')
    .optional(),
};

/**
 * What billing relies on in an event of its own type; everything else is kept as it came. An event that is right in these
 * is billed, however odd the rest.
 */
export const usageEventSchema = z.looseObject({
  ...envelope,
  type: z.literal(USAGE_EVENT_TYPE),
  data: z
    .looseObject({
      customer: id.optional(),
      key: id.optional(),
      /** Empty where a call has none. */
      model: z.string().max(MODEL_CHARS_MAX).optional(),
      usage_status: z.enum(['final', 'partial', 'estimated', 'none']).optional(),
      quantities,
      cost: cost.optional(),
      price: money.optional(),
      parts: z
        .array(z.looseObject({ model: z.string().max(MODEL_CHARS_MAX), quantities, cost }))
        .min(1)
        .max(PARTS_MAX)
        .optional(),
    })
    .refine(isSumOfParts, 'quantities are not the sum of their parts')
    // It would count for each of them.
    .refine(({ price, parts }) => !price || !parts, 'an event with parts carries no price'),
});

/** What is counted part by part must be what the event says: else a sum over events would depend on who sums. */
function isSumOfParts({
  quantities: whole,
  parts,
}: {
  quantities: Quantities;
  parts?: { quantities: Quantities }[] | undefined;
}): boolean {
  if (!parts) return true;
  const units = new Set([whole, ...parts.map((part) => part.quantities)].flatMap((one) => Object.keys(one)));
  const of = (one: Quantities, unit: string): Exact => parseExact(one[unit] ?? '0') ?? ZERO;
  return [...units].every((unit) => {
    const sum = parts.reduce((total, part) => add(total, of(part.quantities, unit)), ZERO);
    return compare(sum, of(whole, unit)) === 0;
  });
}

/** An event of any other type: its data are properties that meters filter and add up. */
export const anyEventSchema = z.looseObject({
  ...envelope,
  type: id,
  data: z.looseObject({}).optional(),
});

const figure = z.string().regex(/^\d{1,19}$/, 'is no whole number');

/** A limit has reached a threshold. */
export const limitWarningSchema = z.looseObject({
  ...envelope,
  subject: id,
  type: z.literal(LIMIT_WARNING_TYPE),
  data: z.looseObject({
    customer: id,
    counter: z.string().min(1),
    threshold: figure,
    amount: figure,
    currency: z.string().refine(isCurrency, 'is no currency code').nullable(),
  }),
});

/**
 * Says that an event is something else than it said, or is none: `event` is the whole event that stands in its place
 * from now on, with its id and source, and null deletes it.
 */
export const correctionSchema = z.looseObject({
  ...envelope,
  type: z.literal(CORRECTION_TYPE),
  data: z.strictObject({
    source: id,
    id,
    reason: z.string().min(1).max(REASON_CHARS_MAX),
    event: z.looseObject({}).nullable(),
  }),
});
