import type { Halt, KeyPolicy } from '#core/key-policy.ts';
import type { PolicyChanges } from './parse.ts';
import type { Policies } from './policies.ts';

/** Where policies come from, the stronger first: a key of the configuration hides one of billing with the same id. */
export const POLICY_SOURCES = ['config', 'billing'] as const;
export type PolicySource = (typeof POLICY_SOURCES)[number];

export interface PolicyTable extends Policies {
  find(secretHash: string): KeyPolicy | undefined;
  /** All policies of a source; those that it had before and has no more are forgotten. */
  replace(source: PolicySource, policies: readonly KeyPolicy[]): void;
  /** Some policies of a source: the rest stays. */
  change(source: PolicySource, policies: readonly KeyPolicy[], removed: readonly string[]): void;
  /** Billing's halts. Those that were there before and are not among these are lifted. */
  replaceHalts(halts: readonly Halt[]): void;
  halts(): readonly Halt[];
  /** Hears of every change after it has been made; of keys that are gone as revoked. */
  onChange(listener: PolicyListener): void;
  /** Of one source, for snapshots and the operator's page. */
  list(source: PolicySource): KeyPolicy[];
}

export interface PolicyListener {
  policies(changed: readonly KeyPolicy[]): void;
  halts(halts: readonly Halt[]): void;
}

/**
 * The policies in memory. Finding one is one look-up by the secret's hash; changes pay for it, and touch only the
 * hashes that they are about.
 */
export function policyTable(): PolicyTable {
  const keys: Record<PolicySource, Map<string, KeyPolicy>> = { config: new Map(), billing: new Map() };
  const hashes: Record<PolicySource, Map<string, KeyPolicy>> = { config: new Map(), billing: new Map() };
  const winners = new Map<string, KeyPolicy>();
  const listeners: PolicyListener[] = [];
  let halts: readonly Halt[] = [];

  function elect(hash: string): void {
    const ofConfig = hashes.config.get(hash);
    const ofBilling = hashes.billing.get(hash);
    const winner = ofConfig ?? (ofBilling && !keys.config.has(ofBilling.key) ? ofBilling : undefined);
    if (winner) winners.set(hash, winner);
    else winners.delete(hash);
  }

  function forget(source: PolicySource, key: string, touched: Set<string>): void {
    const before = keys[source].get(key);
    if (!before) return;
    keys[source].delete(key);
    for (const hash of before.secretHashes) {
      if (hashes[source].get(hash) === before) hashes[source].delete(hash);
      touched.add(hash);
    }
    touchHidden(source, key, touched);
  }

  function put(source: PolicySource, policy: KeyPolicy, touched: Set<string>): void {
    forget(source, policy.key, touched);
    keys[source].set(policy.key, policy);
    for (const hash of policy.secretHashes) {
      hashes[source].set(hash, policy);
      touched.add(hash);
    }
    touchHidden(source, policy.key, touched);
  }

  /** A key that comes to or leaves the configuration hides or shows the same key of billing. */
  function touchHidden(source: PolicySource, key: string, touched: Set<string>): void {
    if (source !== 'config') return;
    for (const hash of keys.billing.get(key)?.secretHashes ?? []) touched.add(hash);
  }

  function change(source: PolicySource, policies: readonly KeyPolicy[], removed: readonly string[]): void {
    const touched = new Set<string>();
    const before = removed.flatMap((key) => keys[source].get(key) ?? []);
    for (const key of removed) forget(source, key, touched);
    for (const policy of policies) put(source, policy, touched);
    for (const hash of touched) elect(hash);
    // To its calls a key that is nowhere any more is one that was revoked.
    const gone = before.filter(({ key }) => POLICY_SOURCES.every((one) => !keys[one].has(key)));
    const changed = [...policies, ...gone.map((policy): KeyPolicy => ({ ...policy, state: 'revoked' }))];
    for (const listener of listeners) listener.policies(changed);
  }

  return {
    find: (hash) => winners.get(hash),
    replace: (source, policies) => {
      const stay = new Set(policies.map((policy) => policy.key));
      const gone = [...keys[source].keys()].filter((key) => !stay.has(key));
      change(source, policies, gone);
    },
    change,
    replaceHalts: (next) => {
      halts = next;
      for (const listener of listeners) listener.halts(halts);
    },
    halts: () => halts,
    onChange: (listener) => listeners.push(listener),
    list: (source) => [...keys[source].values()],
  };
}

/** What billing answered, into the table. */
export function applyPolicyChanges(
  table: PolicyTable,
  { reset, policies, removed, ignored, halts }: PolicyChanges,
): void {
  if (!reset) table.change('billing', policies, removed);
  // What was ignored may be a newer form of a policy that we have, so the old one stays where nothing replaces it.
  else if (ignored > 0) table.change('billing', policies, []);
  else table.replace('billing', policies);
  if (halts) table.replaceHalts(halts);
}
