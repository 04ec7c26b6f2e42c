import { z } from 'zod';
import { LIMIT_MAX, WINDOW_MS } from '#core/key-policy.ts';
import { exponentOf } from '#core/money.ts';
import { isTimeZone } from '#core/time.ts';
import { LABEL_LENGTH_MAX, LABELS_MAX, PLAINTEXT_SECRET_LENGTH, SECRETS_PER_KEY_MAX } from './bounds.ts';
import { COST_CURRENCY } from './catalogue.ts';
import { CHARGES_MAX, chargeTerms } from './charge-terms.ts';
import { choice, fields, list, nameRecord, nameText } from './fields.ts';
import { keyLimits, repeatedLimits } from './limits.ts';
import { amount, count, dayOrInstant, flag, money, pattern, secretText } from './scalars.ts';
import { checkCurrency, checkPer, currency, hides, price } from './schema-parts.ts';
import { isWellFormedSecret } from './secret.ts';

/** Customers, their keys and limits, and the plans that they are on. */

const RATES = ['second', 'minute', 'hour'] as const;

/** A counter holds amount times window in milliseconds, and stays an exact number in every store. */
function rateMax(window: (typeof RATES)[number]): bigint {
  return (2n ** 53n - 1n) / BigInt(WINDOW_MS[window]);
}

const RATE_MAX = rateMax('second');

const limit = fields(
  {
    requests: count(1n, RATE_MAX).optional().describe('Requests in each second, minute or hour.'),
    tokens: count(1n, RATE_MAX).optional().describe('Tokens, in and out, in each second, minute or hour.'),
    concurrency: count(1n, LIMIT_MAX).optional().describe('Calls in flight at once.'),
    budget: money()
      .optional()
      .describe(`What the calls of a calendar month in the customer's time zone may cost you, in ${COST_CURRENCY}.`),
    per: choice([...RATES, 'month'], ['day', 'week', 'quarter', 'year', 'session', 'total'])
      .optional()
      .describe('The window of requests and tokens; `month` for a budget.'),
    burst: count(1n, RATE_MAX)
      .optional()
      .describe('How many requests or tokens may come at once; the limit itself when absent.'),
    mode: choice(['hard'], ['soft', 'shadow'])
      .optional()
      .describe('Calls that would pass the limit are refused.')
      .meta({ initial: 'hard' }),
  },
  ['models', 'labels', 'user', 'session', 'warn_at', 'basis', 'on_store_down', 'images', 'seconds', 'tool_calls'],
)
  .superRefine((value, context) => {
    const problem = (message: string, field?: string): void =>
      context.addIssue({ code: 'custom', path: field === undefined ? [] : [field], message });
    const kinds = (['requests', 'tokens', 'concurrency', 'budget'] as const).filter((one) => value[one] !== undefined);
    const [kind] = kinds;
    if (kind === undefined || kinds.length > 1)
      return problem('must limit one of requests, tokens, concurrency and budget');
    if (kind === 'concurrency') {
      if (value.per !== undefined) problem('has no meaning for calls in flight', 'per');
    } else if (kind === 'budget') {
      if (value.per !== 'month')
        problem(
          value.per === undefined ? 'must say `per: month`' : 'is not supported yet for a budget; it must be "month"',
          value.per && 'per',
        );
      if (value.budget && value.budget.currency !== COST_CURRENCY) {
        problem(
          `must be in ${COST_CURRENCY}, in which costs are counted; other currencies are not supported yet`,
          'budget',
        );
      } else if (value.budget && value.budget.nanos > LIMIT_MAX) {
        problem(`must be at most ${LIMIT_MAX / 1_000_000_000n} ${COST_CURRENCY}`, 'budget');
      }
    } else if (value.per === undefined || value.per === 'month') {
      problem(
        value.per === undefined
          ? 'must say per which window: `per: minute`'
          : `is not supported yet for ${kind}; it must be "second", "minute" or "hour"`,
        value.per && 'per',
      );
    } else {
      const most = rateMax(value.per);
      if ((value[kind] ?? 0n) > most) problem(`must be at most ${most} per ${value.per}`, kind);
      if ((value.burst ?? 0n) > most) problem(`must be at most ${most} with a window of one ${value.per}`, 'burst');
      return;
    }
    if (value.burst !== undefined) problem('has a meaning for requests and tokens only', 'burst');
  })
  .describe('One limit: requests, tokens, concurrency or budget.');

const REPEATED = 'limits the same in the same window as another one: only one of them can hold';

const limits = list(limit)
  .superRefine((value, context) => {
    for (const i of repeatedLimits(value)) context.addIssue({ code: 'custom', path: [i], message: REPEATED });
  })
  .describe('Limits that refuse. All of a customer and of the key hold at once.');

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

const labelText = z.string({ error: 'must be text' }).regex(new RegExp(`^[^\\u0000-\\u001f]{1,${LABEL_LENGTH_MAX}}$`), {
  error: `must be text of at most ${LABEL_LENGTH_MAX} characters`,
});

const keyFields = fields(
  {
    secret: z
      .union([secret, list(secret, SECRETS_PER_KEY_MAX).min(1, { error: 'must have at least one secret' })])
      .describe(
        '`sha256:` and the hash of the secret; two of them while the old one still works. Secrets themselves only from the environment, or with `allow_plaintext_secrets`.',
      ),
    models: list(pattern()).optional().describe('Models that the key may use, as patterns; all when absent.'),
    labels: z
      .record(nameText('a label'), labelText, { error: 'must be a map from names to texts' })
      .refine((labels) => Object.keys(labels).length <= LABELS_MAX, { error: `must have at most ${LABELS_MAX} labels` })
      .optional()
      .describe('Written onto every usage event of the key.'),
    expires: dayOrInstant()
      .optional()
      .describe("From when on it does not work. A day begins in the customer's time zone."),
    revoked: flag(false).optional().describe('True when the key works no longer.'),
    limits: limits.optional(),
    rpm_limit: count(1n, rateMax('minute')).optional().describe("LiteLLM's name for requests per minute."),
    tpm_limit: count(1n, rateMax('minute')).optional().describe("LiteLLM's name for tokens per minute."),
    max_parallel_requests: count(1n, LIMIT_MAX).optional().describe("LiteLLM's name for concurrency."),
    max_budget: amount()
      .optional()
      .describe(`LiteLLM's name for a budget in ${COST_CURRENCY}. Needs \`budget_duration: 1mo\`.`),
    budget_duration: choice(['1mo'])
      .optional()
      .describe("LiteLLM's name for the period of `max_budget`: the calendar month."),
  },
  [
    'soft_budget',
    'model_rpm_limit',
    'model_tpm_limit',
    'model_max_budget',
    'session_tpm_limit',
    'max_budget_per_session',
  ],
);

export type KeyFile = z.output<typeof keyFields>;

const key = keyFields.superRefine((value, context) => {
  const problem = (field: string, message: string): void =>
    context.addIssue({ code: 'custom', path: [field], message });
  if (repeatedLimits(keyLimits(value)).some((i) => i >= (value.limits ?? []).length)) {
    problem('limits', "limits the same in the same window as one of LiteLLM's names beside it");
  }
  if (value.max_budget === undefined) {
    if (value.budget_duration !== undefined) problem('budget_duration', 'has no meaning without `max_budget`');
    return;
  }
  if (value.budget_duration === undefined) {
    problem('max_budget', 'is not supported yet without `budget_duration: 1mo`: a budget is for a month');
  }
  checkCurrency(value.max_budget, COST_CURRENCY, ['max_budget'], context);
  const nanos = value.max_budget.value.num * 1_000_000_000n;
  if (nanos <= 0n || nanos % value.max_budget.value.den !== 0n || nanos / value.max_budget.value.den > LIMIT_MAX) {
    problem('max_budget', `must be above 0, at most ${LIMIT_MAX / 1_000_000_000n}, and have at most nine decimals`);
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

export type LimitFile = z.output<typeof limit>;
export type CustomerFile = z.output<typeof customer>;
export type PlanFile = z.output<typeof plan>;
