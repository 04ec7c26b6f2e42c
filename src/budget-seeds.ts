import { Fault, reasonOf } from '#core/fault.ts';
import type { KeyPolicy, LimitPolicy } from '#core/key-policy.ts';
import type { Log } from '#core/log.ts';
import { pause } from '#core/pause.ts';
import { type Clock, formatInstant } from '#core/time.ts';
import type { Counters } from '#proxy/limits/counters.ts';
import { budgetCounter } from '#proxy/limits/policy.ts';
import type { Policies } from '#proxy/policies/policies.ts';

/**
 * Counters in memory know nothing of what was spent before they existed; billing does. Each budget's counter of the
 * current month is seeded once, and until it is, no call under that budget is let through (`limits_unavailable`):
 * a budget that nobody knows the state of is not one that holds.
 */
export interface SeededPolicies extends Policies {
  /** Seeds ahead of the first call. Resolves when all are seeded, or when the signal is aborted. */
  seed(policies: readonly KeyPolicy[]): Promise<void>;
}

const RETRY_MS = { min: 100, max: 5_000 };

export function seededPolicies(options: {
  policies: Policies;
  counters: Counters;
  /** Resolves when billing has every event that this gateway closed so far. */
  shipped: () => Promise<void>;
  url: string;
  token: string;
  clock: Clock;
  log: Log;
  signal: AbortSignal;
}): SeededPolicies {
  const { policies, counters, clock, log, signal } = options;
  const known = new WeakSet<KeyPolicy>();
  const seedings = new Map<string, Promise<void>>();
  const seeded = new Set<string>();

  async function costSince(query: Record<string, string>): Promise<bigint> {
    const response = await fetch(`${options.url}/v1/usage/cost?${new URLSearchParams(query)}`, {
      headers: { authorization: `Bearer ${options.token}` },
      signal,
    });
    if (!response.ok) throw new Error(`billing answered ${response.status} when asked what was spent`);
    const { nanos } = (await response.json()) as { nanos: string };
    return BigInt(nanos);
  }

  async function seedBudget(policy: KeyPolicy, limit: LimitPolicy & { currency: string }): Promise<void> {
    const { counter, period, expiresAtMs } = budgetCounter(limit, policy.key, clock());
    const query = {
      customer: policy.customer,
      ...(limit.scope === 'key' ? { key: policy.key } : {}),
      since: formatInstant(period.startMs),
      currency: limit.currency,
    };
    await options.shipped();
    for (let waitMs = RETRY_MS.min; !signal.aborted; waitMs = Math.min(waitMs * 2, RETRY_MS.max)) {
      try {
        const used = await costSince(query);
        await counters.seed(policy.customer, counter, used, expiresAtMs);
        return;
      } catch (error) {
        log.warn({ error: reasonOf(error), limit: limit.id }, 'waiting for billing to say what a budget has used');
        await pause(waitMs, signal);
      }
    }
  }

  /** The counters of its budgets. A customer's budget is one counter for all its keys: whoever comes first seeds it. */
  function* budgetsOf(policy: KeyPolicy): Generator<{ name: string; limit: LimitPolicy & { currency: string } }> {
    for (const limit of policy.limits) {
      const { currency } = limit;
      if (limit.kind !== 'budget' || currency === null) continue;
      const { counter } = budgetCounter(limit, policy.key, clock());
      yield { name: JSON.stringify([policy.customer, counter]), limit: { ...limit, currency } };
    }
  }

  async function seedPolicy(policy: KeyPolicy): Promise<void> {
    for (const { name, limit } of budgetsOf(policy)) {
      let seeding = seedings.get(name);
      if (!seeding) {
        seeding = seedBudget(policy, limit).then(() => {
          if (!signal.aborted) seeded.add(name);
        });
        seedings.set(name, seeding);
      }
      await seeding;
    }
  }

  /** A reload makes new policies over counters that are known already; each policy is looked at once. */
  function isSeeded(policy: KeyPolicy): boolean {
    if (known.has(policy)) return true;
    for (const { name } of budgetsOf(policy)) if (!seeded.has(name)) return false;
    known.add(policy);
    return true;
  }

  return {
    find(secretHash) {
      const policy = policies.find(secretHash);
      if (!policy || isSeeded(policy)) return policy;
      void seedPolicy(policy);
      throw new Fault('limits_unavailable', { story: `the budgets of ${policy.key} are not seeded yet` });
    },
    async seed(list) {
      await Promise.all(list.map(seedPolicy));
    },
  };
}
