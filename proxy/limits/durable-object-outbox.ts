import type { DurableObjectStorage } from '@cloudflare/workers-types';
import type { Log } from '#core/log.ts';
import type { Reservation } from './counters.ts';
import { encodeReservation, encodeUsed, parseReservation, parseUsed } from './reservation-text.ts';

/** What we use of a Cloudflare Queue. */
export interface EventQueue {
  sendBatch(messages: Iterable<{ body: string; contentType: 'text' }>): Promise<unknown>;
}

export interface Opened {
  reservation: Reservation;
  used: bigint[];
  event: string;
}

/** A queue takes 100 messages and 256 KB at once. */
const BATCH_COUNT = 100;
const BATCH_BYTES = 200_000;
/** Openings that one step closes at most. */
const CLOSED_PER_STEP = 16;

/**
 * The events of one customer on their way: what to emit should a call never be settled, and what was settled and is not
 * in the queue yet. In the database of the customer's object, so that an event is written in the transaction that
 * settles. It is sent at least once: billing knows what it has.
 */
export class EventOutbox {
  readonly #storage: DurableObjectStorage;
  readonly #queue: EventQueue;
  readonly #log: Log;
  #sending: Promise<void> | undefined;

  constructor(storage: DurableObjectStorage, queue: EventQueue, log: Log) {
    this.#storage = storage;
    this.#queue = queue;
    this.#log = log;
    storage.sql.exec(`
      create table if not exists openings (
        id text primary key, until_ms integer not null, reservation text not null, used text not null, event text not null
      ) without rowid;
      create index if not exists openings_due on openings (until_ms);
      create table if not exists outbox (n integer primary key autoincrement, id text not null, event text not null);
    `);
  }

  open(reservation: Reservation, used: readonly bigint[], event: string, untilMs: number): void {
    this.#storage.sql.exec(
      'insert or ignore into openings (id, until_ms, reservation, used, event) values (?, ?, ?, ?, ?)',
      ...[reservation.id, untilMs, encodeReservation(reservation), encodeUsed(used), event],
    );
  }

  /** A call that is still in flight is given more time. */
  renew(id: string, untilMs: number): void {
    this.#storage.sql.exec('update openings set until_ms = ? where id = ?', untilMs, id);
  }

  close(id: string): void {
    this.#storage.sql.exec('delete from openings where id = ?', id);
  }

  /** What was opened and never closed, once its time is over. */
  due(nowMs: number): Opened[] {
    const statement = 'select reservation, used, event from openings where until_ms <= ? order by until_ms limit ?';
    return this.#storage.sql
      .exec<{ reservation: string; used: string; event: string }>(statement, nowMs, CLOSED_PER_STEP)
      .toArray()
      .map(({ reservation, used, event }) => ({
        reservation: parseReservation(reservation),
        used: parseUsed(used),
        event,
      }));
  }

  add(id: string, event: string): void {
    this.#storage.sql.exec('insert into outbox (id, event) values (?, ?)', id, event);
  }

  get waiting(): boolean {
    return this.#storage.sql.exec('select 1 from outbox limit 1').toArray().length > 0;
  }

  /** When the next opening is due; undefined when there is none. */
  nextDueMs(): number | undefined {
    const [row] = this.#storage.sql.exec<{ due: number | null }>('select min(until_ms) as due from openings').toArray();
    return row?.due ?? undefined;
  }

  /** Brings to the queue what waits, in order. What the queue does not take stays. */
  async send(): Promise<void> {
    this.#sending ??= this.#run().finally(() => {
      this.#sending = undefined;
    });
    await this.#sending;
  }

  async #run(): Promise<void> {
    for (let batch = this.#next(); batch.length > 0; batch = this.#next()) {
      try {
        await this.#queue.sendBatch(batch.map(({ event }) => ({ body: event, contentType: 'text' })));
      } catch (error) {
        // The alarm tries again.
        this.#log.error({ err: error }, 'The queue took no usage events; they wait for the next try.');
        return;
      }
      this.#storage.sql.exec('delete from outbox where n <= ?', batch.at(-1)?.n ?? 0);
    }
  }

  #next(): { n: number; event: string }[] {
    const batch: { n: number; event: string }[] = [];
    let bytes = 0;
    for (const row of this.#storage.sql.exec<{ n: number; event: string }>(
      'select n, event from outbox order by n limit ?',
      BATCH_COUNT,
    )) {
      // Three bytes for each character is the most that UTF-8 takes.
      bytes += row.event.length * 3;
      if (batch.length > 0 && bytes > BATCH_BYTES) break;
      batch.push(row);
    }
    return batch;
  }
}
