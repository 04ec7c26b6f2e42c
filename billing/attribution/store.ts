import { type Database, instant, sql } from '#billing/db/database.ts';

export interface UnattributedRow {
  /** '' where events name nobody. */
  customer: string;
  /** At most the bound that was asked for. */
  events: bigint;
  first_at: number;
  last_at: number;
}

/**
 * Names under which events count and that are no customer's, in order. Goes from one name to the next through the index,
 * however many events each has.
 */
export async function selectUnattributed(
  db: Database,
  page: { after: string | undefined; countMax: number; limit: number },
): Promise<UnattributedRow[]> {
  const { after = null, countMax, limit } = page;
  return await db.query<UnattributedRow>(sql`
    with recursive name (customer) as (
      (select customer from event
       where ${after}::text is null or customer > ${after}::text collate "C" order by customer limit 1)
      union all
      select (select customer from event where customer > name.customer order by customer limit 1)
      from name where name.customer is not null
    ), unknown as (
      select name.customer from name
      where name.customer is not null
        and not exists (select from customer known where known.id = name.customer)
    )
    select unknown.customer, counted.events, counted.first_at, counted.last_at
    from unknown cross join lateral (
      select count(*) as events, min(time) as first_at, max(time) as last_at
      from (select time from event where customer = unknown.customer and live order by time limit ${countMax}) standing
    ) counted
    where counted.events > 0 order by 1 limit ${limit}`);
}

/** Which events are meant, of those under a name. */
export interface AttributedEvents {
  name: string;
  key: string | undefined;
  type: string | undefined;
  fromMs: number | undefined;
  toMs: number | undefined;
  ids: readonly string[] | null | undefined;
}

export interface FoundEvent {
  source: string;
  id: string;
  time: number;
  body: string;
}

/** Oldest first. */
export async function selectEventsToAttribute(
  db: Database,
  events: AttributedEvents,
  limit: number,
): Promise<FoundEvent[]> {
  const { name, key = null, type = null, fromMs, toMs, ids = null } = events;
  const [from, to] = [fromMs, toMs].map((ms) => (ms === undefined ? null : instant(ms)));
  return await db.query<FoundEvent>(sql`
    select source, id, time, body::text as body from event
    where customer = ${name} and live
      and (${key}::text is null or key = ${key}) and (${type}::text is null or type = ${type})
      and (${from}::timestamptz is null or time >= ${from}::timestamptz)
      and (${to}::timestamptz is null or time < ${to}::timestamptz)
      and (${ids}::text[] is null or id = any(${ids}::text[]))
    order by time, source, id limit ${limit}`);
}
