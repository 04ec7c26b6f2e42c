import { z } from 'zod';
import { LIMIT_MAX, QUOTA_PERIODS, RATE_WINDOWS, type RateWindow, WINDOW_MS } from '#core/key-policy.ts';
import { UNITS } from '#core/quantity.ts';
import { COST_CURRENCY } from './catalogue.ts';
import { choice, fields, labels, list } from './fields.ts';
import { kindsOf, type LimitKindFile, repeatedLimits } from './limits.ts';
import { count, dayOrInstant, money, pattern } from './scalars.ts';

/** Limits of customers and keys. */

/** A counter holds amount times window in milliseconds, and stays an exact number in every store. */
export function rateMax(window: RateWindow): bigint {
  return (2n ** 53n - 1n) / BigInt(WINDOW_MS[window]);
}

const amounts = {
  requests: count(1n, LIMIT_MAX).optional().describe('How many requests.'),
  tokens: count(1n, LIMIT_MAX).optional().describe('How many tokens, in and out, cached ones too.'),
  quantity: count(1n, LIMIT_MAX).optional().describe('How much of `unit`.'),
  concurrency: count(1n, LIMIT_MAX).optional().describe('Calls in flight at once.'),
  budget: money()
    .optional()
    .describe(`What calls may cost you, in ${COST_CURRENCY}; with \`basis: price\` what the customer pays for them.`),
};

const percent = z
  .string({ error: 'must be a percentage such as 80%' })
  .regex(/^[1-9]\d{0,2}%$/, { error: 'must be a percentage such as 80%, from 1% to 999%' });

const dimension = z
  .string({ error: 'must be user, session, model or label:NAME' })
  .regex(/^(user|session|model|label:[A-Za-z0-9_.-]{1,64})$/, { error: 'must be user, session, model or label:NAME' });

const limit = fields(
  {
    ...amounts,
    unit: choice(UNITS).optional().describe('What `quantity` counts.'),
    per: choice([...RATE_WINDOWS, ...QUOTA_PERIODS])
      .optional()
      .describe(
        "A window that leaks evenly (second, minute, hour; not for budgets), a calendar period in the customer's time zone (weeks begin on Monday), a session, or in total.",
      ),
    burst: count(1n, rateMax('second'))
      .optional()
      .describe('Of a window: how much may come at once; the amount when absent.'),
    mode: choice(['hard', 'soft', 'shadow'])
      .optional()
      .describe('hard refuses. soft refuses nothing and warns. shadow only counts, and tells the operator.')
      .meta({ initial: 'hard' }),
    models: list(pattern())
      .optional()
      .describe('Only calls for these models, as the caller names them; all when absent.'),
    labels: labels().optional().describe('Only calls that carry all of these labels.'),
    by: dimension.optional().describe('Counts each user, session, model or value of a label (`label:team`) by itself.'),
    warn_at: list(percent, 10)
      .optional()
      .describe('Said once per period when so much of the amount is used. Not for windows.'),
    override: fields({
      ...amounts,
      until: dayOrInstant().describe("When it ends. A day begins in the customer's time zone."),
    })
      .optional()
      .describe('Another amount for a while.'),
    basis: choice(['cost', 'price'])
      .optional()
      .describe(
        'Of a budget: what the provider charges you, or what the customer pays by its plan. `price` needs a plan of this file that has `prices` and no `charges`: only so much for each unit can be known before a call.',
      )
      .meta({ initial: 'cost' }),
    on_store_down: choice(['closed', 'open', 'local'])
      .optional()
      .describe(
        'While the counters cannot be reached or are not known: refuse, let through, or let each gateway let through what `local` says. `closed` for hard limits, `open` for the others.',
      ),
    local: fields(amounts).optional().describe('What one gateway lets through by itself in that time.'),
  },
  ['user', 'session'],
)
  .superRefine((value, context) => {
    const problem = (message: string, ...path: (string | undefined)[]): void =>
      context.addIssue({ code: 'custom', path: path.filter((field) => field !== undefined), message });
    const kinds = kindsOf(value);
    const [kind] = kinds;
    if (kind === undefined || kinds.length > 1)
      return problem('must limit one of requests, tokens, quantity, concurrency and budget');
    const isWindow = RATE_WINDOWS.some((window) => window === value.per);
    if (kind === 'concurrency') {
      if (value.per !== undefined) problem('has no meaning for calls in flight', 'per');
    } else if (value.per === undefined) {
      problem(`must say per which ${kind === 'budget' ? 'period: `per: month`' : 'window or period: `per: minute`'}`);
    } else if (kind === 'budget' && isWindow) {
      problem('has no meaning for a budget; it must be "day" or longer, "session" or "total"', 'per');
    }
    if ((kind === 'quantity') !== (value.unit !== undefined)) {
      if (kind === 'quantity') problem('must say which unit: `unit: images`');
      else problem('has a meaning for `quantity` only', 'unit');
    }
    if (value.burst !== undefined && !isWindow) problem('has a meaning for windows only', 'burst');
    if (value.warn_at && (kind === 'concurrency' || isWindow)) {
      problem('has a meaning for calendar periods, sessions and totals only', 'warn_at');
    }
    if (value.by === 'session' && value.per === 'session') problem('is said by `per: session` already', 'by');
    if (value.basis !== undefined && kind !== 'budget') problem('has a meaning for budgets only', 'basis');
    for (const part of ['override', 'local'] as const) {
      const own = value[part];
      if (own && (kindsOf(own).length !== 1 || own[kind] === undefined)) {
        problem(`must say another amount of ${kind}`, part);
      }
    }
    if ((value.on_store_down === 'local') !== (value.local !== undefined)) {
      if (value.local) problem('has a meaning with `on_store_down: local` only', 'local');
      else problem('must say how much: `local: { … }`', 'on_store_down');
    }
    const window = RATE_WINDOWS.find((one) => one === value.per);
    const isPrice = value.basis === 'price';
    checkAmount(kind, value, window, isPrice, problem);
    for (const part of ['override', 'local'] as const) {
      const own = value[part];
      if (own) checkAmount(kind, own, window, isPrice, (text, field) => problem(text, part, field));
    }
    const most = window && rateMax(window);
    if (most !== undefined && (value.burst ?? 0n) > most) {
      problem(`must be at most ${most} with a window of one ${window}`, 'burst');
    }
  })
  .describe('One limit: requests, tokens, quantity, concurrency or budget.');

type Amounts = { readonly [Kind in LimitKindFile]?: z.output<(typeof amounts)[Kind]> };

function checkAmount(
  kind: LimitKindFile,
  value: Amounts,
  window: RateWindow | undefined,
  isPrice: boolean,
  problem: (message: string, field?: string) => void,
): void {
  if (kind !== 'budget') {
    const most = window && rateMax(window);
    if (most !== undefined && (value[kind] ?? 0n) > most) problem(`must be at most ${most} per ${window}`, kind);
  } else if (value.budget && !isPrice && value.budget.currency !== COST_CURRENCY) {
    problem(`must be in ${COST_CURRENCY}, in which costs are counted; \`basis: price\` counts in the plan's`, 'budget');
  } else if (value.budget && value.budget.nanos > LIMIT_MAX) {
    problem(`must be at most ${LIMIT_MAX / 1_000_000_000n} ${value.budget.currency}`, 'budget');
  }
}

const REPEATED = 'limits the same in the same window as another one: only one of them can hold';

export const limits = list(limit)
  .superRefine((value, context) => {
    for (const i of repeatedLimits(value)) context.addIssue({ code: 'custom', path: [i], message: REPEATED });
  })
  .describe('All limits of a customer and of the key hold at once: a call is admitted by all, or by none.');

export type LimitFile = z.output<typeof limit>;
