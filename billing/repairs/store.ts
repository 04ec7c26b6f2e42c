import { type Database, findRow, getRow, instant, json, sql } from '#billing/db/database.ts';
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
