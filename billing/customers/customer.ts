import type { Database } from '#billing/db/database.ts';
import type { CustomerConfig } from '#config/config.ts';
import { Fault } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import { HOUR_MS, hasQuarterOffset } from '#core/time.ts';
import { type LimitIn, limitPolicies } from './limit.ts';
import {
  type CustomerRow,
  findCustomerRow,
  insertCustomer,
  listCustomerRows,
  lockCustomerRow,
  removeConfigCustomersExcept,
  updateCustomerRow,
  upsertConfigCustomer,
} from './store.ts';

/** The tenant: who owns keys and is billed. */
export type Customer = CustomerRow;

export interface NewCustomer {
  /** Made when it is not given. */
  id?: string | undefined;
  name: string;
  timezone: string;
  currency: string;
  limits: readonly LimitIn[];
}

/** What can change. The currency cannot: documents, wallets and budgets of the customer are in it. */
export interface CustomerChange {
  name?: string | undefined;
  timezone?: string | undefined;
  limits?: readonly LimitIn[] | undefined;
}

export async function createCustomer(db: Database, wanted: NewCustomer, nowMs: number): Promise<Customer> {
  const id = wanted.id ?? newId('cus', nowMs);
  const limits = limitPolicies(wanted.limits, null, wanted.timezone);
  if (
    !(await insertCustomer(db, { ...wanted, id, limits, quartersFromMs: quartersFrom(wanted.timezone, nowMs) }, nowMs))
  ) {
    throw new Fault('already_exists', { detail: `There is a customer ${id}.` });
  }
  return getCustomer(db, id);
}

export async function getCustomer(db: Database, id: string): Promise<Customer> {
  return orNotFound(await findCustomerRow(db, id), id);
}

export async function findCustomer(db: Database, id: string): Promise<Customer | undefined> {
  return findCustomerRow(db, id);
}

export async function listCustomers(db: Database, page: { after: string; count: number }): Promise<Customer[]> {
  return listCustomerRows(db, page);
}

/** What is not given stays. The policies of the customer's keys are the caller's to refresh (billing/policies). */
export async function updateCustomer(
  db: Database,
  id: string,
  change: CustomerChange,
  nowMs: number,
): Promise<Customer> {
  const customer = orNotFound(await lockCustomerRow(db, id), id);
  if (customer.managed_by === 'config') throw new Fault('managed_by_config', { detail: `It is the customer ${id}.` });
  const timezone = change.timezone ?? customer.timezone;
  const limits = change.limits
    ? limitPolicies(change.limits, null, timezone)
    : customer.limits.map((limit) => ({ ...limit, timezone }));
  const quartersFromMs = quartersFrom(timezone, nowMs);
  await updateCustomerRow(
    db,
    { ...customer, name: change.name ?? customer.name, timezone, limits, quartersFromMs },
    nowMs,
  );
  return getCustomer(db, id);
}

/** The customers of the configuration, all of them: idempotent. Gives those that changed, the dropped ones included. */
export async function applyConfigCustomers(
  db: Database,
  customers: readonly CustomerConfig[],
  nowMs: number,
): Promise<string[]> {
  const changed: string[] = [];
  for (const customer of customers) {
    const limits = customer.limits.filter((limit) => limit.scope === 'customer');
    if (
      await upsertConfigCustomer(
        db,
        { ...customer, limits, quartersFromMs: quartersFrom(customer.timezone, nowMs) },
        nowMs,
      )
    )
      changed.push(customer.id);
  }
  const ids = customers.map((customer) => customer.id);
  return [...changed, ...(await removeConfigCustomersExcept(db, ids, nowMs))];
}

function orNotFound(customer: Customer | undefined, id: string): Customer {
  if (!customer) throw new Fault('not_found', { detail: `There is no customer ${id}.` });
  return customer;
}

/** Further ahead than the time of any event that a batch in flight may hold (a day, and more for the batch). */
const AHEAD_MS = 26 * HOUR_MS;

/** From when on usage is summed by the quarter of an hour too; null where the zone's days begin on hours of UTC. */
function quartersFrom(timezone: string, nowMs: number): number | null {
  return hasQuarterOffset(timezone, nowMs) ? nowMs - (nowMs % HOUR_MS) + AHEAD_MS : null;
}
