import { request as httpRequest } from 'node:http';
import type { Miniflare } from 'miniflare';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hashSecret, newSecret } from '#config/secret.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import type { UsageEvent } from '#core/usage-event.ts';
import { keyPolicy, type Stub, sha256, startStub } from '#test/gateway/harness.ts';
import { startWorkerd } from '#test/support/workerd.ts';

const secrets = { free: newSecret('test'), budget: newSecret('test'), oneAtATime: newSecret('test') };
const BILLING_SECRET = newSecret('test');
const USAGE = { prompt_tokens: 1_000, completion_tokens: 500, total_tokens: 1_500 };
const ANSWER = JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'gpt-4o-2024-08-06',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hi' }, finish_reason: 'stop' }],
  usage: USAGE,
});

let upstream: Stub;
let billing: Stub;
let workerd: Miniflare;
let url: string;
/** What the stub of billing's ingest has taken, each batch as it came. */
const taken: UsageEvent[][] = [];
let refusals = 0;
/** Streams of the stub that wait for the test. */
const waiting: (() => void)[] = [];

const chunk = (content: string, more: object = {}) =>
  `data: ${JSON.stringify({
    id: 'chatcmpl-2',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'gpt-4o-2024-08-06',
    choices: [{ index: 0, delta: { content }, finish_reason: null }],
    ...more,
  })}\n\n`;

beforeAll(async () => {
  upstream = await startStub((response, { body }) => {
    const asked = JSON.parse(body);
    const text = asked.messages[0].content;
    if (text === 'break') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(chunk('Hal'), () => response.destroy());
      return;
    }
    if (!asked.stream) {
      response.writeHead(200, { 'content-type': 'application/json', 'x-request-id': 'up-1' }).end(ANSWER);
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(chunk('Hel', { usage: null }));
    const rest = () => {
      response.write(chunk('lo', { usage: null }));
      response.write(chunk('', { choices: [], usage: USAGE }));
      response.end('data: [DONE]\n\n');
    };
    if (text === 'wait') waiting.push(rest);
    else rest();
  });
  billing = await startStub((response, { url: path, headers, body }) => {
    if (headers.authorization !== 'Bearer wr_api_ingest') return response.writeHead(401).end();
    if (path.startsWith('/v1/policies')) {
      const policy: KeyPolicy = keyPolicy({ key: 'made-in-billing', secretHashes: [sha256(BILLING_SECRET)] });
      return response.end(JSON.stringify({ version: 'v.1', reset: true, policies: [policy], removed: [] }));
    }
    if (refusals++ === 0) return response.writeHead(503).end('not yet');
    expect(headers['content-type']).toBe('application/cloudevents-batch+json');
    taken.push(JSON.parse(body));
    return response.writeHead(200).end('{}');
  });
  workerd = await startWorkerd(new URL('./worker.ts', import.meta.url), {
    name: 'weir-gateway',
    durableObjects: { CUSTOMERS: { className: 'CustomerCounters', useSQLite: true } },
    queueProducers: { EVENTS: { queueName: 'weir-events' } },
    queueConsumers: { 'weir-events': { maxBatchSize: 100, maxBatchTimeout: 1, maxRetries: 100 } },
    kvNamespaces: { CONFIG: 'config' },
    bindings: { UPSTREAM_KEY: 'sk-upstream', WEIR_BILLING_TOKEN: 'wr_api_ingest' },
  });
  const config = await workerd.getKVNamespace('CONFIG');
  await config.put(
    'weir.yaml',
    `
billing: { url: "${billing.url.replace(/\/v1$/, '')}" }
gateway: { retries_max: 1 }
upstreams:
  openai: { wire: openai, base_url: "${upstream.url}", key: "\${UPSTREAM_KEY}", provider: openai }
  nowhere: { wire: openai, base_url: "http://127.0.0.1:1/v1", provider: openai, models: ["gpt-4o-mini"] }
routes:
  - { model: gpt-4o-mini, to: [{ upstream: nowhere }] }
customers:
  acme:
    name: Acme Inc
    timezone: Europe/Paris
    keys:
      acme-free: { secret: "sha256:${await hashSecret(secrets.free)}" }
      acme-budget: { secret: "sha256:${await hashSecret(secrets.budget)}", limits: [{ budget: 0.02 USD, per: month }] }
      acme-one: { secret: "sha256:${await hashSecret(secrets.oneAtATime)}", limits: [{ concurrency: 1 }] }
`,
  );
  url = (await workerd.ready).href;
});
afterAll(async () => {
  await workerd?.dispose();
  await upstream?.[Symbol.asyncDispose]();
  await billing?.[Symbol.asyncDispose]();
});

function client(apiKey: string): OpenAI {
  return new OpenAI({ apiKey, baseURL: `${url}v1`, maxRetries: 0 });
}

function ask(content: string, more: object = {}) {
  return { model: 'gpt-4o', max_tokens: 500, messages: [{ role: 'user' as const, content }], ...more };
}

const eventsOf = (id: string | null | undefined) => taken.flat().filter((event) => event.id === id);

describe('the gateway on Workers', () => {
  test('says that it is there', async () => {
    expect(await (await fetch(`${url}healthz`)).json()).toEqual({ status: 'ok' });
  });

  test('passes a call to the upstream with our credential, and the answer back as it came', async () => {
    const answer = await fetch(`${url}v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secrets.free}`, 'content-type': 'application/json' },
      body: JSON.stringify(ask('Hello')),
    });
    expect(answer.status).toBe(200);
    expect(await answer.text()).toBe(ANSWER);
    expect(answer.headers.get('x-weir-upstream-request-id')).toBe('up-1');
    const seen = upstream.requests.at(-1);
    expect(seen?.headers.authorization).toBe('Bearer sk-upstream');
    expect(JSON.stringify(seen?.headers)).not.toContain(secrets.free);
    // Cloudflare names the worker to whom it calls; nothing of the client's connection is passed on.
    const ofTheEdge = Object.keys(seen?.headers ?? {}).filter((name) => name.startsWith('cf-'));
    expect(ofTheEdge.filter((name) => name !== 'cf-worker')).toEqual([]);
    const id = answer.headers.get('x-request-id');
    await expect.poll(() => eventsOf(id), { timeout: 20_000 }).toHaveLength(1);
    expect(eventsOf(id)[0]).toMatchObject({
      subject: 'acme',
      data: {
        key: 'acme-free',
        outcome: 'ok',
        usage_status: 'final',
        quantities: { calls: '1', input_tokens: '1000', output_tokens: '500' },
        cost: { amount: '0.0075', currency: 'USD' },
      },
    });
  });

  test('streams as the upstream streams, and meters what it hides from the client', async () => {
    const { data, response } = await client(secrets.free)
      .chat.completions.create(ask('wait', { stream: true as const }) as ReturnType<typeof ask> & { stream: true })
      .withResponse();
    const pieces: string[] = [];
    for await (const { choices } of data) {
      const piece = choices[0]?.delta.content ?? '';
      pieces.push(piece);
      // The first piece is here before the upstream has said the rest.
      if (piece === 'Hel') waiting.shift()?.();
    }
    expect(pieces).toEqual(['Hel', 'lo']);
    const id = response.headers.get('x-request-id');
    await expect.poll(() => eventsOf(id), { timeout: 20_000 }).toHaveLength(1);
    expect(eventsOf(id)[0]?.data).toMatchObject({
      stream: true,
      outcome: 'ok',
      usage_status: 'final',
      raw_usage: USAGE,
    });
  });

  test('refuses in the words of the client when the budget is used up, and calls no upstream for it', async () => {
    const spent = client(secrets.budget);
    const { response } = await spent.chat.completions.create(ask('Hello')).withResponse();
    const calls = upstream.requests.length;
    // 0.0075 is used, 0.0125 is left, and this call may cost 10 cents: all of it or nothing.
    const refused = await spent.chat.completions
      .create(ask('Hello', { max_tokens: 10_000 }), { headers: { 'x-weir-clamp': 'off' } })
      .catch((error) => error);
    expect(refused).toBeInstanceOf(OpenAI.RateLimitError);
    expect(refused).toMatchObject({ status: 429, code: 'insufficient_quota' });
    expect(refused.headers.get('x-should-retry')).toBe('false');
    expect(upstream.requests.length).toBe(calls);
    await expect.poll(() => eventsOf(response.headers.get('x-request-id')), { timeout: 20_000 }).toHaveLength(1);
  });

  test('holds one call at a time until its stream has ended', async () => {
    const one = client(secrets.oneAtATime);
    const stream = await one.chat.completions.create({ ...ask('wait'), stream: true });
    await expect(one.chat.completions.create(ask('Hello'))).rejects.toMatchObject({ status: 429 });
    waiting.shift()?.();
    for await (const piece of stream) expect(piece.object).toBe('chat.completion.chunk');
    await expect
      .poll(
        () =>
          one.chat.completions.create(ask('Hello')).then(
            (answer) => answer.id,
            () => undefined,
          ),
        { timeout: 10_000 },
      )
      .toBe('chatcmpl-1');
  });

  test('lets the client see that an answer is not whole, and bills what came', async () => {
    const { data, response } = await client(secrets.free)
      .chat.completions.create(ask('break', { stream: true as const }) as ReturnType<typeof ask> & { stream: true })
      .withResponse();
    const read = async () => {
      for await (const piece of data) expect(piece.id).toBe('chatcmpl-2');
    };
    await expect(read()).rejects.toThrow();
    const id = response.headers.get('x-request-id');
    await expect.poll(() => eventsOf(id), { timeout: 20_000 }).toHaveLength(1);
    expect(eventsOf(id)[0]?.data).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
  });

  test('bills a stream whose client hung up after the first bytes with the usage of the upstream', async () => {
    const body = JSON.stringify(ask('wait', { stream: true }));
    const id = await new Promise<string>((resolve, reject) => {
      const request = httpRequest(
        `${url}v1/chat/completions`,
        { method: 'POST', headers: { authorization: `Bearer ${secrets.free}`, 'content-type': 'application/json' } },
        (response) => {
          response.once('data', () => {
            request.destroy();
            resolve(String(response.headers['x-request-id']));
          });
        },
      );
      request.on('error', reject);
      request.end(body);
    });
    waiting.shift()?.();
    await expect.poll(() => eventsOf(id), { timeout: 20_000 }).toHaveLength(1);
    expect(eventsOf(id)[0]?.data).toMatchObject({ usage_status: 'final', raw_usage: USAGE });
  });

  test('says in the words of the client what is wrong with a call', async () => {
    await expect(client(newSecret('test')).chat.completions.create(ask('Hello'))).rejects.toMatchObject({
      status: 401,
    });
    await expect(
      client(secrets.free).chat.completions.create(ask('Hello', { model: 'no-such' })),
    ).rejects.toMatchObject({
      status: 404,
    });
    await expect(
      client(secrets.free).chat.completions.create(ask('Hello', { model: 'gpt-4o-mini' })),
    ).rejects.toMatchObject({ status: 502, code: 'upstream_unreachable' });
  });

  test('knows the keys that were made in billing', async () => {
    const answer = await client(BILLING_SECRET).chat.completions.create(ask('Hello'));
    expect(answer.id).toBe('chatcmpl-1');
  });

  test('brings each event to billing once, although the first batch was not taken', () => {
    expect(refusals).toBeGreaterThan(1);
    const ids = taken.flat().map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

test('answers every call with a fault while it has no configuration, and begins when it has one', async () => {
  const empty = await startWorkerd(new URL('./worker.ts', import.meta.url), {
    name: 'empty',
    durableObjects: { CUSTOMERS: { className: 'CustomerCounters', useSQLite: true } },
    queueProducers: { EVENTS: { queueName: 'other-events' } },
    kvNamespaces: { CONFIG: 'other' },
  });
  try {
    const address = (await empty.ready).href;
    const config = await empty.getKVNamespace('CONFIG');
    const answer = await fetch(`${address}v1/models`);
    expect(answer.status).toBe(500);
    expect(await answer.json()).toMatchObject({ error: { code: 'internal' } });
    await config.put('weir.yaml', 'customers: { acme: { nonsense: true } }');
    expect((await fetch(`${address}v1/models`)).status).toBe(500);
    await config.put('weir.yaml', 'upstreams: { openai: { wire: openai, base_url: "http://127.0.0.1:1/v1" } }');
    expect((await fetch(`${address}v1/models`)).status).toBe(401);
  } finally {
    await empty.dispose();
  }
});
