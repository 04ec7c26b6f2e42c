import { type Database, instant, sql } from '#billing/db/database.ts';
import { ROLL_UP } from '#billing/db/roll-up.ts';
import type { Correction } from '#billing/events/event.ts';

/** The event that a correction is about, with its latest row, and the correction that decided it. */
export interface TargetRow {
  source: string;
  id: string;
  revision: number;
  /** Of the row that counts; null where the event was deleted. */
  type: string | null;
  customer: string;
  time: number;
  /** Of the event as it was first taken. */
  first_at: number;
  key: string | null;
  model: string | null;
  body: string | null;
  decided_at: number | null;
  decided_by: string | null;
  decided_by_source: string | null;
}

/** Customers of the targets, to share their locks before any row is locked. */
export async function listTargetCustomers(db: Database, corrections: readonly Correction[]): Promise<string[]> {
  const rows = await db.query<{ customer: string }>(sql`
    select distinct event_id.customer
    from unnest(
      ${corrections.map((each) => each.targetSource)}::text[], ${corrections.map((each) => each.targetId)}::text[]
    ) asked (source, id)
    join event_id on event_id.source = asked.source collate "C" and event_id.id = asked.id collate "C"`);
  return rows.map((row) => row.customer);
}

/** Locked in the order in which batches of events claim ids. */
export async function lockTargets(db: Database, corrections: readonly Correction[]): Promise<TargetRow[]> {
  const target = sql`
    select event_id.* from event_id
    where (event_id.id, event_id.source) in (
      select id collate "C", source collate "C" from unnest(
        ${corrections.map((each) => each.targetId)}::text[], ${corrections.map((each) => each.targetSource)}::text[]
      ) asked (id, source))
    order by event_id.id, event_id.source`;
  // Locked by a statement of its own: what another correction committed while this one waited is seen by the next.
  await db.query(sql`select count(*) from (${target} for update) locked`);
  return await db.query<TargetRow>(sql`
    with target as materialized (${target})
    select target.source, target.id, target.revision, event.type, target.customer, target.time, event.key,
      event.model, event.body::text as body, coalesce(first.event_at, target.time) as first_at, decided.time as decided_at, decided.id as decided_by,
      decided.source as decided_by_source
    from target
    left join event on event.customer = target.customer and event.time = target.time and event.source = target.source
      and event.id = target.id and event.revision = target.revision and event.live
    left join lateral (
      select time, id, source from event_correction
      where target_id = target.id and target_source = target.source and revision is not null
      order by time desc, id desc, source desc limit 1
    ) decided on true
    left join lateral (
      select event_at from event_correction
      where target_id = target.id and target_source = target.source and revision is not null and event_at is not null
      order by revision limit 1
    ) first on true
    -- An id that is a correction's own, or whose rows were dropped with their partition, is nothing to correct.
    where exists (
      select from event where event.customer = target.customer and event.time = target.time
        and event.source = target.source and event.id = target.id and event.revision = target.revision)`);
}

/** The ids of corrections are ids of events: gives the places of those that were free. */
export async function claimCorrections(db: Database, corrections: readonly Correction[]): Promise<number[]> {
  const rows = await db.query<{ at: number }>(sql`
    with incoming as (
      select * from unnest(
        ${corrections.map((_, at) => at)}::int4[], ${corrections.map((each) => each.source)}::text[],
        ${corrections.map((each) => each.id)}::text[], ${corrections.map((each) => each.hash)}::text[],
        ${corrections.map((each) => instant(each.timeMs))}::timestamptz[]
      ) given (at, source, id, hash, time)
    ), claimed as (
      insert into event_id (source, id, hash, time, customer)
      select source, id, decode(hash, 'hex'), time, '' from incoming order by id collate "C", source collate "C"
      on conflict do nothing returning source, id
    )
    select at from incoming join claimed on claimed.source = incoming.source and claimed.id = incoming.id order by at`);
  return rows.map((row) => row.at);
}

/** A correction as it is kept: the last of the rows that it made, or null where a later one had decided already. */
export interface AppliedCorrection {
  correction: Correction;
  revision: number | null;
  /** Where the row stood that it took back. */
  from: { customer: string; timeMs: number } | null;
}

export async function insertCorrections(
  db: Database,
  applied: readonly AppliedCorrection[],
  nowMs: number,
): Promise<void> {
  const all = applied.map((each) => each.correction);
  await db.query(sql`
    insert into event_correction
      (source, id, target_source, target_id, time, received_at, reason, deletes, revision, customer, event_at)
    select source, id, target_source, target_id, time, ${instant(nowMs)}::timestamptz, reason, deletes, revision,
      customer, event_at
    from unnest(
      ${all.map((each) => each.source)}::text[], ${all.map((each) => each.id)}::text[],
      ${all.map((each) => each.targetSource)}::text[], ${all.map((each) => each.targetId)}::text[],
      ${all.map((each) => instant(each.timeMs))}::timestamptz[], ${all.map((each) => each.reason)}::text[],
      ${all.map((each) => each.event === null)}::bool[], ${applied.map((each) => each.revision)}::int4[],
      ${applied.map((each) => each.from?.customer ?? null)}::text[],
      ${applied.map((each) => (each.from ? instant(each.from.timeMs) : null))}::timestamptz[]
    ) given (source, id, target_source, target_id, time, reason, deletes, revision, customer, event_at)`);
}

/** A row to add to an event. */
export interface RevisionRow {
  source: string;
  id: string;
  revision: number;
  sign: 1 | -1;
  live: boolean;
  type: string;
  timeMs: number;
  customer: string;
  key: string;
  model: string;
  body: string;
}

/** Adds rows to events and to the roll-ups. */
export async function insertRevisions(db: Database, rows: readonly RevisionRow[], nowMs: number): Promise<void> {
  await db.query(sql`
    with fresh as materialized (
      select i.at, i.source collate "C" source, i.id collate "C" id, i.revision, i.sign, i.live,
        i.type collate "C" type, i.time, i.customer collate "C" customer, i.key collate "C" as key,
        i.model collate "C" model, i.body::jsonb body, i.body::jsonb -> 'data' as data
      from unnest(
        ${rows.map((_, at) => at)}::int4[], ${rows.map((row) => row.source)}::text[],
        ${rows.map((row) => row.id)}::text[], ${rows.map((row) => row.revision)}::int4[],
        ${rows.map((row) => row.sign)}::int4[], ${rows.map((row) => row.live)}::bool[],
        ${rows.map((row) => row.type)}::text[], ${rows.map((row) => instant(row.timeMs))}::timestamptz[],
        ${rows.map((row) => row.customer)}::text[], ${rows.map((row) => row.key)}::text[],
        ${rows.map((row) => row.model)}::text[], ${rows.map((row) => row.body)}::text[]
      ) i (at, source, id, revision, sign, live, type, time, customer, key, model, body)
    ), stored as (
      insert into event (source, id, revision, sign, live, type, time, customer, key, model, received_at, body)
      select source, id, revision, sign, live, type, time, customer, key, model, ${instant(nowMs)}::timestamptz, body
      from fresh order by at
    ), ${ROLL_UP}
    select from fresh limit 0`);
}

/** Where the latest row of each event stands from now on, and where the one stood that counts no more. */
export interface MovedEvent {
  source: string;
  id: string;
  from: { customer: string; timeMs: number; revision: number };
  to: { customer: string; timeMs: number; revision: number };
}

export async function moveEvents(db: Database, moved: readonly MovedEvent[]): Promise<void> {
  await db.query(sql`
    update event set live = false
    from unnest(
      ${moved.map((each) => each.source)}::text[], ${moved.map((each) => each.id)}::text[],
      ${moved.map((each) => each.from.customer)}::text[],
      ${moved.map((each) => instant(each.from.timeMs))}::timestamptz[],
      ${moved.map((each) => each.from.revision)}::int4[]
    ) old (source, id, customer, time, revision)
    where event.customer = old.customer and event.time = old.time and event.source = old.source
      and event.id = old.id and event.revision = old.revision and event.live`);
  await db.query(sql`
    update event_id set customer = moved.customer, time = moved.time, revision = moved.revision
    from unnest(
      ${moved.map((each) => each.source)}::text[], ${moved.map((each) => each.id)}::text[],
      ${moved.map((each) => each.to.customer)}::text[],
      ${moved.map((each) => instant(each.to.timeMs))}::timestamptz[],
      ${moved.map((each) => each.to.revision)}::int4[]
    ) moved (source, id, customer, time, revision)
    where event_id.id = moved.id and event_id.source = moved.source`);
}

export interface CorrectionRow {
  source: string;
  id: string;
  target_source: string;
  target_id: string;
  time: number;
  received_at: number;
  reason: string;
  deletes: boolean;
  revision: number | null;
}

/** Of one event, as they were taken. */
export async function selectCorrectionsOf(db: Database, targetId: string): Promise<CorrectionRow[]> {
  return await db.query<CorrectionRow>(sql`
    select source, id, target_source, target_id, time, received_at, reason, deletes, revision
    from event_correction where target_id = ${targetId} order by target_source, time, id, source`);
}

export interface HistoryRow {
  source: string;
  revision: number;
  sign: number;
  received_at: number;
  body: string;
}

/** All rows of the events of an id, in their order: where the first stood, and wherever a correction moved it. */
export async function selectHistory(db: Database, id: string): Promise<HistoryRow[]> {
  return await db.query<HistoryRow>(sql`
    with place as (
      select source, id, customer, time from event_id where id = ${id}
      union
      select target_source, target_id, customer, event_at from event_correction
      where target_id = ${id} and customer is not null
    )
    select event.source, event.revision, event.sign::int4 as sign, event.received_at, event.body::text as body
    from place join event on event.customer = place.customer and event.time = place.time
      and event.source = place.source and event.id = place.id
    order by event.source, event.revision`);
}
