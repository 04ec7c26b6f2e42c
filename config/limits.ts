import { round } from '#core/exact.ts';
import {
  LIMIT_KINDS,
  type LimitDimension,
  type LimitKind,
  type LimitPolicy,
  type LimitPrice,
} from '#core/key-policy.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';
import type { Unit } from '#core/quantity.ts';
import { startOfDate } from '#core/time.ts';
import { COST_CURRENCY } from './catalogue.ts';
import type { PlanConfig } from './config.ts';
import type { Amount, DayOrInstant } from './scalars.ts';
import type { KeyFile } from './schema-customers.ts';
import type { LimitFile } from './schema-limits.ts';

export type LimitKindFile = LimitKind;

type AmountsFile = { readonly [Kind in LimitKind]?: LimitFile[Kind] };

export function kindsOf(file: AmountsFile): LimitKind[] {
  return LIMIT_KINDS.filter((kind) => file[kind] !== undefined);
}

/** LiteLLM's durations, which it resets at midnight, on Monday and on the first of the month. */
const LITELLM_DURATIONS: Readonly<Record<NonNullable<KeyFile['budget_duration']>, 'day' | 'week' | 'month'>> = {
  '24h': 'day',
  '1d': 'day',
  '7d': 'week',
  '30d': 'month',
  '1mo': 'month',
};

/** The limits of a key, those under LiteLLM's names included. */
export function keyLimits(file: KeyFile): LimitFile[] {
  const per: LimitFile['per'] = file.budget_duration === undefined ? 'total' : LITELLM_DURATIONS[file.budget_duration];
  return [
    ...(file.limits ?? []),
    ...(file.rpm_limit === undefined ? [] : [{ requests: file.rpm_limit, per: 'minute' as const }]),
    ...(file.tpm_limit === undefined ? [] : [{ tokens: file.tpm_limit, per: 'minute' as const }]),
    ...(file.max_parallel_requests === undefined ? [] : [{ concurrency: file.max_parallel_requests }]),
    ...(file.max_budget === undefined ? [] : [{ budget: dollars(file.max_budget), per }]),
    ...(file.soft_budget === undefined ? [] : [{ budget: dollars(file.soft_budget), per, mode: 'soft' as const }]),
    ...(file.max_budget_per_session === undefined
      ? []
      : [{ budget: dollars(file.max_budget_per_session), per: 'session' as const }]),
    ...Object.entries(file.model_rpm_limit ?? {}).map(([model, requests]) => ({
      requests,
      per: 'minute' as const,
      models: [model],
    })),
    ...Object.entries(file.model_tpm_limit ?? {}).map(([model, tokens]) => ({
      tokens,
      per: 'minute' as const,
      models: [model],
    })),
  ];
}

function dollars({ value }: Amount): { nanos: bigint; currency: string } {
  return { nanos: round({ num: value.num * NANOS_PER_UNIT, den: value.den }, 'down'), currency: COST_CURRENCY };
}

/**
 * The id names the counter, so it holds what makes a counter another one (scope, kind, window, which calls) and not what
 * may change while it counts (amount, burst): a reload keeps what was used.
 */
export function limitId(limit: LimitFile, key: string | null): string {
  const labels = Object.entries(limit.labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    ...(key === null ? ['customer'] : ['key', key]),
    kindOf(limit),
    ...(limit.unit === undefined ? [] : [limit.unit]),
    ...(limit.per === undefined ? [] : [limit.per]),
    ...[...(limit.models ?? [])].sort(),
    ...labels.map(([name, value]) => `${name}=${value}`),
    ...(limit.by === undefined ? [] : [`by-${limit.by}`]),
    ...(limit.basis === 'price' ? ['price'] : []),
    ...(limit.mode === undefined || limit.mode === 'hard' ? [] : [limit.mode]),
  ].join('/');
}

function kindOf(limit: LimitFile): LimitKind {
  const [kind] = kindsOf(limit);
  if (kind === undefined) throw new Error('a limit without an amount');
  return kind;
}

/** Limits that would share a counter with one before them. */
export function repeatedLimits(limits: readonly LimitFile[]): number[] {
  const ids = limits.map((limit) => (kindsOf(limit).length === 1 ? limitId(limit, null) : ''));
  return ids.flatMap((id, i) => (id !== '' && ids.indexOf(id) < i ? [i] : []));
}

export function compileLimit(
  limit: LimitFile,
  key: string | null,
  timezone: string,
  plan: PlanConfig | undefined,
): LimitPolicy {
  const kind = kindOf(limit);
  const { override, local } = limit;
  const isPrice = limit.basis === 'price';
  return {
    id: limitId(limit, key),
    scope: key === null ? 'customer' : 'key',
    kind,
    amount: amountOf(limit, kind),
    currency: limit.budget?.currency ?? null,
    per: limit.per ?? null,
    burst: limit.burst?.toString() ?? null,
    timezone,
    ...(limit.unit !== undefined && { unit: limit.unit }),
    ...(limit.mode !== undefined && limit.mode !== 'hard' && { mode: limit.mode }),
    ...(limit.warn_at && limit.warn_at.length > 0 && { warnAt: percentages(limit.warn_at) }),
    ...(limit.models && limit.models.length > 0 && { models: limit.models }),
    ...(limit.labels && Object.keys(limit.labels).length > 0 && { labels: limit.labels }),
    ...(limit.by !== undefined && { by: limit.by as LimitDimension }),
    ...(override && { override: { amount: amountOf(override, kind), untilMs: instantOf(override.until, timezone) } }),
    ...(isPrice && { basis: 'price', prices: linearPrices(plan) }),
    ...(limit.on_store_down !== undefined && { onStoreDown: limit.on_store_down }),
    ...(local && { localAmount: amountOf(local, kind) }),
  };
}

function amountOf(file: AmountsFile, kind: LimitKind): string {
  const amount = kind === 'budget' ? file.budget?.nanos : file[kind];
  if (amount === undefined) throw new Error('a limit without an amount');
  return amount.toString();
}

function percentages(texts: readonly string[]): number[] {
  return [...new Set(texts.map((text) => Number.parseInt(text, 10)))].sort((a, b) => a - b);
}

/** A day begins in the customer's zone. */
export function instantOf(instant: DayOrInstant, timezone: string): number {
  return 'day' in instant ? startOfDate(instant.day, timezone) : instant.atMs;
}

function linearPrices(plan: PlanConfig | undefined): LimitPrice[] {
  return (plan?.prices ?? []).map(({ unit, model, amount, per }) => ({ unit: unit as Unit, model, amount, per }));
}
