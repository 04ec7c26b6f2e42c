import type { Unit } from './quantity.ts';

/**
 * Down: what a key may do. The other contract between billing and the gateway; plain JSON with a version. The gateway
 * ignores a policy of a newer version and keeps the one it has.
 *
 * 2: limits with more than an amount per window (`policyVersion` says which). A policy names the lowest version that
 * reads it whole, so that a revocation reaches gateways that are not upgraded yet.
 */
export const KEY_POLICY_VERSION = 2;

export interface KeyPolicy {
  version: 1 | typeof KEY_POLICY_VERSION;
  /** Public id, stable across rotation. */
  key: string;
  customer: string;
  /** SHA-256 of each secret that works now (two while a rotation is in its grace period), lower-case hex. */
  secretHashes: string[];
  state: 'active' | 'revoked';
  /** Of a revoked key: its calls in flight end too. */
  cutOpen?: true;
  /** Epoch ms; null for never. */
  expiresAtMs: number | null;
  /** Patterns with `*`; empty means every model. */
  models: string[];
  labels: Record<string, string>;
  limits: LimitPolicy[];
}

export const LIMIT_KINDS = ['requests', 'tokens', 'concurrency', 'budget', 'quantity'] as const;
export type LimitKind = (typeof LIMIT_KINDS)[number];
export const RATE_WINDOWS = ['second', 'minute', 'hour'] as const;
export type RateWindow = (typeof RATE_WINDOWS)[number];
/** A window leaks evenly; a calendar period, a session and the total are counted up to their end. */
export const QUOTA_PERIODS = ['day', 'week', 'month', 'quarter', 'year', 'session', 'total'] as const;
export const LIMIT_PERIODS = [...RATE_WINDOWS, ...QUOTA_PERIODS] as const;
export type LimitPeriod = (typeof LIMIT_PERIODS)[number];
/** What a limit counts each value of by itself; a call without one counts with all others that have none. */
export type LimitDimension = 'user' | 'session' | 'model' | `label:${string}`;

export interface LimitPolicy {
  /** Unique within the customer, stable across reloads: names the counter and stands in refusals. */
  id: string;
  scope: 'customer' | 'key';
  kind: LimitKind;
  /** A count, or nanos of the currency for a budget. A decimal integer, at most LIMIT_MAX. */
  amount: string;
  /** Budgets only. */
  currency: string | null;
  /** Null for concurrency. */
  per: LimitPeriod | null;
  /** Rates: how much may come at once; the amount in force unless configured. */
  burst: string | null;
  /** The zone of calendar periods. */
  timezone: string;

  // From here on version 2. What is absent is not asked for.

  /** Of kind `quantity`: what is counted. */
  unit?: Unit;
  /** `hard` when absent. soft: never refuses, and says when it is passed. shadow: likewise, and only the operator hears of it. */
  mode?: 'soft' | 'shadow';
  /** Said once per period when so much of the amount in force is used, in whole percents. Ascending. */
  warnAt?: number[];
  /** Only calls for these models, by patterns with `*` over the name that the caller asks for. */
  models?: string[];
  /** Only calls that carry all of these labels. */
  labels?: Record<string, string>;
  by?: LimitDimension;
  /** Another amount until an instant (epoch ms). */
  override?: { amount: string; untilMs: number };
  /** Budgets: `cost`, what the provider charges, when absent; `price`: what the customer pays, by `prices`. */
  basis?: 'price';
  prices?: LimitPrice[];
  /** What becomes of calls while the counters cannot be reached or are not known; `closed` (hard) or `open` (soft, shadow) when absent. */
  onStoreDown?: 'closed' | 'open' | 'local';
  /** For `local`: what one gateway lets through by itself in that time. A count or nanos, like the amount. */
  localAmount?: string;
}

/** What a customer pays for a unit: the first one that matches unit and model holds. A decimal amount for every `per` units. */
export interface LimitPrice {
  unit: Unit;
  model: string;
  amount: string;
  per: string;
}

const PERIODS_1: ReadonlySet<LimitPeriod | null> = new Set(['second', 'minute', 'hour', 'month', null]);
const FIELDS_1: ReadonlySet<string> = new Set<keyof LimitPolicy>([
  'id',
  'scope',
  'kind',
  'amount',
  'currency',
  'per',
  'burst',
  'timezone',
]);

/** The lowest version whose readers understand these limits as they are meant. */
export function policyVersion(limits: readonly LimitPolicy[]): KeyPolicy['version'] {
  const isOld = (limit: LimitPolicy) =>
    Object.keys(limit).every((field) => FIELDS_1.has(field)) &&
    PERIODS_1.has(limit.per) &&
    (limit.per === 'month') === (limit.kind === 'budget');
  return limits.every(isOld) ? 1 : KEY_POLICY_VERSION;
}

/**
 * The operator's kill switch: what matches every name that it gives is not served, on any gateway, until it is lifted.
 * Customer and key alone refuse the caller; an upstream or a model is taken out of the caller's routes.
 */
export interface Halt {
  id: string;
  customer: string | null;
  key: string | null;
  upstream: string | null;
  /** A pattern over the name that was asked for and the one that the upstream knows. */
  model: string | null;
  /** Calls in flight end too. */
  cutOpen: boolean;
}

/** Counters hold whole numbers that Redis' Lua can compare exactly (below 2^53): budgets end at 9 million units. */
export const LIMIT_MAX = 9_000_000_000_000_000n;

/** Rates: amount times window in ms stays below 2^53 too. */
export const WINDOW_MS: Readonly<Record<RateWindow, number>> = { second: 1_000, minute: 60_000, hour: 3_600_000 };

/** True when a model name matches one of the patterns (`*` stands for any run of characters), or there are none. */
export function modelAllowed(patterns: readonly string[], model: string): boolean {
  return patterns.length === 0 || patterns.some((pattern) => matchesPattern(pattern, model));
}

/** Glob with `*` only, in linear time. */
export function matchesPattern(pattern: string, text: string): boolean {
  const parts = pattern.split('*');
  const first = parts[0] as string;
  const last = parts[parts.length - 1] as string;
  if (parts.length === 1) return pattern === text;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (let i = 1; i < parts.length - 1; i++) {
    const found = text.indexOf(parts[i] as string, at);
    if (found < 0) return false;
    at = found + (parts[i] as string).length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}
