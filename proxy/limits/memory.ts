import type { Clock } from '#core/time.ts';
import { assertAmounts, assertReservation, assertUsed } from './assert.ts';
import { type Counter, isSpent } from './counter.ts';
import type {
  CounterState,
  CounterStore,
  Debt,
  LivePlace,
  LiveReservation,
  Reservation,
  ReserveAnswer,
  Seed,
  SettleAnswer,
} from './counters.ts';
import * as rule from './decide.ts';
import type { Call, HoldingCall, LimitState, Table } from './limit-state.ts';

/** Counters of one process. They answer at once: no promise on the request path. */
export interface MemoryCounters extends CounterStore {
  reserve(reservation: Reservation): ReserveAnswer;
  extend(reservation: Reservation, amounts: readonly bigint[]): ReserveAnswer;
  settle(reservation: Reservation, used: readonly bigint[], event?: string): SettleAnswer;
  release(reservation: Reservation): void;
  seed(customer: string, seed: Seed): boolean;
  read(customer: string, counter: string): CounterState;
  listLive(customer: string, after: LivePlace | null, max: number): LiveReservation[];
  listDebts(customer: string, after: string, max: number): Debt[];
  sweep(): number;
  /** How much is kept: customers, counters, live calls and remembered ones. */
  size(): { customers: number; counters: number; live: number; remembered: number };
}

/** Settled ids that are known at once, over all customers. Beyond it the oldest are forgotten early. */
export const REMEMBERED_MAX = 1_024;
/** Counters looked at per step on the round that forgets what says nothing any more. */
const SWEPT_PER_STEP = 16;

/**
 * Nothing survives the process: on start billing's sums are seeded and the journal settles what was open. There is no
 * event stream here; the journal keeps the event.
 */
export function memoryCounters({ clock }: { clock: Clock }): MemoryCounters {
  const customers = new Map<string, CustomerState>();
  const remembered = new Remembered();
  let round = customers.entries();
  let markMs = 0;

  function now(): number {
    const clockMs = clock();
    const nowMs = Math.floor(clockMs);
    if (nowMs > markMs) {
      markMs = nowMs;
      sweep();
    }
    return clockMs;
  }

  function stateOf(customer: string): CustomerState {
    let state = customers.get(customer);
    if (!state) {
      // The process has one clock: what it has seen for one customer holds for the next.
      state = new CustomerState(markMs, remembered);
      customers.set(customer, state);
    }
    return state;
  }

  /** Once a millisecond of steps, at one customer in turn: nothing piles up, no step is long, and most need not look. */
  function sweep(): void {
    let next = round.next();
    if (next.done) {
      round = customers.entries();
      next = round.next();
      if (next.done) return;
    }
    const [customer, state] = next.value;
    if (state.sweep(markMs)) customers.delete(customer);
  }

  return {
    reserve(reservation) {
      assertReservation(reservation);
      const clockMs = now();
      return rule.reserve(stateOf(reservation.customer), reservation, clockMs);
    },
    extend(reservation, amounts) {
      assertReservation(reservation);
      assertAmounts(reservation, amounts);
      const clockMs = now();
      return rule.extend(stateOf(reservation.customer), reservation, amounts, clockMs);
    },
    settle(reservation, used) {
      assertReservation(reservation);
      assertUsed(reservation, used);
      const clockMs = now();
      return rule.settle(stateOf(reservation.customer), reservation, used, clockMs);
    },
    release(reservation) {
      assertReservation(reservation);
      const clockMs = now();
      rule.release(stateOf(reservation.customer), reservation, clockMs);
    },
    seed(customer, seed) {
      const clockMs = now();
      rule.seed(stateOf(customer), seed, clockMs);
      return true;
    },
    read(customer, counter) {
      const clockMs = now();
      const state = customers.get(customer);
      return state ? rule.read(state, counter, clockMs) : { used: 0n, held: 0n };
    },
    listLive(customer, after, max) {
      const clockMs = now();
      const state = customers.get(customer);
      return state ? rule.listLive(state, after, max, clockMs) : [];
    },
    listDebts(customer, after, max) {
      const clockMs = now();
      const state = customers.get(customer);
      return state ? rule.listDebts(state, after, max, clockMs) : [];
    },
    // Whoever looks at a customer here ends its leases first, and steps look at every customer in turn.
    sweep: () => 0,
    size() {
      const size = { customers: customers.size, counters: 0, live: 0, remembered: 0 };
      for (const state of customers.values()) {
        size.counters += state.counters.size;
        const live = state.live().length;
        size.live += live;
        size.remembered += state.known.size - live;
      }
      return size;
    },
  };
}

class CustomerState implements LimitState {
  markMs: number;
  readonly counters = new Map<string, Counter>();
  readonly debts = new Set<string>();
  readonly since = new Map<string, number>();
  /** The live and the remembered in one: a call that ends changes its state, not its place. */
  readonly known = new Map<string, Call>();
  readonly calls: Table<Call>;
  /** No lease ends before. */
  #nextDueMs = Number.POSITIVE_INFINITY;
  /** Everything that is remembered may be forgotten from then on. */
  #doneUntilMs = 0;
  #round: Iterator<[string, Counter]> = this.counters.entries();

  constructor(markMs: number, remembered: Remembered) {
    this.markMs = markMs;
    this.calls = {
      get: (id) => this.known.get(id),
      set: (id, call) => {
        this.known.set(id, call);
        if (call.state === 'live') {
          this.#nextDueMs = Math.min(this.#nextDueMs, call.untilMs);
          return;
        }
        this.#doneUntilMs = Math.max(this.#doneUntilMs, call.untilMs);
        remembered.add(this.known, id);
      },
    };
  }

  live(): [string, HoldingCall][] {
    const live: [string, HoldingCall][] = [];
    for (const [id, call] of this.known) if (call.state === 'live') live.push([id, call]);
    return live;
  }

  /** Leases are longer than calls, so the look at every live call is rare: at most once per end of a lease that was open at the last one. */
  dueLeases(nowMs: number, max: number): [string, HoldingCall][] {
    const due: [string, HoldingCall][] = [];
    if (nowMs < this.#nextDueMs) return due;
    let next = Number.POSITIVE_INFINITY;
    for (const entry of this.live()) {
      if (entry[1].untilMs > nowMs || due.length === max) next = Math.min(next, entry[1].untilMs);
      else due.push(entry);
    }
    this.#nextDueMs = next;
    return due;
  }

  listLive(after: LivePlace | null, max: number): [string, HoldingCall][] {
    const behind = this.live().filter(([id, { untilMs }]) => !after || order({ id, untilMs }, after) > 0);
    behind.sort(([a, { untilMs: from }], [b, { untilMs: to }]) =>
      order({ id: a, untilMs: from }, { id: b, untilMs: to }),
    );
    return behind.slice(0, max);
  }

  listDebts(after: string, max: number): string[] {
    return [...this.debts]
      .filter((name) => name > after)
      .sort()
      .slice(0, max);
  }

  /** Forgets some of what says nothing any more. True when nothing is left. */
  sweep(nowMs: number): boolean {
    rule.advance(this, nowMs);
    for (let i = 0; i < SWEPT_PER_STEP; i++) {
      const next = this.#round.next();
      if (next.done) {
        this.#round = this.counters.entries();
        break;
      }
      if (!isSpent(next.value[1], nowMs)) continue;
      this.counters.delete(next.value[0]);
      this.debts.delete(next.value[0]);
    }
    return this.counters.size === 0 && this.#doneUntilMs <= nowMs && this.live().length === 0;
  }
}

function order(a: LivePlace, b: LivePlace): number {
  return a.untilMs - b.untilMs || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/** The ids of the last calls that were settled, of all customers, in a ring: a bound without a timer. */
class Remembered {
  readonly #ring: { known: Map<string, Call>; id: string }[] = [];
  #next = 0;

  add(known: Map<string, Call>, id: string): void {
    const oldest = this.#ring[this.#next];
    if (oldest) {
      // One whose lease had ended may be live again.
      if (oldest.known.get(oldest.id)?.state !== 'live') oldest.known.delete(oldest.id);
      oldest.known = known;
      oldest.id = id;
    } else {
      this.#ring.push({ known, id });
    }
    this.#next = (this.#next + 1) % REMEMBERED_MAX;
  }
}
