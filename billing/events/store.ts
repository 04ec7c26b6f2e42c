import { type Database, instant, joinSql, prepared, type Sql, sql } from '#billing/db/database.ts';
import { ROLL_UP } from '#billing/db/roll-up.ts';
import type { StorableEvent } from './event.ts';

/**
 * One statement, so one transaction: claims the ids, stores the events whose id was free, and adds them to the
 * roll-ups. Gives the positions of those whose id was taken.
 *
 * Rows that several writers touch are locked in one order (ids, then the roll-ups, each sorted), so that concurrent
 * batches wait for each other and do not deadlock. What is summed is read from the body that is stored: there is no
 * second copy of a quantity that could differ. No id may stand twice in a batch. Bodies come as the lines of one text
 * (canonical JSON has no line break): an array would have every quote of theirs escaped and unescaped again.
 */
export async function insertEvents(db: Database, events: readonly StorableEvent[], nowMs: number): Promise<number[]> {
  const rows = await db.query<{ at: number }>(
    prepared(
      'insert_events',
      sql`
        with incoming as materialized (
          select i.at, i.source collate "C" source, i.id collate "C" id, i.hash::bytea hash, i.type collate "C" type, i.time,
            i.customer collate "C" customer, i.key collate "C" as key, i.model collate "C" model, i.body::jsonb body
          from unnest(
            ${events.map((_, at) => at)}::int4[], ${events.map((event) => event.source)}::text[],
            ${events.map((event) => event.id)}::text[], ${events.map((event) => `\\x${event.hash}`)}::text[],
            ${events.map((event) => event.type)}::text[],
            ${events.map((event) => instant(event.timeMs))}::timestamptz[],
            ${events.map((event) => event.customer)}::text[], ${events.map((event) => event.key)}::text[],
            ${events.map((event) => event.model)}::text[],
            string_to_array(${events.map((event) => event.body).join('\n')}::text, chr(10))
          ) i (at, source, id, hash, type, time, customer, key, model, body)
        ), claimed as (
          insert into event_id (source, id, hash, time, customer)
          select source, id, hash, time, customer from incoming order by id, source
          on conflict do nothing
          returning source, id
        ), fresh as materialized (
          select incoming.*, 0 as revision, 1 as sign, body -> 'data' as data
          from incoming join claimed using (source, id)
        ), stored as (
          insert into event (source, id, type, time, customer, key, model, received_at, body)
          select source, id, type, time, customer, key, model, ${instant(nowMs)}::timestamptz, body from fresh order by at
        ), ${ROLL_UP}
        select at from incoming left join claimed using (source, id) where claimed.id is null`,
    ),
  );
  return rows.map((row) => row.at);
}

interface Identified {
  source: string;
  id: string;
}

/** The hashes under which ids are taken, in the order asked. A new statement, so that it sees what others committed. */
export async function findHashes(db: Database, events: readonly Identified[]): Promise<string[]> {
  const rows = await db.query<{ hash: string }>(sql`
    select encode(event_id.hash, 'hex') hash
    from unnest(${events.map((event) => event.source)}::text[], ${events.map((event) => event.id)}::text[])
      with ordinality asked (source, id, at)
    join event_id on event_id.source = asked.source collate "C" and event_id.id = asked.id collate "C"
    order by asked.at`);
  return rows.map((row) => row.hash);
}

/** Those of the ids of a source that are free, in no order. */
export async function findFreeIds(db: Database, source: string, ids: readonly string[]): Promise<string[]> {
  const rows = await db.query<{ id: string }>(
    prepared(
      'find_free_ids',
      sql`
        select asked.id from unnest(${ids}::text[]) asked (id)
        where not exists (
          select from event_id where event_id.source = ${source} collate "C" and event_id.id = asked.id collate "C"
        )`,
    ),
  );
  return rows.map((row) => row.id);
}

export async function insertConflicts(
  db: Database,
  events: readonly (Identified & { hash: string; body: string })[],
  nowMs: number,
): Promise<void> {
  await db.query(sql`
    insert into event_conflict (source, id, hash, received_at, body)
    select source, id, decode(hash, 'hex'), ${instant(nowMs)}::timestamptz, body
    from unnest(
      ${events.map((event) => event.source)}::text[], ${events.map((event) => event.id)}::text[],
      ${events.map((event) => event.hash)}::text[], ${events.map((event) => event.body)}::text[]
    ) given (source, id, hash, body)
    order by id collate "C", source collate "C", hash
    on conflict do nothing`);
}

export interface EventRow {
  source: string;
  id: string;
  customer: string;
  time: number;
  received_at: number;
  /** As text: numbers of events may be longer than JSON.parse can hold. */
  body: string;
}

export interface EventFilter {
  customer?: string | undefined;
  key?: string | undefined;
  model?: string | undefined;
  type?: string | undefined;
  fromMs?: number | undefined;
  toMs?: number | undefined;
  /** time, source and id of the last event of the page before. */
  after?: { time: string; source: string; id: string } | undefined;
  limit: number;
}

/** Newest first. */
export async function selectEvents(db: Database, filter: EventFilter): Promise<EventRow[]> {
  const conditions: Sql[] = [sql`live`];
  if (filter.customer !== undefined) conditions.push(sql`customer = ${filter.customer}`);
  if (filter.key !== undefined) conditions.push(sql`key = ${filter.key}`);
  if (filter.model !== undefined) conditions.push(sql`model = ${filter.model}`);
  if (filter.type !== undefined) conditions.push(sql`type = ${filter.type}`);
  if (filter.fromMs !== undefined) conditions.push(sql`time >= ${instant(filter.fromMs)}`);
  if (filter.toMs !== undefined) conditions.push(sql`time < ${instant(filter.toMs)}`);
  if (filter.after) {
    const { time, source, id } = filter.after;
    conditions.push(sql`(time, source, id) < (${time}::timestamptz, ${source}::text, ${id}::text)`);
  }
  return await db.query<EventRow>(sql`
    select source, id, customer, time, received_at, body::text as body from event where ${joinSql(conditions, ' and ')}
    order by time desc, source desc, id desc limit ${filter.limit}`);
}

/** Every event of an id: sources choose their own ids, so there may be one for each of several sources. */
export async function selectEventsOfId(db: Database, id: string): Promise<EventRow[]> {
  return await db.query<EventRow>(sql`
    select event.source, event.id, event.customer, event.time, event.received_at, event.body::text as body
    from event_id join event
      on event.customer = event_id.customer and event.time = event_id.time
      and event.source = event_id.source and event.id = event_id.id and event.revision = event_id.revision
    where event_id.id = ${id} and event.live order by event.source`);
}

export interface ConflictRow {
  seq: bigint;
  source: string;
  id: string;
  received_at: number;
  body: string;
}

/** Newest first, like everything that a person looks through. */
export async function selectConflicts(
  db: Database,
  filter: { beforeSeq: bigint | undefined; limit: number },
): Promise<ConflictRow[]> {
  return await db.query<ConflictRow>(sql`
    select seq, source, id, received_at, body from event_conflict
    where seq < coalesce(${filter.beforeSeq ?? null}::int8, 9223372036854775807)
    order by seq desc limit ${filter.limit}`);
}
