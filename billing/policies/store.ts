import { type Database, getRow, instant, json, sql } from '#billing/db/database.ts';
import type { KeyPolicy, LimitPolicy } from '#core/key-policy.ts';

/** All that a policy is compiled from. */
export interface PolicySourceRow {
  key: string;
  customer: string;
  timezone: string;
  state: 'active' | 'revoked';
  is_removed: boolean;
  cut_open: boolean;
  managed_by: 'api' | 'config';
  expires_at: number | null;
  models: string[];
  labels: Record<string, string>;
  customer_limits: LimitPolicy[];
  key_limits: LimitPolicy[];
  secret_hashes: string[];
}

export async function listPolicySources(
  db: Database,
  keyIds: readonly string[],
  nowMs: number,
): Promise<PolicySourceRow[]> {
  return db.query<PolicySourceRow>(sql`
    select key.id as key, customer.id as customer, customer.timezone, key.state, key.cut_open,
           (customer.removed_at is not null or key.removed_at is not null) as is_removed,
           key.managed_by, key.expires_at, key.models, key.labels,
           customer.limits as customer_limits, key.limits as key_limits,
           array(select secret_hash from key_secret
                 where key_id = key.id and (expires_at is null or expires_at > ${instant(nowMs)})
                 order by created_at, expires_at, secret_hash) as secret_hashes
    from key join customer on customer.id = key.customer_id
    where key.id = any (${keyIds}::text[])
    order by key.id`);
}

export async function listKeyIdsManagedHere(db: Database, customerIds: readonly string[]): Promise<string[]> {
  const rows = await db.query<{ id: string }>(sql`
    select id from key where managed_by = 'api' and customer_id = any (${customerIds}::text[]) order by id`);
  return rows.map((row) => row.id);
}

/** Keys that the configuration has taken over and that gateways still have from here. */
export async function listKeyIdsTakenOver(db: Database): Promise<string[]> {
  const rows = await db.query<{ key_id: string }>(sql`
    select key_policy.key_id from key_policy join key on key.id = key_policy.key_id
    where key.managed_by = 'config' and key_policy.policy is not null order by key_policy.key_id`);
  return rows.map((row) => row.key_id);
}

/** Keys with a budget that counts what the customer pays. */
export async function listKeyIdsOfPrices(db: Database): Promise<string[]> {
  const rows = await db.query<{ id: string }>(sql`
    select key.id from key join customer on customer.id = key.customer_id
    where key.managed_by = 'api'
      and (key.limits @> '[{"basis": "price"}]'::jsonb or customer.limits @> '[{"basis": "price"}]'::jsonb)
    order by key.id`);
  return rows.map((row) => row.id);
}

export async function listPoliciesOf(db: Database, keyIds: readonly string[]): Promise<Map<string, KeyPolicy | null>> {
  const rows = await db.query<{ key_id: string; policy: KeyPolicy | null }>(sql`
    select key_id, policy from key_policy where key_id = any (${keyIds}::text[])`);
  return new Map(rows.map((row) => [row.key_id, row.policy]));
}

/** The next version. Held until the transaction ends, so that versions become visible in their order. */
export async function incrementPolicyVersion(db: Database): Promise<bigint> {
  const row = await getRow<{ version: bigint }>(
    db,
    sql`update policy_feed set version = version + 1 where id = 1 returning version`,
  );
  return row.version;
}

/** A policy of null says that the key is managed elsewhere now. What is the same already keeps its version. */
export async function upsertKeyPolicies(
  db: Database,
  version: bigint,
  rows: readonly { keyId: string; policy: KeyPolicy | null }[],
): Promise<void> {
  const keyIds = rows.map((row) => row.keyId);
  const policies = rows.map((row) => (row.policy === null ? null : json(row.policy)));
  await db.query(sql`
    insert into key_policy (key_id, version, policy)
    select key_id, ${version}, policy from unnest(${keyIds}::text[], ${policies}::jsonb[]) given (key_id, policy)
    on conflict (key_id) do update set version = excluded.version, policy = excluded.policy
      where key_policy.policy is distinct from excluded.policy`);
}

export interface PolicyPosition {
  epoch: string;
  version: bigint;
  /** A grace period is over, and the policies do not say so yet. */
  is_stale: boolean;
}

export async function getPolicyPosition(db: Database, nowMs: number): Promise<PolicyPosition> {
  return getRow<PolicyPosition>(
    db,
    sql`select epoch, version,
               exists (select from key_secret where expires_at <= ${instant(nowMs)}) as is_stale
        from policy_feed where id = 1`,
  );
}

export interface KeyPolicyRow {
  epoch: string;
  feed_version: bigint;
  /** Null in the only row of an answer without changes. */
  key_id: string | null;
  policy: KeyPolicy | null;
}

/** What changed after a version, with where the feed stands, in one statement and so at one instant. Never empty. */
export async function listPoliciesAfter(db: Database, version: bigint): Promise<KeyPolicyRow[]> {
  return db.query<KeyPolicyRow>(sql`
    select feed.epoch, feed.version as feed_version, key_policy.key_id, key_policy.policy
    from policy_feed feed left join key_policy on key_policy.version > ${version}
    where feed.id = 1 order by key_policy.key_id`);
}
