import {
  COUNTER_MAX,
  type CounterState,
  type Hold,
  type Refused,
  type Reservation,
  type ReserveAnswer,
} from './counters.ts';

/**
 * The rule of the limits, run by memory and by the Durable Object; lua/ says the same in Lua, and an oracle compares
 * all three. Whole numbers only. The store gives its state and its clock; nothing here waits, draws or looks anywhere.
 *
 * The clock may jump. Every decision is taken at the highest reading that was ever seen for the customer (`markMs`):
 * a clock that goes back refills no bucket twice, ends no lease twice and opens no period again.
 */
export interface LimitState {
  markMs: number;
  readonly counters: Table<Counter>;
  readonly calls: Table<Call>;
  /** At most `max` live calls with `untilMs <= nowMs`. */
  dueLeases(nowMs: number, max: number): readonly (readonly [id: string, call: LiveCall])[];
}

export interface Table<Value> {
  get(key: string): Value | undefined;
  set(key: string, value: Value): unknown;
}

export type Counter = RateCounter | ConcurrencyCounter | QuotaCounter;

export interface RateCounter {
  kind: 'rate';
  /** Settled amounts that have not leaked away, times `windowMs`: so a leak of `limit` per `windowMs` is whole per ms. */
  level: bigint;
  /** When `level` was right. */
  atMs: number;
  held: bigint;
  limit: bigint;
  windowMs: number;
}

export interface ConcurrencyCounter {
  kind: 'concurrency';
  held: bigint;
}

export interface QuotaCounter {
  kind: 'quota';
  used: bigint;
  held: bigint;
  expiresAtMs: number;
}

/** live: holds count until `untilMs`, the end of the lease. ended: by its lease. closed: settled or released. The latter two are remembered until `untilMs`. */
export type Call = LiveCall | { state: 'ended' | 'closed'; untilMs: number };

export interface LiveCall {
  state: 'live';
  untilMs: number;
  holds: readonly Hold[];
}

/** How long a settled or released id is known, so that it is not counted twice. */
export const CLOSED_KEPT_MS = 3_600_000;
/** How long a call whose lease ended can still be corrected: until its gateway's journal is back. */
export const ENDED_KEPT_MS = 7 * 86_400_000;
/** The longest lease: the longest call timeout that can be set (a day), and more than its margin. */
export const LEASE_MS_MAX = 25 * 3_600_000;
/** Leases that end in one step; the others stay held until the next one, which is never too generous. */
export const LEASES_PER_STEP = 64;

const ADMITTED: ReserveAnswer = { admitted: true };

export function reserve(state: LimitState, reservation: Reservation, clockMs: number): ReserveAnswer {
  const nowMs = advance(state, clockMs);
  if (findCall(state, reservation.id, nowMs)) return ADMITTED;
  const { holds } = reservation;
  for (let index = 0; index < holds.length; index++) {
    const hold = holds[index] as Hold;
    const refused = refuse(hold, state.counters.get(hold.counter), nowMs);
    if (!refused) continue;
    const { used, held, waitMs } = refused;
    // The store's clock must first come back to where time stood still.
    return {
      admitted: false,
      index,
      used,
      held,
      retryAfterMs: waitMs === null ? null : waitMs + nowMs - Math.floor(clockMs),
    };
  }
  for (const hold of holds) state.counters.set(hold.counter, admit(hold, state.counters.get(hold.counter), nowMs));
  state.calls.set(reservation.id, { state: 'live', untilMs: nowMs + reservation.leaseMs, holds });
  return ADMITTED;
}

export function settle(state: LimitState, reservation: Reservation, used: readonly bigint[], clockMs: number): boolean {
  const nowMs = advance(state, clockMs);
  const known = findCall(state, reservation.id, nowMs)?.state;
  if (known === 'closed') return false;
  for (let i = 0; i < reservation.holds.length; i++) {
    const hold = reservation.holds[i] as Hold;
    const amount = min(used[i] as bigint, COUNTER_MAX);
    const given = known === 'live' ? hold.amount : 0n;
    if (hold.kind === 'quota') change(state, hold, given, known === 'ended' ? amount - hold.amount : amount, nowMs);
    else if (hold.kind === 'concurrency') change(state, hold, given, 0n, nowMs);
    else if (hold.counted === 'settlement') change(state, hold, given, amount, nowMs);
    else if (known === undefined) change(state, hold, 0n, hold.amount, nowMs);
  }
  state.calls.set(reservation.id, { state: 'closed', untilMs: nowMs + CLOSED_KEPT_MS });
  return true;
}

export function release(state: LimitState, reservation: Reservation, clockMs: number): void {
  const nowMs = advance(state, clockMs);
  const known = findCall(state, reservation.id, nowMs)?.state;
  if (known === 'closed') return;
  for (const hold of reservation.holds) {
    if (known === 'live' && !countsAtAdmission(hold)) change(state, hold, hold.amount, 0n, nowMs);
    if (known === 'ended' && hold.kind === 'quota') change(state, hold, 0n, -hold.amount, nowMs);
  }
  state.calls.set(reservation.id, { state: 'closed', untilMs: nowMs + CLOSED_KEPT_MS });
}

export function seed(state: LimitState, name: string, used: bigint, expiresAtMs: number, clockMs: number): void {
  const nowMs = advance(state, clockMs);
  const counter = quotaOf(state.counters.get(name), expiresAtMs);
  if (counter.expiresAtMs <= nowMs || counter.used >= used) return;
  state.counters.set(name, { ...counter, used: min(used, COUNTER_MAX) });
}

export function read(state: LimitState, name: string, clockMs: number): CounterState {
  const nowMs = advance(state, clockMs);
  const counter = state.counters.get(name);
  if (!counter || isSpent(counter, nowMs)) return { used: 0n, held: 0n };
  if (counter.kind === 'rate')
    return { used: unitsOf(leaked(counter, counter.limit, nowMs), counter.windowMs), held: counter.held };
  return { used: counter.kind === 'quota' ? counter.used : 0n, held: counter.held };
}

/** True when a counter says no more than its absence: the store may forget it. */
export function isSpent(counter: Counter, nowMs: number): boolean {
  if (counter.kind === 'quota') return counter.expiresAtMs <= nowMs;
  return counter.held === 0n && (counter.kind === 'concurrency' || leaked(counter, counter.limit, nowMs) === 0n);
}

/** Time passes: the clock's mark, and the leases that have ended by then. Part of every step. */
export function advance(state: LimitState, clockMs: number): number {
  const nowMs = Math.max(Math.floor(clockMs), state.markMs);
  state.markMs = nowMs;
  for (const [id, call] of state.dueLeases(nowMs, LEASES_PER_STEP)) {
    for (const hold of call.holds) {
      // What a dead gateway's call cost is not known: a quota is charged with the worst case until it is.
      if (!countsAtAdmission(hold)) change(state, hold, hold.amount, hold.kind === 'quota' ? hold.amount : 0n, nowMs);
    }
    state.calls.set(id, { state: 'ended', untilMs: nowMs + ENDED_KEPT_MS });
  }
  return nowMs;
}

/** A bug in the caller, not a refusal: thrown before anything is decided. */
export function assertReservation({ id, leaseMs, holds }: Reservation): void {
  if (id === '') throw new RangeError('a reservation needs an id');
  if (!Number.isSafeInteger(leaseMs) || leaseMs <= 0 || leaseMs > LEASE_MS_MAX)
    throw new RangeError(`lease ${leaseMs}`);
  for (let i = 0; i < holds.length; i++) {
    const hold = holds[i] as Hold;
    let amountsCount = isCount(hold.amount) && isCount(hold.limit);
    if (hold.kind === 'rate') {
      if (!Number.isSafeInteger(hold.windowMs) || hold.windowMs <= 0) throw new RangeError(`window ${hold.windowMs}`);
      amountsCount &&= isCount(hold.burst) && isCount(hold.burst * BigInt(hold.windowMs));
    }
    if (hold.kind === 'quota' && !Number.isSafeInteger(hold.expiresAtMs))
      throw new RangeError(`end of ${hold.counter}`);
    if (!amountsCount) throw new RangeError(`amounts of ${hold.counter}`);
    for (let j = 0; j < i; j++) {
      if (holds[j]?.counter === hold.counter) throw new RangeError(`${hold.counter} is held twice`);
    }
  }
}

function isCount(amount: bigint): boolean {
  return amount >= 0n && amount <= COUNTER_MAX;
}

/** As above: one amount for each hold, none negative. What is too large is a provider's nonsense and counts as COUNTER_MAX. */
export function assertUsed({ holds }: Reservation, used: readonly bigint[]): void {
  if (used.length !== holds.length) throw new RangeError(`${used.length} amounts for ${holds.length} holds`);
  if (used.some((amount) => amount < 0n)) throw new RangeError('a negative amount was used');
}

function findCall(state: LimitState, id: string, nowMs: number): Call | undefined {
  const call = state.calls.get(id);
  return call && call.state !== 'live' && call.untilMs <= nowMs ? undefined : call;
}

interface Figures extends Pick<Refused, 'used' | 'held'> {
  waitMs: number | null;
}

/** Why a hold does not fit; undefined when it does. */
function refuse(hold: Hold, counter: Counter | undefined, nowMs: number): Figures | undefined {
  if (hold.kind === 'concurrency') {
    const held = concurrencyOf(counter).held;
    return held + hold.amount <= hold.limit ? undefined : { used: 0n, held, waitMs: null };
  }
  if (hold.kind === 'quota') {
    const { used, held, expiresAtMs } = quotaOf(counter, hold.expiresAtMs);
    if (expiresAtMs <= nowMs) return { used: 0n, held: 0n, waitMs: null };
    return used + held + hold.amount <= hold.limit ? undefined : { used, held, waitMs: null };
  }
  const bucket = rateOf(counter, hold, nowMs);
  const level = leaked(bucket, hold.limit, nowMs);
  const free = (hold.burst - bucket.held - hold.amount) * BigInt(hold.windowMs);
  if (free >= level) return undefined;
  // Time helps only where emptying the bucket would be enough.
  const waitMs = free < 0n || hold.limit === 0n ? null : Number(ceilDivide(level - free, hold.limit));
  return { used: unitsOf(level, hold.windowMs), held: bucket.held, waitMs };
}

function admit(hold: Hold, counter: Counter | undefined, nowMs: number): Counter {
  if (hold.kind === 'concurrency') return { kind: 'concurrency', held: concurrencyOf(counter).held + hold.amount };
  if (hold.kind === 'quota') {
    const { used, held, expiresAtMs } = quotaOf(counter, hold.expiresAtMs);
    return { kind: 'quota', used, held: held + hold.amount, expiresAtMs };
  }
  const { limit, windowMs } = hold;
  const bucket = rateOf(counter, hold, nowMs);
  const level = leaked(bucket, limit, nowMs);
  return hold.counted === 'admission'
    ? { kind: 'rate', level: level + hold.amount * BigInt(windowMs), atMs: nowMs, held: bucket.held, limit, windowMs }
    : { kind: 'rate', level, atMs: nowMs, held: bucket.held + hold.amount, limit, windowMs };
}

/** Takes `given` out of what is held and adds `charge` to what is used. A quota that has ended takes no more entries. */
function change(state: LimitState, hold: Hold, given: bigint, charge: bigint, nowMs: number): void {
  const counter = state.counters.get(hold.counter);
  if (hold.kind === 'concurrency') {
    const { held } = concurrencyOf(counter);
    if (given !== 0n) state.counters.set(hold.counter, { kind: 'concurrency', held: less(held, given) });
  } else if (hold.kind === 'quota') {
    const { used, held, expiresAtMs } = quotaOf(counter, hold.expiresAtMs);
    if (expiresAtMs <= nowMs) return;
    const sum = charge < 0n ? less(used, -charge) : min(used + charge, COUNTER_MAX);
    state.counters.set(hold.counter, { kind: 'quota', used: sum, held: less(held, given), expiresAtMs });
  } else {
    const bucket = rateOf(counter, hold, nowMs);
    const level = min(leaked(bucket, bucket.limit, nowMs) + charge * BigInt(bucket.windowMs), COUNTER_MAX);
    state.counters.set(hold.counter, { ...bucket, level, atMs: nowMs, held: less(bucket.held, given) });
  }
}

function countsAtAdmission(hold: Hold): boolean {
  return hold.kind === 'rate' && hold.counted === 'admission';
}

function concurrencyOf(counter: Counter | undefined): ConcurrencyCounter {
  if (counter && counter.kind !== 'concurrency') throw new RangeError(`a ${counter.kind} counter as concurrency`);
  return counter ?? { kind: 'concurrency', held: 0n };
}

/** A period that is moved (another time zone) ends when the later of the two ends: it is never counted afresh. */
function quotaOf(counter: Counter | undefined, expiresAtMs: number): QuotaCounter {
  if (!counter) return { kind: 'quota', used: 0n, held: 0n, expiresAtMs };
  if (counter.kind !== 'quota') throw new RangeError(`a ${counter.kind} counter as quota`);
  return counter.expiresAtMs >= expiresAtMs ? counter : { ...counter, expiresAtMs };
}

function rateOf(counter: Counter | undefined, hold: Hold & { kind: 'rate' }, nowMs: number): RateCounter {
  const { limit, windowMs } = hold;
  if (!counter) return { kind: 'rate', level: 0n, atMs: nowMs, held: 0n, limit, windowMs };
  if (counter.kind !== 'rate') throw new RangeError(`a ${counter.kind} counter as rate`);
  if (counter.windowMs !== windowMs) throw new RangeError(`a window of ${counter.windowMs} ms as ${windowMs} ms`);
  return counter;
}

/** The level at an instant, leaked by `limit` per window since it was right. */
function leaked(bucket: RateCounter, limit: bigint, nowMs: number): bigint {
  if (bucket.level === 0n || nowMs <= bucket.atMs) return bucket.level;
  return less(bucket.level, limit * BigInt(nowMs - bucket.atMs));
}

/** Whole units of a level, rounded up: never less than what really counts. */
function unitsOf(level: bigint, windowMs: number): bigint {
  return ceilDivide(level, BigInt(windowMs));
}

function ceilDivide(a: bigint, b: bigint): bigint {
  return (a + b - 1n) / b;
}

function less(from: bigint, amount: bigint): bigint {
  return amount >= from ? 0n : from - amount;
}

export function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
