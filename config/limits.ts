import { round } from '#core/exact.ts';
import type { LimitPolicy } from '#core/key-policy.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';
import { COST_CURRENCY } from './catalogue.ts';
import type { KeyFile, LimitFile } from './schema-customers.ts';

/** The limits of a key, those under LiteLLM's names included. */
export function keyLimits(file: KeyFile): LimitFile[] {
  return [
    ...(file.limits ?? []),
    ...(file.rpm_limit === undefined ? [] : [{ requests: file.rpm_limit, per: 'minute' as const }]),
    ...(file.tpm_limit === undefined ? [] : [{ tokens: file.tpm_limit, per: 'minute' as const }]),
    ...(file.max_parallel_requests === undefined ? [] : [{ concurrency: file.max_parallel_requests }]),
    ...(file.max_budget === undefined
      ? []
      : [
          {
            budget: {
              nanos: round({ num: file.max_budget.value.num * NANOS_PER_UNIT, den: file.max_budget.value.den }, 'down'),
              currency: COST_CURRENCY,
            },
            per: 'month' as const,
          },
        ]),
  ];
}

/**
 * The id names the counter, so it holds what makes a counter another one (scope, kind, window) and not what may change
 * while it counts (amount, burst): a reload keeps what was used.
 */
export function limitId(limit: LimitFile, key: string | null): string {
  const kind = kindOf(limit);
  return [...(key === null ? ['customer'] : ['key', key]), kind, ...(limit.per === undefined ? [] : [limit.per])].join(
    '/',
  );
}

export function kindOf(limit: LimitFile): LimitPolicy['kind'] {
  if (limit.requests !== undefined) return 'requests';
  if (limit.tokens !== undefined) return 'tokens';
  return limit.concurrency !== undefined ? 'concurrency' : 'budget';
}

/** Limits that would share a counter with one before them. */
export function repeatedLimits(limits: readonly LimitFile[]): number[] {
  const ids = limits.map((limit) => limitId(limit, null));
  return ids.flatMap((id, i) => (ids.indexOf(id) < i ? [i] : []));
}
