import { z } from 'zod';
import { LIMIT_MAX } from '#core/key-policy.ts';
import { exponentOf } from '#core/money.ts';
import { isTimeZone } from '#core/time.ts';
import { PLAINTEXT_SECRET_LENGTH, SECRETS_PER_KEY_MAX } from './bounds.ts';
import { COST_CURRENCY } from './catalogue.ts';
import { CHARGES_MAX, carriedTwice, chargeTerms } from './charge-terms.ts';
import { choice, fields, labels, list, nameRecord, nameText } from './fields.ts';
import { keyLimits, repeatedLimits } from './limits.ts';
import { amount, count, dayOrInstant, flag, pattern, secretText } from './scalars.ts';
import { limits, rateMax } from './schema-limits.ts';
import { checkCurrency, checkPer, currency, hides, price } from './schema-parts.ts';
import { isWellFormedSecret } from './secret.ts';

/** Customers, their keys and limits, and the plans that they are on. */

const secret = secretText(
  `must be "sha256:" and 64 hexadecimal digits, or a secret of ${PLAINTEXT_SECRET_LENGTH.min} to ${PLAINTEXT_SECRET_LENGTH.max} characters without blanks whose checksum is right if it begins with wr_`,
  (text) =>
    /^sha256:[0-9a-f]{64}$/.test(text) ||
    (/^[\x21-\x7e]+$/.test(text) &&
      text.length >= PLAINTEXT_SECRET_LENGTH.min &&
      text.length <= PLAINTEXT_SECRET_LENGTH.max &&
      !text.startsWith('sha256:') &&
      (!text.startsWith('wr_') || isWellFormedSecret(text))),
);

const perModel = (most: bigint) =>
  z.record(pattern(), count(1n, most), { error: 'must be a map from models to numbers' });

const keyFields = fields(
  {
    secret: z
      .union([secret, list(secret, SECRETS_PER_KEY_MAX).min(1, { error: 'must have at least one secret' })])
      .describe(
        '`sha256:` and the hash of the secret; two of them while the old one still works. Secrets themselves only from the environment, or with `allow_plaintext_secrets`.',
      ),
    models: list(pattern()).optional().describe('Models that the key may use, as patterns; all when absent.'),
    labels: labels().optional().describe('Written onto every usage event of the key.'),
    expires: dayOrInstant()
      .optional()
      .describe("From when on it does not work. A day begins in the customer's time zone."),
    revoked: flag(false).optional().describe('True when the key works no longer.'),
    limits: limits.optional(),
    rpm_limit: count(1n, rateMax('minute')).optional().describe("LiteLLM's name for requests per minute."),
    tpm_limit: count(1n, rateMax('minute')).optional().describe("LiteLLM's name for tokens per minute."),
    max_parallel_requests: count(1n, LIMIT_MAX).optional().describe("LiteLLM's name for concurrency."),
    model_rpm_limit: perModel(rateMax('minute'))
      .optional()
      .describe("LiteLLM's name for requests per minute of single models."),
    model_tpm_limit: perModel(rateMax('minute'))
      .optional()
      .describe("LiteLLM's name for tokens per minute of single models."),
    max_budget: amount()
      .optional()
      .describe(`LiteLLM's name for a budget in ${COST_CURRENCY}: in total, or per \`budget_duration\`.`),
    soft_budget: amount().optional().describe("LiteLLM's name for a budget that warns and refuses nothing."),
    budget_duration: choice(['1d', '24h', '7d', '30d', '1mo'])
      .optional()
      .describe("LiteLLM's name for the period of its budgets: the calendar day, the week from Monday on, the month."),
    max_budget_per_session: amount().optional().describe("LiteLLM's name for a budget per session."),
  },
  ['model_max_budget', 'session_tpm_limit'],
);

export type KeyFile = z.output<typeof keyFields>;

const key = keyFields.superRefine((value, context) => {
  const problem = (field: string, message: string): void =>
    context.addIssue({ code: 'custom', path: [field], message });
  if (repeatedLimits(keyLimits(value)).some((i) => i >= (value.limits ?? []).length)) {
    problem('limits', "limits the same in the same window as one of LiteLLM's names beside it");
  }
  if (value.budget_duration !== undefined && value.max_budget === undefined && value.soft_budget === undefined) {
    problem('budget_duration', 'has no meaning without `max_budget` or `soft_budget`');
  }
  for (const field of ['max_budget', 'soft_budget', 'max_budget_per_session'] as const) {
    const one = value[field];
    if (!one) continue;
    checkCurrency(one, COST_CURRENCY, [field], context);
    const nanos = one.value.num * 1_000_000_000n;
    if (nanos <= 0n || nanos % one.value.den !== 0n || nanos / one.value.den > LIMIT_MAX) {
      problem(field, `must be above 0, at most ${LIMIT_MAX / 1_000_000_000n}, and have at most nine decimals`);
    }
  }
});

export const customer = fields({
  name: z
    .string({ error: 'must be text' })
    .min(1, { error: 'must not be empty' })
    .max(200, { error: 'must be at most 200 characters' })
    .optional()
    .describe('As it stands on invoices; the id when absent.'),
  timezone: z
    .string({ error: 'must be a time zone' })
    .refine(isTimeZone, { error: 'must be an IANA time zone such as Europe/Paris' })
    .optional()
    .describe('The zone of its calendar: billing periods, budgets, days.')
    .meta({ initial: 'UTC' }),
  currency: currency.optional().describe("In which it is billed; its plan's when absent, USD without a plan."),
  plan: nameText('a plan').optional().describe('A plan of this file. Without one, usage is metered and not billed.'),
  limits: limits.optional(),
  keys: nameRecord('a key', key).optional().describe('Its keys by their public ids, which stay when a secret changes.'),
});

const planPrice = fields({
  ...price,
  model: pattern()
    .optional()
    .describe('Models that this price is for, as the caller names them. The first price that matches holds.')
    .meta({ initial: '*' }),
}).superRefine(checkPer);

export const plan = fields({
  name: z
    .string({ error: 'must be text' })
    .min(1, { error: 'must not be empty' })
    .max(200, { error: 'must be at most 200 characters' })
    .optional()
    .describe('As it stands on invoices; the id when absent.'),
  currency: currency.optional().describe('Of the fee and of all prices.').meta({ initial: 'USD' }),
  interval: choice(['month'], ['day', 'week', 'quarter', 'year'])
    .optional()
    .describe('Length of a billing period.')
    .meta({ initial: 'month' }),
  fee: amount().optional().describe('Recurring amount of each period, billed at its end with the usage.'),
  prices: list(planPrice)
    .optional()
    .describe('What the customer pays for usage. Usage that matches no price is unrated, and reported.'),
  charges: list(chargeTerms, CHARGES_MAX)
    .optional()
    .describe(
      'Charges of any kind, after the prices: with an allowance, tiers, a cap and so on, as in docs/billing.md.',
    ),
}).superRefine((value, context) => {
  const inCurrency = value.currency ?? 'USD';
  const problem = (path: (string | number)[], message: string): void =>
    context.addIssue({ code: 'custom', path, message });
  if (value.fee) {
    checkCurrency(value.fee, inCurrency, ['fee'], context);
    const scaled = value.fee.value.num * 10n ** BigInt(exponentOf(inCurrency));
    if (scaled % value.fee.value.den !== 0n) {
      problem(['fee'], `must have at most ${exponentOf(inCurrency)} decimals in ${inCurrency}`);
    }
  }
  for (const { place, text } of carriedTwice(value.charges ?? [])) problem(['charges', place, 'meter'], text);
  const prices = value.prices ?? [];
  prices.forEach((one, i) => {
    checkCurrency(one.amount, inCurrency, ['prices', i, 'amount'], context);
    const above = prices
      .slice(0, i)
      .find((other) => other.unit === one.unit && hides(other.model ?? '*', one.model ?? '*'));
    if (above)
      problem(
        ['prices', i],
        `is never used: the price of ${one.unit} for "${above.model ?? '*'}" above it holds first`,
      );
  });
});

export type CustomerFile = z.output<typeof customer>;
export type PlanFile = z.output<typeof plan>;
