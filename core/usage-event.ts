import type { MoneyJson } from './money.ts';
import type { Quantities } from './quantity.ts';

/**
 * Up: what happened. One of the two contracts between the gateway and billing. A CloudEvents 1.0 event that is plain
 * JSON, so that it can be journalled, streamed, queued and posted as it is. Prompts and answers are never in it.
 *
 * `(source, id)` identifies it for ever. `id` is made before the upstream call and is reservation id, idempotency key
 * and the request id that the client sees. `time` is the instant of admission: it decides the billing period, and it is
 * the instant at which the limits counted the call.
 */
export interface UsageEvent {
  specversion: '1.0';
  id: string;
  source: string;
  type: typeof USAGE_EVENT_TYPE;
  /** The customer. */
  subject: string;
  /** RFC 3339, UTC. */
  time: string;
  datacontenttype: 'application/json';
  data: UsageEventData;
}

/** Billing parks events of a type that it does not know instead of dropping them. */
export const USAGE_EVENT_TYPE = 'weir.usage.v1';
export const GATEWAY_SOURCE = '/weir/gateway';
/** Of the events that billing makes of outcomes. */
export const OUTCOME_SOURCE = '/weir/outcomes';

/**
 * ok: the upstream answered in full. failed: it answered an error, nothing was served. cut: the answer ended early, by
 * the upstream. gone: the client hung up and the rest was not read. unknown: the gateway died before it learned.
 */
export type Outcome = 'ok' | 'failed' | 'cut' | 'gone' | 'unknown';

/** final: the provider's own figures. partial: its figures up to where the answer ended. estimated: ours. none: nothing is billable. */
export type UsageStatus = 'final' | 'partial' | 'estimated' | 'none';

export interface Attempt {
  upstream: string;
  /** HTTP status, or null where there was no answer. */
  status: number | null;
  duration_ms: number;
}

/** What one model did for a call. */
export interface UsagePart {
  model: string;
  quantities: Quantities;
  cost: MoneyJson | null;
}

export interface UsageEventData {
  customer: string;
  key: string;
  user: string | null;
  session: string | null;
  labels: Record<string, string>;
  wire: string;
  endpoint: string;
  upstream: string | null;
  provider: string | null;
  /** As the client asked. */
  model: string;
  /** The name that the upstream was asked by, where a route gave the model another one. */
  model_sent?: string | undefined;
  /** As the upstream answered. */
  model_served: string | null;
  /** As the upstream served it, in the words of the price book. */
  service_tier: string | null;
  /** Where the model ran, where that is known. */
  region?: string | undefined;
  /** Size, quality or length of context, where prices hang on it. */
  variant?: string | undefined;
  stream: boolean;
  outcome: Outcome;
  usage_status: UsageStatus;
  /** Disjoint quantities by unit. */
  quantities: Quantities;
  /**
   * Set where several models served the call: what each used and cost. `quantities` and `cost` are their sums, and who
   * counts by model counts these instead.
   */
  parts?: UsagePart[] | undefined;
  /** The provider's own usage object, as it came. */
  raw_usage: unknown;
  /** What the provider charges for the call; null where the price is unknown. Exact. */
  cost: MoneyJson | null;
  /** What the sender says that the customer pays for it; plans may pass it on. Gateways say nothing here. */
  price?: MoneyJson;
  /** provider: the cost is the provider's own figure from its answer; absent where it follows from the price book. */
  cost_source?: 'provider' | undefined;
  /** Of an event that was costed anew by later prices: what it cost first, and by which. Gateways say nothing here. */
  cost_before?: { cost: MoneyJson | null; price_book: string | null };
  price_book: string;
  /** Units that were metered and have no price. */
  unpriced: string[];
  attempts: Attempt[];
  ttfb_ms: number | null;
  duration_ms: number;
  trace_id: string | null;
}
