import { admit, type Counter, change, debtOf, fitOf, isOver, min, quotaOf, stateOf } from './counter.ts';
import {
  COUNTER_MAX,
  type CounterState,
  type Crossing,
  type Debt,
  type Hold,
  type HoldState,
  type LivePlace,
  type LiveReservation,
  type Reservation,
  type ReserveAnswer,
  type Seed,
  type SettleAnswer,
} from './counters.ts';
import {
  type Call,
  CLOSED_KEPT_MS,
  ENDED_KEPT_MS,
  type HoldingCall,
  LEASES_PER_STEP,
  type LimitState,
} from './limit-state.ts';

/**
 * The rule of the limits, run by memory and by the Durable Object; lua/ says the same in Lua, and an oracle compares
 * all three. Whole numbers only. The store gives its state and its clock; nothing here waits, draws or looks anywhere.
 *
 * The clock may jump. Every decision is taken at the highest reading that was ever seen for the customer (`markMs`):
 * a clock that goes back refills no bucket twice, ends no lease twice and opens no period again.
 */

const NONE: readonly never[] = [];
const NOTHING_TO_SAY = { crossed: NONE, unknown: NONE };
const SETTLED: SettleAnswer = { settled: true, crossed: NONE, over: NONE };
const NOT_SETTLED: SettleAnswer = { settled: false, crossed: NONE, over: NONE };

export function reserve(state: LimitState, reservation: Reservation, clockMs: number): ReserveAnswer {
  const nowMs = advance(state, clockMs);
  const { id, holds } = reservation;
  if (findCall(state, id, nowMs)) return { admitted: true, states: statesOf(state, holds, nowMs), ...NOTHING_TO_SAY };
  return hold(state, reservation, undefined, undefined, nowMs, clockMs);
}

export function extend(
  state: LimitState,
  reservation: Reservation,
  amounts: readonly bigint[],
  clockMs: number,
): ReserveAnswer {
  const nowMs = advance(state, clockMs);
  const { id, holds, leaseMs } = reservation;
  const call = findCall(state, id, nowMs);
  if (call?.state === 'closed') return { admitted: false, states: statesOf(state, holds, nowMs), ...NOTHING_TO_SAY };
  if (!call) {
    const wanted = holds.map((hold, i) => (canGrow(hold) ? max(hold.amount, amounts[i] as bigint) : hold.amount));
    return hold(state, reservation, wanted, undefined, nowMs, clockMs);
  }
  if (call.state === 'ended') revive(state, call, nowMs);
  // Renewed first: a call that is refused more is in flight all the same.
  const live: HoldingCall = { state: 'live', untilMs: nowMs + leaseMs, holds: call.holds };
  state.calls.set(id, live);
  const more = live.holds.map((held, i) => (canGrow(held) ? max(0n, (amounts[i] as bigint) - held.amount) : 0n));
  return hold(state, reservation, more, live, nowMs, clockMs);
}

/** Holds the amounts (those of the holds where none are given), all or none, on top of what the call holds already. */
function hold(
  state: LimitState,
  { id, holds, leaseMs }: Reservation,
  amounts: readonly bigint[] | undefined,
  live: HoldingCall | undefined,
  nowMs: number,
  clockMs: number,
): ReserveAnswer {
  const states = new Array<HoldState>(holds.length);
  let unknown: number[] | undefined;
  let admitted = true;
  for (let i = 0; i < holds.length; i++) {
    const hold = holds[i] as Hold;
    const amount = amounts ? (amounts[i] as bigint) : hold.amount;
    const counter = state.counters.get(hold.counter);
    const fitting = fitOf(hold, amount, counter, nowMs);
    states[i] = fitting;
    if (live && amount === 0n) {
      fitting.fits = true;
      fitting.waitMs = 0;
    } else if (!fitting.fits) {
      // The store's clock must first come back to where time stood still.
      if (fitting.waitMs !== null) fitting.waitMs += nowMs - Math.floor(clockMs);
      admitted &&= hold.soft === true;
    }
    if (!live && !isKnown(state, hold, counter, nowMs)) unknown = [...(unknown ?? []), i];
  }
  if (!admitted || unknown) return { admitted: false, states, crossed: NONE, unknown: unknown ?? NONE };

  let crossed: Crossing[] | undefined;
  let kept: Hold[] | undefined;
  for (let i = 0; i < holds.length; i++) {
    const hold = holds[i] as Hold;
    const amount = amounts ? (amounts[i] as bigint) : hold.amount;
    if (live && amount === 0n) continue;
    const entry = admit(hold, amount, state.counters.get(hold.counter), nowMs);
    // A quota that has ended holds nothing.
    const more = entry ? entry[1] : 0n;
    const before = live?.holds[i];
    const total = before ? before.amount + more : more;
    if (before ? more > 0n : total !== hold.amount) {
      kept ??= [...(live?.holds ?? holds)];
      kept[i] = { ...(before ?? hold), amount: total } as Hold;
    }
    if (!entry) continue;
    const [counter] = entry;
    crossed = warn(hold, i, counter, crossed);
    state.counters.set(hold.counter, counter);
    const stands = states[i] as HoldState;
    if (countsAtAdmission(hold)) stands.used += amount;
    else stands.held += more;
  }
  const held = kept ?? live?.holds ?? holds;
  state.calls.set(id, { state: 'live', untilMs: nowMs + leaseMs, holds: held });
  return { admitted: true, states, crossed: crossed ?? NONE, unknown: NONE };
}

/** A call whose lease ended is in flight after all: it holds again what it held, and the charge is taken back. */
function revive(state: LimitState, { holds }: HoldingCall, nowMs: number): void {
  for (const hold of holds) {
    if (countsAtAdmission(hold)) continue;
    apply(state, hold, -hold.amount, hold.kind === 'quota' ? -hold.amount : 0n, nowMs);
  }
}

export function settle(
  state: LimitState,
  { id, holds }: Reservation,
  used: readonly bigint[],
  clockMs: number,
): SettleAnswer {
  const nowMs = advance(state, clockMs);
  const call = findCall(state, id, nowMs);
  if (call?.state === 'closed') return NOT_SETTLED;
  let crossed: Crossing[] | undefined;
  let over: number[] | undefined;
  for (let i = 0; i < holds.length; i++) {
    const hold = holds[i] as Hold;
    const held = call?.holds[i]?.amount ?? 0n;
    let charge = hold.kind === 'concurrency' ? 0n : min(used[i] as bigint, COUNTER_MAX);
    if (countsAtAdmission(hold)) {
      if (call) continue;
      charge = hold.amount;
    }
    // The end of its lease has charged a quota with what was held: correct it.
    if (hold.kind === 'quota' && call?.state === 'ended') charge -= held;
    const given = call?.state === 'live' && !countsAtAdmission(hold) ? held : 0n;
    const counter = change(hold, given, charge, state.counters.get(hold.counter), nowMs);
    if (!counter) continue;
    crossed = warn(hold, i, counter, crossed);
    state.counters.set(hold.counter, counter);
    if (!hold.soft && isOver(counter)) {
      state.debts.add(hold.counter);
      over = [...(over ?? []), i];
    }
  }
  close(state, id, nowMs);
  return crossed || over ? { settled: true, crossed: crossed ?? NONE, over: over ?? NONE } : SETTLED;
}

export function release(state: LimitState, { id }: Reservation, clockMs: number): void {
  const nowMs = advance(state, clockMs);
  const call = findCall(state, id, nowMs);
  if (call?.state === 'closed') return;
  for (const hold of call?.holds ?? NONE) {
    if (countsAtAdmission(hold)) continue;
    if (call?.state === 'live') apply(state, hold, hold.amount, 0n, nowMs);
    else if (hold.kind === 'quota') apply(state, hold, 0n, -hold.amount, nowMs);
  }
  close(state, id, nowMs);
}

function close(state: LimitState, id: string, nowMs: number): void {
  state.calls.set(id, { state: 'closed', untilMs: nowMs + CLOSED_KEPT_MS });
}

export function seed(state: LimitState, { counter: name, used, expiresAtMs, series }: Seed, clockMs: number): void {
  const nowMs = advance(state, clockMs);
  if (series && state.since.get(series.name) === undefined) state.since.set(series.name, nowMs);
  const counter = quotaOf(state.counters.get(name), expiresAtMs, COUNTER_MAX, nowMs);
  if (counter.expiresAtMs <= nowMs) return;
  state.counters.set(name, { ...counter, used: max(counter.used, min(used, COUNTER_MAX)), seeded: true });
}

export function read(state: LimitState, name: string, clockMs: number): CounterState {
  const nowMs = advance(state, clockMs);
  return stateOf(state.counters.get(name), nowMs);
}

export function listLive(state: LimitState, after: LivePlace | null, max: number, clockMs: number): LiveReservation[] {
  advance(state, clockMs);
  return state.listLive(after, max).map(([id, { untilMs, holds }]) => ({
    id,
    untilMs,
    holds: holds.map(({ counter, amount }) => ({ counter, amount })),
  }));
}

/** Those that are paid by now are forgotten on the way. */
export function listDebts(state: LimitState, after: string, max: number, clockMs: number): Debt[] {
  const nowMs = advance(state, clockMs);
  const found: Debt[] = [];
  let place = after;
  for (;;) {
    const names = state.listDebts(place, max - found.length);
    for (const name of names) {
      const counter = state.counters.get(name);
      const debt = counter && debtOf(counter, nowMs);
      if (debt) found.push({ counter: name, ...debt });
      else state.debts.delete(name);
      place = name;
    }
    if (names.length === 0 || found.length === max) return found;
  }
}

/** Time passes: the clock's mark, and the leases that have ended by then. Part of every step. */
export function advance(state: LimitState, clockMs: number): number {
  const nowMs = Math.max(Math.floor(clockMs), state.markMs);
  state.markMs = nowMs;
  for (const [id, { holds }] of state.dueLeases(nowMs, LEASES_PER_STEP)) {
    for (const hold of holds) {
      // What a dead gateway's call cost is not known: a quota is charged with the worst case until it is.
      if (!countsAtAdmission(hold)) apply(state, hold, hold.amount, hold.kind === 'quota' ? hold.amount : 0n, nowMs);
    }
    state.calls.set(id, { state: 'ended', untilMs: nowMs + ENDED_KEPT_MS, holds });
  }
  return nowMs;
}

function apply(state: LimitState, hold: Hold, given: bigint, charge: bigint, nowMs: number): void {
  const counter = change(hold, given, charge, state.counters.get(hold.counter), nowMs);
  if (counter) state.counters.set(hold.counter, counter);
}

/** Thresholds that `used` has reached and nobody was told of; the counter remembers. */
function warn(hold: Hold, index: number, counter: Counter, before: Crossing[] | undefined): Crossing[] | undefined {
  if (hold.kind !== 'quota' || !hold.warnAt || counter.kind !== 'quota') return before;
  let crossed = before ?? [];
  for (const threshold of hold.warnAt) {
    if (threshold <= counter.warned || threshold > counter.used) continue;
    counter.warned = threshold;
    crossed = [...crossed, { index, threshold }];
  }
  return crossed.length === 0 ? before : crossed;
}

/**
 * Whether what a counter says is all that was used: it was seeded, or its period began after its series was known. Nothing
 * has to be known of one that has ended, which a store may have forgotten.
 */
function isKnown(state: LimitState, hold: Hold, counter: Counter | undefined, nowMs: number): boolean {
  if (hold.kind !== 'quota' || !hold.series) return true;
  const { seeded, expiresAtMs } = quotaOf(counter, hold.expiresAtMs, hold.limit, nowMs);
  if (seeded || expiresAtMs <= nowMs) return true;
  const sinceMs = state.since.get(hold.series.name);
  return sinceMs !== undefined && sinceMs <= hold.series.startMs;
}

function statesOf(state: LimitState, holds: readonly Hold[], nowMs: number): HoldState[] {
  return holds.map(({ counter }) => ({ ...stateOf(state.counters.get(counter), nowMs), fits: true, waitMs: 0 }));
}

function findCall(state: LimitState, id: string, nowMs: number): Call | undefined {
  const call = state.calls.get(id);
  return call && call.state !== 'live' && call.untilMs <= nowMs ? undefined : call;
}

function countsAtAdmission(hold: Hold): boolean {
  return hold.kind === 'rate' && hold.counted === 'admission';
}

/** What an extension can raise. */
function canGrow(hold: Hold): boolean {
  return hold.kind === 'quota' || (hold.kind === 'rate' && hold.counted === 'settlement');
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
