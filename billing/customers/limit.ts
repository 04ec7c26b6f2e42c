import { z } from '@hono/zod-openapi';
import { InstantIn, MoneyJson } from '#billing/http/schema.ts';
import { COST_CURRENCY } from '#config/catalogue.ts';
import {
  LIMIT_KINDS,
  LIMIT_MAX,
  LIMIT_PERIODS,
  type LimitDimension,
  type LimitPolicy,
  QUOTA_PERIODS,
  RATE_WINDOWS,
  type RateWindow,
  WINDOW_MS,
} from '#core/key-policy.ts';
import { moneyToJson, parseMoney } from '#core/money.ts';
import { UNITS } from '#core/quantity.ts';
import { formatInstant } from '#core/time.ts';

/** Limits as the API shows and takes them. A count is text like every quantity, a budget is money. */

const Count = z
  .string()
  .regex(/^[1-9]\d{0,15}$/, 'Wants a positive whole number, in a string.')
  .refine((text) => !/^\d{1,16}$/.test(text) || BigInt(text) <= LIMIT_MAX, `Wants at most ${LIMIT_MAX}.`)
  .openapi({ example: '600' });
const Budget = z
  .strictObject(MoneyJson.shape)
  .refine((amount) => isBudget(amount.amount, amount.currency), 'Wants a positive amount of at most 9000000.');

const Labels = z.record(z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/), z.string().min(1).max(256));
const Dimension = z
  .string()
  .regex(/^(user|session|model|label:[A-Za-z0-9_.-]{1,64})$/, 'Wants user, session, model or label:NAME.');
const Percent = z.int().min(1).max(999);

/** What may be said of any limit whose amount is of that form. */
function common<Amount extends z.ZodType>(amount: Amount) {
  return {
    amount,
    mode: z.enum(['hard', 'soft', 'shadow']).optional().openapi({ description: 'hard unless given.' }),
    models: z.array(z.string().min(1).max(256)).max(50).optional(),
    labels: Labels.optional().openapi({ description: 'Only calls that carry all of them.' }),
    by: Dimension.optional().openapi({ description: 'Counts each value by itself.', example: 'label:team' }),
    override: z
      .strictObject({ amount, until: InstantIn })
      .optional()
      .openapi({ description: 'Another amount for a while.' }),
    on_store_down: z.enum(['closed', 'open', 'local']).optional(),
    local_amount: amount.optional().openapi({ description: 'For `local`: what one gateway lets through by itself.' }),
  };
}

const counted = {
  ...common(Count),
  per: z.enum(LIMIT_PERIODS),
  burst: Count.optional().openapi({ description: 'Of a window: how much may come at once; the amount unless given.' }),
  warn_at: z.array(Percent).max(10).optional().openapi({ description: 'Percentages of the amount. Not for windows.' }),
};
const CountLimit = z.strictObject({ kind: z.enum(['requests', 'tokens']), ...counted });
const QuantityLimit = z.strictObject({ kind: z.literal('quantity'), unit: z.enum(UNITS), ...counted });
const ConcurrencyLimit = z.strictObject({ kind: z.literal('concurrency'), ...common(Count) });
const BudgetLimit = z.strictObject({
  kind: z.literal('budget'),
  ...common(Budget),
  per: z.enum(QUOTA_PERIODS),
  warn_at: counted.warn_at,
  basis: z
    .enum(['cost', 'price'])
    .optional()
    .openapi({
      description:
        'Whose money it counts: what the providers charge (unless given), or what the customer pays by its plan, in its ' +
        'currency. For `price` the plan must ask so much for each unit, whatever came before.',
    }),
});

export const LimitIn = z
  .discriminatedUnion('kind', [CountLimit, QuantityLimit, ConcurrencyLimit, BudgetLimit])
  .superRefine((limit, context) => {
    const problem = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    if ((limit.on_store_down === 'local') !== (limit.local_amount !== undefined)) {
      problem('local_amount', 'Goes with `on_store_down: local`, which wants it.');
    }
    if (limit.kind === 'budget') {
      const budgets = { amount: limit.amount, override: limit.override?.amount, local_amount: limit.local_amount };
      const currency = limit.basis === 'price' ? limit.amount.currency : COST_CURRENCY;
      for (const [path, budget] of Object.entries(budgets)) {
        if (budget && budget.currency !== currency) {
          problem(path, limit.basis === 'price' ? `Wants ${currency}.` : `Costs are counted in ${COST_CURRENCY}.`);
        }
      }
    }
    if (!('per' in limit)) return;
    if (limit.by === 'session' && limit.per === 'session') problem('by', 'Is said by `per: session` already.');
    const window = RATE_WINDOWS.find((one) => one === limit.per);
    if (!window) {
      if ('burst' in limit && limit.burst !== undefined) problem('burst', 'Has a meaning for windows only.');
      return;
    }
    if (limit.warn_at) problem('warn_at', 'Has a meaning for calendar periods, sessions and totals only.');
    const counts = [
      limit.amount,
      'burst' in limit ? limit.burst : undefined,
      limit.override?.amount,
      limit.local_amount,
    ];
    if (counts.some((one) => typeof one === 'string' && !isRateExact(one, window))) {
      problem('amount', 'Is too large to be counted exactly over this window.');
    }
  })
  .openapi('NewLimit');
export type LimitIn = z.output<typeof LimitIn>;

/** One limit of a kind, window and set of calls: a second one would either never matter or make the first one pointless. */
export const LimitsIn = z
  .array(LimitIn)
  .max(50)
  .superRefine((limits, context) => {
    const seen = new Set<string>();
    for (const [index, limit] of limits.entries()) {
      const name = nameOf(limit);
      if (seen.has(name))
        context.addIssue({ code: 'custom', path: [index], message: `There is a limit ${name} already.` });
      seen.add(name);
    }
  });

const AmountOut = z.union([z.string().openapi({ example: '600' }), MoneyJson]);

export const Limit = z
  .object({
    id: z.string().openapi({ description: 'Stands in refusals that this limit causes.' }),
    kind: z.enum(LIMIT_KINDS),
    unit: z.enum(UNITS).nullable(),
    amount: AmountOut,
    per: z.enum(LIMIT_PERIODS).nullable(),
    burst: z.string().nullable(),
    mode: z.enum(['hard', 'soft', 'shadow']),
    warn_at: z.array(Percent),
    models: z.array(z.string()),
    labels: z.record(z.string(), z.string()),
    by: z.string().nullable(),
    override: z.object({ amount: AmountOut, until: z.string() }).nullable(),
    basis: z.enum(['cost', 'price']).nullable().openapi({ description: 'Of a budget: whose money it counts.' }),
    on_store_down: z.enum(['closed', 'open', 'local']),
    local_amount: AmountOut.nullable(),
  })
  .openapi('Limit');

/** As the gateway takes them. `owner` is the key for limits of scope key: ids are unique within the customer. */
export function limitPolicies(limits: readonly LimitIn[], owner: string | null, timezone: string): LimitPolicy[] {
  return limits.map((limit): LimitPolicy => {
    const { mode, models, labels, override, on_store_down: onStoreDown, local_amount: local } = limit;
    const warnAt = 'warn_at' in limit ? limit.warn_at : undefined;
    return {
      id: owner === null ? nameOf(limit) : `${owner}/${nameOf(limit)}`,
      scope: owner === null ? 'customer' : 'key',
      kind: limit.kind,
      amount: countOf(limit.amount),
      currency: limit.kind === 'budget' ? limit.amount.currency : null,
      per: 'per' in limit ? limit.per : null,
      burst: 'burst' in limit && limit.burst !== undefined ? limit.burst : null,
      timezone,
      ...('unit' in limit && { unit: limit.unit }),
      ...(mode !== undefined && mode !== 'hard' && { mode }),
      ...(warnAt && warnAt.length > 0 && { warnAt: [...new Set(warnAt)].sort((a, b) => a - b) }),
      ...(models && models.length > 0 && { models }),
      ...(labels && Object.keys(labels).length > 0 && { labels }),
      ...(limit.by !== undefined && { by: limit.by as LimitDimension }),
      ...(isOfPrice(limit) && { basis: 'price' as const }),
      ...(override && { override: { amount: countOf(override.amount), untilMs: override.until } }),
      ...(onStoreDown !== undefined && { onStoreDown }),
      ...(local !== undefined && { localAmount: countOf(local) }),
    };
  });
}

export function limitToJson(limit: LimitPolicy): z.output<typeof Limit> {
  const { currency, mode = 'hard', override, localAmount } = limit;
  const show = (amount: string) => (currency === null ? amount : moneyToJson({ nanos: BigInt(amount), currency }));
  return {
    id: limit.id,
    kind: limit.kind,
    unit: limit.unit ?? null,
    amount: show(limit.amount),
    per: limit.per,
    burst: limit.burst,
    mode,
    warn_at: limit.warnAt ?? [],
    models: limit.models ?? [],
    labels: limit.labels ?? {},
    by: limit.by ?? null,
    override: override ? { amount: show(override.amount), until: formatInstant(override.untilMs) } : null,
    basis: limit.kind === 'budget' ? (limit.basis ?? 'cost') : null,
    on_store_down: limit.onStoreDown ?? (mode === 'hard' ? 'closed' : 'open'),
    local_amount: localAmount === undefined ? null : show(localAmount),
  };
}

/** `requests/minute`, `concurrency`, `budget/month/soft`: the counter keeps counting when only the amount changes. */
function nameOf(limit: LimitIn): string {
  const labels = Object.entries(limit.labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    limit.kind,
    ...('unit' in limit ? [limit.unit] : []),
    ...('per' in limit ? [limit.per] : []),
    ...[...(limit.models ?? [])].sort(),
    ...labels.map(([name, value]) => `${name}=${value}`),
    ...(limit.by === undefined ? [] : [`by-${limit.by}`]),
    ...(isOfPrice(limit) ? ['price'] : []),
    ...(limit.mode === undefined || limit.mode === 'hard' ? [] : [limit.mode]),
  ].join('/');
}

function isOfPrice(limit: LimitIn): boolean {
  return limit.kind === 'budget' && limit.basis === 'price';
}

function countOf(amount: string | { amount: string; currency: string }): string {
  if (typeof amount === 'string') return amount;
  const parsed = parseMoney(amount.amount, amount.currency);
  if (!parsed) throw new RangeError('a budget that the schema has let through is no money');
  return parsed.nanos.toString();
}

function isBudget(amount: string, currency: string): boolean {
  const parsed = parseMoney(amount, currency);
  return parsed !== undefined && parsed.nanos > 0n && parsed.nanos <= LIMIT_MAX;
}

/** Counters are compared in a Redis script, where only whole numbers below 2^53 are exact. What is no count has been told so already. */
function isRateExact(amount: string, per: RateWindow): boolean {
  return !/^\d+$/.test(amount) || BigInt(amount) * BigInt(WINDOW_MS[per]) < 2n ** 53n;
}
