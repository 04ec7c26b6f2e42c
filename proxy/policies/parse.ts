import { type Halt, KEY_POLICY_VERSION, type KeyPolicy, type LimitPolicy } from '#core/key-policy.ts';

/** A policy from outside, checked field by field. Undefined for one of a newer version and for anything that is none. */
export function parseKeyPolicy(value: unknown): KeyPolicy | undefined {
  if (!isRecord(value) || value.version !== KEY_POLICY_VERSION) return undefined;
  const { key, customer, secretHashes, state, cutOpen, expiresAtMs, models, labels, limits } = value;
  if (typeof key !== 'string' || typeof customer !== 'string') return undefined;
  if (!isListOf(secretHashes, isHash) || !isListOf(models, isText) || !isListOf(limits, isLimitPolicy))
    return undefined;
  if (state !== 'active' && state !== 'revoked') return undefined;
  if (expiresAtMs !== null && !Number.isSafeInteger(expiresAtMs)) return undefined;
  if (!isRecord(labels) || !Object.values(labels).every(isText)) return undefined;
  return {
    version: KEY_POLICY_VERSION,
    key,
    customer,
    secretHashes,
    state,
    ...(cutOpen === true && { cutOpen }),
    expiresAtMs: expiresAtMs as number | null,
    models,
    labels: labels as Record<string, string>,
    limits,
  };
}

/** What billing answers to a gateway that follows its policies. */
export interface PolicyChanges {
  version: string;
  reset: boolean;
  policies: KeyPolicy[];
  /** How many of the answer's policies were passed over: of a newer version, or none at all. */
  ignored: number;
  removed: string[];
  /** All halts that are in force; undefined from a billing that knows none, or knows them in another form. */
  halts: Halt[] | undefined;
}

export function parsePolicyChanges(value: unknown): PolicyChanges | undefined {
  if (!isRecord(value)) return undefined;
  const { version, reset, policies, removed } = value;
  if (typeof version !== 'string' || typeof reset !== 'boolean') return undefined;
  if (!Array.isArray(policies) || !isListOf(removed, isText)) return undefined;
  const parsed = policies.map(parseKeyPolicy).filter((policy) => policy !== undefined);
  const halts = parseHalts(value.halts);
  return { version, reset, policies: parsed, ignored: policies.length - parsed.length, removed, halts };
}

/** All of them or undefined: a halt that is passed over would be one that is lifted. */
export function parseHalts(value: unknown): Halt[] | undefined {
  return isListOf(value, isHalt) ? value : undefined;
}

function isHalt(value: unknown): value is Halt {
  return (
    isRecord(value) &&
    isText(value.id) &&
    [value.customer, value.key, value.upstream, value.model].every((name) => name === null || isText(name)) &&
    typeof value.cutOpen === 'boolean'
  );
}

const KINDS: readonly unknown[] = ['requests', 'tokens', 'concurrency', 'budget'] satisfies LimitPolicy['kind'][];
const PERIODS: readonly unknown[] = ['second', 'minute', 'hour', 'month', null] satisfies LimitPolicy['per'][];

function isLimitPolicy(value: unknown): value is LimitPolicy {
  return (
    isRecord(value) &&
    isText(value.id) &&
    (value.scope === 'customer' || value.scope === 'key') &&
    KINDS.includes(value.kind) &&
    isCount(value.amount) &&
    (value.currency === null || isText(value.currency)) &&
    PERIODS.includes(value.per) &&
    (value.burst === null || isCount(value.burst)) &&
    isText(value.timezone)
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isListOf<T>(value: unknown, isOne: (one: unknown) => one is T): value is T[] {
  return Array.isArray(value) && value.every(isOne);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isCount(value: unknown): value is string {
  return isText(value) && /^\d{1,16}$/.test(value);
}

function isHash(value: unknown): value is string {
  return isText(value) && /^[0-9a-f]{64}$/.test(value);
}
