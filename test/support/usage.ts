import { GATEWAY_SOURCE, USAGE_EVENT_TYPE, type UsageEvent } from '#core/usage-event.ts';
import type { Reservation } from '#proxy/limits/counters.ts';
import type { Closing, Opening } from '#proxy/sink/sink.ts';

/** A call as the gateway opens it, with three limits: what most tests of sinks need. */
export function sampleOpening(id: string, customer = 'acme'): Opening {
  return {
    reservation: sampleReservation(id, customer),
    estimate: sampleEvent(id, customer, { input_tokens: '1200', output_tokens: '400' }, 'estimated'),
    estimatedUse: [1n, 1600n, 12_000_000n],
  };
}

/** The same call, closed with the provider's own figures. */
export function sampleClosing(id: string, outputTokens: bigint, customer = 'acme'): Closing {
  return {
    reservation: sampleReservation(id, customer),
    used: [1n, 1200n + outputTokens, 3_000_000n + outputTokens * 10_000n],
    event: sampleEvent(id, customer, { input_tokens: '1200', output_tokens: outputTokens.toString() }, 'final'),
  };
}

function sampleReservation(id: string, customer: string): Reservation {
  return {
    id,
    customer,
    atMs: Date.UTC(2026, 10, 20),
    leaseMs: 600_000,
    holds: [
      {
        kind: 'rate',
        counter: 'requests-per-minute',
        amount: 1n,
        limit: 6_000_000n,
        burst: 6_000_000n,
        windowMs: 60_000,
        counted: 'admission',
      },
      {
        kind: 'rate',
        counter: 'tokens-per-minute',
        amount: 6000n,
        limit: 2_000_000_000n,
        burst: 2_000_000_000n,
        windowMs: 60_000,
        counted: 'settlement',
      },
      {
        kind: 'quota',
        counter: 'budget-per-month:2026-11',
        amount: 60_000_000n,
        limit: 500_000_000_000_000n,
        expiresAtMs: Date.UTC(2026, 11, 1),
      },
    ],
  };
}

function sampleEvent(
  id: string,
  customer: string,
  quantities: Record<string, string>,
  usageStatus: 'estimated' | 'final',
): UsageEvent {
  const estimated = usageStatus === 'estimated';
  return {
    specversion: '1.0',
    id,
    source: GATEWAY_SOURCE,
    type: USAGE_EVENT_TYPE,
    subject: customer,
    time: '2026-11-20T00:00:00.000Z',
    datacontenttype: 'application/json',
    data: {
      customer,
      key: `${customer}-prod`,
      user: 'user-17',
      session: null,
      labels: { team: 'search', run: '42' },
      wire: 'openai',
      endpoint: '/v1/chat/completions',
      upstream: 'openai',
      provider: 'openai',
      model: 'gpt-4o-mini',
      model_served: estimated ? null : 'gpt-4o-mini-2024-07-18',
      service_tier: null,
      stream: true,
      outcome: estimated ? 'unknown' : 'ok',
      usage_status: usageStatus,
      quantities: { calls: '1', ...quantities },
      raw_usage: estimated ? null : { prompt_tokens: 1200, completion_tokens: Number(quantities.output_tokens) },
      cost: { amount: '0.012', currency: 'USD' },
      price_book: '2026-11-01',
      unpriced: [],
      attempts: estimated ? [] : [{ upstream: 'openai', status: 200, duration_ms: 812 }],
      ttfb_ms: estimated ? null : 231,
      duration_ms: 812,
      trace_id: '0af7651916cd43dd8448eb211c80319c',
    },
  };
}
