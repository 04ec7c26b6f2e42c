import { getCustomer } from '#billing/customers/customer.ts';
import type { Database } from '#billing/db/database.ts';
import { getKey } from '#billing/keys/key.ts';
import { Fault } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import type { Halt as GatewayHalt } from '#core/key-policy.ts';
import {
  findHaltRow,
  type HaltFields,
  type HaltRow,
  insertHalt,
  liftHaltRow,
  listHaltRows,
  listHaltsInForce,
  listPauseRows,
} from './store.ts';

/**
 * What the operator has switched off, and who did it. Gateways hear of it as they hear of a policy: that is the caller's
 * to move (billing/policies).
 */
export type Halt = HaltRow;

export type NewHalt = Omit<HaltFields, 'id'>;

export async function createHalt(db: Database, wanted: NewHalt, by: string, nowMs: number): Promise<Halt> {
  if (wanted.customerId !== null) await getCustomer(db, wanted.customerId);
  if (wanted.keyId !== null) await getKey(db, wanted.keyId);
  const id = newId('halt', nowMs);
  await insertHalt(db, { ...wanted, id }, by, nowMs);
  return getHalt(db, id);
}

export async function getHalt(db: Database, id: string): Promise<Halt> {
  const halt = await findHaltRow(db, id);
  if (!halt) throw new Fault('not_found', { detail: `There is no halt ${id}.` });
  return halt;
}

export async function listHalts(
  db: Database,
  page: { inForce: boolean; before: string; count: number },
): Promise<Halt[]> {
  return listHaltRows(db, page);
}

/** All that are in force, as gateways take them. */
export async function haltsForGateways(db: Database): Promise<GatewayHalt[]> {
  return (await listHaltsInForce(db)).map((row) => ({
    id: row.id,
    customer: row.customer_id,
    key: row.key_id,
    upstream: row.upstream,
    model: row.model,
    cutOpen: row.cut_open,
  }));
}

/** Lifting twice is lifting once. */
export async function liftHalt(db: Database, id: string, by: string, nowMs: number): Promise<Halt> {
  await getHalt(db, id);
  await liftHaltRow(db, id, by, nowMs);
  return getHalt(db, id);
}

/** A halt of the whole customer. Pausing twice is pausing once, unless only the second time asks for calls in flight. */
export async function pauseCustomer(
  db: Database,
  customerId: string,
  how: { cutOpen: boolean; reason: string },
  by: string,
  nowMs: number,
): Promise<Halt> {
  const pauses = await listPauseRows(db, customerId);
  const found = pauses.find((halt) => halt.cut_open || !how.cutOpen);
  return found ?? createHalt(db, { customerId, keyId: null, upstream: null, model: null, ...how }, by, nowMs);
}

/** Lifts every halt of the whole customer; gives those that were in force. */
export async function resumeCustomer(db: Database, customerId: string, by: string, nowMs: number): Promise<Halt[]> {
  await getCustomer(db, customerId);
  const lifted: Halt[] = [];
  for (const { id } of await listPauseRows(db, customerId)) lifted.push(await liftHalt(db, id, by, nowMs));
  return lifted;
}
