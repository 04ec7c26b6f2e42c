import type { Database } from '#billing/db/database.ts';
import { haltsForGateways } from '#billing/halts/halt.ts';
import { endGracePeriods } from '#billing/keys/key.ts';
import { canonicalJson } from '#core/canonical-json.ts';
import { type Halt, type KeyPolicy, type LimitPolicy, policyVersion } from '#core/key-policy.ts';
import { type CustomerPrices, countsPrice, NO_SUBSCRIPTION, pricesOfCustomer, withPrices } from './limit-prices.ts';
import {
  incrementPolicyVersion,
  listKeyIdsManagedHere,
  listKeyIdsOfPrices,
  listKeyIdsTakenOver,
  listPoliciesAfter,
  listPoliciesOf,
  listPolicySources,
  type PolicySourceRow,
  upsertKeyPolicies,
} from './store.ts';

/**
 * What gateways are told about the keys that are managed here. Keys of the configuration are not in it: each gateway
 * reads its own configuration, which wins.
 */

/** What a gateway that stands at `after` has to learn. */
export interface PolicyChanges {
  /** Where the feed stands: to be given back as it is. */
  version: string;
  /** True when `policies` are all there are: what the reader has beside them is to be forgotten. */
  reset: boolean;
  policies: KeyPolicy[];
  /** Keys that are no longer managed here. */
  removed: string[];
  /** All that is in force. */
  halts: Halt[];
}

/** Compiles the policies of these keys anew. Call it in the transaction that changed anything that they are made of. */
export async function refreshPolicies(db: Database, keyIds: readonly string[], nowMs: number): Promise<void> {
  if (keyIds.length > 0) await compileAll(db, await incrementPolicyVersion(db), keyIds, nowMs);
}

/** What gateways are told beside the policies has changed. */
export async function movePolicies(db: Database): Promise<void> {
  await incrementPolicyVersion(db);
}

/** As refreshPolicies, for all keys that these customers have here. */
export async function refreshPoliciesOfCustomers(
  db: Database,
  customerIds: readonly string[],
  nowMs: number,
): Promise<void> {
  if (customerIds.length === 0) return;
  const version = await incrementPolicyVersion(db);
  await compileAll(db, version, await listKeyIdsManagedHere(db, customerIds), nowMs);
}

/** As refreshPolicies, for the keys that the configuration has taken over. */
export async function refreshPoliciesTakenOver(db: Database, nowMs: number): Promise<void> {
  await refreshPolicies(db, await listKeyIdsTakenOver(db), nowMs);
}

/** The version comes first: it is a lock, and all that is read after it is what the transactions before have left. */
async function compileAll(db: Database, version: bigint, keyIds: readonly string[], nowMs: number): Promise<void> {
  const sources = await listPolicySources(db, keyIds, nowMs);
  await upsertKeyPolicies(db, version, await compileSources(db, sources, nowMs));
}

async function compileSources(
  db: Database,
  sources: readonly PolicySourceRow[],
  nowMs: number,
): Promise<{ keyId: string; policy: KeyPolicy | null }[]> {
  const prices = new Map<string, CustomerPrices | string>();
  for (const { customer, customer_limits, key_limits } of sources) {
    if (prices.has(customer) || ![...customer_limits, ...key_limits].some(countsPrice)) continue;
    prices.set(customer, await pricesOfCustomer(db, customer, nowMs));
  }
  return sources.map((source) => ({
    keyId: source.key,
    policy: source.managed_by === 'api' ? compilePolicy(source, prices.get(source.customer) ?? NO_SUBSCRIPTION) : null,
  }));
}

/** A period that opens, or a subscription that changes, may change what a budget of the customer's price counts by. */
export async function refreshPrices(db: Database, nowMs: number): Promise<boolean> {
  const sources = await listPolicySources(db, await listKeyIdsOfPrices(db), nowMs);
  if (sources.length === 0) return false;
  const compiled = await compileSources(db, sources, nowMs);
  const standing = await listPoliciesOf(
    db,
    compiled.map(({ keyId }) => keyId),
  );
  const textOf = (policy: KeyPolicy | null | undefined) => policy && canonicalJson(policy);
  const changed = compiled.filter(({ keyId, policy }) => textOf(policy) !== textOf(standing.get(keyId)));
  await db.transaction((tx) =>
    refreshPolicies(
      tx,
      changed.map(({ keyId }) => keyId),
      nowMs,
    ),
  );
  return changed.length > 0;
}

/** Takes back the secrets whose grace period is over. */
export async function refreshEndedSecrets(db: Database, nowMs: number): Promise<void> {
  await db.transaction(async (tx) => refreshPolicies(tx, await endGracePeriods(tx, nowMs), nowMs));
}

/** Everything when `after` is absent, from another database, or from a future that a restored database no longer has. */
export async function listPolicyChanges(db: Database, after: string | undefined): Promise<PolicyChanges> {
  const position = after === undefined ? undefined : parsePosition(after);
  const changes = await read(db, position?.version ?? 0n, position === undefined);
  if (!position || (changes.epoch === position.epoch && changes.feedVersion >= position.version)) return changes;
  return read(db, 0n, true);
}

async function read(
  db: Database,
  version: bigint,
  reset: boolean,
): Promise<PolicyChanges & { epoch: string; feedVersion: bigint }> {
  const rows = await listPoliciesAfter(db, version);
  const first = rows[0];
  if (!first) throw new Error('the row of policy_feed is gone');
  // After them, so that they are never older than the version.
  const halts = await haltsForGateways(db);
  const policies: KeyPolicy[] = [];
  const removed: string[] = [];
  for (const row of rows) {
    if (row.policy !== null) policies.push(row.policy);
    else if (row.key_id !== null) removed.push(row.key_id);
  }
  return {
    version: formatPosition(first.epoch, first.feed_version),
    reset,
    policies,
    removed: reset ? [] : removed,
    halts,
    epoch: first.epoch,
    feedVersion: first.feed_version,
  };
}

export function formatPosition(epoch: string, version: bigint): string {
  return `${epoch}.${version}`;
}

function parsePosition(text: string): { epoch: string; version: bigint } | undefined {
  const match = /^(.{1,64})\.(\d{1,18})$/.exec(text);
  if (!match?.[1] || !match[2]) return undefined;
  return { epoch: match[1], version: BigInt(match[2]) };
}

function compilePolicy(source: PolicySourceRow, prices: CustomerPrices | string): KeyPolicy {
  const limits = [...source.customer_limits, ...source.key_limits].map((limit): LimitPolicy => {
    const own = { ...limit, timezone: source.timezone };
    return countsPrice(limit) ? withPrices(own, prices) : own;
  });
  return {
    version: policyVersion(limits),
    key: source.key,
    customer: source.customer,
    secretHashes: source.secret_hashes,
    state: source.state === 'revoked' || source.is_removed ? 'revoked' : 'active',
    ...(source.cut_open && { cutOpen: true }),
    expiresAtMs: source.expires_at,
    models: source.models,
    labels: source.labels,
    limits,
  };
}
