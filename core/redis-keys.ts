/**
 * Names in Redis that both sides of Weir use. All keys of a customer carry one hash tag, so that a script touches one
 * slot of a cluster; the tag is a shard of the customer's id rather than the id itself, so that the events of all
 * customers fit into a fixed number of streams that a consumer can read.
 */
export const SHARDS = 16;

/** FNV-1a over the id's UTF-16 units: stable for ever, since keys in Redis depend on it. */
export function shardOf(customer: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < customer.length; i++) hash = Math.imul(hash ^ customer.charCodeAt(i), 0x01000193) >>> 0;
  return hash % SHARDS;
}

/** Prefix of every key of a customer's limits; `namespace` keeps several Weirs (and tests) on one Redis apart. */
export function customerPrefix(namespace: string, customer: string): string {
  return `${namespace}:{${shardOf(customer)}}:${customer}`;
}

/** Customers of a shard that have calls in flight, in the same slot as their limits: what a sweep looks through. */
export function dueKey(namespace: string, shard: number): string {
  return `${namespace}:{${shard}}:due`;
}

/** Calls of a shard's customers that a provider has not ended yet, by when they are to be looked at. */
export function looksKey(namespace: string, shard: number): string {
  return `${namespace}:{${shard}}:looks`;
}

/** Who has a file at a provider, by upstream; by itself, since whoever names it need not be that one. */
export function fileKey(namespace: string, id: string): string {
  return `${namespace}:file:${id}`;
}

/** The stream that takes the usage events of a shard's customers, in the same slot as their limits. */
export function eventStream(namespace: string, shard: number): string {
  return `${namespace}:{${shard}}:events`;
}

/** A hash of a shard, in the same slot: which gateways have brought billing all that they had when it began. */
export function gatewaysKey(namespace: string, shard: number): string {
  return `${namespace}:{${shard}}:gateways`;
}

/** Its field that says since when, in epoch ms: what the shard holds has not been lost since. */
export const LIFE_FIELD = '@since';

/** The field of a stream entry that holds the event as JSON. */
export const EVENT_FIELD = 'event';

/**
 * The field of the policy hash that says which version it holds; `@` begins no key id. Where it is missing, Redis has
 * lost its contents or never had them, which does not mean that there are no keys.
 */
export const POLICY_VERSION_FIELD = '@version';

/** Beside it, in the same hash: the list of the operator's halts. */
export const HALTS_FIELD = '@halts';

/** A hash from key id to key policy as JSON, and the channel on which a change of it is announced. */
export function policyHash(namespace: string): string {
  return `${namespace}:policies`;
}

/**
 * What is announced on the channel, as JSON: who holds `from` needs only these keys to hold `version`; everybody else,
 * and everybody where `from` is null, reads the hash anew.
 */
export interface PolicyAnnouncement {
  from: string | null;
  version: string;
  keys: string[];
}

export function policyChannel(namespace: string): string {
  return `${namespace}:policies:changed`;
}

export const DEFAULT_NAMESPACE = 'weir';
