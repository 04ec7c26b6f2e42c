import { Fault, reasonOf } from '#core/fault.ts';
import type { KeyPolicy, LimitPolicy } from '#core/key-policy.ts';
import type { Log } from '#core/log.ts';
import { pause } from '#core/pause.ts';
import { type Clock, formatInstant } from '#core/time.ts';
import { within } from '#core/within.ts';
import type { CounterBook } from '#proxy/limits/counters.ts';
import { quotaCounter } from '#proxy/limits/policy.ts';
import type { Policies } from '#proxy/policies/policies.ts';
import type { PolicyTable } from '#proxy/policies/policy-table.ts';

/**
 * Counters know nothing of what was spent before they existed; billing does. A budget that comes into force is raised to
 * billing's sum of the month, and until it is, no call under it is let through: it waits for a moment, and is refused
 * then (`limits_unavailable`). A budget that nobody knows the state of is not one that holds.
 *
 * Raising is always safe: a call is settled before billing can know it, so the sum holds nothing that a counter which
 * was in force has not counted. It is raised once more when the calls that were in flight without it are over.
 */
export interface SeededPolicies extends Policies {
  /** Seeds ahead of the first call. Resolves when all are seeded, or when the signal is aborted. */
  seed(policies: readonly KeyPolicy[]): Promise<void>;
  /** The store may have lost what it had counted: every budget is looked at again before it lets a call through. */
  doubt(): void;
}

export interface SeedOptions {
  policies: PolicyTable;
  counters: CounterBook;
  /** Other gateways count there too: what has a count already need not wait for billing. */
  shared: boolean;
  /** Resolves when every event that this gateway closed so far is where billing can read it. */
  shipped: () => Promise<void>;
  /** How long a call that is in flight now may still take. */
  callMs: () => number;
  url: string;
  token: string;
  clock: Clock;
  log: Log;
  signal: AbortSignal;
}

const RETRY_MS = { min: 100, max: 5_000 };
const ANSWER_TIMEOUT_MS = 10_000;
/** How long a call waits for the budgets that it comes under. Mostly they are seeded within milliseconds. */
const WAIT_MS = 2_000;
/** Questions to billing at once: after a start there may be one for each customer. */
const AT_ONCE = 16;

interface Budget {
  /** The counter, whatever the month. A customer's budget is one counter for all its keys. */
  name: string;
  key: string;
  customer: string;
  limit: LimitPolicy & { currency: string };
}

interface Seeding {
  done: boolean;
  ended: Promise<void>;
}

export function seededPolicies(options: SeedOptions): SeededPolicies {
  const { policies, counters, clock, log, signal } = options;
  /** Policies whose budgets are all seeded: the one look-up that most calls make. */
  let known = new WeakSet<KeyPolicy>();
  /** By budget. Whoever comes first begins it. */
  const seedings = new Map<string, Seeding>();
  /** By key: the budgets of the policy that it had last. */
  const under = new Map<string, ReadonlySet<string>>();
  /** By budget. A store that comes and goes while billing is away must not pile them up. */
  const raising = new Map<string, Promise<void>>();
  /** By budget: when it is to be raised again. */
  const again = new Map<string, number>();
  const inTurn = turns(AT_ONCE);

  async function costSince(query: Record<string, string>): Promise<bigint> {
    const response = await fetch(`${options.url}/v1/usage/cost?${new URLSearchParams(query)}`, {
      headers: { authorization: `Bearer ${options.token}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]),
    });
    if (!response.ok) throw new Error(`billing answered ${response.status} when asked what was spent`);
    const { nanos } = (await response.json()) as { nanos: string };
    return BigInt(nanos);
  }

  function raise(budget: Budget): Promise<void> {
    const { name } = budget;
    const ended = raising.get(name) ?? raiseUntilDone(budget).finally(() => raising.delete(name));
    raising.set(name, ended);
    return ended;
  }

  async function raiseUntilDone({ key, customer, limit }: Budget): Promise<void> {
    for (let waitMs = RETRY_MS.min; !signal.aborted; waitMs = Math.min(waitMs * 2, RETRY_MS.max)) {
      try {
        await options.shipped();
        const { counter, period } = quotaCounter(limit, key, null, clock());
        const ofKey = limit.scope === 'key' ? { key } : {};
        const since = formatInstant(period.startMs);
        const used = await inTurn(() => costSince({ customer, ...ofKey, since, currency: limit.currency }));
        await counters.seed(customer, { counter, used, expiresAtMs: period.expiresAtMs });
        return;
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ error: reasonOf(error), limit: limit.id }, 'waiting for billing to say what a budget has used');
        await pause(waitMs, signal);
      }
    }
  }

  /** Calls that were in flight when the budget came are in its sum when they are over. */
  async function raiseAgain(budget: Budget): Promise<void> {
    const { name } = budget;
    const waits = again.has(name);
    again.set(name, clock() + options.callMs());
    if (waits) return;
    for (let leftMs = options.callMs(); leftMs > 0; leftMs = (again.get(name) ?? 0) - clock()) {
      await pause(leftMs, signal);
      if (signal.aborted) return;
    }
    again.delete(name);
    await raise(budget);
  }

  async function isCounted({ key, customer, limit }: Budget): Promise<boolean> {
    if (!options.shared) return false;
    try {
      const { used, held } = await counters.read(customer, quotaCounter(limit, key, null, clock()).counter);
      return used > 0n || held > 0n;
    } catch (error) {
      log.warn({ error: reasonOf(error), limit: limit.id }, 'a budget cannot be read');
      return false;
    }
  }

  async function begin(budget: Budget, missed: boolean): Promise<void> {
    // A sum that is asked for already may be too old to hold what was missed.
    if (missed) await raising.get(budget.name);
    const mayWait = !missed && (await isCounted(budget));
    const raised = raise(budget);
    if (!mayWait) await raised;
    void raised.then(() => raiseAgain(budget));
  }

  function seedingsOf(policy: KeyPolicy): Seeding[] {
    const budgets = budgetsOf(policy);
    const before = under.get(policy.key);
    under.set(policy.key, new Set(budgets.map(({ name }) => name)));
    return budgets.map((budget) => {
      // What the key spent while it was not under the budget has not been counted there.
      const missed = before !== undefined && !before.has(budget.name);
      const found = missed ? undefined : seedings.get(budget.name);
      if (found) return found;
      const ended = begin(budget, missed).then(() => {
        seeding.done = !signal.aborted;
      });
      const seeding: Seeding = { done: false, ended };
      seedings.set(budget.name, seeding);
      return seeding;
    });
  }

  /** A reload makes new policies over budgets that are in force already; each policy is looked at once. */
  function isSeeded(policy: KeyPolicy): boolean {
    if (known.has(policy)) return true;
    if (!seedingsOf(policy).every(({ done }) => done)) return false;
    known.add(policy);
    return true;
  }

  async function seededInTime(policy: KeyPolicy): Promise<KeyPolicy> {
    const late = () => new Fault('limits_unavailable', { story: `the budgets of ${policy.key} are not seeded yet` });
    await within(WAIT_MS, Promise.all(seedingsOf(policy).map(({ ended }) => ended)), late);
    if (signal.aborted) throw late();
    return policy;
  }

  return {
    find(secretHash) {
      const policy = policies.find(secretHash);
      return !policy || isSeeded(policy) ? policy : seededInTime(policy);
    },
    async seed(list) {
      await Promise.all(list.flatMap(seedingsOf).map(({ ended }) => ended));
    },
    doubt() {
      known = new WeakSet();
      seedings.clear();
    },
  };
}

function budgetsOf({ customer, key, limits }: KeyPolicy): Budget[] {
  return limits.flatMap((limit): Budget[] => {
    const { currency } = limit;
    if (limit.kind !== 'budget' || currency === null) return [];
    const name = JSON.stringify([customer, limit.id, limit.scope === 'key' ? key : null]);
    return [{ name, key, customer, limit: { ...limit, currency } }];
  });
}

/** Lets so many do their work at once; the others wait for their turn. */
function turns(max: number): <T>(work: () => Promise<T>) => Promise<T> {
  let busy = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (busy < max) busy++;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else busy--;
    }
  };
}
