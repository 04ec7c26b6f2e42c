import { type Database, findRow, instant, sql } from '#billing/db/database.ts';

export interface HaltRow {
  id: string;
  customer_id: string | null;
  key_id: string | null;
  upstream: string | null;
  model: string | null;
  cut_open: boolean;
  reason: string;
  created_at: number;
  created_by: string;
  lifted_at: number | null;
  lifted_by: string | null;
}

export interface HaltFields {
  id: string;
  customerId: string | null;
  keyId: string | null;
  upstream: string | null;
  model: string | null;
  cutOpen: boolean;
  reason: string;
}

const columns = sql`
  id, customer_id, key_id, upstream, model, cut_open, reason, created_at, created_by, lifted_at, lifted_by`;

export async function insertHalt(db: Database, halt: HaltFields, by: string, nowMs: number): Promise<void> {
  await db.query(sql`
    insert into halt (id, customer_id, key_id, upstream, model, cut_open, reason, created_at, created_by)
    values (${halt.id}, ${halt.customerId}, ${halt.keyId}, ${halt.upstream}, ${halt.model}, ${halt.cutOpen},
            ${halt.reason}, ${instant(nowMs)}, ${by})`);
}

export async function findHaltRow(db: Database, id: string): Promise<HaltRow | undefined> {
  return findRow<HaltRow>(db, sql`select ${columns} from halt where id = ${id}`);
}

/** The newest first. */
export async function listHaltRows(
  db: Database,
  page: { inForce: boolean; before: string; count: number },
): Promise<HaltRow[]> {
  const wanted = page.inForce ? sql`lifted_at is null` : sql`true`;
  const before = page.before === '' ? sql`true` : sql`id < ${page.before}`;
  return db.query<HaltRow>(sql`
    select ${columns} from halt where ${wanted} and ${before} order by id desc limit ${page.count}`);
}

export async function listHaltsInForce(db: Database): Promise<HaltRow[]> {
  return db.query<HaltRow>(sql`select ${columns} from halt where lifted_at is null order by id`);
}

export async function liftHaltRow(db: Database, id: string, by: string, nowMs: number): Promise<void> {
  await db.query(sql`
    update halt set lifted_at = ${instant(nowMs)}, lifted_by = ${by} where id = ${id} and lifted_at is null`);
}

/** Those in force that name this customer and nothing else. */
export async function listPauseRows(db: Database, customerId: string): Promise<HaltRow[]> {
  return db.query<HaltRow>(sql`
    select ${columns} from halt
    where customer_id = ${customerId} and key_id is null and upstream is null and model is null and lifted_at is null
    order by id`);
}
