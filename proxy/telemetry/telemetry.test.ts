import { describe, expect, it, vi } from 'vitest';
import { Fault } from '#core/fault.ts';
import { SILENT } from '#core/log.ts';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  post,
  startGateway,
  startStub,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import { otlpReceiver } from '#test/support/otlp-receiver.ts';
import { SERIES_MAX } from './metric-store.ts';
import { startTelemetry } from './node-telemetry.ts';

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const PARENT_SPAN_ID = 'b7ad6b7169203331';
const PROMPT = 'a prompt that nobody else may read';
const ANSWER = 'an answer that nobody else may read';

const USAGE = {
  prompt_tokens: 100,
  completion_tokens: 50,
  total_tokens: 150,
  prompt_tokens_details: { cached_tokens: 40 },
  completion_tokens_details: { reasoning_tokens: 12 },
};
const COMPLETION = {
  id: 'chatcmpl-1',
  object: 'chat.completion',
  model: 'gpt-4o-mini-2024-07-18',
  choices: [{ index: 0, message: { role: 'assistant', content: ANSWER }, finish_reason: 'stop' }],
  usage: USAGE,
};
const CHUNKS = [
  {
    object: 'chat.completion.chunk',
    model: 'gpt-4o-mini-2024-07-18',
    choices: [{ index: 0, delta: { content: ANSWER } }],
  },
  { object: 'chat.completion.chunk', model: 'gpt-4o-mini-2024-07-18', choices: [], usage: USAGE },
];

/** A gateway with telemetry, and an upstream that answers by what the model is called. */
async function serving(otlpEndpoint: string | null, limits = keyPolicy().limits) {
  const stub = await startStub((response, { body }) => {
    const asked = JSON.parse(body);
    if (asked.messages[0].content === 'fail') {
      response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":{"message":"no"}}');
    } else if (asked.stream) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`${CHUNKS.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('')}data: [DONE]\n\n`);
    } else {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(COMPLETION));
    }
  });
  const plain = configOf([upstreamConfig('openai-eu', stub.url)]);
  const config = { ...plain, telemetry: { ...plain.telemetry, otlpEndpoint } };
  const warn = vi.fn();
  const telemetry = await startTelemetry({ config, log: { ...SILENT, warn }, clock: Date.now, version: '1.2.3' });
  const gateway = await startGateway(config, [keyPolicy({ limits })], {
    observer: telemetry.observer,
    metrics: telemetry.scrape,
  });
  const call = async (content: string, stream = false, headers: Record<string, string> = {}) => {
    const answer = await post(
      `${gateway.url}/v1/chat/completions`,
      { model: 'gpt-4o-mini', stream, messages: [{ role: 'user', content }] },
      headers,
    );
    await answer.text();
    return answer;
  };
  return {
    stub,
    telemetry,
    warn,
    gateway,
    call,
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await stub[Symbol.asyncDispose]();
    },
  };
}

const KIND = {
  'gen_ai.operation.name': 'chat',
  'gen_ai.provider.name': 'openai',
  'gen_ai.request.model': 'gpt-4o-mini',
  'gen_ai.response.model': 'gpt-4o-mini-2024-07-18',
  'server.address': '127.0.0.1',
};

describe('telemetry over OTLP', () => {
  it('sends a span of each call that continues the caller trace and is the parent of the upstream', async () => {
    await using receiver = await otlpReceiver();
    await using on = await serving(receiver.url);
    await on.call(PROMPT, true, { traceparent: `00-${TRACE_ID}-${PARENT_SPAN_ID}-01`, tracestate: 'vendor=1' });
    await on.call(PROMPT, false, { traceparent: `00-${TRACE_ID}-${PARENT_SPAN_ID}-00` });
    await on.call('fail');
    const [event] = await eventsOf(on.gateway, 3);
    await on.telemetry.stop();

    // What the caller does not sample is not recorded; what it does not say is.
    expect(receiver.spans).toHaveLength(2);
    const [span, failed] = receiver.spans;
    const { 'server.port': port, ...attributes } = span?.attributes ?? {};
    expect(port).toBe(Number(new URL(on.stub.url).port));
    expect(span).toMatchObject({ name: 'chat gpt-4o-mini', traceId: TRACE_ID, parentSpanId: PARENT_SPAN_ID, kind: 3 });
    expect(attributes).toEqual({
      ...KIND,
      'gen_ai.usage.input_tokens': 100,
      'gen_ai.usage.output_tokens': 50,
      'gen_ai.usage.cache_read.input_tokens': 40,
      'gen_ai.usage.reasoning.output_tokens': 12,
      'gen_ai.response.time_to_first_chunk': (event?.data.ttfb_ms ?? -1) / 1000,
      'http.response.status_code': 200,
      'weir.request.id': event?.id,
      'weir.customer': 'acme',
      'weir.key': 'key_test',
      'weir.outcome': 'ok',
      'weir.usage_status': 'final',
      'weir.attempts': 1,
    });
    const upstreamHeaders = on.stub.requests[0]?.headers;
    expect(upstreamHeaders?.traceparent).toBe(`00-${TRACE_ID}-${span?.spanId}-01`);
    expect(upstreamHeaders?.tracestate).toBe('vendor=1');
    const nanos = BigInt(span?.endTimeUnixNano ?? 0) - BigInt(span?.startTimeUnixNano ?? 0);
    expect(nanos).toBe(BigInt(event?.data.duration_ms ?? -1) * 1_000_000n);

    expect(failed?.parentSpanId).toBeUndefined();
    expect(failed?.status.code).toBe(2);
    expect(failed?.attributes).toMatchObject({ 'error.type': '400', 'weir.outcome': 'failed' });
    expect(receiver.resource).toMatchObject({ 'service.name': 'weir-gateway', 'service.version': '1.2.3' });
    expect(JSON.stringify(receiver.spans)).not.toMatch(/nobody else may read|sk-upstream|wr_test/);
  });

  it('sends the metrics of the conventions for generative AI, and its own', async () => {
    await using receiver = await otlpReceiver();
    await using on = await serving(receiver.url, [limitPolicy({ kind: 'requests', amount: '3', per: 'hour' })]);
    on.telemetry.gauges([{ name: 'weir.test', unit: '{thing}', description: 'A gauge', read: () => 7 }]);
    await on.call(PROMPT);
    await on.call(PROMPT, true);
    await on.call('fail');
    await on.call(PROMPT);
    await eventsOf(on.gateway, 3);
    on.telemetry.observer.faulted(new Fault('upstream_timeout'), 'req_1');
    await on.telemetry.stop();

    const metric = (name: string) => receiver.metrics.get(name);
    const usage = 'gen_ai.client.inference.usage';
    const of = (name: string) =>
      metric(name)?.points.map(({ attributes, value }) => [
        attributes['error.type'],
        attributes['gen_ai.token.modality'],
        value,
      ]);
    expect(of(`${usage}.input_tokens`)).toEqual([
      [undefined, 'text', 200],
      ['400', 'unknown', 0],
    ]);
    expect(of(`${usage}.output_tokens`)).toEqual([
      [undefined, 'text', 100],
      ['400', 'unknown', 0],
    ]);
    expect(of(`${usage}.cache_read.input_tokens`)).toEqual([[undefined, 'text', 80]]);
    expect(of(`${usage}.reasoning.output_tokens`)).toEqual([[undefined, 'text', 24]]);
    expect(metric(`${usage}.input_tokens`)?.unit).toBe('{token}');
    expect(metric(`${usage}.input_tokens`)?.points[0]?.attributes).toMatchObject(KIND);

    const tokens = metric('gen_ai.client.inference.operation.input_tokens')?.points[0];
    expect(tokens).toMatchObject({ count: 2, sum: 200 });
    expect(tokens?.explicitBounds?.slice(0, 4)).toEqual([1, 4, 16, 64]);
    const duration = metric('gen_ai.client.inference.duration');
    expect(duration?.unit).toBe('s');
    expect(duration?.points.map(({ count }) => count).sort()).toEqual([1, 2]);
    expect(duration?.points[0]?.explicitBounds?.slice(0, 3)).toEqual([0.01, 0.02, 0.04]);
    expect(metric('gen_ai.client.inference.time_to_first_chunk')?.points).toMatchObject([{ count: 1 }]);

    const own = (name: string) =>
      metric(name)?.points.map(({ attributes, value }) => [...Object.values(attributes), value]);
    expect(own('weir.calls')).toEqual([
      ['ok', 'final', 2],
      ['failed', 'none', 1],
    ]);
    expect(own('weir.refusals')).toEqual([['rate_limited', 1]]);
    expect(own('weir.faults')).toEqual([['upstream_timeout', 1]]);
    expect(own('weir.test')).toEqual([[7]]);
    // Customers and keys are on spans and events, where their number does not matter.
    expect(JSON.stringify([...receiver.metrics])).not.toMatch(/acme|key_test/);
  });

  it('holds up nothing and loses no call when nobody listens at the endpoint', async () => {
    const receiver = await otlpReceiver();
    await receiver[Symbol.asyncDispose]();
    await using on = await serving(receiver.url);
    expect((await on.call(PROMPT)).status).toBe(200);
    await eventsOf(on.gateway, 1);
    await on.telemetry.stop();
    expect(on.warn).toHaveBeenCalled();
  });
});

describe('telemetry for Prometheus', () => {
  it('stands at /metrics of the gateway, whether or not there is an endpoint', async () => {
    await using on = await serving(null);
    await on.call(PROMPT);
    await eventsOf(on.gateway, 1);
    const answer = await fetch(`${on.gateway.url}/metrics`);
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const text = await answer.text();
    expect(text).toMatch(
      /^gen_ai_client_inference_usage_input_tokens_total\{.*gen_ai_request_model="gpt-4o-mini".*gen_ai_token_modality="text".*\} 100$/m,
    );
    expect(text).toMatch(/^weir_calls_total\{weir_outcome="ok",weir_usage_status="final".*\} 1$/m);
    expect(text).toMatch(/^gen_ai_client_inference_duration_seconds_count\{.*\} 1$/m);
    expect(text).toMatch(/service_name="weir-gateway"/);
    await on.telemetry.stop();
  });

  it('counts what has too many names together instead of growing for ever', async () => {
    await using on = await serving(null);
    await on.call(PROMPT);
    const [event] = await eventsOf(on.gateway, 1);
    if (!event) throw new Error('no event');
    const trace = { traceId: TRACE_ID, spanId: PARENT_SPAN_ID, parentSpanId: null, sampled: true, header: '' };
    const call = {
      id: 'req_1',
      atMs: 0,
      customer: 'acme',
      key: 'k',
      wire: 'openai-chat',
      model: 'm',
      stream: false,
      trace,
    };
    for (let i = 0; i < SERIES_MAX + 500; i++) {
      on.telemetry.observer.callEnded(call, { ...event, data: { ...event.data, model: `model-${i}` } }, 200);
    }
    const lines = on.telemetry.scrape().match(/^gen_ai_client_inference_duration_seconds_count\{.*$/gm) ?? [];
    expect(lines).toHaveLength(SERIES_MAX + 1);
    expect(lines.find((line) => line.includes('otel_metric_overflow="true"'))).toMatch(/ 501$/);
  });
});
