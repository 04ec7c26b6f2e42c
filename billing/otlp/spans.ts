import { z } from 'zod';
import { USAGE_EVENT_TYPE } from '#core/usage-event.ts';
import {
  type AttributeMap,
  Attributes,
  first,
  instantOfNanos,
  labelsOf,
  millisOfSeconds,
  Nanos,
  Resource,
  sourceOf,
  whoOf,
} from './attributes.ts';
import { MODALITIES, noTokens, parseCount, quantitiesOfTokens } from './token-units.ts';

const Span = z.looseObject({
  traceId: z.string().default(''),
  spanId: z.string().default(''),
  startTimeUnixNano: Nanos,
  endTimeUnixNano: Nanos,
  attributes: Attributes,
  status: z.looseObject({ code: z.number().optional() }).optional(),
});
type Span = z.output<typeof Span>;

export const TracesRequest = z.looseObject({
  resourceSpans: z
    .array(
      z.looseObject({
        resource: Resource,
        scopeSpans: z.array(z.looseObject({ spans: z.array(Span).default([]) })).default([]),
      }),
    )
    .default([]),
});

/** Their tokens are those of the calls below them, which have spans of their own. */
const SUMS = new Set(['invoke_agent', 'invoke_workflow', 'create_agent', 'plan', 'fetch_response']);
const TOOL = 'execute_tool';
const STATUS_ERROR = 2;

/**
 * The usage events of spans, as untrusted values: calls of models by `gen_ai.usage.…`, and tools that were executed. Other
 * spans are nobody's usage. What else a span holds (prompts, answers) is not read.
 */
export function eventsOfTraces(request: z.output<typeof TracesRequest>): unknown[] {
  return request.resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) => spans.flatMap((span) => eventOf(span, resource) ?? [])),
  );
}

function eventOf(span: Span, resource: AttributeMap): unknown {
  const { attributes } = span;
  const operation = attributes.get('gen_ai.operation.name') ?? '';
  if (SUMS.has(operation)) return undefined;
  const isTool = operation === TOOL;
  const reportsUsage = [...attributes.keys()].some((name) => name.startsWith('gen_ai.usage.'));
  if (!isTool && !reportsUsage) return undefined;
  const places = [attributes, resource];
  const who = whoOf(places);
  const failed = span.status?.code === STATUS_ERROR || attributes.has('error.type');
  const tool = isTool ? first(places, 'gen_ai.tool.name') : undefined;
  return {
    specversion: '1.0',
    // (traceId, spanId) is what a collector may send again.
    id: idOf(span),
    source: sourceOf(resource),
    type: USAGE_EVENT_TYPE,
    ...(who.customer === undefined ? {} : { subject: who.customer }),
    ...timeOf(span),
    data: {
      ...who,
      labels: labelsOf(places),
      wire: 'otlp',
      endpoint: operation,
      ...(tool === undefined ? {} : { tool }),
      outcome: failed ? 'failed' : 'ok',
      usage_status: 'final',
      quantities: isTool ? { tool_calls: '1' } : { calls: '1', ...quantitiesOfTokens(tokensOf(attributes)) },
      cost: null,
      duration_ms: durationOf(span),
      ttfb_ms: millisOfSeconds(first(places, 'gen_ai.response.time_to_first_chunk')) ?? null,
      trace_id: span.traceId.toLowerCase(),
    },
  };
}

function tokensOf(attributes: AttributeMap): ReturnType<typeof noTokens> {
  const counts = noTokens();
  const count = (...names: readonly string[]) =>
    parseCount(first([attributes], ...names.map((name) => `gen_ai.usage.${name}`)));
  counts.input = count('input_tokens', 'prompt_tokens') ?? counts.input;
  counts.output = count('output_tokens', 'completion_tokens') ?? counts.output;
  counts.cacheRead = count('cache_read.input_tokens') ?? counts.cacheRead;
  counts.cacheWrite = count('cache_write.input_tokens', 'cache_creation.input_tokens') ?? counts.cacheWrite;
  for (const modality of MODALITIES) {
    const part = counts.parts[modality];
    part.input = count(`${modality}.input_tokens`) ?? part.input;
    part.cacheRead = count(`${modality}.cache_read.input_tokens`) ?? part.cacheRead;
    part.output = count(`${modality}.output_tokens`) ?? part.output;
  }
  return counts;
}

function timeOf({ startTimeUnixNano }: Span): { time?: string } {
  const time = instantOfNanos(startTimeUnixNano);
  return time === undefined ? {} : { time };
}

function durationOf({ startTimeUnixNano: start, endTimeUnixNano: end }: Span): number | null {
  if (!start || !end || !/^\d{1,19}$/.test(start) || !/^\d{1,19}$/.test(end)) return null;
  const ms = (BigInt(end) - BigInt(start)) / 1_000_000n;
  return ms < 0n ? null : Number.parseInt(ms.toString(), 10);
}

/** Empty, and so refused, where the ids are none. */
function idOf({ traceId, spanId }: Span): string {
  const isId = /^(?!0+$)[\da-f]{32}$/i.test(traceId) && /^(?!0+$)[\da-f]{16}$/i.test(spanId);
  return isId ? `${traceId}-${spanId}`.toLowerCase() : '';
}
