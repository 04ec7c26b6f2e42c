import { type Database, instant, joinSql, type Sql, sql } from '#billing/db/database.ts';
import type { EventPlace } from '#billing/http/page.ts';
import type { UsageCut } from '#billing/rating/usage-part.ts';
import type { Period } from '#billing/subscriptions/period.ts';
import type { SlotCut } from '#core/time.ts';
import { OUTCOME_SOURCE } from '#core/usage-event.ts';

/** Every (hour, model, unit, quantity) of a period, later usage taken off. Rows of one key are yet to be added up. */
function measuredIn(period: Period, { whole, edges }: SlotCut, lateSeq: bigint): Sql {
  const parts = [
    sql`
    select hour, model, unit, quantity from usage_hour
    where customer = ${period.customer_id} and hour >= ${instant(whole.startMs)} and hour < ${instant(whole.endMs)}`,
    sql`
    select date_trunc('hour', event.time, 'UTC'), measured.model, measured.unit, -event.sign * measured.quantity
    from late_event
    join event on event.customer = late_event.customer_id and event.time = late_event.event_at
      and event.source = late_event.source and event.id = late_event.event_id and event.revision = late_event.revision,
      usage_quantity(event.model, event.body -> 'data') as measured
    where late_event.subscription_id = ${period.subscription_id} and late_event.period_index = ${period.period_index}
      and late_event.seq > ${lateSeq} and event.type = 'weir.usage.v1'`,
  ];
  for (const edge of edges) {
    parts.push(sql`
    select date_trunc('hour', event.time, 'UTC'), measured.model, measured.unit, event.sign * measured.quantity
    from event, usage_quantity(event.model, event.body -> 'data') as measured
    where event.customer = ${period.customer_id} and event.type = 'weir.usage.v1'
      and event.time >= ${instant(edge.startMs)} and event.time < ${instant(edge.endMs)}`);
  }
  parts.push(sql`
    select date_trunc('hour', event.time, 'UTC'), measured.model, measured.unit, -event.sign * measured.quantity
    from event, usage_quantity(event.model, event.body -> 'data') as measured
    where event.customer = ${period.customer_id} and event.type = 'weir.usage.v1'
      and event.time >= ${instant(period.start_at)} and event.time < ${instant(period.end_at)}
      and (event.body #> '{data,labels}') ? 'workflow' and not exists (${laterRow(period, lateSeq, sql`event.revision`)})
      and exists (${coveredIn(period, lateSeq)})`);
  return joinSql(parts, ' union all ');
}

/** Quantities in plain decimal notation. */
export async function sumBilledUsage(
  db: Database,
  period: Period,
  cut: SlotCut,
  lateSeq: bigint,
): Promise<{ model: string; unit: string; quantity: string }[]> {
  return db.query(sql`
    select model, unit, trim_scale(sum(quantity)) as quantity
    from (${measuredIn(period, cut, lateSeq)}) as part (hour, model, unit, quantity)
    group by model, unit having sum(quantity) <> 0
    order by unit collate "C", model collate "C"`);
}

/** The late row, after a number, that an event's row with this revision is. */
function laterRow(period: Period, lateSeq: bigint, revision: Sql): Sql {
  return sql`
    select 1 from late_event where late_event.source = event.source and late_event.event_id = event.id
      and late_event.revision = ${revision} and late_event.subscription_id = ${period.subscription_id}
      and late_event.period_index = ${period.period_index} and late_event.seq > ${lateSeq}`;
}

/** The outcome that an event is a part of, and is charged by; one that came after the period's invoice counts from a late row on. */
function coveredIn(period: Period, lateSeq: bigint): Sql {
  return sql`
    select from outcome
    where outcome.customer_id = event.customer and outcome.workflow = event.body #>> '{data,labels,workflow}'
      and event.source <> ${OUTCOME_SOURCE}
      and not exists (
        select from late_cover
        where late_cover.outcome_id = outcome.id and late_cover.subscription_id = ${period.subscription_id}
          and late_cover.period_index = ${period.period_index} and late_cover.seq > ${lateSeq})`;
}

const WINDOWS = { quarter_hour: '15 minutes', hour: '1 hour', day: '1 day' } as const;

/** The start of the window that an event falls into: hours by UTC, days by the period's zone. */
function windowOf(cut: UsageCut, zone: string): Sql {
  if (!cut.window) return sql`null::timestamptz`;
  if (cut.window.size === 'day') return sql`date_trunc('day', event.time, ${zone}::text)`;
  return sql`date_bin(${WINDOWS[cut.window.size]}::interval, event.time, '2000-01-01T00:00:00Z'::timestamptz)`;
}

/** What an event carries, in the unit of the currency; null where it carries nothing in it that is a decimal. */
function carriedBy(cut: UsageCut, currency: string): Sql {
  if (!cut.carried) return sql`null::numeric`;
  // Where several models worked on a call, each carries what it cost itself.
  const money = cut.carried === 'event_price' ? sql`event.body #> '{data,price}'` : sql`used.cost`;
  return sql`case
    when ${money} ->> 'currency' = ${currency} and ${money} ->> 'amount' ~ '^\\d{1,18}([.]\\d{1,30})?$'
    then (${money} ->> 'amount')::numeric end`;
}

function dimensionsOf(cut: UsageCut): Sql {
  if (cut.dimensions.length === 0) return sql`array[]::text[]`;
  const values = cut.dimensions.map((name) => {
    if (name === 'model') return sql`used.model`;
    if (name === 'key') return sql`event.key`;
    const dot = name.indexOf('.');
    const path = dot < 0 ? ['data', name] : ['data', name.slice(0, dot), name.slice(dot + 1)];
    return sql`coalesce(event.body #>> ${path}::text[], '')`;
  });
  return sql`array[${joinSql(values, ', ')}]::text[]`;
}

export interface BilledPartRow {
  model: string;
  quantity: string;
  events: bigint;
  event: number | null;
  segment: number;
  dimensions: string[];
  window_at: number | null;
  carried: string | null;
}

/**
 * The usage of a unit on some models, as finely as a price wants it. An event of several models is one event: all its
 * parts have its number where events are told apart (of a window's largest, only that one is read), and it is counted in
 * the first of them. Events that are told apart are those that count.
 */
export async function listBilledParts(
  db: Database,
  period: Period,
  lateSeq: bigint,
  line: { unit: string; models: readonly string[] },
  cut: UsageCut,
  currency: string,
): Promise<BilledPartRow[]> {
  const instants = cut.instants.map(instant);
  const isLargest = cut.window?.aggregation === 'max';
  const single = cut.events || isLargest;
  const counts = sql`event.sign = 1 and not exists (
    select 1 from event as next where next.customer = event.customer and next.time = event.time
      and next.source = event.source and next.id = event.id and next.revision = event.revision + 1
      and not exists (${laterRow(period, lateSeq, sql`event.revision + 1`)}))`;
  const measured = sql`
    select used.model, event.sign, used.quantity, case used.place when 1 then 1 else 0 end as counted,
      (select count(*) from unnest(${instants}::timestamptz[]) as change (at) where change.at <= event.time)::int4
        as segment, ${dimensionsOf(cut)} as dimensions, ${windowOf(cut, period.zone)} as window_at,
      ${carriedBy(cut, currency)} as carried, event.time, event.source, event.id
    from event cross join lateral (
      select each.*, row_number() over (order by each.model, each.quantity) as place
      from usage_quantity(event.model, event.body -> 'data') as each
      where each.unit = ${line.unit} and each.model = any(${line.models}::text[])
    ) as used
    where event.customer = ${period.customer_id} and event.type = 'weir.usage.v1'
      and event.time >= ${instant(period.start_at)} and event.time < ${instant(period.end_at)}
      and not exists (${laterRow(period, lateSeq, sql`event.revision`)})
      and not exists (${coveredIn(period, lateSeq)}) and ${single ? counts : sql`true`}`;
  if (single) {
    const whole = isLargest
      ? sql`select *, sum(quantity) over (partition by segment, window_at, time, source, id) as whole from (${measured}) as used`
      : measured;
    const among = isLargest
      ? sql`select *, rank() over (partition by segment, window_at order by whole desc, time, source, id) as height from (${whole}) as used`
      : whole;
    return db.query<BilledPartRow>(sql`
      select model, trim_scale(quantity) as quantity, counted::int8 as events,
        dense_rank() over (order by time, source, id)::int4 as event, segment, dimensions, window_at,
        trim_scale(carried) as carried
      from (${among}) as used where ${isLargest ? sql`height = 1` : sql`true`} order by time, source, id, model, quantity`);
  }
  return db.query<BilledPartRow>(sql`
    select model, trim_scale(sum(sign * quantity)) as quantity, sum(sign * counted)::int8 as events,
      null::int4 as event, segment, dimensions, window_at, trim_scale(sum(sign * carried)) as carried
    from (${measured}) as used group by model, segment, dimensions, window_at, carried is null
    having sum(sign * quantity) <> 0 or sum(sign * counted) <> 0 order by segment, window_at, model, dimensions`);
}

export interface BilledHourRow {
  /** The hour (UTC) that it falls into; at the ends of a period only the part of the hour that belongs to it. */
  hour: number;
  model: string;
  quantity: string;
}

export async function listBilledHours(
  db: Database,
  period: Period,
  cut: SlotCut,
  lateSeq: bigint,
  line: { unit: string; models: readonly string[] },
  page: { after: { hour: string; model: string } | undefined; count: number },
): Promise<BilledHourRow[]> {
  const { hour = null, model = null } = page.after ?? {};
  return db.query<BilledHourRow>(sql`
    select hour, model collate "C" as model, trim_scale(sum(quantity)) as quantity
    from (${measuredIn(period, cut, lateSeq)}) as part (hour, model, unit, quantity)
    where unit = ${line.unit} and model = any(${line.models}::text[])
      and (${hour}::timestamptz is null or (hour, model collate "C") > (${hour}::timestamptz, ${model}::text))
    group by 1, 2 having sum(quantity) <> 0 order by 1, 2 limit ${page.count}`);
}

export interface BilledEventRow {
  source: string;
  id: string;
  time: number;
  received_at: number;
  key: string;
  model: string;
  usage_status: string;
  revision: number;
  /** Negative where the row takes back what another counted. */
  quantity: string;
}

export async function listBilledEvents(
  db: Database,
  period: Period,
  lateSeq: bigint,
  line: { unit: string; models: readonly string[] },
  page: { after: EventPlace | undefined; count: number },
): Promise<BilledEventRow[]> {
  const { time = null, source = null, id = null, revision = null } = page.after ?? {};
  return db.query<BilledEventRow>(sql`
    select event.source, event.id, event.time, event.received_at, event.key, event.model,
           event.body #>> '{data,usage_status}' as usage_status,
           trim_scale(event.sign * used.quantity) as quantity, event.revision
    from event cross join lateral (
      select sum(measured.quantity) as quantity from usage_quantity(event.model, event.body -> 'data') as measured
      where measured.unit = ${line.unit} and measured.model = any(${line.models}::text[])
    ) as used
    where event.customer = ${period.customer_id} and event.type = 'weir.usage.v1'
      and event.time >= ${time ?? instant(period.start_at)}::timestamptz and event.time < ${instant(period.end_at)}
      and used.quantity > 0
      and not exists (${laterRow(period, lateSeq, sql`event.revision`)})
      and not exists (${coveredIn(period, lateSeq)})
      and (${time}::timestamptz is null
        or (event.time, event.source, event.id, event.revision)
          > (${time}::timestamptz, ${source}::text, ${id}::text, ${revision}::int4))
    order by event.time, event.source, event.id, event.revision limit ${page.count}`);
}
