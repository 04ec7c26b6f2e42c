import { Fault } from '#core/fault.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import { SHARDS, shardOf } from '#core/redis-keys.ts';
import type { Clock } from '#core/time.ts';
import type { Admitted } from '../admission.ts';
import type { Flight, Flights } from '../flight.ts';
import { headerOf } from '../headers.ts';
import { min } from '../limits/counter.ts';
import type { Counters, Hold, HoldState, MaybePromise, Reservation, ReserveAnswer } from '../limits/counters.ts';
import type { Observer } from '../observer.ts';
import { countInput } from '../tokens/count-input.ts';
import type { TokenCounter } from '../tokens/token-counter.ts';
import { growsWithOutput, heldInParts, holdsAt, leftOf, mostOutput } from './holding.ts';
import { LocalAllowance } from './local-allowance.ts';
import { Roll } from './roll.ts';
import { Rooms } from './rooms.ts';

/** Between two tries others may have taken what was left. */
const TRIES_MAX = 4;
/** An answer of fewer tokens is nobody's wish: the call is refused instead. */
const OUTPUT_MIN = 16n;
/** How long a store that did not answer is taken to be away: one call in so long waits for it. */
const AWAY_MS = 500;
/** Of what is left when a first part does not fit, this share is asked for: the next caller finds the rest. */
const PART_SHARE = 4n;

export interface ReservingParts {
  counters: Counters;
  observer: Observer;
  tokens: TokenCounter;
  clock: Clock;
  random: () => number;
}

/** Holds what a call may use. Where all of it does not fit, what does: nobody is refused what can be afforded. */
export class Reserving {
  readonly rooms = new Rooms();
  readonly #counters: Counters;
  readonly #observer: Observer;
  readonly #tokens: TokenCounter;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #local: LocalAllowance;
  /** Until then the store is taken to be away, by calls that need not wait for it. By shard, since one may be away alone. */
  readonly #awayUntilMs = new Array<number>(SHARDS).fill(0);
  #anyAwayUntilMs = 0;

  constructor({ counters, observer, tokens, clock, random }: ReservingParts) {
    this.#clock = clock;
    this.#local = new LocalAllowance(clock);
    this.#counters = counters;
    this.#observer = observer;
    this.#tokens = tokens;
    this.#random = random;
  }

  /** Admitted, with what the call holds in its reservation; or refused for good. Rejects with `limits_unavailable`. */
  reserve(flight: Flight, admitted: Admitted): MaybePromise<ReserveAnswer> {
    if (this.#isAway(admitted.policy) && this.#local.mayAdmit(admitted.limits)) {
      return this.#local.reserve(flight, admitted);
    }
    const first = this.#ask(flight, admitted.reservation);
    // Mostly counters in memory admit at once, and there is nothing to wait for.
    if ('admitted' in first && first.admitted && admitted.part === null) {
      this.#local.answered();
      return this.#held(admitted, first);
    }
    return this.#negotiate(flight, admitted, first);
  }

  async #negotiate(flight: Flight, admitted: Admitted, first: MaybePromise<ReserveAnswer>): Promise<ReserveAnswer> {
    let answer: ReserveAnswer;
    try {
      const asked = await first;
      const isWhole = asked.admitted && admitted.part === null;
      answer = isWhole ? this.#held(admitted, asked) : await this.#reserve(flight, admitted, asked);
      if (trustWarnings(admitted, answer))
        answer = await this.#reserve(flight, admitted, await this.#ask(flight, admitted.reservation));
      this.#local.answered();
    } catch (thrown) {
      this.#anyAwayUntilMs = this.#clock() + AWAY_MS;
      this.#awayUntilMs[shardOf(admitted.policy.customer)] = this.#anyAwayUntilMs;
      if (!this.#local.mayAdmit(admitted.limits)) throw thrown;
      this.#failed(flight, thrown);
      return this.#local.reserve(flight, admitted);
    }
    if (answer.unknown.length === 0 || isRefused(admitted, answer)) return answer;
    if (!this.#local.mayAdmit(admitted.limits)) {
      throw new Fault('limits_unavailable', { story: 'what was used is not known' });
    }
    return this.#local.reserve(flight, admitted);
  }

  #isAway({ customer }: KeyPolicy): boolean {
    const nowMs = this.#clock();
    return nowMs < this.#anyAwayUntilMs && nowMs < (this.#awayUntilMs[shardOf(customer)] ?? 0);
  }

  /** What was held of this gateway's own allowance. */
  settleLocal(flight: Flight, used: readonly bigint[]): void {
    this.#local.settle(flight, used);
  }

  /** Likewise, of a call that was never sent. */
  releaseLocal(flight: Flight): void {
    this.#local.release(flight);
  }

  async #reserve(flight: Flight, admitted: Admitted, first: ReserveAnswer): Promise<ReserveAnswer> {
    let answer = first;
    for (let tries = 1; !answer.admitted && tries < TRIES_MAX; tries++) {
      if (!(await this.#lower(flight, admitted, answer))) break;
      answer = await this.#ask(flight, admitted.reservation);
    }
    if (answer.unknown.length > 0) return answer;
    if (answer.admitted && admitted.part !== null) await this.#lowerInParts(flight, admitted, answer);
    return this.#held(admitted, answer);
  }

  #held(admitted: Admitted, answer: ReserveAnswer): ReserveAnswer {
    this.rooms.see(admitted.policy, admitted.reservation.holds, answer.states);
    admitted.states = answer.states;
    return answer;
  }

  /** The rest of what a stream may answer that holds a part of it. */
  roll(flight: Flight, admitted: Admitted, model: string): Roll {
    return new Roll(admitted, model, {
      counters: this.#counters,
      tokens: this.#tokens,
      rooms: this.rooms,
      random: this.#random,
      mayGoOn: () => this.#local.cover(flight, admitted),
      failed: (thrown) => this.#failed(flight, thrown),
    });
  }

  /** All of it at once, where a stream was held in parts and something else came. What does not fit is found when it is settled. */
  async holdWhole(flight: Flight, admitted: Admitted): Promise<void> {
    const { reservation, outputMax } = admitted;
    const holds = heldInParts(reservation.holds, holdsAt(admitted, outputMax));
    try {
      const { admitted: isHeld } = await this.#counters.extend(
        reservation,
        holds.map((hold) => hold.amount),
      );
      if (!isHeld) return;
      reservation.holds = holds;
      admitted.part = outputMax;
    } catch (thrown) {
      this.#failed(flight, thrown);
    }
  }

  /** What calls in flight hold does not end with its lease: a third of it before the end it is renewed. */
  renewAll(flights: Flights, nowMs: number, leaseMs: number): void {
    for (const flight of flights.list()) {
      if (!flight.reservation || flight.renewedMs > nowMs - leaseMs / 3) continue;
      flight.renewedMs = nowMs;
      void this.#renew(flight, flight.reservation);
    }
  }

  async #renew(flight: Flight, reservation: Reservation): Promise<void> {
    try {
      await this.#counters.extend(
        reservation,
        reservation.holds.map((hold) => hold.amount),
      );
    } catch (thrown) {
      this.#failed(flight, thrown);
    }
  }

  #failed(flight: Flight, thrown: unknown): void {
    this.#observer.faulted(
      thrown instanceof Fault ? thrown : new Fault('limits_unavailable', { cause: thrown }),
      flight.id,
    );
  }

  #ask(flight: Flight, reservation: Reservation): MaybePromise<ReserveAnswer> {
    try {
      const answer = this.#counters.reserve(reservation);
      return answer instanceof Promise ? answer.catch((thrown) => this.#unsure(flight, reservation, thrown)) : answer;
    } catch (thrown) {
      return this.#unsure(flight, reservation, thrown);
    }
  }

  /** It may have been held all the same, with the answer lost. */
  async #unsure(flight: Flight, reservation: Reservation, thrown: unknown): Promise<never> {
    await this.release(flight, reservation);
    throw thrown instanceof Fault ? thrown : new Fault('limits_unavailable', { cause: thrown });
  }

  /** Gives a reservation back that nothing will settle. What cannot be given back ends with its lease. */
  async release(flight: Flight, reservation: Reservation): Promise<void> {
    this.#local.release(flight);
    try {
      await this.#counters.release(reservation);
    } catch (thrown) {
      this.#failed(flight, thrown);
    }
  }

  /** Makes the call smaller, so that it fits into what the limits had left. False when that cannot be. */
  async #lower(flight: Flight, admitted: Admitted, answer: ReserveAnswer): Promise<boolean> {
    if (answer.unknown.length > 0 || admitted.asked.answers === 0n) return false;
    if (this.#fit(flight, admitted, answer.states)) return true;
    // The bound by bytes may be what does not fit: several times what it is in tokens.
    if (admitted.inputCounted !== null) return false;
    admitted.inputCounted = (await countInput(this.#tokens, admitted)) ?? null;
    return admitted.inputCounted !== null && this.#fit(flight, admitted, answer.states);
  }

  #fit(flight: Flight, admitted: Admitted, states: readonly HoldState[]): boolean {
    const { part, outputMax } = admitted;
    const room = (outputTokens: bigint, isAsked: (hold: Hold) => boolean): boolean =>
      holdsAt(admitted, outputTokens).every((hold, i) => {
        if (hold.soft || !isAsked(hold)) return true;
        const { free, unused } = leftOf(hold, states[i] as HoldState);
        return hold.amount <= (part !== null && growsWithOutput(hold) ? unused : free);
      });
    const most = mostOutput(outputMax, (outputTokens) => room(outputTokens, () => true));
    if (most === undefined || !this.#lowerTo(flight, admitted, most)) return false;
    if (admitted.part === null) {
      admitted.reservation.holds = holdsAt(admitted, admitted.outputMax);
      return true;
    }
    const fits = (outputTokens: bigint): boolean =>
      holdsAt(admitted, outputTokens).every((hold, i) => {
        return !growsWithOutput(hold) || hold.amount <= leftOf(hold, states[i] as HoldState).free;
      });
    const now = mostOutput(admitted.outputMax, fits);
    if (now === undefined || now < min(OUTPUT_MIN, admitted.outputMax)) return false;
    const share = now / PART_SHARE;
    this.#holdPart(admitted, share > OUTPUT_MIN ? min(share, admitted.part) : min(OUTPUT_MIN, now));
    return true;
  }

  /** A call that is held in parts could still come to more than there is, whatever others give back. */
  async #lowerInParts(flight: Flight, admitted: Admitted, { states }: ReserveAnswer): Promise<void> {
    const exceeds = admitted.whole.some((hold, i) => {
      return growsWithOutput(hold) && hold.amount > leftOf(hold, states[i] as HoldState).unused;
    });
    if (!exceeds) return;
    admitted.inputCounted ??= (await countInput(this.#tokens, admitted)) ?? null;
    const most = mostOutput(admitted.outputMax, (outputTokens) =>
      holdsAt(admitted, outputTokens).every((hold, i) => {
        return !growsWithOutput(hold) || hold.amount <= leftOf(hold, states[i] as HoldState).unused;
      }),
    );
    if (most !== undefined) this.#lowerTo(flight, admitted, most);
  }

  /** Lowers the most that the call may answer. False where that may not be, or would leave too little. */
  #lowerTo(flight: Flight, admitted: Admitted, outputTokens: bigint): boolean {
    const { asked, outputMax, wire, config } = admitted;
    if (outputTokens >= outputMax) return true;
    const each = outputTokens / asked.answers;
    if (each < (asked.outputTokensMin ?? OUTPUT_MIN)) return false;
    if (wire.lowersOutput !== true || !mayLower(flight, config.gateway.clampOutput)) return false;
    admitted.outputEach = each;
    admitted.outputMax = each * asked.answers;
    return true;
  }

  #holdPart(admitted: Admitted, outputTokens: bigint): void {
    admitted.part = outputTokens;
    admitted.reservation.holds = heldInParts(holdsAt(admitted, admitted.outputMax), holdsAt(admitted, outputTokens));
  }
}

/**
 * What only warns refuses nothing, known or not: it counts from here on, and is raised when billing has said what came
 * before. True where one of the counts that are not known is of that kind.
 */
function trustWarnings({ limits, reservation }: Admitted, { unknown }: ReserveAnswer): boolean {
  const places = unknown.filter((i) => limits[i]?.mode !== undefined && limits[i].onStoreDown !== 'closed');
  if (places.length === 0) return false;
  reservation.holds = reservation.holds.map((hold, i) => {
    if (hold.kind !== 'quota' || !places.includes(i)) return hold;
    const { series: _series, ...trusted } = hold;
    return trusted;
  });
  return true;
}

/** By a limit whose count is known: what becomes of the others is of no interest. */
function isRefused({ reservation }: Admitted, { states, unknown }: ReserveAnswer): boolean {
  return reservation.holds.some((hold, i) => !hold.soft && !states[i]?.fits && !unknown.includes(i));
}

/** The caller may say `x-weir-clamp: off`: all of the answer, or none. */
function mayLower({ call }: Flight, byConfig: boolean): boolean {
  return byConfig && headerOf(call.headers, 'x-weir-clamp') !== 'off';
}
