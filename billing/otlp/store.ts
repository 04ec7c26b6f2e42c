import { type Database, instant, sql } from '#billing/db/database.ts';

export interface PointRow {
  stream: string;
  /** Whole nanoseconds, and the figures, as decimal text. */
  time_nanos: string;
  value: string;
  counted: string;
  cumulative: boolean;
  source: string | null;
  event_id: string | null;
  usage: string | null;
  former: boolean;
  family: string | null;
  seen_at: number;
}

/** One request of a sender at a time, in one order; before any lock of a customer. */
const SENDER_LOCKS = 0x7765696f;
const LOCKS_MAX = 256;

export async function lockSenders(tx: Database, resources: readonly string[]): Promise<void> {
  await tx.query(sql`
    select pg_advisory_xact_lock(${SENDER_LOCKS}, lock.number)
    from (
      select distinct hashtext(name) & ${LOCKS_MAX - 1}::int4 as number
      from unnest(${resources}::text[]) as resource (name) order by 1
    ) as lock`);
}

/** Of each stream what is known between two times, and the points just before and just after. In the order of time. */
export async function listPointsAround(
  db: Database,
  spans: readonly { stream: string; fromNanos: bigint; toNanos: bigint }[],
): Promise<PointRow[]> {
  return await db.query<PointRow>(sql`
    select around.* from unnest(
      ${spans.map(({ stream }) => stream)}::text[], ${spans.map(({ fromNanos }) => `${fromNanos}`)}::numeric[],
      ${spans.map(({ toNanos }) => `${toNanos}`)}::numeric[]
    ) as given (stream, from_nanos, to_nanos)
    cross join lateral (
      (select * from otlp_point as point where point.stream = given.stream collate "C" and time_nanos < from_nanos
        order by time_nanos desc limit 1)
      union all
      select * from otlp_point as point where point.stream = given.stream collate "C"
        and time_nanos between from_nanos and to_nanos
      union all
      (select * from otlp_point as point where point.stream = given.stream collate "C" and time_nanos > to_nanos
        order by time_nanos limit 1)
    ) as around
    order by around.stream, around.time_nanos`);
}

export async function upsertPoints(db: Database, rows: readonly PointRow[], nowMs: number): Promise<void> {
  await db.query(sql`
    insert into otlp_point
      (stream, time_nanos, value, counted, cumulative, source, event_id, usage, former, family, seen_at)
    select given.*, ${instant(nowMs)}::timestamptz from unnest(
      ${rows.map((row) => row.stream)}::text[], ${rows.map((row) => row.time_nanos)}::numeric[],
      ${rows.map((row) => row.value)}::numeric[], ${rows.map((row) => row.counted)}::numeric[],
      ${rows.map((row) => row.cumulative)}::bool[], ${rows.map((row) => row.source)}::text[],
      ${rows.map((row) => row.event_id)}::text[], ${rows.map((row) => row.usage)}::text[],
      ${rows.map((row) => row.former)}::bool[], ${rows.map((row) => row.family)}::text[]
    ) as given
    on conflict (stream, time_nanos) do update set counted = excluded.counted, seen_at = excluded.seen_at`);
}

/** All points of some resources in some seconds. */
export async function listPointsOfFamilies(db: Database, families: readonly string[]): Promise<PointRow[]> {
  return await db.query<PointRow>(sql`
    select * from otlp_point where family = any(${families}::text[]) order by event_id, stream, time_nanos`);
}

/** What stands under ids of events: the row that counts, or none where it was deleted. */
export interface StandingRow {
  source: string;
  id: string;
  /** '' of none. */
  customer: string;
  revision: number;
  /** Of the correction that decided it, where there was one. */
  decided_at: number | null;
  body: string | null;
}

export async function listStanding(
  db: Database,
  events: readonly { source: string; id: string }[],
): Promise<StandingRow[]> {
  return await db.query<StandingRow>(sql`
    select event_id.source, event_id.id, event_id.customer, event_id.revision, decided.time as decided_at, event.body::text as body
    from event_id
    left join event on event.customer = event_id.customer and event.time = event_id.time
      and event.source = event_id.source and event.id = event_id.id and event.revision = event_id.revision and event.live
    left join lateral (
      select time from event_correction
      where target_id = event_id.id and target_source = event_id.source and revision is not null
      order by time desc limit 1
    ) as decided on true
    where (event_id.id, event_id.source) in (
      select id collate "C", source collate "C" from unnest(
        ${events.map((event) => event.id)}::text[], ${events.map((event) => event.source)}::text[]
      ) as asked (id, source))`);
}

/** Of a sum since a start the last point before the time stays: what the stream begins with from then on. */
export async function forgetPointsBefore(db: Database, beforeNanos: bigint, unseenSinceMs: number): Promise<void> {
  await db.query(sql`
    delete from otlp_point as old
    where time_nanos < ${`${beforeNanos}`}::numeric and (not cumulative or exists (
      select from otlp_point as later where later.stream = old.stream and later.time_nanos > old.time_nanos
        and later.time_nanos < ${`${beforeNanos}`}::numeric))`);
  await db.query(sql`
    update otlp_point set counted = 0, source = null, event_id = null, usage = null, family = null
    where time_nanos < ${`${beforeNanos}`}::numeric and event_id is not null`);
  await db.query(sql`
    delete from otlp_point where time_nanos < ${`${beforeNanos}`}::numeric and seen_at < ${instant(unseenSinceMs)}::timestamptz`);
}
