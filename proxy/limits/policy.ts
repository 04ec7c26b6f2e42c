import { Fault } from '#core/fault.ts';
import { type KeyPolicy, type LimitKind, type LimitPolicy, WINDOW_MS } from '#core/key-policy.ts';
import { type Counts, tokensOf } from '#core/quantity.ts';
import { calendarPeriod, type Period } from '#core/time.ts';
import { COUNTER_MAX, type Hold, type Refused, type Reservation } from './counters.ts';
import { min } from './decide.ts';

/** From the limits of a key to the holds of a call, and back from a refused hold to words about a limit. */

/** The most that a call can use. `costNanos` is null where one of its prices is not known. */
export interface WorstUse {
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  readonly costNanos: bigint | null;
  readonly currency: string;
}

/** What the client is told. Figures are counts, or nanos of the currency for a budget. */
export interface Refusal {
  readonly code: 'rate_limited' | 'concurrency_limited' | 'budget_exhausted';
  /** The limit's id. */
  readonly limit: string;
  readonly scope: LimitPolicy['scope'];
  readonly kind: LimitKind;
  readonly per: LimitPolicy['per'];
  readonly currency: string | null;
  /** The limit itself; of a rate, what may come at once. */
  readonly amount: bigint;
  readonly used: bigint;
  /** By calls in flight. */
  readonly held: bigint;
  /** Neither used nor held, never below zero. */
  readonly left: bigint;
  /** What this call asked for. */
  readonly wanted: bigint;
  /** Exact for a rate; null where it depends on calls in flight, or where no waiting helps. */
  readonly retryAfterMs: number | null;
  /** When the limit itself begins anew or fits again; null where time alone does not do it. */
  readonly resetAtMs: number | null;
  /** Asking again before `resetAtMs` is in vain, whatever becomes of the calls in flight. */
  readonly final: boolean;
}

/**
 * How long a period's counter outlives the period: longer than the longest lease and than clocks differ, so that a call
 * of its last second is still held, settled and corrected against it.
 */
const GRACE_MS = 2 * 86_400_000;

/**
 * One hold for each limit of the policy, in its order. The call counts in the period of its admission. A budget whose
 * worst case has no price, or one in another currency, is the fault `unpriced_model`: no price, no free ride.
 */
export function holdsFor(policy: KeyPolicy, worst: WorstUse, atMs: number): Hold[] {
  return ruledBy(policy).map((rule) => rule(worst, atMs));
}

/**
 * What each hold of a reservation is settled with, in its order. A cost that is not known (null), or not known in the
 * currency of the worst case, leaves the worst case charged: never free.
 */
export function usedOf({ holds }: Pick<Reservation, 'holds'>, counts: Counts, costNanos: bigint | null): bigint[] {
  return holds.map((hold) => {
    if (hold.kind === 'quota') return costNanos ?? hold.amount;
    return hold.kind === 'rate' && hold.counted === 'settlement' ? tokensOf(counts) : hold.amount;
  });
}

/** `refused` is the answer to the reservation that was made of this policy. */
export function refusalOf(policy: KeyPolicy, { holds, atMs }: Reservation, refused: Refused): Refusal {
  const limit = policy.limits[refused.index];
  const hold = holds[refused.index];
  if (!limit || !hold) throw new RangeError(`no limit ${refused.index}`);
  const { used, held, retryAfterMs } = refused;
  const amount = hold.kind === 'rate' ? hold.burst : hold.limit;
  const left = amount - used - held;
  // Held amounts may be given back; what a budget has used stays used, and what a rate has used is what `retryAfterMs` waits for.
  const final = hold.amount + (hold.kind === 'quota' ? used : 0n) > amount;
  return {
    code: CODES[limit.kind],
    limit: limit.id,
    scope: limit.scope,
    kind: limit.kind,
    per: limit.per,
    currency: limit.currency,
    amount,
    used,
    held,
    left: left > 0n ? left : 0n,
    wanted: hold.amount,
    retryAfterMs,
    resetAtMs:
      hold.kind === 'quota' ? monthOf(atMs, limit.timezone).endMs : retryAfterMs === null ? null : atMs + retryAfterMs,
    final,
  };
}

const CODES = {
  requests: 'rate_limited',
  tokens: 'rate_limited',
  concurrency: 'concurrency_limited',
  budget: 'budget_exhausted',
} as const satisfies Record<LimitKind, Refusal['code']>;

type Rule = (worst: WorstUse, atMs: number) => Hold;

/** Policies are immutable and live long: what can be worked out of one is worked out once. */
const rules = new WeakMap<KeyPolicy, readonly Rule[]>();

function ruledBy(policy: KeyPolicy): readonly Rule[] {
  let found = rules.get(policy);
  if (!found) {
    found = policy.limits.map((limit) => ruleOf(limit, policy.key));
    rules.set(policy, found);
  }
  return found;
}

function ruleOf(limit: LimitPolicy, key: string): Rule {
  const counter = counterName(limit, key);
  const amount = BigInt(limit.amount);
  switch (limit.kind) {
    case 'concurrency': {
      const hold: Hold = { kind: 'concurrency', counter, amount: 1n, limit: amount };
      return () => hold;
    }
    case 'requests': {
      const hold: Hold = { ...rateOf(limit), counter, amount: 1n, counted: 'admission' };
      return () => hold;
    }
    case 'tokens': {
      const rate = rateOf(limit);
      return (worst) => {
        // What a client may ask for has no end; what is above every limit is refused all the same.
        const tokens = min(worst.inputTokens + worst.outputTokens, COUNTER_MAX);
        return { ...rate, counter, amount: tokens, counted: 'settlement' };
      };
    }
    case 'budget':
      return (worst, atMs) => {
        if (worst.costNanos === null || worst.currency !== limit.currency) throw new Fault('unpriced_model');
        const month = monthOf(atMs, limit.timezone);
        return {
          kind: 'quota',
          counter: `${counter}/${month.name}`,
          amount: min(worst.costNanos, COUNTER_MAX),
          limit: amount,
          expiresAtMs: month.endMs + GRACE_MS,
        };
      };
  }
}

function rateOf(limit: LimitPolicy) {
  if (limit.per === null || limit.per === 'month') throw new RangeError(`limit ${limit.id} has no window`);
  const amount = BigInt(limit.amount);
  const burst = limit.burst === null ? amount : BigInt(limit.burst);
  return { kind: 'rate' as const, limit: amount, burst, windowMs: WINDOW_MS[limit.per] };
}

/**
 * Stable across reloads and restarts, and different for what must not be added up: kind and window, the limit, the key
 * where each key has its own, and for quotas the period (added per call). Encoded, so that no id can look like two.
 */
function counterName(limit: LimitPolicy, key: string): string {
  const parts = [limit.kind, ...(limit.per === null ? [] : [limit.per]), encodeURIComponent(limit.id)];
  if (limit.scope === 'key') parts.push(encodeURIComponent(key));
  return parts.join('/');
}

/** The counter of a monthly budget, for those who seed it from billing's sums. */
export function budgetCounter(
  limit: LimitPolicy,
  key: string,
  atMs: number,
): { counter: string; period: Period; expiresAtMs: number } {
  const { startMs, endMs, name } = monthOf(atMs, limit.timezone);
  return { counter: `${counterName(limit, key)}/${name}`, period: { startMs, endMs }, expiresAtMs: endMs + GRACE_MS };
}

interface Month extends Period {
  name: string;
}

/** The month that was last asked for, by zone: calendar arithmetic costs more than everything else here together. */
const months = new Map<string, Month>();

function monthOf(atMs: number, zone: string): Month {
  const known = months.get(zone);
  if (known && known.startMs <= atMs && atMs < known.endMs) return known;
  const { startMs, endMs } = calendarPeriod('month', atMs, zone);
  // The middle of a month lies in the same month everywhere: a customer that moves to another zone keeps its counter.
  const month = { startMs, endMs, name: new Date((startMs + endMs) / 2).toISOString().slice(0, 7) };
  months.set(zone, month);
  return month;
}
