import { type Database, findRow, instant, json, sql } from '#billing/db/database.ts';
import type { LimitPolicy } from '#core/key-policy.ts';

export interface CustomerRow {
  id: string;
  name: string;
  timezone: string;
  currency: string;
  limits: LimitPolicy[];
  managed_by: 'api' | 'config';
  created_at: number;
  updated_at: number;
  removed_at: number | null;
}

export interface CustomerFields {
  id: string;
  name: string;
  timezone: string;
  currency: string;
  limits: readonly LimitPolicy[];
  /** From when on usage is summed by the quarter of an hour too. */
  quartersFromMs: number | null;
}

const columns = sql`id, name, timezone, currency, limits, managed_by, created_at, updated_at, removed_at`;

function quartersOf({ quartersFromMs }: CustomerFields): string | null {
  return quartersFromMs === null ? null : instant(quartersFromMs);
}

/** False when there is one with that id. */
export async function insertCustomer(db: Database, customer: CustomerFields, nowMs: number): Promise<boolean> {
  const rows = await db.query(sql`
    insert into customer (id, name, timezone, currency, limits, managed_by, created_at, updated_at, quarters_from)
    values (${customer.id}, ${customer.name}, ${customer.timezone}, ${customer.currency}, ${json(customer.limits)},
            'api', ${instant(nowMs)}, ${instant(nowMs)}, ${quartersOf(customer)})
    on conflict (id) do nothing
    returning id`);
  return rows.length === 1;
}

export async function findCustomerRow(db: Database, id: string): Promise<CustomerRow | undefined> {
  return findRow<CustomerRow>(db, sql`select ${columns} from customer where id = ${id}`);
}

/** As findCustomerRow, and nobody else changes it until this transaction ends. */
export async function lockCustomerRow(db: Database, id: string): Promise<CustomerRow | undefined> {
  return findRow<CustomerRow>(db, sql`select ${columns} from customer where id = ${id} for update`);
}

export async function listCustomerRows(db: Database, page: { after: string; count: number }): Promise<CustomerRow[]> {
  return db.query<CustomerRow>(sql`
    select ${columns} from customer where id > ${page.after} order by id limit ${page.count}`);
}

export async function updateCustomerRow(db: Database, customer: CustomerFields, nowMs: number): Promise<void> {
  await db.query(sql`
    update customer
    set name = ${customer.name}, timezone = ${customer.timezone}, limits = ${json(customer.limits)},
        quarters_from = coalesce(quarters_from, ${quartersOf(customer)}::timestamptz),
        updated_at = ${instant(nowMs)}
    where id = ${customer.id}`);
}

/** True when that changed anything. A customer that the API has made is taken over. */
export async function upsertConfigCustomer(db: Database, customer: CustomerFields, nowMs: number): Promise<boolean> {
  const rows = await db.query(sql`
    insert into customer (id, name, timezone, currency, limits, managed_by, created_at, updated_at, quarters_from)
    values (${customer.id}, ${customer.name}, ${customer.timezone}, ${customer.currency}, ${json(customer.limits)},
            'config', ${instant(nowMs)}, ${instant(nowMs)}, ${quartersOf(customer)})
    on conflict (id) do update
      set name = excluded.name, timezone = excluded.timezone, currency = excluded.currency, limits = excluded.limits,
          managed_by = 'config', updated_at = excluded.updated_at, removed_at = null,
          quarters_from = coalesce(customer.quarters_from, excluded.quarters_from)
      where (customer.name, customer.timezone, customer.currency, customer.limits, customer.managed_by,
             customer.removed_at)
        is distinct from (excluded.name, excluded.timezone, excluded.currency, excluded.limits, 'config', null)
    returning id`);
  return rows.length === 1;
}

/** Marks the customers of the configuration that are no longer in it; gives their ids. */
export async function removeConfigCustomersExcept(
  db: Database,
  ids: readonly string[],
  nowMs: number,
): Promise<string[]> {
  const rows = await db.query<{ id: string }>(sql`
    update customer set removed_at = ${instant(nowMs)}, updated_at = ${instant(nowMs)}
    where managed_by = 'config' and removed_at is null and id <> all (${ids}::text[])
    returning id`);
  return rows.map((row) => row.id);
}
