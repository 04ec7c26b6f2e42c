import { z } from '@hono/zod-openapi';
import { MoneyJson } from '#billing/http/schema.ts';
import { COST_CURRENCY } from '#config/catalogue.ts';
import {
  LIMIT_KINDS,
  LIMIT_MAX,
  LIMIT_PERIODS,
  type LimitPolicy,
  type RateWindow,
  WINDOW_MS,
} from '#core/key-policy.ts';
import { moneyToJson, parseMoney } from '#core/money.ts';

/** Limits as the API shows and takes them. A count is text like every quantity, a budget is money. */

const WINDOWS = ['second', 'minute', 'hour'] as const satisfies readonly RateWindow[];
const Count = z
  .string()
  .regex(/^[1-9]\d{0,15}$/, 'Wants a positive whole number, in a string.')
  .refine((text) => !/^\d{1,16}$/.test(text) || BigInt(text) <= LIMIT_MAX, `Wants at most ${LIMIT_MAX}.`)
  .openapi({ example: '600' });

const RateLimit = z
  .strictObject({
    kind: z.enum(['requests', 'tokens']),
    amount: Count,
    per: z.enum(WINDOWS),
    burst: Count.optional().openapi({ description: 'How much may come at once; the amount unless given.' }),
  })
  .refine((limit) => isRateExact(limit.amount, limit.per) && isRateExact(limit.burst ?? '1', limit.per), {
    message: 'Is too large to be counted exactly over this window.',
    path: ['amount'],
  });
const ConcurrencyLimit = z.strictObject({ kind: z.literal('concurrency'), amount: Count });
const BudgetLimit = z.strictObject({
  kind: z.literal('budget'),
  amount: z
    .strictObject(MoneyJson.shape)
    .refine((amount) => isBudget(amount.amount, amount.currency), 'Wants a positive amount of at most 9000000.')
    .refine((amount) => amount.currency === COST_CURRENCY, `Costs are counted in ${COST_CURRENCY}.`),
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
    kind: z.enum(LIMIT_KINDS),
    amount: z.union([z.string().openapi({ example: '600' }), MoneyJson]),
    per: z.enum(LIMIT_PERIODS).nullable(),
    burst: z.string().nullable(),
  })
  .openapi('Limit');

/** As the gateway takes them. `owner` is the key for limits of scope key: ids are unique within the customer. */
export function limitPolicies(limits: readonly LimitIn[], owner: string | null, timezone: string): LimitPolicy[] {
  return limits.map((limit) => ({
    id: owner === null ? nameOf(limit) : `${owner}/${nameOf(limit)}`,
    scope: owner === null ? 'customer' : 'key',
    kind: limit.kind,
    amount: limit.kind === 'budget' ? nanosOf(limit.amount).toString() : limit.amount,
    currency: limit.kind === 'budget' ? limit.amount.currency : null,
    per: limit.kind === 'concurrency' ? null : limit.per,
    burst: 'burst' in limit && limit.burst !== undefined ? limit.burst : null,
    timezone,
  }));
}

export function limitToJson(limit: LimitPolicy): z.output<typeof Limit> {
  return {
    id: limit.id,
    kind: limit.kind,
    amount:
      limit.currency === null ? limit.amount : moneyToJson({ nanos: BigInt(limit.amount), currency: limit.currency }),
    per: limit.per,
    burst: limit.burst,
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
/** What is no count has been told so already. */
function isRateExact(amount: string, per: RateWindow): boolean {
  return !/^\d+$/.test(amount) || BigInt(amount) * BigInt(WINDOW_MS[per]) < 2n ** 53n;
}
