import { type Database, instant, joinSql, type Sql, sql } from '#billing/db/database.ts';
import type { EventPlace } from '#billing/http/page.ts';
import type { Period } from '#billing/subscriptions/period.ts';
import type { HourCut } from '#core/time.ts';

/** Every (hour, model, unit, quantity) of a period, late usage taken off. Rows of one key are yet to be added up. */
function measuredIn(period: Period, { whole, edges }: HourCut): Sql {
  const parts = [
    sql`
    select hour, model, unit, quantity from usage_hour
    where customer = ${period.customer_id} and hour >= ${instant(whole.startMs)} and hour < ${instant(whole.endMs)}`,
    sql`
    select date_trunc('hour', event.time, 'UTC'), event.model, measured.unit, -event.sign * measured.quantity::numeric
    from late_event
    join event on event.customer = late_event.customer_id and event.time = late_event.event_at
      and event.source = late_event.source and event.id = late_event.event_id and event.revision = late_event.revision,
      jsonb_each_text(event.body #> '{data,quantities}') as measured (unit, quantity)
    where late_event.subscription_id = ${period.subscription_id} and late_event.period_index = ${period.period_index}
      and event.type = 'weir.usage.v1'`,
  ];
  for (const edge of edges) {
    parts.push(sql`
    select date_trunc('hour', event.time, 'UTC'), event.model, measured.unit, event.sign * measured.quantity::numeric
    from event, jsonb_each_text(event.body #> '{data,quantities}') as measured (unit, quantity)
    where event.customer = ${period.customer_id} and event.type = 'weir.usage.v1'
      and event.time >= ${instant(edge.startMs)} and event.time < ${instant(edge.endMs)}`);
  }
  return joinSql(parts, ' union all ');
}

/** Quantities in plain decimal notation. */
export async function sumBilledUsage(
  db: Database,
  period: Period,
  cut: HourCut,
): Promise<{ model: string; unit: string; quantity: string }[]> {
  return db.query(sql`
    select model, unit, trim_scale(sum(quantity)) as quantity
    from (${measuredIn(period, cut)}) as part (hour, model, unit, quantity)
    group by model, unit having sum(quantity) <> 0
    order by unit collate "C", model collate "C"`);
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
  cut: HourCut,
  line: { unit: string; models: readonly string[] },
  page: { after: { hour: string; model: string } | undefined; count: number },
): Promise<BilledHourRow[]> {
  const { hour = null, model = null } = page.after ?? {};
  return db.query<BilledHourRow>(sql`
    select hour, model collate "C" as model, trim_scale(sum(quantity)) as quantity
    from (${measuredIn(period, cut)}) as part (hour, model, unit, quantity)
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
  line: { unit: string; models: readonly string[] },
  page: { after: EventPlace | undefined; count: number },
): Promise<BilledEventRow[]> {
  const { time = null, source = null, id = null, revision = null } = page.after ?? {};
  return db.query<BilledEventRow>(sql`
    select event.source, event.id, event.time, event.received_at, event.key, event.model,
           event.body #>> '{data,usage_status}' as usage_status,
           trim_scale(event.sign * (event.body #> '{data,quantities}' ->> ${line.unit}::text)::numeric) as quantity,
           event.revision
    from event
    where event.customer = ${period.customer_id} and event.type = 'weir.usage.v1'
      and event.time >= ${time ?? instant(period.start_at)}::timestamptz and event.time < ${instant(period.end_at)}
      and event.model = any(${line.models}::text[])
      and (event.body #> '{data,quantities}' ->> ${line.unit}::text)::numeric > 0
      and not exists (
        select 1 from late_event where late_event.source = event.source and late_event.event_id = event.id
          and late_event.revision = event.revision
          and late_event.subscription_id = ${period.subscription_id}
          and late_event.period_index = ${period.period_index})
      and (${time}::timestamptz is null
        or (event.time, event.source, event.id, event.revision)
          > (${time}::timestamptz, ${source}::text, ${id}::text, ${revision}::int4))
    order by event.time, event.source, event.id, event.revision limit ${page.count}`);
}
