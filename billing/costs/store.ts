import { type Database, instant, joinSql, type Sql, sql } from '#billing/db/database.ts';
import type { Period } from '#core/time.ts';

/** A usage event that counts, with the correction that decided what it says, where there was one. */
export interface CostedRow {
  source: string;
  id: string;
  customer: string;
  time: number;
  revision: number;
  decided_at: number | null;
  body: string;
}

export interface CostedFilter {
  period: Period;
  customer: string | undefined;
  model: string | undefined;
  /** unpriced: without a known cost. older: costed by another state of the prices than this. */
  events: 'unpriced' | 'older';
  version: string;
  after: { time: string; source: string; id: string } | undefined;
  limit: number;
}

/** In the order of their time. What a provider said itself is its figure, whatever a list says. */
export async function selectCosted(db: Database, filter: CostedFilter): Promise<CostedRow[]> {
  const conditions: Sql[] = [
    sql`event.time >= ${instant(filter.period.startMs)} and event.time < ${instant(filter.period.endMs)}`,
    sql`coalesce(body #> '{data,quantities}', '{}') <> '{}'`,
    sql`body #>> '{data,cost_source}' is distinct from 'provider'`,
    filter.events === 'unpriced'
      ? sql`body #>> '{data,cost,amount}' is null`
      : sql`body #>> '{data,price_book}' is distinct from ${filter.version}::text`,
  ];
  if (filter.customer !== undefined) conditions.push(sql`event.customer = ${filter.customer}`);
  if (filter.model !== undefined) conditions.push(sql`event.model = ${filter.model}`);
  if (filter.after) {
    const { time, source, id } = filter.after;
    conditions.push(sql`(event.time, event.source, event.id) > (${time}::timestamptz, ${source}::text, ${id}::text)`);
  }
  return await db.query<CostedRow>(sql`
    select event.source, event.id, event.customer, event.time, event.revision, event.body::text as body, decided.time as decided_at
    from event
    left join lateral (
      select time from event_correction
      where target_id = event.id and target_source = event.source and revision is not null
      order by time desc limit 1
    ) decided on true
    where live and type = 'weir.usage.v1' and ${joinSql(conditions, ' and ')}
    order by event.time, event.source, event.id limit ${filter.limit}`);
}

export interface UnpricedRow {
  provider: string | null;
  upstream: string | null;
  model: string;
  service_tier: string | null;
  units: string[];
  events: bigint;
  first_at: number;
  last_at: number;
}

/** The most frequent first. */
export async function selectUnpriced(db: Database, period: Period, limit: number): Promise<UnpricedRow[]> {
  return await db.query<UnpricedRow>(sql`
    select provider, upstream, model, service_tier, array_agg(distinct unit order by unit) units,
      count(distinct (source, id))::int8 events, min(time) first_at, max(time) last_at
    from (
      select event.source, event.id, event.time, body #>> '{data,provider}' provider, body #>> '{data,upstream}' upstream,
        coalesce(body #>> '{data,model_served}', event.model) model, body #>> '{data,service_tier}' service_tier,
        body #> '{data,unpriced}' unpriced
      from event
      where live and type = 'weir.usage.v1' and event.time >= ${instant(period.startMs)}
        and event.time < ${instant(period.endMs)} and jsonb_typeof(body #> '{data,unpriced}') = 'array'
    ) used
    cross join lateral jsonb_array_elements_text(unpriced) unit
    group by 1, 2, 3, 4 order by events desc, 3, 1, 2, 4 limit ${limit}`);
}
