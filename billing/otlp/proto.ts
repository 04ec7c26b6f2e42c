import protobuf, { type INamespace, type Type } from 'protobufjs/light.js';
import { Fault } from '#core/fault.ts';

/**
 * OTLP in protobuf, as the same objects that its JSON holds: lowerCamelCase names, 64-bit numbers as text, ids as hex. Of
 * opentelemetry-proto only what is read here; other fields are skipped.
 */
const repeated = (type: string, id: number) => ({ rule: 'repeated', type, id }) as const;
const field = (type: string, id: number) => ({ type, id });

const DEFINITIONS: INamespace = {
  nested: {
    AnyValue: {
      oneofs: { value: { oneof: ['stringValue', 'boolValue', 'intValue', 'doubleValue', 'arrayValue'] } },
      fields: {
        ...{ stringValue: field('string', 1), boolValue: field('bool', 2), intValue: field('int64', 3) },
        ...{ doubleValue: field('double', 4), arrayValue: field('ArrayValue', 5) },
      },
    },
    ArrayValue: { fields: { values: repeated('AnyValue', 1) } },
    KeyValue: { fields: { key: field('string', 1), value: field('AnyValue', 2) } },
    Resource: { fields: { attributes: repeated('KeyValue', 1) } },
    Scope: { fields: { name: field('string', 1) } },

    TracesRequest: { fields: { resourceSpans: repeated('ResourceSpans', 1) } },
    ResourceSpans: { fields: { resource: field('Resource', 1), scopeSpans: repeated('ScopeSpans', 2) } },
    ScopeSpans: { fields: { scope: field('Scope', 1), spans: repeated('Span', 2) } },
    Status: { fields: { code: field('int32', 3) } },
    Span: {
      fields: {
        ...{ traceId: field('bytes', 1), spanId: field('bytes', 2), name: field('string', 5) },
        ...{ startTimeUnixNano: field('fixed64', 7), endTimeUnixNano: field('fixed64', 8) },
        ...{ attributes: repeated('KeyValue', 9), status: field('Status', 15) },
      },
    },

    MetricsRequest: { fields: { resourceMetrics: repeated('ResourceMetrics', 1) } },
    ResourceMetrics: { fields: { resource: field('Resource', 1), scopeMetrics: repeated('ScopeMetrics', 2) } },
    ScopeMetrics: { fields: { scope: field('Scope', 1), metrics: repeated('Metric', 2) } },
    Metric: {
      fields: {
        ...{ name: field('string', 1), unit: field('string', 3), gauge: field('Points', 5), sum: field('Points', 7) },
        ...{ histogram: field('Histogram', 9), exponentialHistogram: field('ExponentialHistogram', 10) },
      },
    },
    Points: {
      fields: {
        ...{ dataPoints: repeated('NumberPoint', 1), aggregationTemporality: field('int32', 2) },
        ...{ isMonotonic: field('bool', 3) },
      },
    },
    NumberPoint: {
      oneofs: { value: { oneof: ['asDouble', 'asInt'] } },
      fields: {
        ...{ startTimeUnixNano: field('fixed64', 2), timeUnixNano: field('fixed64', 3) },
        ...{ asDouble: field('double', 4), asInt: field('sfixed64', 6), attributes: repeated('KeyValue', 7) },
      },
    },
    Histogram: {
      fields: { dataPoints: repeated('HistogramPoint', 1), aggregationTemporality: field('int32', 2) },
    },
    HistogramPoint: {
      fields: {
        ...{ startTimeUnixNano: field('fixed64', 2), timeUnixNano: field('fixed64', 3) },
        ...{ count: field('fixed64', 4), sum: field('double', 5), attributes: repeated('KeyValue', 9) },
      },
    },
    ExponentialHistogram: {
      fields: { dataPoints: repeated('ExponentialPoint', 1), aggregationTemporality: field('int32', 2) },
    },
    ExponentialPoint: {
      fields: {
        ...{ attributes: repeated('KeyValue', 1), startTimeUnixNano: field('fixed64', 2) },
        ...{ timeUnixNano: field('fixed64', 3), count: field('fixed64', 4), sum: field('double', 5) },
      },
    },

    TracesAnswer: { fields: { partialSuccess: field('RejectedSpans', 1) } },
    RejectedSpans: { fields: { rejectedSpans: field('int64', 1), errorMessage: field('string', 2) } },
    MetricsAnswer: { fields: { partialSuccess: field('RejectedPoints', 1) } },
    RejectedPoints: { fields: { rejectedDataPoints: field('int64', 1), errorMessage: field('string', 2) } },
    RpcStatus: { fields: { code: field('int32', 1), message: field('string', 2) } },
  },
};

const root = protobuf.Root.fromJSON(DEFINITIONS);

export type Message = 'TracesRequest' | 'MetricsRequest';
export type Answer = 'TracesAnswer' | 'MetricsAnswer' | 'RpcStatus';

export function decodeMessage(name: Message, bytes: Uint8Array): unknown {
  const type: Type = root.lookupType(name);
  try {
    const message = type.decode(bytes);
    return withHexIds(type.toObject(message, { longs: String, arrays: true }));
  } catch (cause) {
    throw new Fault('invalid_request', { detail: 'The body is no OTLP protobuf.', cause });
  }
}

export function encodeMessage(name: Answer, value: Record<string, unknown>): Uint8Array<ArrayBuffer> {
  const type = root.lookupType(name);
  return Uint8Array.from(type.encode(type.fromObject(value)).finish());
}

function withHexIds(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(withHexIds);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, withHexIds(inner)]));
}
