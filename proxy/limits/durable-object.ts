import { DurableObject } from 'cloudflare:workers';
import type { DurableObjectState as ObjectContext } from '@cloudflare/workers-types';
import { Fault } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import type { CounterState, Counters, Reservation, ReserveAnswer } from './counters.ts';
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
    return this.#step(({ state }, nowMs) => rule.reserve(state, reservation, nowMs));
  }

  /** What to settle and to emit should nobody settle the call before its lease ends. */
  open(reservation: Reservation, used: readonly bigint[], event: string): void {
    this.#step(({ state, outbox }, nowMs) => {
      if (state.calls.get(reservation.id)?.state === 'closed') return;
      outbox.open(reservation, used, event, nowMs + reservation.leaseMs);
    });
  }

  settle(reservation: Reservation, used: readonly bigint[], event = ''): boolean {
    return this.#step((kept, nowMs) => settle(kept, reservation, used, event, nowMs));
  }

  release(reservation: Reservation): void {
    this.#step(({ state, outbox }, nowMs) => {
      rule.release(state, reservation, nowMs);
      outbox.close(reservation.id);
    });
  }

  seed(counter: string, used: bigint, expiresAtMs: number): void {
    this.#step(({ state }, nowMs) => rule.seed(state, counter, used, expiresAtMs, nowMs));
  }

  read(counter: string): CounterState {
    return this.#step(({ state }, nowMs) => rule.read(state, counter, nowMs));
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

function settle(
  { state, outbox }: Kept,
  reservation: Reservation,
  used: readonly bigint[],
  event: string,
  nowMs: number,
): boolean {
  const settled = rule.settle(state, reservation, used, nowMs);
  outbox.close(reservation.id);
  if (settled && event !== '') outbox.add(reservation.id, event);
  return settled;
}

/** The object as a worker calls it. */
export interface CustomerCountersStub {
  reserve(reservation: Reservation): Promise<ReserveAnswer>;
  open(reservation: Reservation, used: readonly bigint[], event: string): Promise<void>;
  settle(reservation: Reservation, used: readonly bigint[], event?: string): Promise<boolean>;
  release(reservation: Reservation): Promise<void>;
  seed(counter: string, used: bigint, expiresAtMs: number): Promise<void>;
  read(counter: string): Promise<CounterState>;
}

export interface CustomerCountersNamespace {
  getByName(customer: string): CustomerCountersStub;
}

/** Counters in Durable Objects: one call to the customer's object per verb. */
export function durableObjectCounters(namespace: CustomerCountersNamespace): Counters {
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
      rule.assertReservation(reservation);
      return ask(reservation.customer, (object) => object.reserve(reservation));
    },
    async settle(reservation, used, event) {
      rule.assertReservation(reservation);
      rule.assertUsed(reservation, used);
      return ask(reservation.customer, (object) => object.settle(reservation, used, event));
    },
    async release(reservation) {
      rule.assertReservation(reservation);
      await ask(reservation.customer, (object) => object.release(reservation));
    },
    async seed(customer, counter, used, expiresAtMs) {
      await ask(customer, (object) => object.seed(counter, used, expiresAtMs));
    },
    async read(customer, counter) {
      return ask(customer, (object) => object.read(counter));
    },
  };
}
