import type { CounterState, Hold, Refused, Reservation, ReserveAnswer } from '#proxy/limits/counters.ts';

interface Charge {
  counter: string;
  hold: Hold;
  amount: bigint;
  atMs: number;
  /** A sum that billing gave: raises what came before instead of adding to it. */
  raise: boolean;
}

interface Known {
  reservation: Reservation;
  state: 'live' | 'ended' | 'closed';
  untilMs: number;
}

const HOUR_MS = 3_600_000;

/**
 * What the counters must say, the slow and plain way: a list of everything that happened, from which each answer is
 * worked out anew. It shares no line with decide.ts; rates use another formula than a leaking level.
 */
export class CountersOracle {
  #nowMs = 0;
  #charges: Charge[] = [];
  #calls: Known[] = [];

  reserve(reservation: Reservation, clockMs: number): ReserveAnswer {
    this.#pass(clockMs);
    if (this.#find(reservation.id)) return { admitted: true };
    for (const [index, hold] of reservation.holds.entries()) {
      const refused = this.#refuse(hold, clockMs);
      if (refused) return { admitted: false, index, ...refused };
    }
    this.#calls.push({ reservation, state: 'live', untilMs: this.#nowMs + reservation.leaseMs });
    for (const hold of reservation.holds) {
      if (hold.kind === 'rate' && hold.counted === 'admission') this.#charge(hold, hold.amount);
    }
    return { admitted: true };
  }

  settle(reservation: Reservation, used: readonly bigint[], clockMs: number): boolean {
    this.#pass(clockMs);
    const call = this.#find(reservation.id);
    if (call?.state === 'closed') return false;
    for (const [i, hold] of reservation.holds.entries()) {
      const amount = used[i] ?? 0n;
      if (hold.kind === 'quota') this.#charge(hold, call?.state === 'ended' ? amount - hold.amount : amount);
      if (hold.kind === 'rate' && hold.counted === 'settlement') this.#charge(hold, amount);
      if (hold.kind === 'rate' && hold.counted === 'admission' && !call) this.#charge(hold, hold.amount);
    }
    this.#close(reservation);
    return true;
  }

  release(reservation: Reservation, clockMs: number): void {
    this.#pass(clockMs);
    const call = this.#find(reservation.id);
    if (call?.state === 'closed') return;
    if (call?.state === 'ended') {
      for (const hold of reservation.holds) if (hold.kind === 'quota') this.#charge(hold, -hold.amount);
    }
    this.#close(reservation);
  }

  seed(hold: Hold, used: bigint, clockMs: number): void {
    this.#pass(clockMs);
    this.#charges.push({ counter: hold.counter, hold, amount: used, atMs: this.#nowMs, raise: true });
  }

  read(hold: Hold, clockMs: number): CounterState {
    this.#pass(clockMs);
    if (this.#isOver(hold)) return { used: 0n, held: 0n };
    return { used: this.#used(hold), held: this.#held(hold.counter) };
  }

  /** Time is the latest that any clock has said. Leases end. */
  #pass(clockMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, clockMs);
    for (const call of this.#calls) {
      if (call.state !== 'live' || call.untilMs > this.#nowMs) continue;
      call.state = 'ended';
      call.untilMs = this.#nowMs + 7 * 24 * HOUR_MS;
      for (const hold of call.reservation.holds) if (hold.kind === 'quota') this.#charge(hold, hold.amount);
    }
  }

  #find(id: string): Known | undefined {
    return this.#calls.find(
      (call) => call.reservation.id === id && (call.state === 'live' || call.untilMs > this.#nowMs),
    );
  }

  #close(reservation: Reservation): void {
    this.#calls = this.#calls.filter((call) => call.reservation.id !== reservation.id);
    this.#calls.push({ reservation, state: 'closed', untilMs: this.#nowMs + HOUR_MS });
  }

  #charge(hold: Hold, amount: bigint): void {
    if (this.#isOver(hold)) return;
    this.#charges.push({ counter: hold.counter, hold, amount, atMs: this.#nowMs, raise: false });
  }

  #isOver(hold: Hold): boolean {
    return hold.kind === 'quota' && hold.expiresAtMs <= this.#nowMs;
  }

  #held(counter: string): bigint {
    let held = 0n;
    for (const { state, reservation } of this.#calls) {
      for (const hold of state === 'live' ? reservation.holds : []) {
        if (hold.counter !== counter || (hold.kind === 'rate' && hold.counted === 'admission')) continue;
        held += hold.amount;
      }
    }
    return held;
  }

  #used(hold: Hold): bigint {
    if (hold.kind === 'concurrency') return 0n;
    if (hold.kind === 'rate') return divideUp(this.#level(hold), BigInt(hold.windowMs));
    let used = 0n;
    for (const { counter, amount, raise } of this.#charges) {
      if (counter !== hold.counter) continue;
      if (!raise) used = used + amount > 0n ? used + amount : 0n;
      else if (amount > used) used = amount;
    }
    return used;
  }

  /**
   * What a bucket holds now, times its window: the most that any stretch of time up to now took in beyond what leaked
   * during it. (The same as emptying it step by step, and never below nothing.)
   */
  #level(hold: Hold & { kind: 'rate' }): bigint {
    const charges = this.#charges.filter(({ counter }) => counter === hold.counter);
    let most = 0n;
    for (const [from, first] of charges.entries()) {
      let taken = 0n;
      for (const { amount } of charges.slice(from)) taken += amount * BigInt(hold.windowMs);
      const left = taken - hold.limit * BigInt(this.#nowMs - first.atMs);
      if (left > most) most = left;
    }
    return most;
  }

  #refuse(hold: Hold, clockMs: number): Omit<Refused, 'admitted' | 'index'> | undefined {
    const used = this.#used(hold);
    const held = this.#held(hold.counter);
    if (hold.kind === 'concurrency') {
      return held < hold.limit ? undefined : { used, held, retryAfterMs: null };
    }
    if (hold.kind === 'quota') {
      if (this.#isOver(hold)) return { used: 0n, held: 0n, retryAfterMs: null };
      return used + held + hold.amount <= hold.limit ? undefined : { used, held, retryAfterMs: null };
    }
    const fits = (level: bigint) =>
      level + (held + hold.amount) * BigInt(hold.windowMs) <= hold.burst * BigInt(hold.windowMs);
    const level = this.#level(hold);
    if (fits(level)) return undefined;
    if (!fits(0n)) return { used, held, retryAfterMs: null };
    const over = level + (held + hold.amount - hold.burst) * BigInt(hold.windowMs);
    return { used, held, retryAfterMs: Number(divideUp(over, hold.limit)) + this.#nowMs - clockMs };
  }
}

function divideUp(a: bigint, b: bigint): bigint {
  return a / b + (a % b === 0n ? 0n : 1n);
}
