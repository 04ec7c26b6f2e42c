import { type Database, instant, type Sql, sql } from '#billing/db/database.ts';
import type { EventPlace } from '#billing/http/page.ts';
import type { Period, PeriodKey } from '#billing/subscriptions/period.ts';
import type { TakenEvent } from './late-usage.ts';

/** Whether a period is closed for good: a draft is rated again when it is finalised. */
function isFinal(period: Sql): Sql {
  return sql`${period}.closed_at is not null and not exists (
    select from invoice
    where invoice.subscription_id = ${period}.subscription_id and invoice.period_index = ${period}.period_index
      and invoice.state = 'draft')`;
}

/** Whether a plan version bills a level that lasts: what happens before a period is then a part of what it bills. */
function billsLevels(period: Sql): Sql {
  return sql`exists (
    select from price
    join meter_version on price.unit = meter_version.meter_id || '@' || meter_version.version
    where price.plan_id = ${period}.plan_id and price.version = ${period}.plan_version
      and meter_version.terms -> 'recurring' = 'true')`;
}

const OWN = sql`own`;
const LATER = sql`later`;

/** Those of the events that are late: their period is final, or one after it is that bills a level. */
export async function insertLateEvents(db: Database, events: readonly TakenEvent[], nowMs: number): Promise<void> {
  // Most are of the period that runs: nothing that began after them is billed, and no closed period is looked at.
  const firstMs = events.reduce((first, { timeMs }) => Math.min(first, timeMs), Number.POSITIVE_INFINITY);
  await db.query(sql`
    with billed_until as materialized (
      select later.customer_id, max(later.start_at) as start_at from subscription_period as later
      where later.customer_id = any(${[...new Set(events.map((event) => event.customer))]}::text[])
        and later.start_at > ${instant(firstMs)} and ${isFinal(LATER)} and ${billsLevels(LATER)}
      group by 1
    )
    insert into late_event (source, event_id, revision, customer_id, subscription_id, period_index, event_at, received_at)
    select taken.source, taken.id, taken.revision, taken.customer, own.subscription_id, own.period_index, taken.time,
           ${instant(nowMs)}
    from unnest(
      ${events.map((event) => event.source)}::text[], ${events.map((event) => event.id)}::text[],
      ${events.map((event) => event.revision)}::int4[], ${events.map((event) => event.customer)}::text[], ${events.map((event) => instant(event.timeMs))}::timestamptz[]
    ) as taken (source, id, revision, customer, time)
    left join subscription_period as own
      on own.customer_id = taken.customer and own.end_at > taken.time and own.start_at <= taken.time and ${isFinal(OWN)}
    left join billed_until on billed_until.customer_id = taken.customer and billed_until.start_at > taken.time
    where own.subscription_id is not null or billed_until.customer_id is not null`);
}

/** Quantities in plain decimal notation. */
export async function sumLateUsage(
  db: Database,
  period: Period,
): Promise<{ model: string; unit: string; quantity: string }[]> {
  return db.query(sql`
    select measured.model, measured.unit, trim_scale(sum(event.sign * measured.quantity)) as quantity
    from late_event
    join event on event.customer = late_event.customer_id and event.time = late_event.event_at
      and event.source = late_event.source and event.id = late_event.event_id and event.revision = late_event.revision,
      usage_quantity(event.model, event.body -> 'data') as measured
    where late_event.subscription_id = ${period.subscription_id} and late_event.period_index = ${period.period_index}
      and event.type = 'weir.usage.v1'
    group by 1, 2 having sum(event.sign * measured.quantity) <> 0 order by 2, 1`);
}

/**
 * Closed periods of a customer, but not this one, for which something came late that is on no final invoice yet, with the
 * number up to which it is to be counted. What comes late is also late for the periods after it that were billed by a level
 * which lasts. A draft lists again what it has.
 */
export async function listAdjustable(db: Database, period: Period): Promise<(PeriodKey & { late_seq: bigint })[]> {
  return db.query(sql`
    select later.subscription_id, later.period_index, greatest(own.seq, cover.seq, level.seq, drafted.seq) as late_seq
    from subscription_period as later
    cross join lateral (
      select max(seq) as seq from late_event
      where customer_id = later.customer_id and subscription_id = later.subscription_id
        and period_index = later.period_index and seq > later.adjusted_seq
    ) as own
    cross join lateral (
      select max(seq) as seq from late_cover
      where subscription_id = later.subscription_id and period_index = later.period_index and seq > later.adjusted_seq
    ) as cover
    cross join lateral (
      select max(seq) as seq from late_event
      where customer_id = later.customer_id and event_at < later.start_at
        and seq > greatest(later.adjusted_seq, later.closed_seq) and ${isFinal(LATER)} and ${billsLevels(LATER)}
    ) as level
    cross join lateral (
      select case when max(late_seq) is not null then greatest(max(late_seq), later.adjusted_seq) end as seq
      from invoice_line join invoice on invoice.id = invoice_line.invoice_id
      where adjusts_subscription = later.subscription_id and adjusts_period = later.period_index
        and invoice.subscription_id = ${period.subscription_id} and invoice.period_index = ${period.period_index}
    ) as drafted
    where later.customer_id = ${period.customer_id} and later.closed_at is not null
      and (later.subscription_id, later.period_index) <> (${period.subscription_id}, ${period.period_index})
      and coalesce(own.seq, cover.seq, level.seq, drafted.seq) is not null
    order by 1, 2`);
}

/** What came late up to these numbers stands on an invoice that is final, or changes nothing. */
export async function updateAdjusted(
  db: Database,
  periods: readonly (PeriodKey & { lateSeq: bigint })[],
): Promise<void> {
  await db.query(sql`
    update subscription_period set adjusted_seq = given.seq
    from unnest(
      ${periods.map((period) => period.subscription_id)}::text[], ${periods.map((period) => period.period_index)}::int4[],
      ${periods.map((period) => period.lateSeq)}::int8[]
    ) as given (subscription_id, period_index, seq)
    where subscription_period.subscription_id = given.subscription_id
      and subscription_period.period_index = given.period_index and adjusted_seq < given.seq`);
}

export interface LatePeriodRow extends PeriodKey {
  events: bigint;
  last_received_at: number;
}

export async function listLatePeriods(
  db: Database,
  page: { customer: string | undefined; after: { subscription: string; index: number } | undefined; count: number },
): Promise<LatePeriodRow[]> {
  const { customer = null } = page;
  const after = page.after ?? { subscription: '', index: 0 };
  return db.query<LatePeriodRow>(sql`
    select subscription_id, period_index, count(event_id) as events, max(received_at) as last_received_at
    from (
      select subscription_id, period_index, customer_id, event_id, received_at from late_event
      where subscription_id is not null
      union all
      select late_cover.subscription_id, late_cover.period_index, outcome.customer_id, null, outcome.created_at
      from late_cover join outcome on outcome.id = late_cover.outcome_id
      union all
      select later.subscription_id, later.period_index, late_event.customer_id, event_id, received_at
      from late_event join subscription_period as later on ${isLateFor(LATER)}
    ) as late
    where (subscription_id, period_index) > (${after.subscription}, ${after.index})
      and (${customer}::text is null or customer_id = ${customer})
    group by subscription_id, period_index order by subscription_id, period_index limit ${page.count}`);
}

/** Of what came late for an earlier time: whether it changed the level with which a period began that was closed before. */
function isLateFor(period: Sql): Sql {
  return sql`${period}.customer_id = late_event.customer_id and ${period}.start_at > late_event.event_at
    and late_event.seq > ${period}.closed_seq and ${isFinal(period)} and ${billsLevels(period)}`;
}

export interface LateEventRow {
  source: string;
  event_id: string;
  event_at: number;
  received_at: number;
  model: string;
  revision: number;
  /** True when the row takes back what another counted. */
  takes_back: boolean;
  quantities: Record<string, string>;
}

/** In the order of their time. */
export async function listLateEvents(
  db: Database,
  period: PeriodKey,
  page: { after: EventPlace | undefined; count: number },
): Promise<LateEventRow[]> {
  const { time = null, source = null, id = null, revision = null } = page.after ?? {};
  return db.query<LateEventRow>(sql`
    select late_event.source, late_event.event_id, late_event.event_at, late_event.received_at, event.model,
           late_event.revision, event.sign < 0 as takes_back,
           coalesce(event.body #> '{data,quantities}', '{}') as quantities
    from late_event
    join subscription_period as later
      on later.subscription_id = ${period.subscription_id} and later.period_index = ${period.period_index}
    join event on event.customer = late_event.customer_id and event.time = late_event.event_at
      and event.source = late_event.source and event.id = late_event.event_id and event.revision = late_event.revision
    where (late_event.subscription_id = later.subscription_id and late_event.period_index = later.period_index
        or ${isLateFor(LATER)})
      and (${time}::timestamptz is null or
           (late_event.event_at, late_event.source, late_event.event_id, late_event.revision)
           > (${time}::timestamptz, ${source}, ${id}, ${revision}::int4))
    order by late_event.event_at, late_event.source, late_event.event_id, late_event.revision limit ${page.count}`);
}
