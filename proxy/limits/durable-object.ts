import { DurableObject } from 'cloudflare:workers';
import type { DurableObjectState as ObjectContext } from '@cloudflare/workers-types';
import { Fault } from '#core/fault.ts';
import { limitWarning } from '#core/limit-warning.ts';
import type { Log } from '#core/log.ts';
import { assertAmounts, assertReservation, assertUsed } from './assert.ts';
import type {
  CounterState,
  CounterStore,
  Crossing,
  Debt,
  LivePlace,
  LiveReservation,
  Reservation,
  ReserveAnswer,
  Seed,
  SettleAnswer,
} from './counters.ts';
import * as rule from './decide.ts';
import { EventOutbox, type EventQueue } from './durable-object-outbox.ts';
import { DurableObjectState } from './durable-object-state.ts';

export interface CustomerCountersEnv {
  /** Where the events of settled calls go. */
  EVENTS: EventQueue;
}

/** How soon the queue is tried again when it did not take an event. */
const RESEND_MS = 10_000;
/** How often an idle object looks whether its quotas are over. */
const CLEAN_MS = 86_400_000;

interface Kept {
  state: DurableObjectState;
  outbox: EventOutbox;
}

/**
 * The counters of one customer, and the events of its calls until the queue has them. One object per customer decides
 * over all its limits in one step: a transaction of its own SQLite database, which is durable before the answer leaves.
 *
 * It also stands in for the journal: `open` leaves the event that counts should the worker die, and the end of the lease
 * settles and emits it.
 */
export abstract class CustomerCounters extends DurableObject<CustomerCountersEnv> {
  /** Undefined until it is needed: an object that keeps nothing takes no storage. */
  #kept: Kept | undefined;
  /** When the next alarm rings; infinitely far where none is set. */
  #alarmMs = Number.POSITIVE_INFINITY;

  constructor(ctx: ObjectContext, env: CustomerCountersEnv) {
    super(ctx, env);
    ctx.blockConcurrencyWhile(async () => {
      this.#alarmMs = (await ctx.storage.getAlarm()) ?? Number.POSITIVE_INFINITY;
    });
  }

  /** What the main hands in; the runtime makes the object itself. */
  protected abstract readonly log: Log;

  /** The store's own clock. */
  protected now(): number {
    return Date.now();
  }

  reserve(reservation: Reservation): ReserveAnswer {
    return this.#step((kept, nowMs) => told(kept, reservation, rule.reserve(kept.state, reservation, nowMs), nowMs));
  }

  extend(reservation: Reservation, amounts: readonly bigint[]): ReserveAnswer {
    return this.#step((kept, nowMs) => {
      kept.outbox.renew(reservation.id, nowMs + reservation.leaseMs);
      return told(kept, reservation, rule.extend(kept.state, reservation, amounts, nowMs), nowMs);
    });
  }

  /** What to settle and to emit should nobody settle the call before its lease ends. */
  open(reservation: Reservation, used: readonly bigint[], event: string): void {
    this.#step(({ state, outbox }, nowMs) => {
      if (state.calls.get(reservation.id)?.state === 'closed') return;
      outbox.open(reservation, used, event, nowMs + reservation.leaseMs);
    });
  }

  settle(reservation: Reservation, used: readonly bigint[], event = ''): SettleAnswer {
    return this.#step((kept, nowMs) => settle(kept, reservation, used, event, nowMs));
  }

  release(reservation: Reservation): void {
    this.#step(({ state, outbox }, nowMs) => {
      rule.release(state, reservation, nowMs);
      outbox.close(reservation.id);
    });
  }

  seed(seed: Seed): void {
    this.#step(({ state }, nowMs) => rule.seed(state, seed, nowMs));
  }

  read(counter: string): CounterState {
    return this.#step(({ state }, nowMs) => rule.read(state, counter, nowMs));
  }

  listLive(after: LivePlace | null, max: number): LiveReservation[] {
    return this.#step(({ state }, nowMs) => rule.listLive(state, after, max, nowMs));
  }

  listDebts(after: string, max: number): Debt[] {
    return this.#step(({ state }, nowMs) => rule.listDebts(state, after, max, nowMs));
  }

  /** Leases end, events are sent, and what says nothing any more is forgotten, also when no call comes. */
  override async alarm(): Promise<void> {
    this.#alarmMs = Number.POSITIVE_INFINITY;
    const { state, outbox } = this.#step((kept, nowMs) => {
      rule.advance(kept.state, nowMs);
      kept.state.forgetCounters(nowMs);
      return kept;
    });
    await outbox.send();
    if (!state.isEmpty() || outbox.nextDueMs() !== undefined || outbox.waiting) return;
    this.#kept = undefined;
    this.#alarmMs = Number.POSITIVE_INFINITY;
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }

  /** One transaction: all of it or nothing. */
  #step<Answer>(decide: (kept: Kept, nowMs: number) => Answer): Answer {
    const { storage } = this.ctx;
    this.#kept ??= {
      state: new DurableObjectState(storage),
      outbox: new EventOutbox(storage, this.env.EVENTS, this.log),
    };
    const kept = this.#kept;
    const nowMs = this.now();
    const answer = storage.transactionSync(() => {
      for (const { reservation, used, event } of kept.outbox.due(nowMs)) settle(kept, reservation, used, event, nowMs);
      const decided = decide(kept, nowMs);
      kept.state.forget(nowMs);
      return decided;
    });
    if (kept.outbox.waiting) this.ctx.waitUntil(kept.outbox.send());
    this.#setAlarm(kept, nowMs);
    return answer;
  }

  #setAlarm({ state, outbox }: Kept, nowMs: number): void {
    const dueMs = Math.min(
      outbox.waiting ? nowMs + RESEND_MS : Number.POSITIVE_INFINITY,
      outbox.nextDueMs() ?? Number.POSITIVE_INFINITY,
      state.nextDueMs() ?? nowMs + CLEAN_MS,
    );
    if (dueMs >= this.#alarmMs) return;
    this.#alarmMs = dueMs;
    // Not awaited: the runtime holds the answer back until this is durable too.
    void this.ctx.storage.setAlarm(dueMs);
  }
}

/** Each threshold that was reached is an event, in the step that reached it. */
function told<Answer extends { readonly crossed: readonly Crossing[] }>(
  { outbox }: Kept,
  { customer, holds }: Reservation,
  answer: Answer,
  nowMs: number,
): Answer {
  for (const { index, threshold } of answer.crossed) {
    const hold = holds[index];
    if (hold?.kind !== 'quota') continue;
    const { counter, limit, currency = null } = hold;
    const figures = { threshold: threshold.toString(), amount: limit.toString(), currency };
    const warning = limitWarning({ customer, counter, ...figures, atMs: nowMs });
    outbox.add(warning.id, JSON.stringify(warning));
  }
  return answer;
}

function settle(
  kept: Kept,
  reservation: Reservation,
  used: readonly bigint[],
  event: string,
  nowMs: number,
): SettleAnswer {
  const { state, outbox } = kept;
  const answer = told(kept, reservation, rule.settle(state, reservation, used, nowMs), nowMs);
  outbox.close(reservation.id);
  if (answer.settled && event !== '') outbox.add(reservation.id, event);
  return answer;
}

/** The object as a worker calls it. */
export interface CustomerCountersStub {
  reserve(reservation: Reservation): Promise<ReserveAnswer>;
  open(reservation: Reservation, used: readonly bigint[], event: string): Promise<void>;
  extend(reservation: Reservation, amounts: readonly bigint[]): Promise<ReserveAnswer>;
  settle(reservation: Reservation, used: readonly bigint[], event?: string): Promise<SettleAnswer>;
  release(reservation: Reservation): Promise<void>;
  seed(seed: Seed): Promise<void>;
  read(counter: string): Promise<CounterState>;
  listLive(after: LivePlace | null, max: number): Promise<LiveReservation[]>;
  listDebts(after: string, max: number): Promise<Debt[]>;
}

export interface CustomerCountersNamespace {
  getByName(customer: string): CustomerCountersStub;
}

/** Counters in Durable Objects: one call to the customer's object per verb. */
export function durableObjectCounters(namespace: CustomerCountersNamespace): CounterStore {
  async function ask<Answer>(
    customer: string,
    verb: (object: CustomerCountersStub) => Promise<Answer>,
  ): Promise<Answer> {
    try {
      return await verb(namespace.getByName(customer));
    } catch (cause) {
      throw new Fault('limits_unavailable', { story: "the customer's Durable Object did not answer", cause });
    }
  }

  return {
    async reserve(reservation) {
      assertReservation(reservation);
      return ask(reservation.customer, (object) => object.reserve(reservation));
    },
    async extend(reservation, amounts) {
      assertReservation(reservation);
      assertAmounts(reservation, amounts);
      return ask(reservation.customer, (object) => object.extend(reservation, amounts));
    },
    async settle(reservation, used, event) {
      assertReservation(reservation);
      assertUsed(reservation, used);
      return ask(reservation.customer, (object) => object.settle(reservation, used, event));
    },
    async release(reservation) {
      assertReservation(reservation);
      await ask(reservation.customer, (object) => object.release(reservation));
    },
    async seed(customer, seed) {
      await ask(customer, (object) => object.seed(seed));
      return true;
    },
    async read(customer, counter) {
      return ask(customer, (object) => object.read(counter));
    },
    async listLive(customer, after, max) {
      return ask(customer, (object) => object.listLive(after, max));
    },
    async listDebts(customer, after, max) {
      return ask(customer, (object) => object.listDebts(after, max));
    },
    // Each object has an alarm of its own that ends its leases.
    sweep: () => 0,
  };
}
