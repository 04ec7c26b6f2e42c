import { type Database, findRow, getRow, instant, json, type Sql, sql } from '#billing/db/database.ts';
import { ROLL_UP } from '#billing/db/roll-up.ts';
import type { Period } from '#core/time.ts';

/** A figure that is another than its events give. */
export interface StoredDifference {
  hour: string;
  key: string;
  model: string;
  unit: string;
  rolled_up: string | null;
  recomputed: string | null;
}

export interface FindingRow {
  seq: bigint;
  customer: string;
  hour: number;
  found_at: number;
  differences: StoredDifference[];
  repair_id: string | null;
}

/** Found again, it stays one finding, with what differs now. */
export async function upsertFinding(
  db: Database,
  row: { customer: string; hour: number; differences: readonly StoredDifference[] },
  nowMs: number,
): Promise<void> {
  await db.query(sql`
    insert into usage_finding (customer, hour, found_at, differences)
    values (${row.customer}, ${instant(row.hour)}, ${instant(nowMs)}, ${json(row.differences)})
    on conflict (customer, hour) where repair_id is null do update set differences = excluded.differences`);
}

/** Newest first. */
export async function listFindingRows(
  db: Database,
  page: { customer: string | undefined; open: boolean; beforeSeq: bigint | undefined; count: number },
): Promise<FindingRow[]> {
  const { customer = null, beforeSeq = null } = page;
  return db.query<FindingRow>(sql`
    select seq, customer, hour, found_at, differences, repair_id from usage_finding
    where seq < coalesce(${beforeSeq}::int8, 9223372036854775807)
      and (${customer}::text is null or customer = ${customer}) and (not ${page.open}::bool or repair_id is null)
    order by seq desc limit ${page.count}`);
}

export async function updateFindingsRepaired(
  db: Database,
  customer: string,
  period: Period,
  repairId: string,
): Promise<void> {
  await db.query(sql`
    update usage_finding set repair_id = ${repairId}
    where customer = ${customer} and hour >= ${instant(period.startMs)} and hour < ${instant(period.endMs)}
      and repair_id is null`);
}

export interface RepairRow {
  id: string;
  customer: string;
  from_at: number;
  to_at: number;
  reason: string;
  token: string;
  repaired_at: number;
  differences: StoredDifference[];
}

export async function insertRepair(db: Database, row: RepairRow): Promise<void> {
  await db.query(sql`
    insert into usage_repair (id, customer, from_at, to_at, reason, token, repaired_at, differences)
    values (${row.id}, ${row.customer}, ${instant(row.from_at)}, ${instant(row.to_at)}, ${row.reason}, ${row.token},
            ${instant(row.repaired_at)}, ${json(row.differences)})`);
}

/** Latest first. */
export async function listRepairRows(
  db: Database,
  page: { customer: string | undefined; before: string | undefined; count: number },
): Promise<RepairRow[]> {
  const { customer = null, before = null } = page;
  return db.query<RepairRow>(sql`
    select id, customer, from_at, to_at, reason, token, repaired_at, differences from usage_repair
    where (${customer}::text is null or customer = ${customer}) and (${before}::text is null or id < ${before})
    order by id desc limit ${page.count}`);
}

/** The hour that is being looked at, and the last customer of it that was; null before the first. */
export interface CheckPlace {
  hour: number;
  customer: string | null;
}

export async function findCheckPlace(db: Database): Promise<CheckPlace | undefined> {
  return findRow<CheckPlace>(db, sql`select hour, customer from usage_check`);
}

export async function updateCheckPlace(db: Database, place: CheckPlace): Promise<void> {
  await db.query(sql`
    insert into usage_check (id, hour, customer) values (1, ${instant(place.hour)}, ${place.customer})
    on conflict (id) do update set hour = excluded.hour, customer = excluded.customer`);
}

/** Who has events or sums in an hour, with the number of events; those whose name comes after one. */
export async function listPlacesToCheck(
  db: Database,
  period: Period,
  after: string | null,
  count: number,
): Promise<{ customer: string; events: bigint }[]> {
  const [from, to] = [instant(period.startMs), instant(period.endMs)];
  const isNext = (name: Sql) => sql`(${after}::text is null or ${name} > ${after})`;
  return db.query(sql`
    select name.customer, counted.events
    from (
      select customer, bool_or(has_sums) as has_sums
      from (
        select id collate "C" as customer, false as has_sums from customer where ${isNext(sql`id collate "C"`)}
        union all
        select customer, true from cost_hour where hour >= ${from} and hour < ${to} and ${isNext(sql`customer`)}
        union all
        select customer, true from usage_hour where hour >= ${from} and hour < ${to} and ${isNext(sql`customer`)}
      ) as named
      group by 1 order by 1
    ) as name
    cross join lateral (
      select count(*)::int8 as events from event
      where event.customer = name.customer and event.time >= ${from} and event.time < ${to}
    ) as counted
    where counted.events > 0 or name.has_sums
    order by 1 limit ${count}`);
}

/** An hour with sums that is older than every event: its events were dropped, and the sums are all that is left. */
export async function findHourWithoutEvents(
  db: Database,
  customer: string,
  period: Period,
): Promise<number | undefined> {
  const row = await findRow<{ hour: number }>(
    db,
    sql`
      select hour from cost_hour
      where customer = ${customer} and hour >= ${instant(period.startMs)} and hour < ${instant(period.endMs)}
        and not exists (select from event where event.time < cost_hour.hour + interval '1 hour')
      order by hour limit 1`,
  );
  return row?.hour;
}

/** Sums of whole hours of a customer, made again from its events. Gives how many events that were. */
export async function replaceSums(db: Database, customer: string, period: Period): Promise<bigint> {
  const [from, to] = [instant(period.startMs), instant(period.endMs)];
  await db.query(sql`delete from usage_hour where customer = ${customer} and hour >= ${from} and hour < ${to}`);
  await db.query(sql`delete from cost_hour where customer = ${customer} and hour >= ${from} and hour < ${to}`);
  await db.query(
    sql`delete from usage_quarter where customer = ${customer} and quarter >= ${from} and quarter < ${to}`,
  );
  await db.query(sql`delete from cost_quarter where customer = ${customer} and quarter >= ${from} and quarter < ${to}`);
  const row = await getRow<{ events: bigint }>(
    db,
    sql`
      with fresh as materialized (
        select sign, type, time, customer, key, model, body -> 'data' as data from event
        where customer = ${customer} and time >= ${from} and time < ${to}
      ), ${ROLL_UP}
      select count(*) as events from fresh`,
  );
  return row.events;
}

export interface DifferenceRow {
  customer: string;
  hour: number;
  key: string;
  model: string;
  unit: string;
  rolled_up: string | null;
  recomputed: string | null;
}

/** Where the roll-up of quantities is not the sum of the events, in one snapshot. */
export async function listQuantityDifferences(
  db: Database,
  period: Period,
  customer: string | null,
  limit: number,
): Promise<DifferenceRow[]> {
  const [from, to] = [instant(period.startMs), instant(period.endMs)];
  const one = sql`(${customer}::text is null or customer = ${customer})`;
  return await db.query<DifferenceRow>(sql`
    select customer, hour, key, model, unit, rolled.quantity rolled_up, events.quantity recomputed
    from (
      select customer, date_trunc('hour', time, 'UTC') as hour, key, q.model collate "C" model, q.unit collate "C" unit,
        sum(sign * q.quantity) quantity
      from event cross join lateral usage_quantity(event.model, body -> 'data') q
      where ${one} and time >= ${from} and time < ${to} and type = 'weir.usage.v1'
      group by 1, 2, 3, 4, 5
    ) events
    full join (
      select * from usage_hour where ${one} and hour >= ${from} and hour < ${to}
    ) rolled using (customer, hour, key, model, unit)
    where rolled.quantity is distinct from events.quantity
    order by 1, 2, 3, 4, 5 limit ${limit}`);
}

/** The same for costs and numbers of events; `unit` says which. */
export async function listCostDifferences(
  db: Database,
  period: Period,
  customer: string | null,
  limit: number,
): Promise<DifferenceRow[]> {
  const [from, to] = [instant(period.startMs), instant(period.endMs)];
  const one = sql`(${customer}::text is null or customer = ${customer})`;
  return await db.query<DifferenceRow>(sql`
    with compared as (
      select customer, hour, key, model, currency, rolled.cost rolled_cost, events.cost event_cost,
        rolled.events rolled_events, events.events event_events, rolled.estimated rolled_estimated,
        events.estimated event_estimated
      from (
        select customer, date_trunc('hour', time, 'UTC') as hour, key, q.model collate "C" model,
          q.currency collate "C" currency, sum(sign * q.cost) cost, sum(sign * q.events) events,
          coalesce(sum(sign * q.events) filter (where body #>> '{data,usage_status}' = 'estimated'), 0) estimated
        from event cross join lateral usage_cost(event.model, body -> 'data') q
        where ${one} and time >= ${from} and time < ${to} and type = 'weir.usage.v1'
        group by 1, 2, 3, 4, 5
      ) events
      full join (
        select * from cost_hour where ${one} and hour >= ${from} and hour < ${to}
      ) rolled using (customer, hour, key, model, currency)
    )
    select customer, hour, key, model, figure.unit, figure.rolled_up, figure.recomputed
    from compared cross join lateral (values
      ('cost ' || currency, rolled_cost, event_cost), ('events', rolled_events::numeric, event_events::numeric),
      ('estimated', rolled_estimated::numeric, event_estimated::numeric)
    ) figure (unit, rolled_up, recomputed)
    where figure.rolled_up is distinct from figure.recomputed
    order by 1, 2, 3, 4, 5 limit ${limit}`);
}

/** Where quarters of an hour, of the customers that have them, do not add up to their hour. */
export async function listQuarterDifferences(
  db: Database,
  period: Period,
  customer: string | null,
  limit: number,
): Promise<DifferenceRow[]> {
  const [from, to] = [instant(period.startMs), instant(period.endMs)];
  return await db.query<DifferenceRow>(sql`
    with kept as (
      select id collate "C" as customer, quarters_from from customer
      where quarters_from is not null and (${customer}::text is null or id = ${customer})
    ), hours as (
      select customer, hour, key, model, unit, quantity from usage_hour join kept using (customer)
      where hour >= greatest(${from}::timestamptz, quarters_from) and hour < ${to}
      union all
      select customer, hour, key, model, 'cost ' || currency, cost from cost_hour join kept using (customer)
      where hour >= greatest(${from}::timestamptz, quarters_from) and hour < ${to}
    ), quarters as (
      select customer, date_trunc('hour', quarter, 'UTC') as hour, key, model, unit, sum(quantity) as quantity
      from usage_quarter join kept using (customer)
      where quarter >= greatest(${from}::timestamptz, quarters_from) and quarter < ${to} group by 1, 2, 3, 4, 5
      union all
      select customer, date_trunc('hour', quarter, 'UTC'), key, model, 'cost ' || currency, sum(cost)
      from cost_quarter join kept using (customer)
      where quarter >= greatest(${from}::timestamptz, quarters_from) and quarter < ${to} group by 1, 2, 3, 4, 5
    )
    select customer, hour, key, model, 'quarters of ' || unit as unit, quarters.quantity rolled_up, hours.quantity recomputed
    from hours full join quarters using (customer, hour, key, model, unit)
    where hours.quantity is distinct from quarters.quantity
    order by 1, 2, 3, 4, 5 limit ${limit}`);
}
