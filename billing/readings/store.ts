import { type Database, instant, type Sql, sql } from '#billing/db/database.ts';
import type { StoredEvent } from '#billing/measurements/measure.ts';

/** What a period is billed for: late rows that came after a number do not count. */
export interface Billed {
  subscription_id: string;
  period_index: number;
  /** Also of what came late for an earlier time after this one was closed: it changes the level that this one began with. */
  lateSeq: bigint;
}

/** True of a row that came after a period was billed. Nothing is late for a draft: it is rated again when it is finalised. */
function cameLate(billed: Billed, source: Sql, id: Sql, revision: Sql): Sql {
  return sql`exists (
    select from late_event
    where late_event.source = ${source} and late_event.event_id = ${id} and late_event.revision = ${revision}
      and late_event.seq > ${billed.lateSeq}
      and late_event.seq > (
        select closed_seq from subscription_period as closed
        where closed.subscription_id = ${billed.subscription_id} and closed.period_index = ${billed.period_index}
          and not exists (
            select from invoice
            where invoice.subscription_id = closed.subscription_id and invoice.period_index = closed.period_index
              and invoice.state = 'draft')))`;
}

/** The slots into which rows fall that came after a period was billed. */
export async function listLateSlots(db: Database, billed: Billed, slotMs: number): Promise<number[]> {
  const rows = await db.query<{ slot: number }>(sql`
    select distinct date_bin(make_interval(secs => ${slotMs / 1_000}::int4), event_at, timestamptz 'epoch') as slot
    from late_event
    where subscription_id = ${billed.subscription_id} and period_index = ${billed.period_index}
      and seq > ${billed.lateSeq}
    order by 1`);
  return rows.map((row) => row.slot);
}

export interface StandingEvent extends StoredEvent {
  received_at: number;
  key: string;
  model: string;
}

/**
 * The events that count: those that are live, or, as billed, those that stood when their period was billed.
 */
export async function listStandingEvents(
  db: Database,
  of: { customer: string; type: string; startMs: number; endMs: number },
  asBilled: Billed | undefined,
  after: { time: number; source: string; id: string } | undefined,
  count: number,
): Promise<StandingEvent[]> {
  const place = after
    ? sql`(time, source, id) > (${instant(after.time)}::timestamptz, ${after.source}::text, ${after.id}::text)`
    : sql`true`;
  const stands = asBilled
    ? sql`sign = 1 and not ${cameLate(asBilled, sql`event.source`, sql`event.id`, sql`event.revision`)}
        and not exists (
          select from event back
          where back.source = event.source and back.id = event.id and back.revision = event.revision + 1
            and back.customer = event.customer and back.time = event.time
            and not ${cameLate(asBilled, sql`back.source`, sql`back.id`, sql`back.revision`)})`
    : sql`live`;
  return db.query<StandingEvent>(sql`
    select source, id, revision, sign, type, time, customer, live, received_at, key, model, body::text as body from event
    where customer = ${of.customer} and type = ${of.type} and time >= ${instant(of.startMs)}
      and time < ${instant(of.endMs)} and ${place} and ${stands}
    order by time, source, id limit ${count}`);
}

/** What a part of a window comes to; `at` is the window's number. */
export interface PartRow {
  at: number;
  dimensions: string;
  item: string;
  events: bigint;
  total: string;
  least: string | null;
  greatest: string | null;
}

export interface SumRow {
  at: number;
  dimensions: string;
  events: bigint;
  items: bigint;
  total: string;
  least: string | null;
  greatest: string | null;
}

/** Of each window and each combination of dimensions: whole slots from the roll-up, and the parts that are given. */
export async function sumMeasured(
  db: Database,
  of: { meter: string; version: number },
  customer: string,
  wholes: readonly { at: number; period: { startMs: number; endMs: number } }[],
  parts: readonly PartRow[],
): Promise<SumRow[]> {
  return db.query<SumRow>(sql`
    select at, dimensions, sum(events)::int8 as events, count(distinct item) as items, sum(total) as total,
      min(least) as least, max(greatest) as greatest
    from (
      select whole.at, dimensions, item, events, total, least, greatest
      from unnest(
        ${wholes.map((whole) => whole.at)}::int4[], ${wholes.map((whole) => instant(whole.period.startMs))}::timestamptz[],
        ${wholes.map((whole) => instant(whole.period.endMs))}::timestamptz[]
      ) as whole (at, start_at, end_at)
      join meter_roll_up on meter = ${of.meter} and version = ${of.version} and customer = ${customer}
        and slot >= whole.start_at and slot < whole.end_at
      union all
      select * from unnest(
        ${parts.map((part) => part.at)}::int4[], ${parts.map((part) => part.dimensions)}::text[],
        ${parts.map((part) => part.item)}::text[], ${parts.map((part) => part.events)}::int8[],
        ${parts.map((part) => part.total)}::numeric[], ${parts.map((part) => part.least)}::numeric[],
        ${parts.map((part) => part.greatest)}::numeric[]
      )
    ) as part (at, dimensions, item, events, total, least, greatest)
    group by 1, 2 order by 1, 2`);
}

export interface StoredPoint {
  time: number;
  dimensions: string;
  value: string;
  item: string;
  operation: 'add' | 'remove';
}

/** Points that count, as `listStandingEvents` has it for events. */
function standing(asBilled: Billed | undefined): Sql {
  if (!asBilled) return sql`taken_back is null`;
  return sql`not ${cameLate(asBilled, sql`meter_point.source`, sql`meter_point.id`, sql`meter_point.revision`)}
    and (taken_back is null or ${cameLate(asBilled, sql`meter_point.source`, sql`meter_point.id`, sql`taken_back`)})`;
}

/** All of periods that follow each other. */
export async function listPointsIn(
  db: Database,
  of: { meter: string; version: number },
  customer: string,
  periods: readonly { startMs: number; endMs: number }[],
  asBilled: Billed | undefined,
): Promise<StoredPoint[]> {
  const [startMs, endMs] = [periods[0]?.startMs ?? 0, periods.at(-1)?.endMs ?? 0];
  return db.query<StoredPoint>(sql`
    select time, dimensions, value, item, operation from meter_point
    where meter = ${of.meter} and version = ${of.version} and customer = ${customer}
      and time >= ${instant(startMs)} and time < ${instant(endMs)} and ${standing(asBilled)}
    order by time, source, id, revision, part`);
}

/** Of each period the last point of each group: all that a latest value reads. */
export async function listLastPointsIn(
  db: Database,
  of: { meter: string; version: number },
  customer: string,
  periods: readonly { startMs: number; endMs: number }[],
  asBilled: Billed | undefined,
): Promise<StoredPoint[]> {
  return db.query<StoredPoint>(sql`
    select last.time, last.dimensions, last.value, last.item, last.operation
    from unnest(
      ${periods.map(({ startMs }) => instant(startMs))}::timestamptz[], ${periods.map(({ endMs }) => instant(endMs))}::timestamptz[]
    ) as period (start_at, end_at)
    cross join lateral (
      select distinct on (meter_point.dimensions) meter_point.*
      from (
        select dimensions, max(time) as time from meter_point
        where meter = ${of.meter} and version = ${of.version} and customer = ${customer}
          and time >= period.start_at and time < period.end_at and ${standing(asBilled)}
        group by dimensions
      ) as latest
      join meter_point on meter = ${of.meter} and version = ${of.version} and customer = ${customer}
        and meter_point.time = latest.time and meter_point.dimensions = latest.dimensions and ${standing(asBilled)}
      order by meter_point.dimensions, source desc, id desc, revision desc, part desc
    ) as last
    order by last.time, last.source, last.id, last.revision, last.part`);
}

/** What stands before an instant: the last value, or the sum of all changes. */
export async function listLevelsBefore(
  db: Database,
  of: { meter: string; version: number },
  customer: string,
  atMs: number,
  changes: boolean,
  asBilled: Billed | undefined,
): Promise<{ dimensions: string; value: string }[]> {
  const points = sql`
    from meter_point
    where meter = ${of.meter} and version = ${of.version} and customer = ${customer} and time < ${instant(atMs)}
      and ${standing(asBilled)}`;
  if (changes) return db.query(sql`select dimensions, sum(value) as value ${points} group by dimensions`);
  return db.query(sql`
    select distinct on (dimensions) dimensions, value ${points}
    order by dimensions, time desc, source desc, id desc, revision desc, part desc`);
}

/** What was added before an instant and not removed again. */
export async function listItemsBefore(
  db: Database,
  of: { meter: string; version: number },
  customer: string,
  atMs: number,
  asBilled: Billed | undefined,
): Promise<{ dimensions: string; items: string[] }[]> {
  return db.query(sql`
    select dimensions, array_agg(item) as items
    from (
      select distinct on (dimensions, item) dimensions, item, operation
      from meter_point
      where meter = ${of.meter} and version = ${of.version} and customer = ${customer} and time < ${instant(atMs)}
        and ${standing(asBilled)}
      order by dimensions, item, time desc, source desc, id desc, revision desc, part desc
    ) as latest
    where operation = 'add' group by dimensions`);
}

export interface ProblemRow {
  source: string;
  id: string;
  customer: string;
  time: number;
  detail: string;
}

/** Events that a version could not measure, the oldest first. */
export async function listProblems(
  db: Database,
  of: { meter: string; version: number; customer: string | null },
  page: { after: { time: string; source: string; id: string } | undefined; count: number },
): Promise<ProblemRow[]> {
  const { time = null, source = null, id = null } = page.after ?? {};
  return db.query<ProblemRow>(sql`
    select source, id, customer, time, detail from meter_problem
    where meter = ${of.meter} and version = ${of.version} and (${of.customer}::text is null or customer = ${of.customer})
      and (${time}::timestamptz is null or (time, source, id) > (${time}::timestamptz, ${source}::text, ${id}::text))
    order by time, source, id limit ${page.count}`);
}
