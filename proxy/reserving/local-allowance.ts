import type { LimitPolicy } from '#core/key-policy.ts';
import type { Clock } from '#core/time.ts';
import type { Admitted } from '../admission.ts';
import type { Flight } from '../flight.ts';
import type { Hold, Reservation, ReserveAnswer } from '../limits/counters.ts';
import { LEASE_MS_MAX } from '../limits/limit-state.ts';
import { type MemoryCounters, memoryCounters } from '../limits/memory.ts';
import { holdsAt } from './holding.ts';

/** An outage is over when the store has answered for so long: one that comes and goes gives no new allowance each time. */
const OVER_MS = 60_000;

/** What a call holds of the allowance while the store is away: for some of its limits, at these places. */
export interface LocalHold {
  readonly reservation: Reservation;
  readonly places: readonly number[];
}

/**
 * What becomes of calls while the counters cannot be reached, by what each limit says (`onStoreDown`). closed: refused.
 * open: let through. local: let through as long as this gateway's own allowance lasts. The strictest limit of a call
 * decides. What was used meanwhile counts when the store is back: its settlements wait in the journal.
 */
export class LocalAllowance {
  readonly #clock: Clock;
  #counters: MemoryCounters | undefined;
  #answersSinceMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether a call can go on without the store. */
  mayAdmit(limits: readonly LimitPolicy[]): boolean {
    return limits.every((limit) => whenDown(limit) !== 'closed');
  }

  /** Against what this gateway may let through by itself. A call that is refused is told of the limits that did. */
  reserve(flight: Flight, admitted: Admitted): ReserveAnswer {
    const { limits, whole, outputEach } = admitted;
    // There is nobody to ask for more as it flows.
    admitted.part = null;
    const holds = outputEach === null ? whole : holdsAt(admitted, admitted.outputMax);
    // The store may have taken the call all the same, and gives that back: this is another one, which settles by itself.
    const reservation = { ...admitted.reservation, id: `${flight.id}.away`, holds };
    admitted.reservation = reservation;
    const answer = this.#reserve(flight, limits, reservation);
    if (answer.admitted) return { ...answer, states: [] };
    const places = placesOf(limits);
    admitted.limits = places.map((i) => limits[i] as LimitPolicy);
    reservation.holds = places.map((i) => localHold(reservation.holds[i] as Hold, limits[i] as LimitPolicy));
    return answer;
  }

  /** The rest of a stream that was held in parts when the store went away. False where it has to end. */
  cover(flight: Flight, { limits, reservation, whole }: Admitted): boolean {
    if (!this.mayAdmit(limits)) return false;
    const rest = whole.map((hold, i): Hold => {
      const amount = hold.amount - (reservation.holds[i] as Hold).amount;
      return hold.kind === 'concurrency' ? hold : { ...hold, amount: amount > 0n ? amount : 0n };
    });
    return this.#reserve(flight, limits, { ...reservation, id: `${flight.id}.away`, holds: rest }).admitted;
  }

  #reserve(flight: Flight, limits: readonly LimitPolicy[], reservation: Reservation): ReserveAnswer {
    const places = placesOf(limits);
    const holds = places.map((i) => localHold(reservation.holds[i] as Hold, limits[i] as LimitPolicy));
    // Nobody renews it, and nobody has to: it goes with this process.
    const local: Reservation = { ...reservation, leaseMs: LEASE_MS_MAX, holds };
    this.#answersSinceMs = Number.POSITIVE_INFINITY;
    this.#counters ??= memoryCounters({ clock: this.#clock });
    const answer = this.#counters.reserve(local);
    if (answer.admitted) flight.local = { reservation: local, places };
    return answer;
  }

  settle({ local }: Flight, used: readonly bigint[]): void {
    if (local)
      this.#counters?.settle(
        local.reservation,
        local.places.map((i) => used[i] as bigint),
      );
  }

  release({ local }: Flight): void {
    if (local) this.#counters?.release(local.reservation);
  }

  /** The store has answered. */
  answered(): void {
    if (!this.#counters) return;
    const nowMs = this.#clock();
    if (this.#answersSinceMs > nowMs) this.#answersSinceMs = nowMs;
    else if (nowMs - this.#answersSinceMs > OVER_MS) this.#counters = undefined;
  }
}

function placesOf(limits: readonly LimitPolicy[]): number[] {
  return limits.flatMap((limit, i) => (whenDown(limit) === 'local' ? [i] : []));
}

/** What only warns stops no call. */
function whenDown({ mode, onStoreDown }: LimitPolicy): 'closed' | 'open' | 'local' {
  return onStoreDown ?? (mode === undefined ? 'closed' : 'open');
}

function localHold(hold: Hold, { localAmount }: LimitPolicy): Hold {
  const limit = BigInt(localAmount ?? 0);
  if (hold.kind === 'rate') return { ...hold, limit, burst: limit };
  if (hold.kind === 'concurrency') return { ...hold, limit };
  // It counts from nothing: what billing knows of the quota is not asked for here.
  const { series: _series, ...quota } = hold;
  return { ...quota, limit };
}
