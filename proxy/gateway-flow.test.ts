import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { get, request } from 'node:http';
import { describe, expect, it, vi } from 'vitest';
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

const ASK = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 100 };
const ANSWER = JSON.stringify({
  model: 'gpt-4o',
  choices: [{ message: { content: 'Hi' } }],
  usage: { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 },
});

function answerOk(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(ANSWER);
}

function to(upstream: string, weight = 1, model: string | null = null) {
  return { upstream, weight, model };
}

describe('attempts', () => {
  it('are repeated while the upstream is busy or broken, and billed once', async () => {
    await using stub = await startStub((response, _request, nth) => {
      if (nth === 0) response.writeHead(500).end('{"error":{}}');
      else if (nth === 1) response.writeHead(429, { 'retry-after-ms': '20' }).end('{"error":{}}');
      else answerOk(response);
    });
    await using weir = await startGateway(
      configOf([upstreamConfig('openai', stub.url)], { gateway: { retriesMax: 2 } }),
      [keyPolicy({ limits: [limitPolicy({ kind: 'requests', amount: '100', per: 'minute' })] })],
    );
    const answer = await post(`${weir.url}/v1/chat/completions`, ASK);
    expect([answer.status, await answer.text()]).toEqual([200, ANSWER]);
    const [event] = await eventsOf(weir, 1);
    expect(event?.data.attempts.map(({ status }) => status)).toEqual([500, 429, 200]);
    expect(event?.data.quantities).toEqual({ calls: '1', input_tokens: '12', output_tokens: '5' });
    expect((await weir.counters.read('acme', 'requests/minute/requests')).used).toBe(1n);
  });

  it('end with what the upstream said last when there are no more', async () => {
    await using stub = await startStub((response) => response.writeHead(503, { 'x-why': 'busy' }).end('busy'));
    await using weir = await startGateway(
      configOf([upstreamConfig('openai', stub.url)], { gateway: { retriesMax: 1 } }),
    );
    const answer = await post(`${weir.url}/v1/chat/completions`, ASK);
    expect([answer.status, answer.headers.get('x-why'), await answer.text()]).toEqual([503, 'busy', 'busy']);
    expect(stub.requests.length).toBe(2);
  });

  it('are not repeated against the will of an upstream that asks for long patience', async () => {
    await using stub = await startStub((response) => response.writeHead(429, { 'retry-after': '60' }).end('wait'));
    await using weir = await startGateway(
      configOf([upstreamConfig('openai', stub.url)], { gateway: { retriesMax: 5 } }),
    );
    const answer = await post(`${weir.url}/v1/chat/completions`, ASK);
    expect([answer.status, answer.headers.get('retry-after'), stub.requests.length]).toEqual([429, '60', 1]);
  });

  it('are not repeated for what the caller did wrong', async () => {
    await using stub = await startStub((response) => response.writeHead(400).end('no'));
    await using weir = await startGateway(
      configOf([upstreamConfig('openai', stub.url)], { gateway: { retriesMax: 5 } }),
    );
    expect((await post(`${weir.url}/v1/chat/completions`, ASK)).status).toBe(400);
    expect(stub.requests.length).toBe(1);
  });

  it('go on to the fallbacks in their order, each with its own name for the model and its own credential', async () => {
    await using first = await startStub((response) => response.destroy());
    await using second = await startStub((response) => response.writeHead(401).end());
    await using third = await startStub(answerOk);
    const config = configOf(
      [
        upstreamConfig('first', first.url),
        upstreamConfig('second', second.url, { credential: 'sk-second' }),
        upstreamConfig('third', third.url, { credential: null, headers: { 'api-key': 'azure' }, provider: null }),
      ],
      {
        gateway: { retriesMax: 2 },
        routes: [
          {
            model: 'gpt-*',
            to: [to('first')],
            fallback: [to('second'), to('third', 1, 'my-deployment')],
          },
        ],
      },
    );
    await using weir = await startGateway(config);
    expect((await post(`${weir.url}/v1/chat/completions`, ASK)).status).toBe(200);
    const [event] = await eventsOf(weir, 1);
    expect(event?.data.attempts.map(({ upstream, status }) => [upstream, status])).toEqual([
      ['first', null],
      ['second', 401],
      ['third', 200],
    ]);
    expect(event?.data).toMatchObject({ upstream: 'third', provider: null, model: 'gpt-4o', cost: null });
    expect(second.requests[0]?.headers.authorization).toBe('Bearer sk-second');
    expect(third.requests[0]?.headers.authorization).toBeUndefined();
    expect(third.requests[0]?.headers['api-key']).toBe('azure');
    expect(third.requests[0]?.body).toBe(JSON.stringify({ ...ASK, model: 'my-deployment' }));
  });

  it('begin where the weights say', async () => {
    await using stub = await startStub(answerOk);
    const config = configOf([upstreamConfig('a', stub.url), upstreamConfig('b', stub.url)], {
      routes: [{ model: '*', to: [to('a', 9), to('b', 1)], fallback: [] }],
    });
    let random = 0;
    await using weir = await startGateway(config, [keyPolicy()], { random: () => random });
    for (random of [0, 0.5, 0.89, 0.91, 0.99]) await post(`${weir.url}/v1/chat/completions`, ASK);
    const events = await eventsOf(weir, 5);
    expect(events.map(({ data }) => data.upstream)).toEqual(['a', 'a', 'a', 'b', 'b']);
  });
});

describe('headers', () => {
  it('pass both ways but for the lists of those that do not', async () => {
    await using stub = await startStub((response) => {
      response.writeHead(200, {
        'content-type': 'application/json',
        'openai-processing-ms': '12',
        'x-request-id': 'up-1',
        'set-cookie': ['a=1', 'b=2'],
        'x-ratelimit-remaining-requests': '99',
        'openai-organization': 'the-operator',
        'strict-transport-security': 'max-age=1',
        connection: 'keep-alive, x-hop',
        'x-hop': '1',
      });
      response.end(ANSWER);
    });
    await using weir = await startGateway(
      configOf([upstreamConfig('openai', stub.url, { headers: { 'x-extra': 'ours' } })]),
    );
    const sent = request(`${weir.url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${SECRET}`,
        'content-type': 'application/json',
        'accept-encoding': 'gzip, br',
        cookie: 'session=1',
        'x-forwarded-for': '10.0.0.1',
        'openai-organization': 'the-callers',
        'x-stainless-retry-count': '0',
        'x-weir-user': 'ada',
        'x-extra': 'theirs',
        connection: 'x-private',
        'x-private': '1',
      },
    });
    sent.end(JSON.stringify(ASK));
    const [answer] = await once(sent, 'response');
    answer.resume();
    expect(answer.headers).toMatchObject({
      'content-type': 'application/json',
      'openai-processing-ms': '12',
      'x-weir-upstream-request-id': 'up-1',
    });
    expect(answer.headers['x-request-id']).toMatch(/^req_[0-9A-Z]{26}$/);
    for (const name of [
      'set-cookie',
      'x-ratelimit-remaining-requests',
      'openai-organization',
      'strict-transport-security',
      'x-hop',
    ]) {
      expect(answer.headers[name], name).toBeUndefined();
    }
    const received = stub.requests[0]?.headers ?? {};
    expect(received).toMatchObject({
      authorization: 'Bearer sk-upstream',
      'accept-encoding': 'identity',
      'x-stainless-retry-count': '0',
      'x-extra': 'ours',
      'content-length': String(JSON.stringify(ASK).length),
    });
    for (const name of ['cookie', 'x-forwarded-for', 'openai-organization', 'x-weir-user', 'x-private']) {
      expect(received[name], name).toBeUndefined();
    }
  });

  it('reach a client that waits for them before there is a body', async () => {
    const upstream = Promise.withResolvers<ServerResponse>();
    await using stub = await startStub((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      upstream.resolve(response);
    });
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const answer = await post(`${weir.url}/v1/chat/completions`, { ...ASK, stream: true });
    expect(answer.status).toBe(200);
    (await upstream.promise).end('data: [DONE]\n\n');
    expect(await answer.text()).toBe('data: [DONE]\n\n');
  });
});

describe('back-pressure', () => {
  it('lets an upstream send no faster than the client reads, and loses no byte', async () => {
    const block = Buffer.alloc(64 * 1024, 'x');
    const blocks = 600;
    let sent = 0;
    const hash = createHash('sha256');
    await using stub = await startStub(async (response) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream' });
      for (let i = 0; i < blocks; i++) {
        block.writeUInt32BE(i);
        hash.update(block);
        sent++;
        if (!response.write(Buffer.from(block))) await once(response, 'drain');
      }
      response.end();
    });
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const call = request(`${weir.url}/v1/chat/completions`, { method: 'POST', headers: { 'x-api-key': SECRET } });
    call.end(JSON.stringify(ASK));
    const [answer] = await once(call, 'response');
    // Nobody reads: it comes to a stand long before the end.
    let seen = -1;
    await vi.waitFor(
      () => {
        const before = seen;
        seen = sent;
        expect(seen).toBe(before);
      },
      { interval: 100, timeout: 10_000 },
    );
    expect(sent).toBeLessThan(blocks * 0.75);
    const received = createHash('sha256');
    for await (const chunk of answer) received.update(chunk);
    expect(received.digest('hex')).toBe(hash.digest('hex'));
    await eventsOf(weir, 1);
  });
});

describe('a client that stops reading', () => {
  it('has its call ended at the timeout, and is let go a moment after', async () => {
    const event = `data: {"choices":[{"delta":{"content":"${'x'.repeat(10_000)}"}}]}\n\n`;
    await using stub = await startStub(async (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      while (!response.destroyed) if (!response.write(event)) await once(response, 'drain').catch(() => {});
    });
    const gateway = { callTimeoutMs: 400, bodyTimeoutMs: 100 };
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)], { gateway }));
    const call = request(`${weir.url}/v1/chat/completions`, { method: 'POST', headers: { 'x-api-key': SECRET } });
    call.on('error', () => {});
    call.end(JSON.stringify({ ...ASK, stream: true }));
    const [answer] = await once(call, 'response');
    answer.on('error', () => {});
    const [ended] = await eventsOf(weir, 1);
    expect(ended?.data).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
    // It holds its connection and reads nothing: this returns only when the gateway has let go of it.
    await weir.listener.close();
    call.destroy();
  });
});

describe('a gateway', () => {
  it('takes a new configuration for new calls and leaves the old one to those in flight', async () => {
    const held: ServerResponse[] = [];
    await using old = await startStub((response) => held.push(response));
    await using fresh = await startStub(answerOk);
    await using weir = await startGateway(configOf([upstreamConfig('old', old.url)]));
    const url = `${weir.url}/v1/chat/completions`;
    const inFlight = post(url, ASK);
    await vi.waitFor(() => expect(held.length).toBe(1));
    weir.gateway.use(configOf([upstreamConfig('fresh', fresh.url)]));
    expect((await post(url, ASK)).status).toBe(200);
    held.forEach(answerOk);
    expect((await inFlight).status).toBe(200);
    const events = await eventsOf(weir, 2);
    expect(events.map(({ data }) => data.upstream).sort()).toEqual(['fresh', 'old']);
  });

  it('takes no more calls than it may have in flight', async () => {
    const held: ServerResponse[] = [];
    await using stub = await startStub((response) => held.push(response));
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)], { gateway: { callsMax: 2 } }));
    const url = `${weir.url}/v1/chat/completions`;
    const calls = [post(url, ASK), post(url, ASK)];
    await vi.waitFor(() => expect(held.length).toBe(2));
    const refused = await post(url, ASK);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await refused.json()).toMatchObject({ error: { code: 'overloaded' } });
    held.forEach(answerOk);
    for (const answer of await Promise.all(calls)) expect(answer.status).toBe(200);
  });

  it('that drains finishes what is open, takes nothing new, and says so', async () => {
    const held: ServerResponse[] = [];
    await using stub = await startStub((response) => held.push(response));
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const url = `${weir.url}/v1/chat/completions`;
    const open = post(url, ASK);
    await vi.waitFor(() => expect(held.length).toBe(1));
    expect((await fetch(`${weir.url}/readyz`)).status).toBe(200);
    let drained = false;
    const drain = weir.gateway.drain(10_000).then(() => {
      drained = true;
    });
    const late = await post(url, ASK);
    expect([late.status, late.headers.get('connection')]).toEqual([503, 'close']);
    expect(await late.json()).toMatchObject({ error: { code: 'shutting_down' } });
    expect((await fetch(`${weir.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${weir.url}/healthz`)).status).toBe(200);
    expect(drained).toBe(false);
    held.forEach(answerOk);
    expect((await open).status).toBe(200);
    await drain;
    expect(weir.sink.events.map(({ data }) => data.outcome)).toEqual(['ok']);
  });

  it('that drains cuts at the bound what does not end, and bills what was seen of it', async () => {
    const stream = 'data: {"choices":[{"delta":{"content":"12345678"}}]}\n\n';
    await using stub = await startStub((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(stream);
    });
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const answer = await post(`${weir.url}/v1/chat/completions`, { ...ASK, stream: true });
    const text = answer.text();
    await weir.gateway.drain(50);
    expect(await text).toContain('"code":"shutting_down"');
    expect(weir.sink.events[0]?.data).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
    expect(weir.gateway.callsInFlight).toBe(0);
  });

  it('that drains waits for no disk without end, whether calls or the journal stand on it', async () => {
    await using stub = await startStub(answerOk);
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const dead = new Promise<void>(() => {});
    const unavailable = expect.objectContaining({ code: 'journal_unavailable' });
    const drains = vi.spyOn(weir.sink, 'drain').mockReturnValue(dead);
    await expect(weir.gateway.drain(0, 20)).rejects.toEqual(unavailable);
    drains.mockRestore();

    await using other = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const closes = vi.spyOn(other.sink, 'close').mockReturnValue(dead);
    expect((await post(`${other.url}/v1/chat/completions`, ASK)).status).toBe(200);
    await vi.waitFor(() => expect(closes).toHaveBeenCalled());
    await expect(other.gateway.drain(0, 20)).rejects.toEqual(unavailable);
    // The harness drains once more, and this time waits for nothing.
    vi.spyOn(other.gateway, 'drain').mockResolvedValue();
  });

  it('that is not ready says so', async () => {
    let ready = false;
    await using weir = await startGateway(configOf([]), [], { ready: () => ready });
    expect((await fetch(`${weir.url}/readyz`)).status).toBe(503);
    ready = true;
    expect((await fetch(`${weir.url}/readyz`)).status).toBe(200);
  });

  it('keeps connections of its clients and of its upstreams', async () => {
    const ports = new Set<number>();
    await using stub = await startStub((response) => {
      ports.add(response.socket?.remotePort ?? 0);
      answerOk(response);
    });
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const headers = (): Promise<string | undefined> =>
      new Promise((resolve) => get(`${weir.url}/healthz`, (response) => resolve(response.headers.connection)));
    for (let i = 0; i < 5; i++) await (await post(`${weir.url}/v1/chat/completions`, ASK)).text();
    expect(ports.size).toBe(1);
    expect(await headers()).toBe('keep-alive');
  });
});
