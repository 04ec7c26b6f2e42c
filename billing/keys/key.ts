import { getCustomer } from '#billing/customers/customer.ts';
import { type LimitIn, limitPolicies } from '#billing/customers/limit.ts';
import type { Database } from '#billing/db/database.ts';
import { sha256Hex } from '#config/hash.ts';
import { newSecret } from '#config/secret.ts';
import { Fault } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import {
  deleteConfigKeySecrets,
  deleteEndedKeySecrets,
  endKeySecrets,
  findKeyRow,
  insertKey,
  insertKeySecret,
  type KeyFields,
  type KeyRow,
  type KeySecretRow,
  type KeyUpdate,
  listCustomersOfKeys,
  listKeyRows,
  listKeySecrets,
  lockKeyRow,
  removeConfigKeysExcept,
  updateKeyRow,
  upsertConfigKey,
} from './store.ts';

/** What an application calls the gateway with. Its id is public and stays; its secrets come and go and are never stored. */
export interface Key extends KeyRow {
  /** Those that work, as far as people may see them. */
  secrets: KeySecretRow[];
}

export interface NewKey {
  id?: string | undefined;
  customer: string;
  name: string;
  mode: 'live' | 'test';
  models: readonly string[];
  labels: Readonly<Record<string, string>>;
  limits: readonly LimitIn[];
  expiresAtMs: number | null;
}

export interface KeyChange {
  name?: string | undefined;
  models?: readonly string[] | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
  limits?: readonly LimitIn[] | undefined;
  /** Null for never. */
  expiresAtMs?: number | null | undefined;
}

const HINT_CHARS = 4;

/** The secret is in this answer and nowhere else. The key's policy is the caller's to refresh (billing/policies). */
export async function createKey(db: Database, wanted: NewKey, nowMs: number): Promise<{ key: Key; secret: string }> {
  const customer = await getCustomer(db, wanted.customer);
  if (customer.removed_at !== null) {
    throw new Fault('state_conflict', { detail: `The customer ${customer.id} has been removed.` });
  }
  const id = wanted.id ?? newId('key', nowMs);
  const limits = limitPolicies(wanted.limits, id, customer.timezone);
  const fields: KeyFields = { ...wanted, id, customerId: customer.id, limits, state: 'active' };
  if (!(await insertKey(db, fields, nowMs))) throw new Fault('already_exists', { detail: `There is a key ${id}.` });
  const secret = await addSecret(db, id, wanted.mode, nowMs);
  return { key: await getKey(db, id), secret };
}

export async function getKey(db: Database, id: string): Promise<Key> {
  return withSecrets(db, orNotFound(await findKeyRow(db, id), id));
}

/** By id; of one customer or of all. */
export async function listKeys(
  db: Database,
  page: { customer: string | undefined; after: string; count: number },
): Promise<Key[]> {
  const rows = await listKeyRows(db, page);
  const secrets = await listKeySecrets(
    db,
    rows.map((row) => row.id),
  );
  return rows.map((row) => ({ ...row, secrets: secrets.filter((secret) => secret.key_id === row.id) }));
}

/** What is not given stays. */
export async function updateKey(db: Database, id: string, change: KeyChange, nowMs: number): Promise<Key> {
  const key = await lockManagedHere(db, id);
  const customer = await getCustomer(db, key.customer_id);
  await updateKeyRow(
    db,
    {
      ...fieldsOf(key),
      name: change.name ?? key.name,
      models: change.models ?? key.models,
      labels: change.labels ?? key.labels,
      limits: change.limits ? limitPolicies(change.limits, id, customer.timezone) : key.limits,
      expiresAtMs: change.expiresAtMs === undefined ? key.expires_at : change.expiresAtMs,
    },
    nowMs,
  );
  return getKey(db, id);
}

/** A new secret beside the old one, which works on for the grace period; a secret that was ending already ends as it was to. */
export async function rotateKey(
  db: Database,
  id: string,
  graceMs: number,
  nowMs: number,
): Promise<{ key: Key; secret: string }> {
  const key = await lockManagedHere(db, id);
  if (key.state === 'revoked') throw new Fault('state_conflict', { detail: `The key ${id} is revoked.` });
  await endKeySecrets(db, id, nowMs + graceMs);
  const secret = await addSecret(db, id, key.mode, nowMs);
  return { key: await getKey(db, id), secret };
}

/**
 * For good: a revoked key never works again. Revoking twice is revoking once, unless only the second time asks for the
 * calls in flight.
 */
export async function revokeKey(db: Database, id: string, cutOpen: boolean, nowMs: number): Promise<Key> {
  const key = await lockManagedHere(db, id);
  if (key.state !== 'revoked' || (cutOpen && !key.cut_open)) {
    await updateKeyRow(db, { ...fieldsOf(key), state: 'revoked', cutOpen: cutOpen || key.cut_open }, nowMs);
  }
  return getKey(db, id);
}

/** Takes back the secrets whose grace period is over; gives the keys that had them. */
export async function endGracePeriods(db: Database, nowMs: number): Promise<string[]> {
  return deleteEndedKeySecrets(db, nowMs);
}

/** The keys of the configuration, all of them: idempotent, and what is no longer among them is marked as removed. */
export async function applyConfigKeys(db: Database, keys: readonly KeyPolicy[], nowMs: number): Promise<void> {
  for (const key of keys) {
    const fields: KeyFields = {
      id: key.key,
      customerId: key.customer,
      name: key.key,
      mode: 'live',
      state: key.state,
      models: key.models,
      labels: key.labels,
      limits: key.limits.filter((limit) => limit.scope === 'key'),
      expiresAtMs: key.expiresAtMs,
    };
    await upsertConfigKey(db, fields, nowMs);
  }
  await removeConfigKeysExcept(
    db,
    keys.map((key) => key.key),
    nowMs,
  );
  await deleteConfigKeySecrets(db);
}

async function addSecret(db: Database, keyId: string, mode: 'live' | 'test', nowMs: number): Promise<string> {
  const secret = newSecret(mode);
  const secretHash = await sha256Hex(secret);
  await insertKeySecret(db, { keyId, secretHash, hint: secret.slice(-HINT_CHARS) }, nowMs);
  return secret;
}

async function lockManagedHere(db: Database, id: string): Promise<KeyRow> {
  const key = orNotFound(await lockKeyRow(db, id), id);
  if (key.managed_by === 'config') throw new Fault('managed_by_config', { detail: `It is the key ${id}.` });
  return key;
}

async function withSecrets(db: Database, row: KeyRow): Promise<Key> {
  return { ...row, secrets: await listKeySecrets(db, [row.id]) };
}

function fieldsOf(key: KeyRow): KeyUpdate {
  return { ...key, customerId: key.customer_id, expiresAtMs: key.expires_at, cutOpen: key.cut_open };
}

function orNotFound(key: KeyRow | undefined, id: string): KeyRow {
  if (!key) throw new Fault('not_found', { detail: `There is no key ${id}.` });
  return key;
}

/** Whose the keys are, of those that are known. */
export async function customersOfKeys(db: Database, ids: readonly string[]): Promise<Map<string, string>> {
  const rows = await listCustomersOfKeys(db, ids);
  return new Map(rows.map((row) => [row.id, row.customer_id]));
}
