import { type Database, findRow, instant, json, type Sql, sql } from '#billing/db/database.ts';
import type { Charge } from '#billing/rating/charge.ts';
import type { ChargePrice, PriceChange } from '#config/charge-terms.ts';

/** A plan as of one of its versions. */
export interface PlanRow {
  id: string;
  version: number;
  name: string;
  currency: string;
  billing_interval: 'month';
  fee_nanos: bigint | null;
  managed_by: 'api' | 'config';
  terms_hash: string;
  created_at: number;
  removed_at: number | null;
  /** When this version was made. */
  changed_at: number;
}

/** A price of a plan version, as rating takes it. */
export type PriceRow = Charge;

/** False when the id is taken. */
export async function insertPlan(
  db: Database,
  row: { id: string; currency: string; managed_by: 'api' | 'config' },
  nowMs: number,
): Promise<boolean> {
  const rows = await db.query(sql`
    insert into plan (id, currency, managed_by, created_at)
    values (${row.id}, ${row.currency}, ${row.managed_by}, ${instant(nowMs)})
    on conflict (id) do nothing returning id`);
  return rows.length > 0;
}

/** Held to the end of the transaction: versions of one plan are made one after the other. */
export async function lockPlan(db: Database, id: string): Promise<void> {
  await db.query(sql`select id from plan where id = ${id} for update`);
}

export async function updatePlanManager(db: Database, id: string, managedBy: 'api' | 'config'): Promise<void> {
  await db.query(sql`
    update plan set managed_by = ${managedBy}, removed_at = null
    where id = ${id} and (managed_by <> ${managedBy} or removed_at is not null)`);
}

export async function updatePlanRemoved(db: Database, id: string, nowMs: number): Promise<void> {
  await db.query(sql`update plan set removed_at = ${instant(nowMs)} where id = ${id} and removed_at is null`);
}

export async function listPlansOfConfig(db: Database): Promise<string[]> {
  const rows = await db.query<{ id: string }>(sql`
    select id from plan where managed_by = 'config' and removed_at is null`);
  return rows.map((row) => row.id);
}

export async function insertPlanVersion(
  db: Database,
  row: {
    planId: string;
    version: number;
    name: string;
    interval: 'month';
    feeNanos: bigint | null;
    termsHash: string;
    nowMs: number;
  },
): Promise<void> {
  await db.query(sql`
    insert into plan_version (plan_id, version, name, billing_interval, fee_nanos, terms_hash, created_at)
    values (${row.planId}, ${row.version}, ${row.name}, ${row.interval}, ${row.feeNanos}, ${row.termsHash},
            ${instant(row.nowMs)})`);
}

export async function insertPrices(
  db: Database,
  planId: string,
  version: number,
  prices: readonly PriceRow[],
  nowMs: number,
): Promise<void> {
  for (const [position, row] of prices.entries()) {
    await db.query(sql`
      insert into price
        (id, plan_id, version, position, name, meter, unit, model, allowance, discount_percent, cap, minimum, terms)
      values (${row.price_id}, ${planId}, ${version}, ${position}, ${row.name}, ${row.meter}, ${row.unit}, ${row.model},
              ${row.allowance}, ${row.discount_percent}, ${row.cap}, ${row.minimum}, ${json(row.price)})`);
    for (const change of row.changes) await insertPriceChange(db, row.price_id, change, nowMs);
  }
}

export async function insertPriceChange(
  db: Database,
  priceId: string,
  change: PriceChange,
  nowMs: number,
): Promise<void> {
  await db.query(sql`
    insert into price_change (price_id, effective_at, terms, created_at)
    values (${priceId}, ${change.effective_at}, ${json(change.price)}, ${instant(nowMs)})`);
}

const PLAN = sql`
  select plan.id, plan_version.version, plan_version.name, plan.currency, plan_version.billing_interval,
         plan_version.fee_nanos, plan.managed_by, plan_version.terms_hash, plan.created_at, plan.removed_at,
         plan_version.created_at as changed_at
  from plan join plan_version on plan_version.plan_id = plan.id`;

const LATEST = sql`plan_version.version = (select max(version) from plan_version where plan_id = plan.id)`;

type RawPlan = Omit<PlanRow, 'fee_nanos'> & { fee_nanos: string | null };

/** The latest version, or the one asked for. */
export async function findPlan(db: Database, id: string, version: number | null): Promise<PlanRow | undefined> {
  const which = version === null ? LATEST : sql`plan_version.version = ${version}`;
  const row = await findRow<RawPlan>(db, sql`${PLAN} where plan.id = ${id} and ${which}`);
  return row && planOf(row);
}

/** The version in force at an instant; the first one before that. */
export async function findPlanAt(db: Database, id: string, atMs: number): Promise<PlanRow | undefined> {
  const row = await findRow<RawPlan>(
    db,
    sql`${PLAN}
      where plan.id = ${id} and (plan_version.version = 1 or plan_version.created_at <= ${instant(atMs)})
      order by plan_version.version desc limit 1`,
  );
  return row && planOf(row);
}

/** Each at its latest version. */
export async function listPlans(db: Database, after: string | undefined, count: number): Promise<PlanRow[]> {
  return plansOf(db, sql`${PLAN} where plan.id > ${after ?? ''} and ${LATEST} order by plan.id limit ${count}`);
}

export async function listPlanVersions(db: Database, id: string, after: number, count: number): Promise<PlanRow[]> {
  return plansOf(
    db,
    sql`${PLAN} where plan.id = ${id} and plan_version.version > ${after} order by plan_version.version limit ${count}`,
  );
}

async function plansOf(db: Database, statement: Sql): Promise<PlanRow[]> {
  return (await db.query<RawPlan>(statement)).map(planOf);
}

function planOf(row: RawPlan): PlanRow {
  return { ...row, fee_nanos: row.fee_nanos === null ? null : BigInt(row.fee_nanos) };
}

export interface StoredPrice extends PriceRow {
  plan_id: string;
  version: number;
}

type RawPrice = Omit<StoredPrice, 'price' | 'changes'> & {
  terms: ChargePrice;
  changed_at: string[];
  changed_to: string[];
};

const PRICE = sql`
  select id as price_id, plan_id, version, name, meter, unit, model, trim_scale(allowance) as allowance,
         trim_scale(discount_percent) as discount_percent, trim_scale(cap) as cap, trim_scale(minimum) as minimum, terms,
         array(select to_char(effective_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
               from price_change where price_id = price.id order by effective_at) as changed_at,
         array(select terms::text from price_change where price_id = price.id order by effective_at) as changed_to
  from price`;

export async function listPrices(db: Database, planId: string, version: number): Promise<PriceRow[]> {
  const rows = await db.query<RawPrice>(sql`
    ${PRICE} where plan_id = ${planId} and version = ${version} order by position`);
  return rows.map(priceOf);
}

export async function findPrice(db: Database, id: string): Promise<StoredPrice | undefined> {
  const row = await findRow<RawPrice>(db, sql`${PRICE} where id = ${id}`);
  return row && priceOf(row);
}

function priceOf({ terms, changed_at, changed_to, ...row }: RawPrice): StoredPrice {
  const changes = changed_at.map((effective_at, i) => ({ effective_at, price: JSON.parse(changed_to[i] ?? '') }));
  return { ...row, price: terms, changes };
}
