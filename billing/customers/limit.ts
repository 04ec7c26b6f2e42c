import { z } from '@hono/zod-openapi';
import { MoneyJson } from '#billing/http/schema.ts';
import { LIMIT_MAX, type LimitPolicy, type RateWindow, WINDOW_MS } from '#core/key-policy.ts';
import { formatAmount, parseMoney } from '#core/money.ts';

/** Limits as the API shows and takes them. A count is a JSON integer, a budget is money. */

const COUNT_MAX = Number(LIMIT_MAX);
const WINDOWS = ['second', 'minute', 'hour'] as const satisfies readonly RateWindow[];
const count = z.int().min(1).max(COUNT_MAX);

const RateLimit = z
  .strictObject({
    kind: z.enum(['requests', 'tokens']),
    amount: count,
    per: z.enum(WINDOWS),
    burst: count.optional().openapi({ description: 'How much may come at once; the amount unless given.' }),
  })
  .refine((limit) => isRateExact(limit.amount, limit.per) && isRateExact(limit.burst ?? 1, limit.per), {
    message: 'Is too large to be counted exactly over this window.',
    path: ['amount'],
  });
const ConcurrencyLimit = z.strictObject({ kind: z.literal('concurrency'), amount: count });
const BudgetLimit = z.strictObject({
  kind: z.literal('budget'),
  amount: z
    .strictObject(MoneyJson.shape)
    .refine((amount) => isBudget(amount.amount, amount.currency), 'Wants a positive amount of at most 9000000.'),
  per: z.literal('month'),
});

export const LimitIn = z.discriminatedUnion('kind', [RateLimit, ConcurrencyLimit, BudgetLimit]).openapi('NewLimit');
export type LimitIn = z.output<typeof LimitIn>;

/** One limit of a kind and window: a second one would either never matter or make the first one pointless. */
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

export const Limit = z
  .object({
    id: z.string().openapi({ description: 'Stands in refusals that this limit causes.' }),
    kind: z.enum(['requests', 'tokens', 'concurrency', 'budget']),
    amount: z.union([z.int(), MoneyJson]),
    per: z.enum([...WINDOWS, 'month']).nullable(),
    burst: z.int().nullable(),
  })
  .openapi('Limit');

/** As the gateway takes them. `owner` is the key for limits of scope key: ids are unique within the customer. */
export function limitPolicies(limits: readonly LimitIn[], owner: string | null, timezone: string): LimitPolicy[] {
  return limits.map((limit) => ({
    id: owner === null ? nameOf(limit) : `${owner}/${nameOf(limit)}`,
    scope: owner === null ? 'customer' : 'key',
    kind: limit.kind,
    amount: limit.kind === 'budget' ? nanosOf(limit.amount).toString() : limit.amount.toString(),
    currency: limit.kind === 'budget' ? limit.amount.currency : null,
    per: limit.kind === 'concurrency' ? null : limit.per,
    burst: 'burst' in limit && limit.burst !== undefined ? limit.burst.toString() : null,
    timezone,
  }));
}

export function limitToJson(limit: LimitPolicy): z.output<typeof Limit> {
  const amount = BigInt(limit.amount);
  return {
    id: limit.id,
    kind: limit.kind,
    amount:
      limit.currency === null
        ? Number(amount)
        : { amount: formatAmount({ nanos: amount, currency: limit.currency }), currency: limit.currency },
    per: limit.per,
    burst: limit.burst === null ? null : Number(limit.burst),
  };
}

/** `requests/minute`, `concurrency`, `budget/month`: the counter keeps counting when only the amount changes. */
function nameOf(limit: LimitIn): string {
  return limit.kind === 'concurrency' ? limit.kind : `${limit.kind}/${limit.per}`;
}

function nanosOf(amount: { amount: string; currency: string }): bigint {
  const parsed = parseMoney(amount.amount, amount.currency);
  if (!parsed) throw new RangeError('a budget that the schema has let through is no money');
  return parsed.nanos;
}

function isBudget(amount: string, currency: string): boolean {
  const parsed = parseMoney(amount, currency);
  return parsed !== undefined && parsed.nanos > 0n && parsed.nanos <= LIMIT_MAX;
}

/** Counters are compared in a Redis script, where only whole numbers below 2^53 are exact. */
function isRateExact(amount: number, per: RateWindow): boolean {
  return BigInt(amount) * BigInt(WINDOW_MS[per]) < 2n ** 53n;
}
