import { z } from 'zod';
import { CONTEXT_TOKENS_MAX, PRICE_FACTOR_MAX } from './bounds.ts';
import { COST_CURRENCY } from './catalogue.ts';
import { fields, list, nameText } from './fields.ts';
import { count, dayOrInstant, factor, flag, pattern } from './scalars.ts';
import { checkCurrency, checkPer, price } from './schema-parts.ts';

/** What models cost at their providers, and how much they take: in place of the catalogue, or beside it. */

const word = z
  .string({ error: 'must be text' })
  .regex(/^[\x21-\x7e][\x20-\x7e]{0,99}$/, { error: 'must be at most 100 characters of plain text' });

const prices = list(
  fields({
    ...price,
    variant: word
      .optional()
      .describe('Size, quality or length of context that this is for, as the request names it: `1024x1024`, `hd`.'),
  }).superRefine((value, context) => {
    checkPer(value, context);
    checkCurrency(value.amount, COST_CURRENCY, ['amount'], context);
  }),
).superRefine((value, context) => {
  const seen = new Set<string>();
  value.forEach(({ unit, variant }, i) => {
    const key = `${unit} ${variant ?? ''}`;
    if (seen.has(key)) context.addIssue({ code: 'custom', path: [i], message: 'prices a unit that has a price above' });
    seen.add(key);
  });
});

const tiers = list(
  fields({
    above_input_tokens: count(1n, CONTEXT_TOKENS_MAX).describe('All input of the request, cached included.'),
    prices: prices.describe('Prices of the whole request; a unit that is not named costs what it costs below.'),
  }),
).superRefine((value, context) => {
  value.forEach((tier, i) => {
    if (i > 0 && tier.above_input_tokens <= (value[i - 1]?.above_input_tokens ?? 0n)) {
      context.addIssue({ code: 'custom', path: [i, 'above_input_tokens'], message: 'must be above the tier before' });
    }
  });
});

const TIERS_TEXT = 'Other prices for the whole request once its input exceeds a number of tokens.';

const service = fields({
  prices: prices.describe('Prices in this service tier. What is no token costs as in the standard service.'),
  tiers: tiers.optional().describe(TIERS_TEXT),
});

const timeOfDay = z
  .string({ error: 'must be a time such as `16:30`' })
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, { error: 'must be a time such as `16:30`' });

const daily = list(
  fields({
    from: timeOfDay.describe('In UTC.'),
    to: timeOfDay.describe('The first minute after it; of the next day where it is before `from`.'),
    prices: prices.describe('Prices at these hours. A unit that is not named has no price then.'),
    tiers: tiers.optional().describe(TIERS_TEXT),
  }),
).superRefine((value, context) => {
  value.forEach(({ from, to }, i) => {
    if (from === to) context.addIssue({ code: 'custom', path: [i, 'to'], message: 'is the same time as `from`' });
  });
});

const PRICE_FIELDS = ['daily', 'tiers', 'services', 'regions', 'hold_only'] as const;

export const model = fields({
  provider: nameText('a provider').optional().describe('For the upstreams of this provider.'),
  upstream: nameText('an upstream').optional().describe('For this upstream only.'),
  customer: nameText('a customer').optional().describe('For calls of this customer only.'),
  model: pattern().describe('Models that this is for. The first entry that matches and is in force holds.'),
  from: dayOrInstant()
    .optional()
    .describe('In force from this instant on, or from the start of this day in UTC; for ever when absent.'),
  context_tokens: count(1n, CONTEXT_TOKENS_MAX)
    .optional()
    .describe('Most tokens that a call can take in and give out.'),
  output_tokens_max: count(0n, CONTEXT_TOKENS_MAX).optional().describe('Most tokens that a call can give out.'),
  prices: prices
    .optional()
    .describe(
      `What it costs you, in ${COST_CURRENCY}; replaces all prices of the catalogue for it. Cached, audio, image and video input that has no price costs as input.`,
    ),
  tiers: tiers.optional().describe(TIERS_TEXT),
  daily: daily
    .optional()
    .describe(
      'Other prices at hours of every day, in place of all of `prices`: by when the answer was whole. The first that matches holds; a call is held at the dearest.',
    ),
  services: z
    .record(word, service, { error: 'must be a map from service tiers to their prices' })
    .optional()
    .describe('Prices of other service tiers: `batch`, `flex`, `priority`, `fast`. A tier without any is unpriced.'),
  regions: z
    .record(word, factor(PRICE_FACTOR_MAX), { error: 'must be a map from regions to factors' })
    .optional()
    .describe('What the price of a token is multiplied by, by region of inference.'),
  factor: factor(PRICE_FACTOR_MAX)
    .optional()
    .describe('Instead of prices: what the prices that would hold without this entry are multiplied by.'),
  hold_only: flag(false)
    .optional()
    .describe(
      'Where no price is known, hold and count a call under a budget at these prices instead of refusing it. Its cost stays unknown.',
    ),
}).superRefine((value, context) => {
  const problem = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
  if (value.provider === undefined && value.upstream === undefined) {
    problem([], 'must have a `provider` or an `upstream`');
  }
  if (value.prices && value.factor !== undefined) problem(['factor'], 'cannot stand beside `prices`');
  for (const name of PRICE_FIELDS) {
    if (value[name] !== undefined && !value.prices) problem([name], 'needs `prices` beside it');
  }
  const says = [value.prices, value.factor, value.context_tokens, value.output_tokens_max];
  if (says.every((one) => one === undefined)) problem([], 'says nothing: give it `prices`, a `factor` or a size');
});

export type ModelFile = z.output<typeof model>;
