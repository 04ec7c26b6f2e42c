import { type Attributes, SpanKind, type SpanStatus, SpanStatusCode, TraceFlags } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import type { UsageEvent } from '#core/usage-event.ts';
import type { CallSeen } from '../observer.ts';
import { type Modality, operationOf, type TokenUsage, totalOf } from './inference.ts';
import { hrTimeOf } from './otlp-metrics.ts';

export interface SpanOf {
  call: CallSeen;
  event: UsageEvent;
  status: number | null;
  /** As its metrics have them. */
  attributes: Attributes;
  tokens: TokenUsage;
}

export interface SpanOrigin {
  resource: Resource;
  scope: { name: string; version: string };
}

/**
 * A call as one span, made when it is over. Its ids are those that went upstream in `traceparent`, so that the span is
 * the parent of whatever the upstream records, and the child of what the caller records.
 */
export function spanOf(
  { call, event, status, attributes, tokens }: SpanOf,
  { resource, scope }: SpanOrigin,
): ReadableSpan {
  const { traceId, spanId, parentSpanId, sampled } = call.trace;
  const { data } = event;
  const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  const startTime = hrTimeOf(call.atMs);
  return {
    name: `${operationOf(call.wire)} ${call.model}`,
    kind: SpanKind.CLIENT,
    spanContext: () => ({ traceId, spanId, traceFlags }),
    ...(parentSpanId !== null && {
      parentSpanContext: { traceId, spanId: parentSpanId, traceFlags, isRemote: true },
    }),
    startTime,
    endTime: hrTimeOf(call.atMs + data.duration_ms),
    duration: hrTimeOf(data.duration_ms),
    status: statusOf(event),
    attributes: {
      ...attributes,
      ...usageOf(tokens),
      ...(data.stream && data.ttfb_ms !== null && { 'gen_ai.response.time_to_first_chunk': data.ttfb_ms / 1000 }),
      ...(status !== null && { 'http.response.status_code': status }),
      'weir.request.id': call.id,
      'weir.customer': call.customer,
      'weir.key': call.key,
      'weir.outcome': data.outcome,
      'weir.usage_status': data.usage_status,
      'weir.attempts': data.attempts.length,
    },
    links: [],
    events: [],
    ended: true,
    resource,
    instrumentationScope: scope,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

function usageOf({ input, output, cacheRead, cacheWrite, reasoning }: TokenUsage): Attributes {
  const attributes: Attributes = {
    'gen_ai.usage.input_tokens': totalOf(input),
    'gen_ai.usage.output_tokens': totalOf(output),
  };
  if (cacheRead > 0) attributes['gen_ai.usage.cache_read.input_tokens'] = cacheRead;
  if (cacheWrite > 0) attributes['gen_ai.usage.cache_write.input_tokens'] = cacheWrite;
  if (reasoning > 0) attributes['gen_ai.usage.reasoning.output_tokens'] = reasoning;
  // Text alone is what the totals say already.
  for (const modality of ['image', 'audio'] satisfies Modality[]) {
    if (input[modality] > 0) attributes[`gen_ai.usage.${modality}.input_tokens`] = input[modality];
    if (output[modality] > 0) attributes[`gen_ai.usage.${modality}.output_tokens`] = output[modality];
  }
  return attributes;
}

/** Whether a caller who hangs up is an error is for the caller's own span to say. */
function statusOf({ data }: UsageEvent): SpanStatus {
  const failed = data.outcome === 'failed' || data.outcome === 'cut';
  return { code: failed ? SpanStatusCode.ERROR : SpanStatusCode.UNSET };
}
