import { z } from 'zod';
import { compare, getExact, parseExact, ZERO } from '#core/exact.ts';
import { parseInstant } from '#core/time.ts';
import { amountText, decimalText, percentText, positiveText, wholeText } from './decimal-text.ts';
import { choice, fields } from './fields.ts';
import { quantityPrice } from './price-terms.ts';

/** Prices that ask for more than a quantity, and charges: what of a customer's usage is sold, at which price. */

/** A fixed amount: for each period at its end (prorated as the fee is), or once, in the first period. */
const flatPrice = fields({
  kind: z.literal('flat'),
  amount: amountText,
  billed: choice(['each_period', 'once']).default('each_period'),
});

/**
 * The quantity is money: a percentage of it, and a fixed part for each event. Free until the free events or the free
 * volume are used up, whichever is first; bounds hold for each event that is not free.
 */
const percentagePrice = fields({
  kind: z.literal('percentage'),
  percent: percentText,
  fixed: amountText.default('0'),
  free_events: wholeText.nullable().default(null),
  free_volume: decimalText.nullable().default(null),
  event_minimum: amountText.nullable().default(null),
  event_maximum: amountText.nullable().default(null),
}).refine(
  ({ event_minimum: min, event_maximum: max }) =>
    min === null || max === null || compare(getExact(min), getExact(max)) <= 0,
  'event_minimum is more than event_maximum',
);

/** What each event carries, times a factor: a price that its sender gave it, or what its provider charged us. */
const dynamicPrice = fields({
  kind: z.literal('dynamic'),
  of: choice(['event_price', 'provider_cost']),
  multiplier: positiveText.default('1'),
});

/** A field of the event: of its data, of its labels. */
const DIMENSION = /^[a-z_][A-Za-z0-9_]{0,63}(\.[A-Za-z0-9_.-]{1,100})?$/;
const DIMENSIONS_MAX = 5;
const CELLS_MAX = 500;

/** A price for each combination of dimensions of the usage; `*` stands for any value, and the first cell that fits holds. */
const matrixPrice = fields({
  kind: z.literal('matrix'),
  dimensions: z
    .array(z.string().regex(DIMENSION, 'must be a field of events such as model, region or labels.team'))
    .min(1)
    .max(DIMENSIONS_MAX)
    .refine((names) => new Set(names).size === names.length, 'names a dimension twice'),
  cells: z
    .array(fields({ of: z.array(z.string().max(200)), price: quantityPrice }))
    .min(1)
    .max(CELLS_MAX),
  fallback: quantityPrice.nullable().default(null),
}).superRefine(({ dimensions, cells }, context) => {
  cells.forEach(({ of }, i) => {
    if (of.length === dimensions.length) return;
    const message = `has ${of.length} values for ${dimensions.length} dimensions`;
    context.addIssue({ code: 'custom', path: ['cells', i, 'of'], message });
  });
});

export const WEEKDAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;

/** All zones of today are whole quarters of an hour from UTC. */
const CLOCK = /^([01]\d|2[0-3]):(00|15|30|45)$/;
const clockText = z.string().regex(CLOCK, 'must be a quarter of an hour such as 08:00 or 18:30');

/** By the customer's local time. A band whose end is before its start goes over midnight; the first that fits holds. */
const timeOfDayPrice = fields({
  kind: z.literal('time_of_day'),
  bands: z
    .array(
      fields({
        from: clockText,
        to: z.union([clockText, z.literal('24:00')]),
        days: z.array(choice(WEEKDAYS)).min(1).optional(),
        price: quantityPrice,
      }).refine(({ from, to }) => from !== to, 'a band of no length'),
    )
    .min(1)
    .max(24),
  fallback: quantityPrice,
});

/** Each window's usage, or the largest of its events, is priced on its own, and the prices are added. */
const windowedPrice = fields({
  kind: z.literal('windowed'),
  window: choice(['hour', 'day']),
  aggregation: choice(['sum', 'max']).default('sum'),
  price: quantityPrice,
});

const KIND_TEXT =
  'must be a kind of price: unit, graduated, volume, stairstep, package, graduated_percentage, credits, flat, percentage, dynamic, matrix, time_of_day or windowed';

/** Every kind of price. */
export const chargePrice = z.discriminatedUnion(
  'kind',
  [quantityPrice, flatPrice, percentagePrice, dynamicPrice, matrixPrice, timeOfDayPrice, windowedPrice],
  { error: KIND_TEXT },
);
export type ChargePrice = z.output<typeof chargePrice>;
export type PriceOf<Kind extends ChargePrice['kind']> = Extract<ChargePrice, { kind: Kind }>;

/** An instant as text, always in the same form. */
const instantText = z
  .string()
  .refine(
    (text) => parseInstant(text) !== undefined,
    'must be an instant with its offset, such as 2027-01-01T00:00:00Z',
  )
  .transform((text) => new Date(parseInstant(text) ?? 0).toISOString());

export const CHANGES_MAX = 100;

/** From an instant on another price: what was used before it keeps the price that held then. */
export const priceChange = fields({
  effective_at: instantText.describe('The instant of the change, with its offset.'),
  price: chargePrice.describe('The price from then on.'),
});
export type PriceChange = z.output<typeof priceChange>;

export const CHARGES_MAX = 500;

const KINDS_WITH_ALLOWANCE: ReadonlySet<string> = new Set(quantityPrice.options.map((kind) => kind.shape.kind.value));

const PRICE_TEXT = 'Its kind and the terms of that kind, as in docs/billing.md.';

const chargeFields = {
  name: z
    .string({ error: 'must be text' })
    .trim()
    .min(1, { error: 'must not be empty' })
    .max(200, { error: 'must be at most 200 characters' })
    .nullable()
    .default(null)
    .describe('As it stands on invoices.'),
  meter: z
    .string()
    .min(1)
    .max(100)
    .nullable()
    .default(null)
    .describe('What is counted: a unit, or a meter that was made through the API. None for a flat price.'),
  model: z.string().min(1).max(200).default('*').describe('Models that the charge is for, as the caller names them.'),
  allowance: decimalText.default('0').describe('Free quantity per period, taken off before the price applies.'),
  price: chargePrice.describe(PRICE_TEXT),
  changes: z
    .array(priceChange)
    .max(CHANGES_MAX)
    .default([])
    .describe('What the price becomes, from which instants on: usage before and after is priced apart.'),
  discount_percent: percentText
    .refine((text) => compare(parseExact(text) ?? ZERO, getExact('100')) <= 0, 'must be at most 100')
    .default('0')
    .describe('Off what the prices come to.'),
  cap: amountText
    .nullable()
    .default(null)
    .describe('The most that the charge comes to in a period, after the discount.'),
  minimum: amountText
    .nullable()
    .default(null)
    .describe('The least that it comes to in a period, prorated as the fee is.'),
};

/** A meter's price for the models that match, or something fixed. A unit of a model belongs to the first charge that matches it. */
export const chargeTerms = fields(chargeFields).superRefine((charge, context) => {
  const problem = (path: (string | number)[], message: string): void =>
    context.addIssue({ code: 'custom', path, message });
  const { price, changes, meter, allowance, cap, minimum } = charge;
  if (price.kind === 'flat') {
    if (meter !== null) problem(['meter'], 'a flat price has no meter');
    if (changes.length > 0) problem(['changes'], 'a flat price changes with the version of its plan');
  } else if (meter === null) problem(['meter'], 'must name a meter');
  if (allowance !== '0' && !KINDS_WITH_ALLOWANCE.has(price.kind)) {
    problem(['allowance'], `a price of the kind ${price.kind} has no allowance`);
  }
  if (cap !== null && minimum !== null && compare(getExact(minimum), getExact(cap)) > 0) {
    problem(['minimum'], 'is more than the cap');
  }
  changes.forEach((change, i) => {
    const before = changes[i - 1]?.effective_at;
    if (before !== undefined && change.effective_at <= before)
      problem(['changes', i, 'effective_at'], 'must be later than the change before it');
    if (!canFollow(price, change.price))
      problem(['changes', i, 'price'], `a ${change.price.kind} price cannot follow a ${price.kind} price`);
  });
});
export type ChargeTerms = z.output<typeof chargeTerms>;

/** Prices by quantity may follow each other; another kind is followed by one that reads the same of the usage. */
export function canFollow(before: ChargePrice, after: ChargePrice): boolean {
  if (isQuantityPrice(before) && isQuantityPrice(after)) return true;
  if (before.kind === 'windowed' && after.kind === 'windowed')
    return before.window === after.window && before.aggregation === after.aggregation;
  if (before.kind === 'dynamic' && after.kind === 'dynamic') return before.of === after.of;
  return before.kind === after.kind && before.kind !== 'flat';
}

export function isQuantityPrice(price: ChargePrice): price is z.output<typeof quantityPrice> {
  return KINDS_WITH_ALLOWANCE.has(price.kind);
}

/**
 * Charges that bill a second time what events carry: all that is carried is billed with the first unit that asks for it,
 * so every dynamic price of a plan names the same meter.
 */
export function carriedTwice(charges: readonly ChargeTerms[]): { place: number; text: string }[] {
  const first = new Map<string, string | null>();
  const found: { place: number; text: string }[] = [];
  for (const [place, { price, meter }] of charges.entries()) {
    if (price.kind !== 'dynamic') continue;
    const other = first.get(price.of);
    if (other === undefined) first.set(price.of, meter);
    else if (other !== meter) found.push({ place, text: `would bill again what ${other} carries: name that meter` });
  }
  return found;
}
