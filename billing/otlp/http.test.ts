import { ProtobufMetricsSerializer, ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { readUsage } from '#billing/usage/usage.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';
import { MetricsRequest, pointsOf } from './points.ts';
import { decodeMessage } from './proto.ts';

const NOW = Date.UTC(2026, 10, 20, 12);
const DAY = { startMs: Date.UTC(2026, 10, 20), endMs: Date.UTC(2026, 10, 21) };
const nanos = (ms: number) => `${BigInt(ms) * 1_000_000n}`;
const attribute = (key: string, value: string | number) => ({
  key,
  value: typeof value === 'string' ? { stringValue: value } : { intValue: String(value) },
});
const attributes = (given: Record<string, string | number>) =>
  Object.entries(given).map(([key, value]) => attribute(key, value));

const CHAT = {
  ...{ 'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': 'openai', 'gen_ai.request.model': 'gpt-4o' },
  ...{
    'gen_ai.usage.input_tokens': 1000,
    'gen_ai.usage.output_tokens': 50,
    'gen_ai.usage.cache_read.input_tokens': 600,
  },
};

function span(spanId: string, given: Record<string, string | number>, parts: object = {}) {
  return {
    ...{ traceId: '4BF92F3577B34DA6A3CE929D0E0E4736', spanId, name: 'chat gpt-4o', kind: 3 },
    ...{ startTimeUnixNano: nanos(NOW - 2_000), endTimeUnixNano: nanos(NOW - 500), attributes: attributes(given) },
    ...parts,
  };
}
const traces = (...spans: object[]) => ({
  resourceSpans: [
    {
      resource: { attributes: attributes({ 'service.name': 'shop', 'weir.customer': 'acme' }) },
      scopeSpans: [{ scope: { name: 'x' }, spans }],
    },
  ],
});

describe.each(DATABASE_KINDS)('OTLP on %s', (kind) => {
  let api: TestApi;
  beforeAll(async () => {
    api = await testApi(kind);
  });
  afterAll(() => api.close());
  beforeEach(() =>
    api.test.db.script('truncate event, event_id, event_conflict, event_parked, usage_hour, cost_hour, otlp_point'),
  );

  const send = async (signal: 'traces' | 'metrics', body: object | Uint8Array, token = api.tokens.ingest) => {
    const isBytes = body instanceof Uint8Array;
    const response = await api.app.fetch(
      new Request(`http://weir/v1/otlp/v1/${signal}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${token}`,
          'content-type': isBytes ? 'application/x-protobuf' : 'application/json',
        },
        body: isBytes ? Uint8Array.from(body) : JSON.stringify(body),
      }),
    );
    const type = response.headers.get('content-type');
    return { status: response.status, type, bytes: new Uint8Array(await response.arrayBuffer()) };
  };
  const json = (answer: { bytes: Uint8Array }): unknown => JSON.parse(new TextDecoder().decode(answer.bytes));
  const quantities = async (customer = 'acme') => {
    const question = { customer, period: DAY, groupBy: [], zone: 'UTC' };
    return (await readUsage(api.test.db, question))[0]?.quantities ?? {};
  };

  it('counts calls of models once by span, as disjoint quantities, and no span above or beside them', async () => {
    const request = traces(
      span('00f067aa0ba902b7', {
        ...CHAT,
        'weir.label.team': 'search',
        'user.id': 'u1',
        'gen_ai.input.messages': 'secret',
      }),
      span('00f067aa0ba902b8', { ...CHAT, 'gen_ai.operation.name': 'invoke_agent' }),
      span('00f067aa0ba902b9', { 'http.request.method': 'GET' }),
      span('00f067aa0ba902ba', { 'gen_ai.operation.name': 'execute_tool', 'gen_ai.tool.name': 'search' }),
    );
    expect(json(await send('traces', request))).toEqual({});
    expect(json(await send('traces', request))).toEqual({});
    expect(await quantities()).toEqual({
      ...{ calls: '1', input_tokens: '400', cache_read_tokens: '600', output_tokens: '50', tool_calls: '1' },
    });
    const listed = await api.call('GET', '/v1/events?model=gpt-4o');
    expect(listed.json.data).toMatchObject([
      {
        event: {
          ...{ id: '4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7', source: '/otlp/shop', subject: 'acme' },
          data: { user: 'u1', labels: { team: 'search', service: 'shop' }, duration_ms: 1500, outcome: 'ok' },
        },
      },
    ]);
    expect(JSON.stringify(listed.json)).not.toContain('secret');
    expect(await verifyRollups(api.test.db, DAY)).toEqual([]);
  });

  it('answers partial success where a span cannot be counted, and takes the rest', async () => {
    const request = traces(
      span('00f067aa0ba902b7', CHAT),
      span('no span id', CHAT),
      span('00f067aa0ba902b8', CHAT, { startTimeUnixNano: nanos(Date.UTC(2031, 0)) }),
    );
    expect(json(await send('traces', request))).toEqual({
      partialSuccess: { rejectedSpans: '2', errorMessage: expect.stringContaining('#/id') },
    });
    expect(await quantities()).toMatchObject({ calls: '1' });
    const other = traces(span('00f067aa0ba902b7', { ...CHAT, 'gen_ai.usage.output_tokens': 51 }));
    expect(json(await send('traces', other))).toMatchObject({ partialSuccess: { rejectedSpans: '1' } });
  });

  it('answers a status in the format of the request', async () => {
    const refused = await send('traces', traces(), 'wrong');
    expect(refused).toMatchObject({ status: 401, type: 'application/json' });
    expect(json(refused)).toMatchObject({ code: 16, message: expect.any(String) });
    const broken = await send('metrics', Uint8Array.of(0xff, 0xff, 0xff));
    expect(broken).toMatchObject({ status: 400, type: 'application/x-protobuf' });
    expect(json(await send('traces', { resourceSpans: 7 }))).toMatchObject({ code: 3 });
    const deep = Uint8Array.from([...Array.from({ length: 30_000 }, () => [0x2a, 0x7f]).flat()]);
    expect((await send('traces', deep)).status).toBe(400);
  });

  it("takes what OpenTelemetry's own SDK and serializers send in protobuf", async () => {
    const spans = new InMemorySpanExporter();
    const provider = new TracerProvider({
      resource: resourceFromAttributes({ 'service.name': 'shop', 'weir.customer': 'acme' }),
      spanProcessors: [new SimpleSpanProcessor({ exporter: spans })],
    });
    const made = provider.getTracer('x').startSpan('chat gpt-4o', { startTime: NOW - 1_000, attributes: CHAT });
    made.end(NOW);
    const bytes = ProtobufTraceSerializer.serializeRequest(spans.getFinishedSpans());
    const answer = await send('traces', bytes ?? new Uint8Array());
    expect(answer).toMatchObject({ status: 200, type: 'application/x-protobuf' });
    expect(answer.bytes).toHaveLength(0);
    expect(await quantities()).toMatchObject({ calls: '1', input_tokens: '400', output_tokens: '50' });
    expect(decodeMessage('TracesRequest', bytes ?? new Uint8Array())).toMatchObject({
      resourceSpans: [{ scopeSpans: [{ spans: [{ traceId: made.spanContext().traceId }] }] }],
    });

    const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter: metrics, exportIntervalMillis: 3_600_000 });
    const meters = new MeterProvider({
      resource: resourceFromAttributes({ 'service.name': 'shop', 'weir.customer': 'metered' }),
      readers: [reader],
    });
    const meter = meters.getMeter('x');
    const input = meter.createCounter('gen_ai.client.inference.usage.input_tokens');
    const read = meter.createCounter('gen_ai.client.inference.usage.cache_read.input_tokens');
    const before = meter.createHistogram('gen_ai.client.token.usage');
    const calls = meter.createHistogram('gen_ai.client.inference.duration');
    const of = { 'gen_ai.request.model': 'gpt-4o', 'gen_ai.operation.name': 'chat' };
    const call = (tokens: number) => {
      input.add(tokens, { ...of, 'gen_ai.token.modality': 'text' });
      read.add(100, { ...of, 'gen_ai.token.modality': 'text' });
      before.record(tokens, { ...of, 'gen_ai.token.type': 'input' });
      calls.record(0.5, of);
    };
    // Their clock is the real one.
    api.clock.nowMs = Date.now();
    const export_ = async () => {
      await reader.forceFlush();
      const last = metrics.getMetrics().at(-1);
      if (!last) throw new Error('nothing was exported');
      return send('metrics', ProtobufMetricsSerializer.serializeRequest(last) ?? new Uint8Array());
    };
    const used = async () => {
      const period = { startMs: api.clock.nowMs - 86_400_000, endMs: api.clock.nowMs + 86_400_000 };
      const question = { customer: 'metered', period, groupBy: [], zone: 'UTC' };
      return (await readUsage(api.test.db, question))[0]?.quantities;
    };
    call(1000);
    expect((await export_()).status).toBe(200);
    expect(await used()).toEqual({ calls: '1', input_tokens: '900', cache_read_tokens: '100' });
    call(500);
    call(200);
    expect((await export_()).status).toBe(200);
    expect(await used()).toEqual({ calls: '3', input_tokens: '1400', cache_read_tokens: '300' });
    await meters.shutdown();
    api.clock.nowMs = NOW;
  });

  it('takes numbers of any length, and what is no number without the batch that it is in', async () => {
    const metrics = (...dataPoints: object[]) => ({
      resourceMetrics: [
        {
          resource: { attributes: attributes({ 'weir.customer': 'acme' }) },
          scopeMetrics: [{ metrics: [{ name: 'gpu.load', gauge: { dataPoints } }] }],
        },
      ],
    });
    const at = (ms: number, asDouble: unknown) => ({ timeUnixNano: nanos(NOW - ms), asDouble });
    const seconds = { key: 'took', value: { doubleValue: 0.30000000000000004 } };
    const points = [
      { ...at(1, 0.1 + 0.2), attributes: [seconds] },
      { asInt: 7, timeUnixNano: Number(nanos(NOW - 2)) },
      at(3, 'NaN'),
    ];
    expect(await send('metrics', metrics(...points))).toMatchObject({ status: 200 });
    const { json: listed } = await api.call('GET', '/v1/events?type=gpu.load');
    expect(listed.data.map((row: { event: { data: object } }) => row.event.data)).toMatchObject([
      { value: '0.30000000000000004', took: '0.30000000000000004' },
      { value: '7' },
    ]);
    // Protobuf has them as numbers.
    const infinite = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0.5].map((value) => at(1, value));
    const read = pointsOf(MetricsRequest.parse(metrics(...infinite)));
    expect(read.map(({ value }) => value)).toEqual([undefined, undefined, undefined, '0.5']);
  });

  it('counts what cumulative series add, through repeats, what comes late, and restarts', async () => {
    const point = (startMs: number, atMs: number, value: string) => ({
      resourceMetrics: [
        {
          resource: { attributes: attributes({ 'service.name': 'gpu', 'weir.customer': 'acme' }) },
          scopeMetrics: [
            {
              metrics: [
                {
                  ...{ name: 'gpu.seconds', unit: 's' },
                  sum: {
                    ...{ aggregationTemporality: 2, isMonotonic: true },
                    dataPoints: [
                      {
                        ...{ asInt: value, startTimeUnixNano: nanos(startMs), timeUnixNano: nanos(atMs) },
                        attributes: attributes({ gpu: 'a100' }),
                      },
                    ],
                  },
                },
              ],
            },
          ],
        },
      ],
    });
    const start = NOW - 60_000;
    const sent = [
      point(start, NOW - 50_000, '10'),
      point(start, NOW - 40_000, '25'),
      point(start, NOW - 40_000, '25'),
      point(start, NOW - 45_000, '15'),
      point(NOW - 30_000, NOW - 20_000, '7'),
      point(start, NOW - 35_000, '99'),
    ];
    for (const body of sent) expect(await send('metrics', body)).toMatchObject({ status: 200 });
    const { json: listed } = await api.call('GET', '/v1/events?type=gpu.seconds');
    // What came late takes its part from the point after it; a series that began anew ends the one before with what it says.
    expect(listed.data.map((row: { event: { data: object } }) => row.event.data)).toMatchObject([
      { value: '7', gpu: 'a100', unit: 's' },
      { value: '74' },
      { value: '10' },
      { value: '5' },
      { value: '10' },
    ]);
  });
});
