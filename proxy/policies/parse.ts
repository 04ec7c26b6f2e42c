import { type Halt, KEY_POLICY_VERSION, type KeyPolicy } from '#core/key-policy.ts';
import { isListOf, isRecord, isText } from './json.ts';
import { isLimitPolicy } from './parse-limit.ts';

/** A policy from outside, checked field by field. Undefined for one of a newer version and for anything that is none. */
export function parseKeyPolicy(value: unknown): KeyPolicy | undefined {
  if (!isRecord(value) || (value.version !== 1 && value.version !== KEY_POLICY_VERSION)) return undefined;
  const { key, customer, secretHashes, state, cutOpen, expiresAtMs, models, labels, limits } = value;
  if (typeof key !== 'string' || typeof customer !== 'string') return undefined;
  if (!isListOf(secretHashes, isHash) || !isListOf(models, isText) || !isListOf(limits, isLimitPolicy))
    return undefined;
  if (state !== 'active' && state !== 'revoked') return undefined;
  if (expiresAtMs !== null && !Number.isSafeInteger(expiresAtMs)) return undefined;
  if (!isRecord(labels) || !Object.values(labels).every(isText)) return undefined;
  return {
    version: value.version,
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

function isHash(value: unknown): value is string {
  return isText(value) && /^[0-9a-f]{64}$/.test(value);
}
