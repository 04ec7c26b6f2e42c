import { headerOf } from './headers.ts';
import type { HeaderMap } from './inbound/call.ts';

/** When an attempt is worth another, and how long to wait before it. */

const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 5_000;
/** An upstream that asks for more patience than this is not asked again: the client is told what it said. */
const RETRY_AFTER_MAX_MS = 10_000;

/** The provider is busy or broken; the request itself is fine. */
export function isRetriable(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** The upstream's own wish; null when it has none, or none that is understood. */
export function retryAfterMs(headers: HeaderMap, nowMs: number): number | null {
  const precise = Number(headerOf(headers, 'retry-after-ms') ?? Number.NaN);
  if (precise >= 0) return precise;
  const text = headerOf(headers, 'retry-after');
  if (text === undefined) return null;
  const seconds = Number(text);
  if (seconds >= 0) return Math.ceil(seconds * 1000);
  const date = Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, date - nowMs);
}

/**
 * How long to wait before the same upstream is asked for the n-th time again (from 0): exponential with jitter, at least
 * what the upstream asks for. Undefined when that is too long. `random` is in [0, 1).
 */
export function backoffMs(n: number, wishMs: number | null, random: number): number | undefined {
  if (wishMs !== null && wishMs > RETRY_AFTER_MAX_MS) return undefined;
  const full = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** n);
  return Math.max(wishMs ?? 0, Math.round(full * (0.5 + random / 2)));
}
