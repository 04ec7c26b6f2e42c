import type { DurableObjectStorage, SqlStorageValue } from '@cloudflare/workers-types';
import { type Counter, isSpent } from './counter.ts';
import type { LivePlace } from './counters.ts';
import type { Call, HoldingCall, LimitState, Table } from './limit-state.ts';

/** Rows that one step forgets at most. */
const FORGOTTEN_PER_STEP = 64;

/**
 * The state of one customer's limits in the SQLite database of its Durable Object. Nothing is kept in memory: the
 * object may be evicted after any step, and a step that fails leaves nothing behind.
 */
export class DurableObjectState implements LimitState {
  readonly #sql: DurableObjectStorage['sql'];
  readonly counters: Table<Counter>;
  readonly calls: Table<Call>;
  readonly debts: LimitState['debts'];
  readonly since: LimitState['since'];

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
    this.#sql.exec(`
      create table if not exists clock (mark_ms integer not null);
      create table if not exists counters (name text primary key, counter text not null) without rowid;
      create table if not exists calls (
        id text primary key, state text not null, until_ms integer not null, holds text
      ) without rowid;
      create index if not exists calls_due on calls (until_ms);
      create table if not exists debts (name text primary key) without rowid;
      create table if not exists series (name text primary key, since_ms integer not null) without rowid;
    `);
    this.counters = {
      get: (name) => {
        const [row] = this.#rows<{ counter: string }>('select counter from counters where name = ?', name);
        return row && parse<Counter>(row.counter);
      },
      set: (name, counter) => {
        this.#sql.exec('insert or replace into counters (name, counter) values (?, ?)', name, encode(counter));
      },
    };
    this.calls = {
      get: (id) => {
        const [row] = this.#rows<CallRow>('select id, state, until_ms, holds from calls where id = ?', id);
        return row && callOf(row);
      },
      set: (id, call) => {
        this.#sql.exec(
          'insert or replace into calls (id, state, until_ms, holds) values (?, ?, ?, ?)',
          ...[id, call.state, call.untilMs, call.state === 'closed' ? null : encode(call.holds)],
        );
      },
    };
    this.debts = {
      add: (name) => this.#sql.exec('insert or ignore into debts (name) values (?)', name),
      delete: (name) => this.#sql.exec('delete from debts where name = ?', name),
    };
    this.since = {
      get: (name) => this.#rows<{ since_ms: number }>('select since_ms from series where name = ?', name)[0]?.since_ms,
      set: (name, sinceMs) => {
        this.#sql.exec('insert or replace into series (name, since_ms) values (?, ?)', name, sinceMs);
      },
    };
  }

  get markMs(): number {
    const [row] = this.#rows<{ mark_ms: number }>('select mark_ms from clock');
    return row?.mark_ms ?? 0;
  }

  set markMs(markMs: number) {
    const { rowsWritten } = this.#sql.exec('update clock set mark_ms = ?', markMs);
    if (rowsWritten === 0) this.#sql.exec('insert into clock (mark_ms) values (?)', markMs);
  }

  dueLeases(nowMs: number, max: number): [string, HoldingCall][] {
    return this.#live('until_ms <= ?', nowMs, max);
  }

  listLive(after: LivePlace | null, max: number): [string, HoldingCall][] {
    if (!after) return this.#live('true', max);
    return this.#live('(until_ms, id) > (?, ?)', after.untilMs, after.id, max);
  }

  listDebts(after: string, max: number): string[] {
    const rows = this.#rows<{ name: string }>(
      'select name from debts where name > ? order by name limit ?',
      after,
      max,
    );
    return rows.map(({ name }) => name);
  }

  #live(condition: string, ...values: SqlStorageValue[]): [string, HoldingCall][] {
    const found: [string, HoldingCall][] = [];
    for (const row of this.#rows<CallRow>(
      `select id, state, until_ms, holds from calls where state = 'live' and ${condition} order by until_ms, id limit ?`,
      ...values,
    )) {
      const call = callOf(row);
      if (call.state === 'live') found.push([row.id, call]);
    }
    return found;
  }

  /** Some of what says nothing any more goes away. */
  forget(nowMs: number): void {
    this.#sql.exec(
      `delete from calls where id in (
         select id from calls where state in ('closed', 'ended') and until_ms <= ? limit ?
       )`,
      ...[nowMs, FORGOTTEN_PER_STEP],
    );
  }

  /** Every counter is looked at: for the quiet moment after the last call, not for a step on its way. */
  forgetCounters(nowMs: number): void {
    for (const { name, counter } of this.#rows<{ name: string; counter: string }>(
      'select name, counter from counters',
    )) {
      if (!isSpent(parse<Counter>(counter), nowMs)) continue;
      this.#sql.exec('delete from counters where name = ?', name);
      this.debts.delete(name);
    }
  }

  /** When the next lease ends or the next call may be forgotten; undefined when there is none. */
  nextDueMs(): number | undefined {
    const [row] = this.#rows<{ due: number | null }>('select min(until_ms) as due from calls');
    return row?.due ?? undefined;
  }

  isEmpty(): boolean {
    return this.#rows('select 1 from calls union all select 1 from counters limit 1').length === 0;
  }

  #rows<Row extends Record<string, SqlStorageValue>>(statement: string, ...values: SqlStorageValue[]): Row[] {
    return this.#sql.exec<Row>(statement, ...values).toArray();
  }
}

interface CallRow extends Record<string, SqlStorageValue> {
  id: string;
  state: string;
  until_ms: number;
  holds: string;
}

function callOf({ state, until_ms: untilMs, holds }: CallRow): Call {
  if (state === 'live' || state === 'ended') return { state, untilMs, holds: parse(holds) };
  return { state: 'closed', untilMs };
}

/** The fields of counters and holds that are bigints: decimal text in JSON. */
const AMOUNTS = new Set(['amount', 'limit', 'burst', 'level', 'used', 'held', 'warned', 'warnAt']);

function encode(value: Counter | HoldingCall['holds']): string {
  return JSON.stringify(value, (_, field: unknown) => (typeof field === 'bigint' ? field.toString() : field));
}

function parse<Value extends Counter | HoldingCall['holds']>(text: string): Value {
  return JSON.parse(text, (name, field) => {
    if (!AMOUNTS.has(name)) return field;
    return Array.isArray(field) ? field.map(BigInt) : BigInt(field);
  });
}
