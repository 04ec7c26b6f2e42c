import type { LimitKind, LimitPolicy } from '#core/key-policy.ts';
import type { Hold, HoldState, Reservation, ReserveAnswer } from './counters.ts';
import { countedPeriod, isWindow } from './periods.ts';

/** From what the counters answer to words about limits. */

/** Where a limit stands for a call. Figures are counts, or nanos of the currency for a budget. */
export interface Standing {
  readonly limit: LimitPolicy;
  /** The limit itself; of a rate, what may come at once. */
  readonly amount: bigint;
  readonly used: bigint;
  /** By calls in flight. */
  readonly held: bigint;
  /** Neither used nor held, never below zero. */
  readonly left: bigint;
  /** When it begins anew: the end of a period, the moment when a rate has all of its burst. Null where time alone does not do it. */
  readonly resetAtMs: number | null;
}

/** What the client is told. */
export interface Refusal {
  readonly code: 'rate_limited' | 'concurrency_limited' | 'budget_exhausted';
  /** The limit's id. */
  readonly limit: string;
  readonly scope: LimitPolicy['scope'];
  readonly kind: LimitKind;
  readonly per: LimitPolicy['per'];
  readonly currency: string | null;
  readonly amount: bigint;
  readonly used: bigint;
  readonly held: bigint;
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

export function standingOf(limit: LimitPolicy, hold: Hold, { used, held }: HoldState, atMs: number): Standing {
  const amount = hold.kind === 'rate' ? hold.burst : hold.limit;
  const left = amount - used - held;
  return { limit, amount, used, held, left: left > 0n ? left : 0n, resetAtMs: resetOf(limit, hold, used, atMs) };
}

function resetOf({ per, timezone }: LimitPolicy, hold: Hold, used: bigint, atMs: number): number | null {
  if (hold.kind === 'rate') {
    if (hold.limit === 0n) return null;
    return atMs + Number((used * BigInt(hold.windowMs) + hold.limit - 1n) / hold.limit);
  }
  return per === null || isWindow(per) ? null : countedPeriod(per, atMs, timezone).endMs;
}

/**
 * Of all limits that refuse, the one that does so longest is named, so that nobody waits for one only to be refused by
 * another. `limits` and `answer` go with the reservation.
 */
export function refusalOf(
  limits: readonly LimitPolicy[],
  { holds, atMs }: Pick<Reservation, 'holds' | 'atMs'>,
  answer: ReserveAnswer,
): Refusal {
  let named: Refusal | undefined;
  for (let i = 0; i < holds.length; i++) {
    const hold = holds[i] as Hold;
    const state = answer.states[i] as HoldState;
    if (state.fits || hold.soft) continue;
    const refusal = refusalBy(limits[i] as LimitPolicy, hold, state, atMs);
    if (!named || lastsOf(refusal) > lastsOf(named)) named = refusal;
  }
  if (!named) throw new RangeError('no limit refuses');
  return named;
}

function refusalBy(limit: LimitPolicy, hold: Hold, state: HoldState, atMs: number): Refusal {
  const { amount, used, held, left, resetAtMs } = standingOf(limit, hold, state, atMs);
  // Held amounts may be given back; what a quota has used stays used, and what a rate has used is what `waitMs` waits for.
  const final = hold.amount + (hold.kind === 'quota' ? used : 0n) > amount;
  return {
    code: CODES[hold.kind],
    limit: limit.id,
    scope: limit.scope,
    kind: limit.kind,
    per: limit.per,
    currency: limit.currency,
    amount,
    used,
    held,
    left,
    wanted: hold.amount,
    retryAfterMs: state.waitMs,
    resetAtMs: hold.kind === 'quota' ? resetAtMs : state.waitMs === null ? null : atMs + state.waitMs,
    final,
  };
}

const CODES = {
  rate: 'rate_limited',
  concurrency: 'concurrency_limited',
  quota: 'budget_exhausted',
} as const satisfies Record<Hold['kind'], Refusal['code']>;

/** How long it will refuse: what calls in flight decide ends sooner than what only time does. */
function lastsOf({ final, retryAfterMs, resetAtMs }: Refusal): number {
  if (final) return resetAtMs === null ? Number.POSITIVE_INFINITY : resetAtMs;
  return retryAfterMs ?? 0;
}
