import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, vi } from 'vitest';
import { Fault } from '#core/fault.ts';
import {
  configOf,
  eventsOf,
  heldBy,
  keyPolicy,
  limitPolicy,
  post,
  SECRET,
  type Stub,
  sha256,
  startGateway,
  startStub,
  type TestGateway,
  upstreamConfig,
} from '#test/gateway/harness.ts';

const ASK = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 100 };
const ANSWER = JSON.stringify({
  model: 'gpt-4o-2024-08-06',
  choices: [{ message: { content: 'Hi' } }],
  usage: { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 },
});

function answerOk(): Promise<Stub> {
  return startStub((response) => response.writeHead(200, { 'content-type': 'application/json' }).end(ANSWER));
}

/** The answer to something wrong: its status, OpenAI's code, and ours; and that nothing was opened or sent for it. */
async function wrong(weir: TestGateway, stub: Stub, response: Response): Promise<unknown[]> {
  const { error } = (await response.json()) as { error: { code: string; weir: { code: string; request_id: string } } };
  expect(error.weir.request_id).toBe(response.headers.get('x-request-id'));
  expect([weir.sink.opened.length, stub.requests.length]).toEqual([0, 0]);
  return [response.status, error.code, error.weir.code];
}

/** Sends bytes as they are and gives back what came until the server closed. */
function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let received = '';
    socket.on('data', (chunk) => {
      received += chunk.toString();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(received));
    socket.write(text);
  });
}

describe('a key', () => {
  it('is taken from every place where an SDK puts it, and never goes upstream', async () => {
    await using stub = await answerOk();
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const url = `${weir.url}/v1/chat/completions`;
    const places: [string, Record<string, string>][] = [
      [url, { authorization: `Bearer ${SECRET}` }],
      [url, { authorization: `bearer  ${SECRET}` }],
      [url, { 'x-api-key': SECRET }],
      [url, { 'x-goog-api-key': SECRET }],
      [url, { 'api-key': SECRET }],
      [`${url}?api-version=1&key=${SECRET}`, {}],
    ];
    for (const [at, headers] of places) {
      const answer = await fetch(at, { method: 'POST', headers, body: JSON.stringify(ASK) });
      expect(answer.status).toBe(200);
    }
    expect(JSON.stringify(stub.requests)).not.toContain(SECRET);
    expect(stub.requests.map(({ headers }) => headers.authorization)).toEqual(places.map(() => 'Bearer sk-upstream'));
    expect(stub.requests.at(-1)?.url).toBe('/v1/chat/completions?api-version=1');
  });

  it('that is missing, unknown, expired or revoked is refused in the words of OpenAI', async () => {
    await using stub = await answerOk();
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [
      keyPolicy({ secretHashes: [sha256('expired')], expiresAtMs: Date.now() - 1 }),
      keyPolicy({ secretHashes: [sha256('revoked')], state: 'revoked' }),
    ]);
    const url = `${weir.url}/v1/chat/completions`;
    const send = async (authorization: string) => wrong(weir, stub, await post(url, ASK, { authorization }));
    expect(await send('')).toEqual([401, 'invalid_api_key', 'missing_key']);
    expect(await send('Basic YTpi')).toEqual([401, 'invalid_api_key', 'missing_key']);
    expect(await send('Bearer nobody')).toEqual([401, 'invalid_api_key', 'invalid_key']);
    expect(await send('Bearer expired')).toEqual([401, 'invalid_api_key', 'expired_key']);
    expect(await send('Bearer revoked')).toEqual([401, 'invalid_api_key', 'revoked_key']);
  });

  it('may use the models that its policy names', async () => {
    await using stub = await answerOk();
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [
      keyPolicy({ models: ['gpt-4o*', 'text-embedding-3-small'] }),
    ]);
    const url = `${weir.url}/v1/chat/completions`;
    expect(await wrong(weir, stub, await post(url, { ...ASK, model: 'gpt-4.1' }))).toEqual([
      403,
      'model_not_allowed',
      'model_not_allowed',
    ]);
    const list = (await (await fetch(`${weir.url}/v1/models`, { headers: { 'x-api-key': SECRET } })).json()) as {
      data: { id: string; object: string; owned_by: string }[];
    };
    expect(list.data.map(({ id }) => id)).toEqual(
      expect.arrayContaining(['gpt-4o', 'gpt-4o-mini', 'text-embedding-3-small']),
    );
    expect(list.data.every(({ id }) => id.startsWith('gpt-4o') || id === 'text-embedding-3-small')).toBe(true);
    const one = await fetch(`${weir.url}/v1/models/gpt-4o`, { headers: { 'x-api-key': SECRET } });
    expect(await one.json()).toEqual({ id: 'gpt-4o', object: 'model', created: 0, owned_by: 'openai' });
    for (const name of ['gpt-4.1', 'no-such', '%E0%A4%A']) {
      const none = await fetch(`${weir.url}/v1/models/${name}`, { headers: { 'x-api-key': SECRET } });
      expect(await wrong(weir, stub, none)).toEqual([404, 'model_not_found', 'model_not_found']);
    }
  });
});

describe('bad input', () => {
  it('is told what is wrong with it, before anything is held or sent', async () => {
    await using stub = await answerOk();
    await using weir = await startGateway(
      configOf([upstreamConfig('openai', stub.url)], { gateway: { bodyBytesMax: 1000 } }),
    );
    const url = `${weir.url}/v1/chat/completions`;
    expect(await wrong(weir, stub, await post(url, '{"model":'))).toEqual([400, 'invalid_json', 'invalid_json']);
    expect(await wrong(weir, stub, await post(url, '{}'))).toEqual([400, 'invalid_request', 'invalid_request']);
    expect(await wrong(weir, stub, await post(url, { ...ASK, model: 'no-such' }))).toEqual([
      404,
      'model_not_found',
      'model_not_found',
    ]);
    expect(await wrong(weir, stub, await post(url, { ...ASK, user: 'x'.repeat(1000) }))).toEqual([
      413,
      'body_too_large',
      'body_too_large',
    ]);
    expect(await wrong(weir, stub, await post(url, ASK, { 'x-weir-labels': 'nonsense' }))).toEqual([
      400,
      'invalid_request',
      'invalid_request',
    ]);
    expect(await wrong(weir, stub, await fetch(url, { headers: { 'x-api-key': SECRET } }))).toEqual([
      405,
      'method_not_allowed',
      'method_not_allowed',
    ]);
    expect(await wrong(weir, stub, await post(`${weir.url}/v1/chat`, ASK))).toEqual([
      404,
      'route_not_found',
      'route_not_found',
    ]);
    const compressed = await fetch(url, {
      method: 'POST',
      headers: { 'x-api-key': SECRET, 'content-encoding': 'gzip' },
      body: gzipSync(JSON.stringify(ASK)),
    });
    expect(await wrong(weir, stub, compressed)).toEqual([400, 'invalid_request', 'invalid_request']);
  });

  it('of endless length is read no further than the bound, and answered', async () => {
    await using stub = await answerOk();
    await using weir = await startGateway(
      configOf([upstreamConfig('openai', stub.url)], { gateway: { bodyBytesMax: 1000 } }),
    );
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(100)),
    });
    const answer = fetch(`${weir.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'x-api-key': SECRET },
      body,
      duplex: 'half',
    } as RequestInit);
    // The answer comes, or the connection is cut under the sender: it must not go on for ever.
    await answer.then(async (response) => expect(response.status).toBe(413)).catch(() => {});
    await vi.waitFor(() => expect(weir.observer.faults.map(({ code }) => code)).toContain('body_too_large'));
  });

  it('that comes too slowly is a 408', async () => {
    await using stub = await answerOk();
    await using weir = await startGateway(
      configOf([upstreamConfig('openai', stub.url)], { gateway: { bodyTimeoutMs: 100 } }),
    );
    const text = await exchange(
      weir.listener.port,
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: ${SECRET}\r\ncontent-length: 100\r\n\r\n{"model"`,
    );
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(text).toContain('"code":"body_timeout"');
    const headers = await exchange(weir.listener.port, 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n');
    expect(headers).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('in its headers is a 431, and what is no HTTP a 400', async () => {
    await using stub = await answerOk();
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const large = await exchange(
      weir.listener.port,
      `GET /v1/models HTTP/1.1\r\nhost: x\r\nx-a: ${'y'.repeat(20_000)}\r\n\r\n`,
    );
    expect(large).toMatch(/^HTTP\/1\.1 431 /);
    expect(large).toContain('"code":"headers_too_large"');
    expect(await exchange(weir.listener.port, 'SSH-2.0-OpenSSH\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('cannot make up labels that are the operator’s', async () => {
    await using stub = await answerOk();
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [
      keyPolicy({ labels: { team: 'search' } }),
    ]);
    await post(
      `${weir.url}/v1/chat/completions`,
      { ...ASK, user: 'ada', metadata: { session_id: 's1' } },
      {
        'x-weir-labels': 'feature=autocomplete, team=other ,run=42',
        'x-weir-user': 'grace',
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      },
    );
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({
      labels: { feature: 'autocomplete', run: '42', team: 'search' },
      user: 'grace',
      session: 's1',
      trace_id: '0af7651916cd43dd8448eb211c80319c',
    });
    const { headers } = stub.requests[0] ?? {};
    expect(headers?.traceparent).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-(?!b7ad6b7169203331)[0-9a-f]{16}-01$/);
    expect(Object.keys(headers ?? {}).filter((name) => name.startsWith('x-weir'))).toEqual([]);
  });
});

describe('the limits', () => {
  async function start(limits: Parameters<typeof keyPolicy>[0], gateway = {}) {
    const stub = await answerOk();
    const weir = await startGateway(configOf([upstreamConfig('openai', stub.url)], { gateway }), [keyPolicy(limits)]);
    return {
      stub,
      weir,
      chat: `${weir.url}/v1/chat/completions`,
      async [Symbol.asyncDispose]() {
        await weir[Symbol.asyncDispose]();
        await stub[Symbol.asyncDispose]();
      },
    };
  }

  it('refuse by rate with the exact time to wait', async () => {
    await using at = await start({ limits: [limitPolicy({ kind: 'requests', amount: '2', per: 'minute' })] });
    expect((await post(at.chat, ASK)).status).toBe(200);
    expect((await post(at.chat, ASK)).status).toBe(200);
    const refused = await post(at.chat, ASK);
    expect(refused.status).toBe(429);
    const { error } = (await refused.json()) as { error: Record<string, unknown> & { weir: Record<string, unknown> } };
    expect(error).toMatchObject({
      type: 'requests',
      code: 'rate_limit_exceeded',
      weir: { code: 'rate_limited', limit: 'requests', scope: 'customer', amount: '2', per: 'minute', left: '0' },
    });
    const waitMs = Number(refused.headers.get('retry-after-ms'));
    expect(waitMs).toBeGreaterThan(0);
    expect(waitMs).toBeLessThanOrEqual(30_000);
    expect(Number(refused.headers.get('retry-after'))).toBe(Math.ceil(waitMs / 1000));
    expect(refused.headers.get('x-should-retry')).toBeNull();
    expect(error.message).toContain("Limit 'requests' of this customer: 2 requests per minute");
    expect([at.stub.requests.length, at.weir.sink.opened.length]).toEqual([2, 2]);
  });

  it('refuse by budget in vain to repeat, or with 402 where the operator wants that', async () => {
    const budget = limitPolicy({ kind: 'budget', amount: '1000', currency: 'USD', per: 'month' });
    await using at = await start({ limits: [budget] });
    const refused = await post(at.chat, ASK);
    expect([refused.status, refused.headers.get('x-should-retry'), refused.headers.get('retry-after')]).toEqual([
      429,
      'false',
      null,
    ]);
    const { error } = (await refused.json()) as { error: { message: string; weir: Record<string, string> } };
    expect(error).toMatchObject({
      type: 'insufficient_quota',
      code: 'insufficient_quota',
      weir: { code: 'budget_exhausted', amount: '0.000001', used: '0', reserved: '0', currency: 'USD', per: 'month' },
    });
    expect(error.weir.resets_at).toMatch(/^\d{4}-\d{2}-01T00:00:00\.000Z$/);
    expect(error.message).toContain('0.000001 USD per month');
    await using other = await start({ limits: [budget] }, { budgetStatus402: true });
    expect((await post(other.chat, ASK)).status).toBe(402);
  });

  it('hold the worst case while a call is on its way, and settle what it used', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    await using stub = await startStub((response) => {
      promise.then(() => response.writeHead(200, { 'content-type': 'application/json' }).end(ANSWER));
    });
    const limits = [
      limitPolicy({ kind: 'tokens', amount: '100000', per: 'minute' }),
      limitPolicy({ kind: 'budget', amount: '1000000000', currency: 'USD', per: 'month' }),
    ];
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [keyPolicy({ limits })]);
    const answer = post(`${weir.url}/v1/chat/completions`, ASK);
    await vi.waitFor(() => expect(stub.requests.length).toBe(1));
    const [opening] = weir.sink.opened;
    const { length } = JSON.stringify(ASK);
    expect(opening?.reservation.holds.map(({ amount }) => amount)).toEqual([
      BigInt(length + 64 + 100),
      // gpt-4o: 2.50 USD a million in, 10 out.
      BigInt(length + 64) * 2_500n + 100n * 10_000n,
    ]);
    resolve();
    await answer;
    await eventsOf(weir, 1);
    expect(weir.sink.closed[0]?.used).toEqual([17n, 12n * 2_500n + 5n * 10_000n]);
    expect(opening && (await heldBy(weir.counters, opening.reservation))).toBe(0n);
  });

  it('take no model without a price under a budget, and meter it elsewhere as unpriced', async () => {
    await using stub = await answerOk();
    const own = upstreamConfig('own', stub.url, { provider: null, models: ['llama-*'] });
    const budget = limitPolicy({ kind: 'budget', amount: '1000000000', currency: 'USD', per: 'month' });
    await using capped = await startGateway(configOf([own]), [keyPolicy({ limits: [budget] })]);
    const refused = await post(`${capped.url}/v1/chat/completions`, { ...ASK, model: 'llama-3' });
    expect(await wrong(capped, stub, refused)).toEqual([403, 'unpriced_model', 'unpriced_model']);
    await using free = await startGateway(configOf([own]));
    expect((await post(`${free.url}/v1/chat/completions`, { ...ASK, model: 'llama-3' })).status).toBe(200);
    const [event] = await eventsOf(free, 1);
    expect(event?.data).toMatchObject({
      cost: null,
      unpriced: ['input_tokens', 'output_tokens'],
      usage_status: 'final',
    });
  });

  it('that cannot be checked stop the call, and leave nothing behind', async () => {
    await using stub = await answerOk();
    const released: string[] = [];
    await using weir = await startGateway(
      configOf([upstreamConfig('openai', stub.url)]),
      [keyPolicy({ limits: [limitPolicy({ kind: 'concurrency', amount: '5' })] })],
      {
        counters: {
          reserve: () => Promise.reject(new Error('ECONNREFUSED')),
          extend: () => Promise.reject(new Error('ECONNREFUSED')),
          read: () => ({ used: 0n, held: 0n }),
          listLive: () => [],
          listDebts: () => [],
          settle: () => ({ settled: true, crossed: [], over: [] }),
          release: ({ id }) => {
            released.push(id);
          },
        },
      },
    );
    const answer = await post(`${weir.url}/v1/chat/completions`, ASK);
    expect(await wrong(weir, stub, answer)).toEqual([503, 'limits_unavailable', 'limits_unavailable']);
    expect(released).toEqual([answer.headers.get('x-request-id')]);
  });

  it('are given back when the call cannot be put on record', async () => {
    await using at = await start({ limits: [limitPolicy({ kind: 'concurrency', amount: '1' })] });
    at.weir.sink.openFault = new Fault('journal_unavailable');
    for (let i = 0; i < 3; i++) {
      expect(await wrong(at.weir, at.stub, await post(at.chat, ASK))).toEqual([
        503,
        'journal_unavailable',
        'journal_unavailable',
      ]);
    }
    at.weir.sink.openFault = undefined;
    expect((await post(at.chat, ASK)).status).toBe(200);
  });
});

describe('an embeddings call', () => {
  it('is metered by its input, however large the vectors', async () => {
    const vector = Array.from({ length: 3_000 }, (_, i) => i / 7);
    const body = JSON.stringify({
      object: 'list',
      data: [{ object: 'embedding', index: 0, embedding: vector }],
      model: 'text-embedding-3-small',
      usage: { prompt_tokens: 7, total_tokens: 7 },
    });
    await using stub = await startStub((response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(body),
    );
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const answer = await post(`${weir.url}/v1/embeddings`, { model: 'text-embedding-3-small', input: [1, 2, 3] });
    expect(await answer.text()).toBe(body);
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({
      wire: 'openai-embeddings',
      endpoint: '/v1/embeddings',
      usage_status: 'final',
      quantities: { calls: '1', input_tokens: '7' },
      cost: { amount: '0.00000014', currency: 'USD' },
    });
  });
});
