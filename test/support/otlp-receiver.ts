import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

type Attribute = { key: string; value: { stringValue?: string; intValue?: number | string; doubleValue?: number } };

export interface ReceivedSpan {
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  status: { code: number };
  attributes: Record<string, unknown>;
}

export interface ReceivedPoint {
  attributes: Record<string, unknown>;
  value: number | undefined;
  count: number | undefined;
  sum: number | undefined;
  explicitBounds: number[] | undefined;
}

/** Takes OTLP over HTTP as JSON, on a free port, and gives back what came in plain terms. */
export interface OtlpReceiver extends AsyncDisposable {
  readonly url: string;
  readonly spans: ReceivedSpan[];
  /** The newest points of each metric, and its unit. */
  readonly metrics: Map<string, { unit: string; points: ReceivedPoint[] }>;
  readonly resource: Record<string, unknown>;
  readonly headers: IncomingHttpHeaders[];
}

interface Point {
  attributes: Attribute[];
  asDouble?: number;
  asInt?: number | string;
  count?: number | string;
  sum?: number;
  explicitBounds?: number[];
}

interface Body {
  resourceSpans?: { resource: { attributes: Attribute[] }; scopeSpans: { spans: SpanJson[] }[] }[];
  resourceMetrics?: { resource: { attributes: Attribute[] }; scopeMetrics: { metrics: MetricJson[] }[] }[];
}
type SpanJson = Omit<ReceivedSpan, 'attributes'> & { attributes: Attribute[] };
type MetricJson = Record<'sum' | 'gauge' | 'histogram', { dataPoints: Point[] } | undefined> & {
  name: string;
  unit: string;
};

export async function otlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const metrics: OtlpReceiver['metrics'] = new Map();
  const resource: Record<string, unknown> = {};
  const headers: IncomingHttpHeaders[] = [];

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    headers.push(request.headers);
    const body: Body = JSON.parse(Buffer.concat(chunks).toString());
    for (const { resource: of, scopeSpans } of body.resourceSpans ?? []) {
      Object.assign(resource, plain(of.attributes));
      for (const span of scopeSpans.flatMap((scope) => scope.spans)) {
        spans.push({ ...span, attributes: plain(span.attributes) });
      }
    }
    for (const { scopeMetrics } of body.resourceMetrics ?? []) {
      for (const { name, unit, sum, gauge, histogram } of scopeMetrics.flatMap((scope) => scope.metrics)) {
        const points = (sum ?? gauge ?? histogram)?.dataPoints ?? [];
        metrics.set(name, { unit, points: points.map(pointOf) });
      }
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    spans,
    metrics,
    resource,
    headers,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function pointOf({ attributes, asDouble, asInt, count, sum, explicitBounds }: Point): ReceivedPoint {
  const number = (value: number | string | undefined) => (value === undefined ? undefined : Number(value));
  return { attributes: plain(attributes), value: number(asDouble ?? asInt), count: number(count), sum, explicitBounds };
}

function plain(attributes: readonly Attribute[]): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.stringValue ?? value.doubleValue ?? (value.intValue === undefined ? value : Number(value.intValue)),
    ]),
  );
}
