import type {
  CounterState,
  Crossing,
  Debt,
  Hold,
  HoldState,
  LivePlace,
  LiveReservation,
  Reservation,
  ReserveAnswer,
  Seed,
  SettleAnswer,
} from '#proxy/limits/counters.ts';

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
  /** What it holds, or was charged when its lease ended. */
  amounts: bigint[];
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
  /** Counters whose whole count is here, and series with the time since when theirs are. */
  readonly #known = new Set<string>();
  readonly #since = new Map<string, number>();
  readonly #warned = new Map<string, bigint>();
  readonly #debts = new Set<string>();

  reserve(reservation: Reservation, clockMs: number): ReserveAnswer {
    this.#pass(clockMs);
    if (this.#find(reservation.id)) return this.#asItIs(reservation, true);
    return this.#admit(
      reservation,
      reservation.holds.map(({ amount }) => amount),
      clockMs,
    );
  }

  extend(reservation: Reservation, amounts: readonly bigint[], clockMs: number): ReserveAnswer {
    this.#pass(clockMs);
    const call = this.#find(reservation.id);
    if (call?.state === 'closed') return this.#asItIs(reservation, false);
    const wanted = reservation.holds.map((hold, i) => {
      const had = call?.amounts[i] ?? hold.amount;
      const asked = amounts[i] ?? 0n;
      return grows(hold) && asked > had ? asked : had;
    });
    if (!call) return this.#admit(reservation, wanted, clockMs);
    if (call.state === 'ended') {
      for (const [i, hold] of reservation.holds.entries()) {
        if (hold.kind === 'quota') this.#charge(hold, -(call.amounts[i] ?? 0n));
      }
    }
    call.state = 'live';
    call.untilMs = this.#nowMs + reservation.leaseMs;
    const states = reservation.holds.map((hold, i): HoldState => {
      const more = (wanted[i] ?? 0n) - (call.amounts[i] ?? 0n);
      const state = this.#fit(hold, more, clockMs);
      return more === 0n ? { ...state, fits: true, waitMs: 0 } : state;
    });
    const admitted = states.every(({ fits }, i) => fits || reservation.holds[i]?.soft);
    if (!admitted) return { admitted, states, crossed: [], unknown: [] };
    const raised = reservation.holds.map((_, i) => wanted[i] !== call.amounts[i]);
    call.amounts = wanted;
    const crossed = reservation.holds.flatMap((hold, i) => (raised[i] ? this.#cross(hold, i) : []));
    return { admitted, states: this.#after(reservation, states), crossed, unknown: [] };
  }

  settle(reservation: Reservation, used: readonly bigint[], clockMs: number): SettleAnswer {
    this.#pass(clockMs);
    const call = this.#find(reservation.id);
    if (call?.state === 'closed') return { settled: false, crossed: [], over: [] };
    const crossed: Crossing[] = [];
    const over: number[] = [];
    this.#close(reservation);
    for (const [i, hold] of reservation.holds.entries()) {
      const amount = used[i] ?? 0n;
      const charged = call?.state === 'ended' ? (call.amounts[i] ?? 0n) : 0n;
      if (hold.kind === 'concurrency' || this.#isOver(hold)) continue;
      if (hold.kind === 'quota') this.#charge(hold, amount - charged);
      else if (hold.counted === 'settlement') this.#charge(hold, amount);
      else if (!call) this.#charge(hold, hold.amount);
      else continue;
      crossed.push(...this.#cross(hold, i));
      if (hold.soft || !this.#isInDebt(hold)) continue;
      over.push(i);
      this.#debts.add(hold.counter);
    }
    return { settled: true, crossed, over };
  }

  release(reservation: Reservation, clockMs: number): void {
    this.#pass(clockMs);
    const call = this.#find(reservation.id);
    if (call?.state === 'closed') return;
    if (call?.state === 'ended') {
      for (const [i, hold] of call.reservation.holds.entries()) {
        if (hold.kind === 'quota') this.#charge(hold, -(call.amounts[i] ?? 0n));
      }
    }
    this.#close(reservation);
  }

  seed(hold: Hold, { used, series }: Seed, clockMs: number): void {
    this.#pass(clockMs);
    if (series && !this.#since.has(series.name)) this.#since.set(series.name, this.#nowMs);
    if (this.#isOver(hold)) return;
    this.#known.add(hold.counter);
    this.#charges.push({ counter: hold.counter, hold, amount: used, atMs: this.#nowMs, raise: true });
  }

  read(hold: Hold, clockMs: number): CounterState {
    this.#pass(clockMs);
    return this.#stand(hold);
  }

  listLive(after: LivePlace | null, max: number, clockMs: number): LiveReservation[] {
    this.#pass(clockMs);
    const text = (id: string, untilMs: number) => `${String(untilMs).padStart(16, '0')} ${id}`;
    return this.#calls
      .filter(({ state }) => state === 'live')
      .map(({ reservation: { id, holds }, untilMs, amounts }) => ({
        id,
        untilMs,
        holds: holds.map(({ counter }, i) => ({ counter, amount: amounts[i] ?? 0n })),
      }))
      .filter(({ id, untilMs }) => !after || text(id, untilMs) > text(after.id, after.untilMs))
      .sort((a, b) => (text(a.id, a.untilMs) < text(b.id, b.untilMs) ? -1 : 1))
      .slice(0, max);
  }

  /** `world`: a hold of each counter. */
  listDebts(world: readonly Hold[], after: string, max: number, clockMs: number): Debt[] {
    this.#pass(clockMs);
    return world
      .filter((hold) => this.#debts.has(hold.counter) && hold.counter > after && this.#isInDebt(hold))
      .map((hold) => ({ counter: hold.counter, limit: limitOf(hold), used: this.#stand(hold).used }))
      .sort((a, b) => (a.counter < b.counter ? -1 : 1))
      .slice(0, max);
  }

  #admit(reservation: Reservation, amounts: bigint[], clockMs: number): ReserveAnswer {
    const { holds } = reservation;
    const states = holds.map((hold, i) => this.#fit(hold, amounts[i] ?? 0n, clockMs));
    const unknown = holds.flatMap((hold, i) => (this.#isKnown(hold) ? [] : [i]));
    const admitted = unknown.length === 0 && states.every(({ fits }, i) => fits || holds[i]?.soft);
    if (!admitted) return { admitted, states, crossed: [], unknown };
    this.#calls = this.#calls.filter((call) => call.reservation.id !== reservation.id);
    this.#calls.push({ reservation, state: 'live', untilMs: this.#nowMs + reservation.leaseMs, amounts });
    for (const hold of holds) {
      if (hold.kind === 'rate' && hold.counted === 'admission') this.#charge(hold, hold.amount);
      if (hold.kind === 'quota' && !this.#isOver(hold)) this.#known.add(hold.counter);
    }
    const crossed = holds.flatMap((hold, i) => this.#cross(hold, i));
    return { admitted, states: this.#after(reservation, states), crossed, unknown };
  }

  #asItIs({ holds }: Reservation, admitted: boolean): ReserveAnswer {
    const states = holds.map((hold) => ({ ...this.#stand(hold), fits: true, waitMs: 0 }));
    return { admitted, states, crossed: [], unknown: [] };
  }

  #after({ holds }: Reservation, before: readonly HoldState[]): HoldState[] {
    return holds.map((hold, i) => ({ ...(before[i] as HoldState), ...this.#stand(hold) }));
  }

  #stand(hold: Hold): CounterState {
    return this.#isOver(hold) ? { used: 0n, held: 0n } : { used: this.#used(hold), held: this.#held(hold.counter) };
  }

  #isKnown(hold: Hold): boolean {
    if (hold.kind !== 'quota' || !hold.series || this.#known.has(hold.counter) || this.#isOver(hold)) return true;
    return (this.#since.get(hold.series.name) ?? Number.POSITIVE_INFINITY) <= hold.series.startMs;
  }

  #isInDebt(hold: Hold): boolean {
    if (this.#isOver(hold)) return false;
    if (hold.kind === 'rate') return this.#level(hold) > hold.burst * BigInt(hold.windowMs);
    return hold.kind === 'quota' && this.#used(hold) > hold.limit;
  }

  #cross(hold: Hold, index: number): Crossing[] {
    if (hold.kind !== 'quota' || this.#isOver(hold)) return [];
    const used = this.#used(hold);
    const before = this.#warned.get(hold.counter) ?? 0n;
    const reached = (hold.warnAt ?? []).filter((threshold) => threshold > before && threshold <= used);
    const last = reached.at(-1);
    if (last !== undefined) this.#warned.set(hold.counter, last);
    return reached.map((threshold) => ({ index, threshold }));
  }

  /** Time is the latest that any clock has said. Leases end. */
  #pass(clockMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, clockMs);
    for (const call of this.#calls) {
      if (call.state !== 'live' || call.untilMs > this.#nowMs) continue;
      call.state = 'ended';
      call.untilMs = this.#nowMs + 7 * 24 * HOUR_MS;
      for (const [i, hold] of call.reservation.holds.entries()) {
        if (hold.kind === 'quota') this.#charge(hold, call.amounts[i] ?? 0n);
      }
    }
  }

  #find(id: string): Known | undefined {
    return this.#calls.find(
      (call) => call.reservation.id === id && (call.state === 'live' || call.untilMs > this.#nowMs),
    );
  }

  #close(reservation: Reservation): void {
    this.#calls = this.#calls.filter((call) => call.reservation.id !== reservation.id);
    this.#calls.push({ reservation, state: 'closed', untilMs: this.#nowMs + HOUR_MS, amounts: [] });
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
    for (const { state, reservation, amounts } of this.#calls) {
      for (const [i, hold] of state === 'live' ? reservation.holds.entries() : []) {
        if (hold.counter !== counter || (hold.kind === 'rate' && hold.counted === 'admission')) continue;
        held += amounts[i] ?? 0n;
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

  #fit(hold: Hold, amount: bigint, clockMs: number): HoldState {
    const { used, held } = this.#stand(hold);
    const state = (fits: boolean, waitMs: number | null = fits ? 0 : null) => ({ used, held, fits, waitMs });
    if (hold.kind === 'concurrency') return state(held + amount <= hold.limit);
    if (hold.kind === 'quota') return state(!this.#isOver(hold) && used + held + amount <= hold.limit);
    const fits = (level: bigint) =>
      level + (held + amount) * BigInt(hold.windowMs) <= hold.burst * BigInt(hold.windowMs);
    const level = this.#level(hold);
    if (fits(level)) return state(true);
    if (!fits(0n)) return state(false);
    const over = level + (held + amount - hold.burst) * BigInt(hold.windowMs);
    return state(false, Number(divideUp(over, hold.limit)) + this.#nowMs - clockMs);
  }
}

function grows(hold: Hold): boolean {
  return hold.kind === 'quota' || (hold.kind === 'rate' && hold.counted === 'settlement');
}

function limitOf(hold: Hold): bigint {
  return hold.kind === 'rate' ? hold.burst : hold.limit;
}

function divideUp(a: bigint, b: bigint): bigint {
  return a / b + (a % b === 0n ? 0n : 1n);
}
