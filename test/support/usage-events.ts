import { newId } from '#core/id.ts';
import { GATEWAY_SOURCE, USAGE_EVENT_TYPE, type UsageEvent, type UsageEventData } from '#core/usage-event.ts';

export interface EventParts {
  id?: string;
  source?: string;
  atMs?: number;
  customer?: string;
  key?: string;
  model?: string;
  quantities?: Record<string, string>;
  cost?: { amount: string; currency: string } | null;
  data?: Partial<UsageEventData>;
  /** What the sender says beside: kept, and read by meters. */
  properties?: Readonly<Record<string, unknown>>;
}

/** A usage event as a gateway makes it, with what a test cares about. */
export function usageEvent(parts: EventParts = {}): UsageEvent {
  const atMs = parts.atMs ?? Date.UTC(2026, 10, 20, 9, 31);
  const customer = parts.customer ?? 'acme';
  const model = parts.model ?? 'gpt-4o-mini';
  return {
    specversion: '1.0',
    id: parts.id ?? newId('req', atMs),
    source: parts.source ?? GATEWAY_SOURCE,
    type: USAGE_EVENT_TYPE,
    subject: customer,
    time: new Date(atMs).toISOString(),
    datacontenttype: 'application/json',
    data: {
      customer,
      key: parts.key ?? 'key_prod',
      user: null,
      session: null,
      labels: { team: 'search' },
      wire: 'openai-chat',
      endpoint: '/v1/chat/completions',
      upstream: 'openai',
      provider: 'openai',
      model,
      model_served: `${model}-2024-07-18`,
      service_tier: 'default',
      stream: true,
      outcome: 'ok',
      usage_status: 'final',
      quantities: parts.quantities ?? {
        calls: '1',
        input_tokens: '1200',
        cache_read_tokens: '1024',
        output_tokens: '250',
      },
      raw_usage: {
        prompt_tokens: 2224,
        completion_tokens: 250,
        total_tokens: 2474,
        prompt_tokens_details: { cached_tokens: 1024, audio_tokens: 0 },
        completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
      },
      cost: parts.cost === undefined ? { amount: '0.0004068', currency: 'USD' } : parts.cost,
      price_book: '2026-11-01',
      unpriced: [],
      attempts: [{ upstream: 'openai', status: 200, duration_ms: 1234 }],
      ttfb_ms: 321,
      duration_ms: 1234,
      trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
      ...parts.data,
      ...(parts.properties && { properties: parts.properties }),
    },
  };
}
