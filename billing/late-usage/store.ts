import { type Database, instant, sql } from '#billing/db/database.ts';
import type { EventPlace } from '#billing/http/page.ts';
import type { Period, PeriodKey } from '#billing/subscriptions/period.ts';
import type { TakenEvent } from './late-usage.ts';

/** Those of the events whose period is closed, unless its invoice is a draft, which is rated again when it is finalised. */
export async function insertLateEvents(db: Database, events: readonly TakenEvent[], nowMs: number): Promise<void> {
  await db.query(sql`
    insert into late_event (source, event_id, revision, customer_id, subscription_id, period_index, event_at, received_at)
    select taken.source, taken.id, taken.revision, taken.customer, period.subscription_id, period.period_index, taken.time,
           ${instant(nowMs)}
    from unnest(
      ${events.map((event) => event.source)}::text[], ${events.map((event) => event.id)}::text[],
      ${events.map((event) => event.revision)}::int4[], ${events.map((event) => event.customer)}::text[], ${events.map((event) => instant(event.timeMs))}::timestamptz[]
    ) as taken (source, id, revision, customer, time)
    join subscription_period as period
      on period.customer_id = taken.customer and period.end_at > taken.time and period.start_at <= taken.time
      and period.closed_at is not null
    where not exists (
      select 1 from invoice
      where invoice.subscription_id = period.subscription_id and invoice.period_index = period.period_index
        and invoice.state = 'draft'
    )`);
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
 * With the number of the last late row of each. What comes late for a period is also late for those after it that were
 * billed by a level which lasts.
 */
export async function listAdjustable(db: Database, period: Period): Promise<(PeriodKey & { late_seq: bigint })[]> {
  return db.query(sql`
    select subscription_id, period_index, max(seq) as late_seq
    from (
      select subscription_id, period_index, seq from late_event where customer_id = ${period.customer_id}
      union all
      select late_cover.subscription_id, late_cover.period_index, late_cover.seq
      from outcome join late_cover on outcome_id = outcome.id where outcome.customer_id = ${period.customer_id}
      union all
      select later.subscription_id, later.period_index, late_event.seq
      from late_event
      join subscription_period as later on later.customer_id = late_event.customer_id
        and later.start_at > late_event.event_at and later.closed_at is not null
      where late_event.customer_id = ${period.customer_id} and exists (
        select from price
        join meter_version on price.unit = meter_version.meter_id || '@' || meter_version.version
        where price.plan_id = later.plan_id and price.version = later.plan_version
          and meter_version.terms -> 'recurring' = 'true')
    ) as late
    where (subscription_id, period_index) <> (${period.subscription_id}, ${period.period_index})
    group by subscription_id, period_index order by subscription_id, period_index`);
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
      union all
      select late_cover.subscription_id, late_cover.period_index, outcome.customer_id, null, outcome.created_at
      from late_cover join outcome on outcome.id = late_cover.outcome_id
    ) as late
    where (subscription_id, period_index) > (${after.subscription}, ${after.index})
      and (${customer}::text is null or customer_id = ${customer})
    group by subscription_id, period_index order by subscription_id, period_index limit ${page.count}`);
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
           late_event.revision, event.sign < 0 as takes_back, event.body #> '{data,quantities}' as quantities
    from late_event
    join event on event.customer = late_event.customer_id and event.time = late_event.event_at
      and event.source = late_event.source and event.id = late_event.event_id and event.revision = late_event.revision
    where late_event.subscription_id = ${period.subscription_id} and late_event.period_index = ${period.period_index}
      and (${time}::timestamptz is null or
           (late_event.event_at, late_event.source, late_event.event_id, late_event.revision)
           > (${time}::timestamptz, ${source}, ${id}, ${revision}::int4))
    order by late_event.event_at, late_event.source, late_event.event_id, late_event.revision limit ${page.count}`);
}
