import { sha1Hex } from './sha1.ts';
import { formatInstant } from './time.ts';
import { GATEWAY_SOURCE } from './usage-event.ts';

/**
 * Up, beside usage events: a limit has reached a threshold of its `warn_at`. Each threshold of a counter is one event,
 * whoever says it and however often: its id says which it is, and billing keeps the first. It uses nothing and costs
 * nothing.
 */
export interface LimitWarning {
  specversion: '1.0';
  id: string;
  source: typeof GATEWAY_SOURCE;
  type: typeof LIMIT_WARNING_TYPE;
  /** The customer. */
  subject: string;
  /** When it was noticed. RFC 3339, UTC. */
  time: string;
  datacontenttype: 'application/json';
  data: LimitWarningData;
}

export interface LimitWarningData {
  customer: string;
  /** `limitOfCounter` says whose. It counts one period, and one value where the limit counts each by itself. */
  counter: string;
  /** In what the limit counts, nanos of its currency for a budget. Decimal integers. */
  threshold: string;
  /** Of the limit, as it was in force. */
  amount: string;
  /** Of a budget. */
  currency: string | null;
}

export const LIMIT_WARNING_TYPE = 'weir.limit_warning.v1';

/** Redis' scripts make the same (lua/warn.lua). */
export function limitWarning({ atMs, ...data }: LimitWarningData & { atMs: number }): LimitWarning {
  const { customer, counter, threshold } = data;
  return {
    specversion: '1.0',
    id: `warn_${sha1Hex(`${customer}\n${counter}\n${threshold}`)}`,
    source: GATEWAY_SOURCE,
    type: LIMIT_WARNING_TYPE,
    subject: customer,
    time: formatInstant(atMs),
    datacontenttype: 'application/json',
    data,
  };
}

/** What the name of a counter says of a limit that counts periods. */
export interface CountedLimit {
  kind: string;
  per: string;
  limit: string;
  /** Of the user, session, model or label that is counted by itself; null where the limit counts all together, or where a call names none. */
  value: string | null;
  /** As `2026-11`; null where there is no end. */
  period: string | null;
}

const COUNTER = /^([a-z]+)\/([a-z]+)\/([^/]+)((?:\/[^/]*)*)$/;

export function limitOfCounter(counter: string): CountedLimit | undefined {
  const [, kind, per, limit, rest] = COUNTER.exec(counter) ?? [];
  if (kind === undefined || per === undefined || limit === undefined) return undefined;
  const parts = (rest ?? '').split('/').slice(1);
  const value = parts.find((part) => part.startsWith('='));
  const last = parts.at(-1);
  const period = last !== undefined && /^\d{4}(-\d\d){0,2}$/.test(last) ? last : null;
  return { kind, per, limit: decoded(limit), value: value === undefined ? null : decoded(value.slice(1)), period };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    // It was not encoded by us: shown as it stands.
    return part;
  }
}
