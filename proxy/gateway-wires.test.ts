import type { ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  post,
  SECRET,
  startGateway,
  startStub,
  upstreamConfig,
} from '#test/gateway/harness.ts';

const COUNT = { model: 'claude-sonnet-4-5', messages: [{ role: 'user', content: 'Hello' }] };
const COUNTED = '{"input_tokens":8}';
const NATIVE = { 'x-api-key': SECRET, authorization: '' };

function answerCount(response: ServerResponse): void {
  response
    .writeHead(200, {
      'content-type': 'application/json',
      'request-id': 'req_upstream',
      'anthropic-ratelimit-requests-limit': '50',
      'anthropic-organization-id': 'org-1',
    })
    .end(COUNTED);
}

function anthropicConfig(url: string, changes: Parameters<typeof upstreamConfig>[2] = {}) {
  const addresses = { anthropic: url.replace(/\/v1$/, '') };
  return upstreamConfig('anthropic', '', { addresses, provider: 'anthropic', ...changes });
}

describe('a call in the dialect of Anthropic', () => {
  it('goes to an upstream that speaks it, with the credential where its API has it', async () => {
    await using stub = await startStub(answerCount);
    const other = upstreamConfig('other', 'http://127.0.0.1:1/v1', { models: ['*'] });
    await using weir = await startGateway(configOf([other, anthropicConfig(stub.url)]));
    const answer = await post(`${weir.url}/v1/messages/count_tokens?beta=true`, COUNT, NATIVE);
    expect([answer.status, await answer.text()]).toEqual([200, COUNTED]);
    const [asked] = stub.requests;
    expect([asked?.url, asked?.body]).toEqual(['/v1/messages/count_tokens?beta=true', JSON.stringify(COUNT)]);
    expect(asked?.headers).toMatchObject({ 'x-api-key': 'sk-upstream', 'anthropic-version': '2023-06-01' });
    expect(asked?.headers.authorization).toBeUndefined();
    expect(answer.headers.get('request-id')).toBe(answer.headers.get('x-request-id'));
    expect(answer.headers.get('x-weir-upstream-request-id')).toBe('req_upstream');
    expect(answer.headers.has('anthropic-ratelimit-requests-limit')).toBe(false);
    expect(answer.headers.has('anthropic-organization-id')).toBe(false);
  });

  it('keeps the version that the caller wants, and a credential goes where the upstream says', async () => {
    await using stub = await startStub(answerCount);
    await using weir = await startGateway(configOf([anthropicConfig(stub.url, { auth: 'bearer' })]));
    await post(`${weir.url}/v1/messages/count_tokens`, COUNT, { ...NATIVE, 'anthropic-version': '2099-01-01' });
    expect(stub.requests[0]?.headers).toMatchObject({
      authorization: 'Bearer sk-upstream',
      'anthropic-version': '2099-01-01',
    });
    expect(stub.requests[0]?.headers['x-api-key']).toBeUndefined();
  });

  it('is told what went wrong in its own words, whether a wire was found or not', async () => {
    await using weir = await startGateway(configOf([anthropicConfig('http://127.0.0.1:1')]));
    const cases = [
      ['/v1/messages/count_tokens', { 'x-api-key': 'wrong' }, 401, 'authentication_error'],
      ['/v1/messages/nothing', NATIVE, 404, 'not_found_error'],
      ['/v1/messages/count_tokens', { ...NATIVE, 'content-encoding': 'gzip' }, 400, 'invalid_request_error'],
      ['/v1/nothing', { ...NATIVE, 'anthropic-version': '2023-06-01' }, 404, 'not_found_error'],
      ['/v1/messages/count_tokens', NATIVE, 502, 'api_error'],
    ] as const;
    for (const [path, headers, status, type] of cases) {
      const answer = await post(`${weir.url}${path}`, COUNT, { authorization: '', ...headers });
      const body = await answer.json();
      expect([answer.status, body.type, body.error.type]).toEqual([status, 'error', type]);
      expect(body.request_id).toBe(answer.headers.get('request-id'));
    }
    const list = await fetch(`${weir.url}/v1/models`, {
      headers: { 'x-api-key': SECRET, 'anthropic-version': '2023-06-01' },
    });
    const { data, has_more } = await list.json();
    expect(has_more).toBe(false);
    expect(data[0]).toMatchObject({ type: 'model', id: expect.any(String), display_name: expect.any(String) });
  });

  it('is refused by a rate in its own words, with the time to wait', async () => {
    await using stub = await startStub(answerCount);
    await using weir = await startGateway(configOf([anthropicConfig(stub.url)]), [
      keyPolicy({ limits: [limitPolicy({ kind: 'requests', amount: '1', per: 'hour' })] }),
    ]);
    const path = `${weir.url}/v1/messages/count_tokens`;
    expect((await post(path, COUNT, NATIVE)).status).toBe(200);
    const refused = await post(path, COUNT, NATIVE);
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after-ms')).toMatch(/^\d+$/);
    const { error } = await refused.json();
    expect(error).toMatchObject({
      type: 'rate_limit_error',
      details: { error_code: 'rate_limited' },
      weir: { limit: 'requests' },
    });
  });
});

describe('a message whose server states what it costs', () => {
  const cost = { cost: 0.00015472, is_byok: false, cost_details: { upstream_inference_cost: 0.00015472 } };
  const frames = [
    {
      type: 'message_start',
      message: { id: 'gen-1', model: 'z-ai/glm', usage: { input_tokens: 34, output_tokens: 0 } },
    },
    {
      type: 'message_delta',
      delta: { stop_reason: 'end_turn' },
      usage: { input_tokens: 34, output_tokens: 13, cache_read_input_tokens: 192, cache_creation: null, ...cost },
    },
    { type: 'message_stop' },
  ];

  it('costs that, whatever a price list has', async () => {
    await using stub = await startStub((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(frames.map((data) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`).join(''));
    });
    await using weir = await startGateway(configOf([anthropicConfig(stub.url, { provider: null, models: ['*'] })]));
    await (await post(`${weir.url}/v1/messages`, { ...COUNT, max_tokens: 50, stream: true }, NATIVE)).text();
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({
      quantities: { input_tokens: '34', cache_read_tokens: '192', output_tokens: '13' },
      cost: { amount: '0.00015472', currency: 'USD' },
      cost_source: 'provider',
      unpriced: [],
    });
  });
});

describe('a call on which several models worked', () => {
  const of = (type: string, input_tokens: number, output_tokens: number, model?: string) => ({
    type,
    input_tokens,
    output_tokens,
    ...(model !== undefined && { model }),
  });
  const answer = (adviser: string) =>
    JSON.stringify({
      id: 'msg_1',
      type: 'message',
      model: 'claude-sonnet-4-6',
      content: [{ type: 'text', text: 'Water flows.' }],
      stop_reason: 'end_turn',
      usage: {
        input_tokens: 1_000,
        output_tokens: 100,
        iterations: [of('message', 1_000, 100), of('compaction', 200, 20), of('advisor_message', 2_000, 50, adviser)],
      },
    });
  const ask = { ...COUNT, model: 'claude-sonnet-4-6', max_tokens: 500 };
  const limits = [limitPolicy({ kind: 'budget', amount: '1000000000000', per: 'month', currency: 'USD' })];

  it('has one event with what each used and what that cost, which is settled as one sum', async () => {
    await using stub = await startStub((response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(answer('claude-opus-4-8')),
    );
    await using weir = await startGateway(configOf([anthropicConfig(stub.url)]), [keyPolicy({ limits })]);
    expect((await post(`${weir.url}/v1/messages`, ask, NATIVE)).status).toBe(200);
    const [event] = await eventsOf(weir, 1);
    // 3 and 15 dollars a million for one, 5 and 25 for the other.
    const costs = [1_200n * 3_000n + 120n * 15_000n, 2_000n * 5_000n + 50n * 25_000n] as const;
    const usd = (nanos: bigint) => ({
      amount: `0.${nanos.toString().padStart(9, '0')}`.replace(/0+$/, ''),
      currency: 'USD',
    });
    expect(event?.data).toMatchObject({
      usage_status: 'final',
      quantities: { calls: '1', input_tokens: '3200', output_tokens: '170' },
      parts: [
        {
          model: 'claude-sonnet-4-6',
          quantities: { calls: '1', input_tokens: '1200', output_tokens: '120' },
          cost: usd(costs[0]),
        },
        { model: 'claude-opus-4-8', quantities: { input_tokens: '2000', output_tokens: '50' }, cost: usd(costs[1]) },
      ],
      cost: usd(costs[0] + costs[1]),
      unpriced: [],
    });
    expect(weir.sink.closed[0]?.used).toEqual([costs[0] + costs[1]]);
  });

  it('has no known cost where one of them has none, and says so', async () => {
    await using stub = await startStub((response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(answer('nobody-knows-this-model')),
    );
    await using weir = await startGateway(configOf([anthropicConfig(stub.url)]), [keyPolicy({ limits })]);
    await post(`${weir.url}/v1/messages`, ask, NATIVE);
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({ cost: null, unpriced: ['input_tokens', 'output_tokens'] });
    // What cannot be priced is charged as it was held.
    const [closing] = weir.sink.closed;
    expect(closing?.used).toEqual(closing?.reservation.holds.map(({ amount }) => amount));
  });
});

describe('a call that the provider gives for nothing', () => {
  it('counts against limits of requests, takes nothing from a budget, and has an event without quantities', async () => {
    await using stub = await startStub(answerCount);
    await using weir = await startGateway(configOf([anthropicConfig(stub.url)]), [
      keyPolicy({
        limits: [
          limitPolicy({ kind: 'requests', amount: '10', per: 'minute' }),
          limitPolicy({ kind: 'tokens', amount: '10', per: 'minute' }),
          limitPolicy({ kind: 'budget', amount: '1', per: 'month', currency: 'USD' }),
        ],
      }),
    ]);
    expect((await post(`${weir.url}/v1/messages/count_tokens`, COUNT, NATIVE)).status).toBe(200);
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({
      wire: 'anthropic-count-tokens',
      model: 'claude-sonnet-4-5',
      outcome: 'ok',
      usage_status: 'none',
      quantities: {},
      unpriced: [],
    });
    expect(weir.observer.faults).toEqual([]);
    expect(weir.sink.closed[0]?.used).toEqual([1n, 0n, 0n]);
  });
});

describe('an explicit upstream', () => {
  const addressed = (url: string, changes: Parameters<typeof upstreamConfig>[2] = {}) =>
    upstreamConfig('second', url, { models: ['nothing-here'], ...changes });

  it('is asked whatever the routes say, and what a wire knows is metered by it', async () => {
    const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
    await using stub = await startStub((response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ choices: [], usage })),
    );
    const first = upstreamConfig('first', 'http://127.0.0.1:1/v1');
    await using weir = await startGateway(configOf([first, addressed(stub.url)]));
    const answer = await post(`${weir.url}/u/second/v1/chat/completions`, { model: 'gpt-4o', messages: [] });
    expect([answer.status, stub.requests[0]?.url]).toEqual([200, '/v1/chat/completions']);
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({
      upstream: 'second',
      wire: 'openai-chat',
      endpoint: '/u/second/v1/chat/completions',
      quantities: { input_tokens: '3', output_tokens: '2' },
    });
    expect((await post(`${weir.url}/u/nobody/v1/chat/completions`, { model: 'gpt-4o' })).status).toBe(404);
    expect((await post(`${weir.url}/u/second/v1/messages/count_tokens`, COUNT)).status).toBe(404);
  });

  it('gives what no wire knows only where the operator lets it pass, marked as unpriced', async () => {
    await using stub = await startStub((response) => response.writeHead(200).end(Buffer.from([0, 255, 1])));
    await using closed = await startGateway(configOf([addressed(stub.url)]));
    const headers = { authorization: `Bearer ${SECRET}` };
    expect((await fetch(`${closed.url}/u/second/v1/vector_stores/v-1`, { headers })).status).toBe(404);

    await using weir = await startGateway(configOf([addressed(stub.url, { passthrough: true })]));
    const answer = await fetch(`${weir.url}/u/second/v1/vector_stores/v-1?x=1`, { method: 'DELETE', headers });
    expect([...new Uint8Array(await answer.arrayBuffer())]).toEqual([0, 255, 1]);
    const sent = await fetch(`${weir.url}/u/second/v1/vector_stores`, {
      method: 'POST',
      headers,
      body: Buffer.from('no json'),
    });
    expect(sent.status).toBe(200);
    expect(stub.requests.map(({ method, url, body }) => [method, url, body])).toEqual([
      ['DELETE', '/v1/vector_stores/v-1?x=1', ''],
      ['POST', '/v1/vector_stores', 'no json'],
    ]);
    for (const { data } of await eventsOf(weir, 2)) {
      expect(data).toMatchObject({
        wire: 'passthrough',
        model: '',
        usage_status: 'none',
        quantities: { calls: '1' },
        cost: null,
        unpriced: ['calls'],
      });
    }
  });

  it('gives nothing unread to a key with a budget, or with models of its own', async () => {
    await using stub = await startStub((response) => response.writeHead(200).end());
    const budget = limitPolicy({ kind: 'budget', amount: '1', per: 'month', currency: 'USD' });
    for (const [policy, code] of [
      [keyPolicy({ limits: [budget] }), 'unpriced_model'],
      [keyPolicy({ models: ['gpt-*'] }), 'model_not_allowed'],
    ] as const) {
      await using weir = await startGateway(configOf([addressed(stub.url, { passthrough: true })]), [policy]);
      const answer = await post(`${weir.url}/u/second/v1/vector_stores`, {});
      expect([answer.status, (await answer.json()).error.code]).toEqual([403, code]);
    }
    expect(stub.requests).toEqual([]);
  });
});
