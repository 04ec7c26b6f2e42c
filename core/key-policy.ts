/**
 * Down: what a key may do. The other contract between billing and the gateway; plain JSON with a version. The gateway
 * ignores a policy of a newer version and keeps the one it has.
 */
export const KEY_POLICY_VERSION = 1;

export interface KeyPolicy {
  version: typeof KEY_POLICY_VERSION;
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

export type LimitKind = 'requests' | 'tokens' | 'concurrency' | 'budget';
export type RateWindow = 'second' | 'minute' | 'hour';

export interface LimitPolicy {
  /** Unique within the customer, stable across reloads: names the counter and stands in refusals. */
  id: string;
  scope: 'customer' | 'key';
  kind: LimitKind;
  /** A count, or nanos of the currency for a budget. A decimal integer, at most LIMIT_MAX. */
  amount: string;
  /** Budgets only. */
  currency: string | null;
  /** A window for requests and tokens, `month` for a budget, null for concurrency. */
  per: RateWindow | 'month' | null;
  /** Rates: how much may come at once; the amount itself unless configured. */
  burst: string | null;
  /** The zone of calendar periods. */
  timezone: string;
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
