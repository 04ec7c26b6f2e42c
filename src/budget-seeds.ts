import { Fault } from '#core/fault.ts';
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
  const seeded = new Map<string, Promise<void>>();

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
        log.warn({ error: String(error), limit: limit.id }, 'waiting for billing to say what a budget has used');
        await pause(waitMs, signal);
      }
    }
  }

  async function seedPolicy(policy: KeyPolicy): Promise<void> {
    for (const limit of policy.limits) {
      const { currency } = limit;
      if (limit.kind !== 'budget' || currency === null) continue;
      // A customer's budget is one counter for all its keys: whoever comes first seeds it, the others wait for that.
      const name = JSON.stringify([policy.customer, budgetCounter(limit, policy.key, clock()).counter]);
      let seeding = seeded.get(name);
      if (!seeding) {
        seeding = seedBudget(policy, { ...limit, currency });
        seeded.set(name, seeding);
      }
      await seeding;
    }
    if (!signal.aborted) known.add(policy);
  }

  return {
    find(secretHash) {
      const policy = policies.find(secretHash);
      if (!policy || known.has(policy)) return policy;
      void seedPolicy(policy);
      throw new Fault('limits_unavailable', { story: `the budgets of ${policy.key} are not seeded yet` });
    },
    async seed(list) {
      await Promise.all(list.map(seedPolicy));
    },
  };
}
