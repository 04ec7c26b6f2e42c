import { z } from '@hono/zod-openapi';
import { parseExactJson } from '#billing/event-formats/exact-json.ts';
import { mediaTypeOf } from '#billing/event-formats/read-rows.ts';
import { BATCH_BYTES_MAX } from '#billing/events/batch.ts';
import { type IngestResult, ingest } from '#billing/events/ingest.ts';
import { GATEWAYS } from '#billing/http/role.ts';
import type { Api, Encoded } from '#billing/http/route.ts';
import { Fault } from '#core/fault.ts';
import type { PriceBook } from '#core/price.ts';
import { countMetrics } from './count-metrics.ts';
import { MetricsRequest, pointsOf } from './points.ts';
import { type Answer, decodeMessage, encodeMessage, type Message } from './proto.ts';
import { eventsOfTraces, TracesRequest } from './spans.ts';

const PROTOBUF = 'application/x-protobuf';
const TYPES = ['application/json', PROTOBUF];

const TracesAnswer = z
  .object({ partialSuccess: z.object({ rejectedSpans: z.string(), errorMessage: z.string() }).optional() })
  .openapi('OtlpTracesAnswer');
const MetricsAnswer = z
  .object({ partialSuccess: z.object({ rejectedDataPoints: z.string(), errorMessage: z.string() }).optional() })
  .openapi('OtlpMetricsAnswer');

/** OTLP over HTTP, in JSON and protobuf: an exporter's endpoint is `…/v1/otlp`. */
export function otlpRoutes(api: Api, priceBook: () => PriceBook): void {
  api.route({
    method: 'post',
    path: '/v1/otlp/v1/traces',
    noun: 'events',
    summary: 'Take usage from OpenTelemetry spans',
    description:
      'ExportTraceServiceRequest. Spans of model calls are events by their gen_ai.usage attributes, once by trace and ' +
      'span id; spans of tools are tool calls; other spans are nobody’s usage. weir.customer, weir.key and weir.label.* ' +
      'say whom it was for, on the span or its resource.',
    roles: GATEWAYS,
    body: TracesRequest,
    formats: { types: TYPES, read: reader('TracesRequest'), schema: z.looseObject({}) },
    bodyBytesMax: BATCH_BYTES_MAX,
    answer: TracesAnswer,
    encode: encoder('TracesAnswer'),
    run: async ({ db, body, nowMs }) => {
      const { count, errorMessage } = rejected(await ingest(db, eventsOfTraces(body), nowMs, priceBook()));
      return count === 0 ? {} : { partialSuccess: { rejectedSpans: String(count), errorMessage } };
    },
  });

  api.route({
    method: 'post',
    path: '/v1/otlp/v1/metrics',
    noun: 'events',
    summary: 'Take usage from OpenTelemetry metrics',
    description:
      'ExportMetricsServiceRequest. Token counts by the GenAI names are events by collection; any other sum or gauge ' +
      'whose weir.customer is set is an event of the metric’s name. Each point is counted once, whatever requests it ' +
      'comes in. Send spans or metrics of the same calls, never both.',
    roles: GATEWAYS,
    body: MetricsRequest,
    formats: { types: TYPES, read: reader('MetricsRequest'), schema: z.looseObject({}) },
    bodyBytesMax: BATCH_BYTES_MAX,
    answer: MetricsAnswer,
    encode: encoder('MetricsAnswer'),
    run: async ({ db, body, nowMs }) => {
      const { count, errorMessage } = rejected(await countMetrics(db, pointsOf(body), nowMs, priceBook()));
      return count === 0 ? {} : { partialSuccess: { rejectedDataPoints: String(count), errorMessage } };
    },
  });
}

function reader(name: Message) {
  return (bytes: Uint8Array, headers: Headers): unknown => {
    if (isProtobuf(headers)) return decodeMessage(name, bytes);
    if (mediaTypeOf(headers) !== 'application/json') {
      throw new Fault('invalid_request', { detail: `The content type must be one of ${TYPES.join(', ')}.` });
    }
    try {
      return parseExactJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    } catch (cause) {
      throw new Fault('invalid_json', { cause });
    }
  };
}

/** What was not counted. Its sender must not send it again; it is parked, or among the conflicts. */
function rejected(results: readonly IngestResult[]): { count: number; errorMessage: string } {
  const wrong = results.filter(({ status }) => status === 'parked' || status === 'conflict');
  const [one] = wrong;
  const reason = one && ('detail' in one ? one.detail : 'The same id was sent before with other contents.');
  return { count: wrong.length, errorMessage: reason ?? '' };
}

/** google.rpc.Code of what exporters tell apart: what may be sent again, and what may not. */
const RPC_CODES: Readonly<Record<number, number>> = { 401: 16, 403: 7, 413: 8, 429: 14, 503: 14 };
const RPC_INTERNAL = 13;
const RPC_INVALID = 3;

/** In the format of the request; a problem is a google.rpc.Status. */
function encoder(name: Exclude<Answer, 'RpcStatus'>) {
  return (answer: object | Fault, headers: Headers): Encoded | undefined => {
    if (!(answer instanceof Fault)) {
      return isProtobuf(headers) ? { type: PROTOBUF, bytes: encodeMessage(name, { ...answer }) } : undefined;
    }
    const code = RPC_CODES[answer.status] ?? (answer.status >= 500 ? RPC_INTERNAL : RPC_INVALID);
    const status = { code, message: answer.status >= 500 ? answer.code : answer.message };
    if (isProtobuf(headers)) return { type: PROTOBUF, bytes: encodeMessage('RpcStatus', status) };
    return { type: 'application/json', bytes: new TextEncoder().encode(JSON.stringify(status)) };
  };
}

function isProtobuf(headers: Headers): boolean {
  return mediaTypeOf(headers) === PROTOBUF;
}
