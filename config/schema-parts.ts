import { z } from 'zod';
import { isCurrency } from '#core/money.ts';
import { TOKEN_UNITS, UNITS } from '#core/quantity.ts';
import { PRICE_PER_MAX } from './bounds.ts';
import { choice } from './fields.ts';
import { type Amount, amount, count } from './scalars.ts';

/** Pieces that several parts of the schema share. */

export const currency = z
  .string({ error: 'must be a currency' })
  .refine(isCurrency, { error: 'must be a currency such as USD' });

/** An absolute address without a query or credentials, and without a trailing slash. */
export const address = z
  .string({ error: 'must be an address such as https://api.example.com/v1' })
  .transform((text, context) => {
    const url = URL.parse(text);
    const isRight =
      url &&
      /^https?:$/.test(url.protocol) &&
      url.search === '' &&
      url.hash === '' &&
      url.username + url.password === '';
    if (isRight) return text.replace(/\/+$/, '');
    context.addIssue({
      code: 'custom',
      message: 'must be an http or https address without a query or credentials, such as https://api.example.com/v1',
    });
    return z.NEVER;
  });

const unit = choice(UNITS);
export const price = {
  unit: unit.describe('What is counted.'),
  amount: amount().describe('Price of `per` units.'),
  per: count(1n, PRICE_PER_MAX)
    .optional()
    .describe('Number of units that the amount is for. Must be said for tokens; 1 for everything else when absent.'),
};

/** Nobody means dollars for one token. Whoever does says so. */
export function checkPer(value: { unit: string; per?: bigint | undefined }, context: z.RefinementCtx): void {
  if (value.per === undefined && TOKEN_UNITS.has(value.unit)) {
    context.addIssue({ code: 'custom', path: ['per'], message: 'must be said for tokens, such as per: 1M' });
  }
}

export function checkCurrency(
  value: Amount,
  expected: string,
  path: (string | number)[],
  context: z.RefinementCtx,
): void {
  if (value.currency !== null && value.currency !== expected) {
    context.addIssue({ code: 'custom', path, message: `must be in ${expected}` });
  }
}

/** True when a pattern before another takes all that the other could match, as far as is plain to see. */
export function hides(before: string, after: string): boolean {
  return before === '*' || before === after;
}
