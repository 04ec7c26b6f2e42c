import { type Database, findRow, instant, json, sql } from '#billing/db/database.ts';
import type { LimitPolicy } from '#core/key-policy.ts';

export interface KeyRow {
  id: string;
  customer_id: string;
  name: string;
  mode: 'live' | 'test';
  state: 'active' | 'revoked';
  cut_open: boolean;
  models: string[];
  labels: Record<string, string>;
  limits: LimitPolicy[];
  expires_at: number | null;
  managed_by: 'api' | 'config';
  created_at: number;
  updated_at: number;
  removed_at: number | null;
}

export interface KeyFields {
  id: string;
  customerId: string;
  name: string;
  mode: 'live' | 'test';
  state: 'active' | 'revoked';
  models: readonly string[];
  labels: Readonly<Record<string, string>>;
  limits: readonly LimitPolicy[];
  expiresAtMs: number | null;
}

export interface KeyUpdate extends KeyFields {
  cutOpen: boolean;
}

export interface KeySecretRow {
  key_id: string;
  hint: string;
  created_at: number;
  expires_at: number | null;
}

const columns = sql`
  id, customer_id, name, mode, state, cut_open, models, labels, limits, expires_at, managed_by, created_at, updated_at,
  removed_at`;

/** False when there is one with that id. */
export async function insertKey(db: Database, key: KeyFields, nowMs: number): Promise<boolean> {
  const rows = await db.query(sql`
    insert into key (id, customer_id, name, mode, state, models, labels, limits, expires_at, managed_by,
                     created_at, updated_at)
    values (${key.id}, ${key.customerId}, ${key.name}, ${key.mode}, ${key.state}, ${json(key.models)},
            ${json(key.labels)}, ${json(key.limits)}, ${orNull(key.expiresAtMs)}, 'api',
            ${instant(nowMs)}, ${instant(nowMs)})
    on conflict (id) do nothing
    returning id`);
  return rows.length === 1;
}

export async function findKeyRow(db: Database, id: string): Promise<KeyRow | undefined> {
  return findRow<KeyRow>(db, sql`select ${columns} from key where id = ${id}`);
}

/** As findKeyRow, and nobody else changes it until this transaction ends. */
export async function lockKeyRow(db: Database, id: string): Promise<KeyRow | undefined> {
  return findRow<KeyRow>(db, sql`select ${columns} from key where id = ${id} for update`);
}

export async function listKeyRows(
  db: Database,
  page: { customer: string | undefined; after: string; count: number },
): Promise<KeyRow[]> {
  const ofCustomer = page.customer === undefined ? sql`true` : sql`customer_id = ${page.customer}`;
  return db.query<KeyRow>(sql`
    select ${columns} from key where ${ofCustomer} and id > ${page.after} order by id limit ${page.count}`);
}

export async function updateKeyRow(db: Database, key: KeyUpdate, nowMs: number): Promise<void> {
  await db.query(sql`
    update key
    set name = ${key.name}, state = ${key.state}, cut_open = ${key.cutOpen}, models = ${json(key.models)}, labels = ${json(key.labels)},
        limits = ${json(key.limits)}, expires_at = ${orNull(key.expiresAtMs)}, updated_at = ${instant(nowMs)}
    where id = ${key.id}`);
}

export async function insertKeySecret(
  db: Database,
  secret: { keyId: string; secretHash: string; hint: string },
  nowMs: number,
): Promise<void> {
  await db.query(sql`
    insert into key_secret (secret_hash, key_id, hint, created_at)
    values (${secret.secretHash}, ${secret.keyId}, ${secret.hint}, ${instant(nowMs)})`);
}

/** Secrets that work until later end then; those that end sooner already stay as they are. */
export async function endKeySecrets(db: Database, keyId: string, endMs: number): Promise<void> {
  await db.query(sql`
    update key_secret set expires_at = ${instant(endMs)}
    where key_id = ${keyId} and (expires_at is null or expires_at > ${instant(endMs)})`);
}

/** Secrets whose grace period is over go; gives the keys that had them. */
export async function deleteEndedKeySecrets(db: Database, nowMs: number): Promise<string[]> {
  const rows = await db.query<{ key_id: string }>(sql`
    delete from key_secret where expires_at <= ${instant(nowMs)} returning key_id`);
  return [...new Set(rows.map((row) => row.key_id))];
}

/** Keys of the configuration have their secrets there: a key that was taken over loses those it had here. */
export async function deleteConfigKeySecrets(db: Database): Promise<void> {
  await db.query(sql`
    delete from key_secret using key where key.id = key_secret.key_id and key.managed_by = 'config'`);
}

/** Of several keys, oldest first. The hashes stay behind. */
export async function listKeySecrets(db: Database, keyIds: readonly string[]): Promise<KeySecretRow[]> {
  return db.query<KeySecretRow>(sql`
    select key_id, hint, created_at, expires_at from key_secret
    where key_id = any (${keyIds}::text[]) order by created_at, expires_at, secret_hash`);
}

/** Idempotent: the same key again changes nothing. A key that the API has made is taken over. */
export async function upsertConfigKey(db: Database, key: KeyFields, nowMs: number): Promise<void> {
  await db.query(sql`
    insert into key (id, customer_id, name, mode, state, models, labels, limits, expires_at, managed_by,
                     created_at, updated_at)
    values (${key.id}, ${key.customerId}, ${key.name}, ${key.mode}, ${key.state}, ${json(key.models)},
            ${json(key.labels)}, ${json(key.limits)}, ${orNull(key.expiresAtMs)}, 'config',
            ${instant(nowMs)}, ${instant(nowMs)})
    on conflict (id) do update
      set customer_id = excluded.customer_id, name = excluded.name, mode = excluded.mode, state = excluded.state,
          models = excluded.models, labels = excluded.labels, limits = excluded.limits,
          expires_at = excluded.expires_at, managed_by = 'config', updated_at = excluded.updated_at, removed_at = null
      where (key.customer_id, key.name, key.mode, key.state, key.models, key.labels, key.limits, key.expires_at,
             key.managed_by, key.removed_at)
        is distinct from (excluded.customer_id, excluded.name, excluded.mode, excluded.state, excluded.models,
                          excluded.labels, excluded.limits, excluded.expires_at, 'config', null)`);
}

/** Marks the keys of the configuration that are no longer in it. */
export async function removeConfigKeysExcept(db: Database, ids: readonly string[], nowMs: number): Promise<void> {
  await db.query(sql`
    update key set removed_at = ${instant(nowMs)}, updated_at = ${instant(nowMs)}
    where managed_by = 'config' and removed_at is null and id <> all (${ids}::text[])`);
}

function orNull(atMs: number | null): string | null {
  return atMs === null ? null : instant(atMs);
}

export async function listCustomersOfKeys(
  db: Database,
  ids: readonly string[],
): Promise<{ id: string; customer_id: string }[]> {
  return db.query(sql`select id, customer_id from key where id = any(${ids}::text[])`);
}
