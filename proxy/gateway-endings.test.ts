import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, it, vi } from 'vitest';
import type { GatewaySettings } from '#config/config.ts';
import type { UsageEventData } from '#core/usage-event.ts';
import {
  configOf,
  eventsOf,
  heldBy,
  keyPolicy,
  limitPolicy,
  post,
  SECRET,
  type StubAnswer,
  startGateway,
  startStub,
  type TestGateway,
  upstreamConfig,
} from '#test/gateway/harness.ts';

const USAGE = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 };
const ASK = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 100 };
const STREAM = { ...ASK, stream: true };
const LIMITS = [
  limitPolicy({ kind: 'requests', amount: '100', per: 'minute' }),
  limitPolicy({ kind: 'tokens', amount: '100000', per: 'minute' }),
  limitPolicy({ kind: 'concurrency', amount: '10' }),
  limitPolicy({ kind: 'budget', amount: '1000000000', currency: 'USD', per: 'month' }),
];

const WORD =
  'data: {"id":"1","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"12345678"}}],"usage":null}\n\n';
const WORD_PLAIN = WORD.replace(',"usage":null', '');
const LAST = `data: {"id":"1","model":"gpt-4o","choices":[],"usage":${JSON.stringify(USAGE)}}\n\n`;
const DONE = 'data: [DONE]\n\n';

function beginStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(WORD);
}

async function start(answer: StubAnswer, gateway: Partial<GatewaySettings> = {}) {
  const stub = await startStub(answer);
  const weir = await startGateway(configOf([upstreamConfig('openai', stub.url)], { gateway }), [
    keyPolicy({ limits: LIMITS }),
  ]);
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

/** The one event of the one call, after checking that it was settled once and holds nothing any more. */
async function onlyEvent(weir: TestGateway): Promise<UsageEventData> {
  const [event] = await eventsOf(weir, 1);
  await vi.waitFor(() => expect(weir.gateway.callsInFlight).toBe(0));
  expect(weir.sink.opened.length).toBe(1);
  expect(weir.sink.abandoned.length).toBe(0);
  const [closing] = weir.sink.closed;
  expect(closing && (await heldBy(weir.counters, closing.reservation))).toBe(0n);
  if (!event) throw new Error('no event');
  return event.data;
}

/** A client that can hang up at any moment. */
function rawPost(url: string, body: unknown, bodyBytes?: number) {
  const { port, hostname, pathname } = new URL(url);
  const text = JSON.stringify(body);
  const socket = connect(Number(port), hostname);
  const received: string[] = [];
  socket.on('data', (chunk) => received.push(chunk.toString()));
  socket.on('error', () => {});
  socket.write(
    `POST ${pathname} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${SECRET}\r\ncontent-length: ${text.length}\r\n\r\n${text.slice(0, bodyBytes)}`,
  );
  return { socket, received: () => received.join('') };
}

describe('a client that hangs up', () => {
  it('before its body is whole leaves no trace', async () => {
    await using at = await start((response) => response.end());
    const { socket } = rawPost(at.chat, ASK, 10);
    await vi.waitFor(() => expect(at.weir.gateway.callsInFlight).toBe(1));
    socket.destroy();
    await vi.waitFor(() => expect(at.weir.gateway.callsInFlight).toBe(0));
    expect([at.weir.sink.opened.length, at.stub.requests.length]).toEqual([0, 0]);
  });

  it('while the call is being put on record is given up, and what was held is given back', async () => {
    await using at = await start((response) => response.end());
    const { promise, resolve } = Promise.withResolvers<void>();
    const { sink } = at.weir;
    const open = sink.open.bind(sink);
    sink.open = async (opening) => {
      await open(opening);
      await promise;
    };
    const { socket } = rawPost(at.chat, ASK);
    await vi.waitFor(() => expect(sink.opened.length).toBe(1));
    expect(sink.opened[0] && (await heldBy(at.weir.counters, sink.opened[0].reservation))).toBeGreaterThan(0n);
    socket.destroy();
    await vi.waitFor(() => expect(socket.closed).toBe(true));
    // The server learns of it a moment after the client.
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    resolve();
    await vi.waitFor(() => expect(sink.abandoned.length).toBe(1));
    expect([sink.closed.length, at.stub.requests.length]).toEqual([0, 0]);
    expect(sink.opened[0] && (await heldBy(at.weir.counters, sink.opened[0].reservation))).toBe(0n);
  });

  it("after the first byte is billed with the upstream's own usage", async () => {
    const { promise, resolve } = Promise.withResolvers<ServerResponse>();
    await using at = await start((response) => {
      beginStream(response);
      resolve(response);
    });
    const client = rawPost(at.chat, STREAM);
    await vi.waitFor(() => expect(client.received()).toContain('12345678'));
    client.socket.destroy();
    const upstream = await promise;
    await vi.waitFor(() => expect(client.socket.closed).toBe(true));
    for (let i = 0; i < 100; i++) upstream.write(WORD);
    upstream.end(LAST + DONE);
    expect(await onlyEvent(at.weir)).toMatchObject({
      outcome: 'ok',
      usage_status: 'final',
      quantities: { calls: '1', input_tokens: '12', output_tokens: '5' },
    });
  });

  it('before the head of a whole answer is billed all the same', async () => {
    const { promise, resolve } = Promise.withResolvers<ServerResponse>();
    await using at = await start(resolve);
    const client = rawPost(at.chat, ASK);
    const upstream = await promise;
    client.socket.destroy();
    await vi.waitFor(() => expect(client.socket.closed).toBe(true));
    await new Promise(setImmediate);
    upstream.setHeader('content-type', 'application/json');
    upstream.end(JSON.stringify({ model: 'gpt-4o', choices: [], usage: USAGE }));
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'ok', usage_status: 'final' });
  });

  it('is not waited for longer than the bound, and what was seen is billed as estimated', async () => {
    await using at = await start(beginStream, { drainTimeoutMs: 30 });
    const client = rawPost(at.chat, STREAM);
    await vi.waitFor(() => expect(client.received()).toContain('12345678'));
    client.socket.destroy();
    const data = await onlyEvent(at.weir);
    expect(data).toMatchObject({ outcome: 'gone', usage_status: 'estimated' });
    expect(data.quantities.output_tokens).toBe('2');
  });

  it('is not waited for at all where so many are waited for already', async () => {
    await using at = await start(beginStream, { drainsMax: 0 });
    const client = rawPost(at.chat, STREAM);
    await vi.waitFor(() => expect(client.received()).toContain('12345678'));
    client.socket.destroy();
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'gone', usage_status: 'estimated' });
  });

  it('stops the upstream where the operator wants that', async () => {
    const closed = Promise.withResolvers<void>();
    await using at = await start(
      (response) => {
        response.on('close', closed.resolve);
        beginStream(response);
      },
      { onDisconnect: 'cancel' },
    );
    const client = rawPost(at.chat, STREAM);
    await vi.waitFor(() => expect(client.received()).toContain('12345678'));
    client.socket.destroy();
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'gone', usage_status: 'estimated' });
    await closed.promise;
  });

  it('while the upstream is asked again gets nothing more sent in its name', async () => {
    await using at = await start((response) => response.writeHead(503, { 'retry-after': '5' }).end(), {
      retriesMax: 3,
    });
    const client = rawPost(at.chat, ASK);
    await vi.waitFor(() => expect(at.stub.requests.length).toBe(1));
    client.socket.destroy();
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'failed', usage_status: 'none', quantities: {} });
    expect(at.stub.requests.length).toBe(1);
  });

  it('after its answer was whole changes nothing', async () => {
    await using at = await start((response) => {
      beginStream(response);
      response.end(LAST + DONE);
    });
    const client = rawPost(at.chat, STREAM);
    await vi.waitFor(() => expect(client.received()).toContain('[DONE]'));
    client.socket.destroy();
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'ok', usage_status: 'final' });
  });
});

describe('an upstream', () => {
  it('that answers an error has it passed on as it is, and nothing is billed', async () => {
    const body =
      '{"error":{"message":"no such thing","type":"invalid_request_error","param":null,"code":"model_not_found"}}';
    await using at = await start((response) =>
      response.writeHead(404, { 'content-type': 'application/json' }).end(body),
    );
    const answer = await post(at.chat, ASK);
    expect([answer.status, await answer.text()]).toEqual([404, body]);
    expect(await onlyEvent(at.weir)).toMatchObject({
      outcome: 'failed',
      usage_status: 'none',
      quantities: {},
      cost: { amount: '0', currency: 'USD' },
      attempts: [{ upstream: 'openai', status: 404 }],
    });
  });

  it('that cannot be reached is a 502, and nothing is billed', async () => {
    const gone = await startStub((response) => response.end());
    await gone[Symbol.asyncDispose]();
    await using weir = await startGateway(configOf([upstreamConfig('openai', gone.url)]), [
      keyPolicy({ limits: LIMITS }),
    ]);
    const answer = await post(`${weir.url}/v1/chat/completions`, ASK);
    expect(answer.status).toBe(502);
    expect(await answer.json()).toMatchObject({ error: { code: 'upstream_unreachable', type: 'server_error' } });
    expect(await onlyEvent(weir)).toMatchObject({
      outcome: 'failed',
      attempts: [{ upstream: 'openai', status: null }],
    });
  });

  it('that never answers is a 504', async () => {
    await using at = await start(() => {}, { headersTimeoutMs: 100 });
    const answer = await post(at.chat, ASK);
    expect(answer.status).toBe(504);
    expect(await answer.json()).toMatchObject({ error: { code: 'upstream_timeout' } });
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'failed', usage_status: 'none' });
  });

  it('that closes the connection instead of answering is a 502', async () => {
    await using at = await start((response) => response.destroy());
    const answer = await post(at.chat, ASK);
    expect(answer.status).toBe(502);
    expect(await answer.json()).toMatchObject({ error: { code: 'upstream_broken' } });
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'failed' });
  });

  it('that answers what is no HTTP is a 502', async () => {
    await using at = await start((response) => response.socket?.end('SSH-2.0-OpenSSH_9.6\r\n'));
    const answer = await post(at.chat, ASK);
    expect(answer.status).toBe(502);
    expect(await answer.json()).toMatchObject({ error: { code: 'upstream_invalid' } });
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'failed' });
  });

  it('that redirects is a 502: a client must not be led around the gateway', async () => {
    await using at = await start((response) =>
      response.writeHead(307, { location: 'https://elsewhere.example/' }).end(),
    );
    const answer = await post(at.chat, ASK);
    expect([answer.status, answer.headers.get('location')]).toEqual([502, null]);
  });

  it('that refuses our credential is a 502 that does not quote it', async () => {
    await using at = await start((response) =>
      response.writeHead(401).end('Incorrect API key provided: sk-upst***eam'),
    );
    const answer = await post(at.chat, ASK);
    expect(answer.status).toBe(502);
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({ error: { code: 'upstream_unauthorized' } });
    expect(text).not.toContain('sk-');
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'failed' });
  });

  it('that breaks off a stream has it ended with an error event, and what came is billed', async () => {
    await using at = await start((response) => {
      beginStream(response);
      response.write(WORD.slice(0, 20), () => response.destroy());
    });
    const answer = await post(at.chat, STREAM);
    const text = await answer.text();
    expect(text.startsWith(WORD_PLAIN)).toBe(true);
    expect(JSON.parse(text.slice(WORD_PLAIN.length).replace('data: ', ''))).toMatchObject({
      error: { code: 'upstream_broken' },
    });
    const data = await onlyEvent(at.weir);
    expect(data).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
    expect(data.quantities.output_tokens).toBe('2');
  });

  it('that breaks off inside an event which the client has in part has the connection cut', async () => {
    await using at = await start((response) => {
      beginStream(response);
      response.write(WORD.slice(0, 20), () => response.destroy());
    });
    const answer = await post(at.chat, { ...STREAM, stream_options: { include_usage: true } });
    await expect(answer.text()).rejects.toThrow();
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
  });

  it('that breaks off after the usage is billed with it, as partial', async () => {
    await using at = await start((response) => {
      beginStream(response);
      response.write(LAST, () => response.destroy());
    });
    await (await post(at.chat, STREAM)).text();
    expect(await onlyEvent(at.weir)).toMatchObject({
      outcome: 'cut',
      usage_status: 'partial',
      quantities: { calls: '1', input_tokens: '12', output_tokens: '5' },
    });
  });

  it('that breaks off a whole answer has the connection cut', async () => {
    await using at = await start((response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
      response.write('{"choices":[{"message":{"content":"1234', () => response.destroy());
    });
    const answer = await post(at.chat, ASK);
    await expect(answer.text()).rejects.toThrow();
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
  });

  it('that falls silent in a stream has it ended after the idle timeout', async () => {
    await using at = await start(beginStream, { idleTimeoutMs: 100 });
    const text = await (await post(at.chat, STREAM)).text();
    expect(text).toContain('upstream_timeout');
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
  });

  it('that never ends has its stream ended after the timeout of the call', async () => {
    let writing: NodeJS.Timeout | undefined;
    await using at = await start(
      (response) => {
        beginStream(response);
        writing = setInterval(() => response.write(WORD), 5);
        response.on('close', () => clearInterval(writing));
      },
      { callTimeoutMs: 200 },
    );
    const text = await (await post(at.chat, STREAM)).text();
    expect(text).toContain('upstream_timeout');
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
  });

  it('that reports an error inside the stream has it passed on, and what came before is billed', async () => {
    await using at = await start((response) => {
      beginStream(response);
      response.end('data: {"error":{"message":"overloaded"}}\n\n');
    });
    expect(await (await post(at.chat, STREAM)).text()).toBe(
      `${WORD_PLAIN}data: {"error":{"message":"overloaded"}}\n\n`,
    );
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
  });

  it('that reports an error at once inside a stream has served nothing', async () => {
    await using at = await start((response) => {
      response
        .writeHead(200, { 'content-type': 'text/event-stream' })
        .end('data: {"error":{"message":"overloaded"}}\n\n');
    });
    await (await post(at.chat, STREAM)).text();
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'failed', usage_status: 'none', quantities: {} });
  });

  it('that answers 200 with what is no JSON has it passed on, and nothing is billed', async () => {
    await using at = await start((response) =>
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Hi</html>'),
    );
    const answer = await post(at.chat, ASK);
    expect(await answer.text()).toBe('<html>Hi</html>');
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'failed', usage_status: 'none' });
  });

  it('that answers 200 with JSON of another kind is metered by what was sent, and marked', async () => {
    await using at = await start((response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"a":1}'),
    );
    expect(await (await post(at.chat, ASK)).text()).toBe('{"a":1}');
    expect(await onlyEvent(at.weir)).toMatchObject({
      outcome: 'ok',
      usage_status: 'estimated',
      quantities: { calls: '1' },
    });
  });

  it.each([
    ['gzip', gzipSync],
    ['br', brotliCompressSync],
    ['deflate', deflateSync],
  ] as const)(
    'that compresses its answer although it was asked not to is metered by what is in it: %s',
    async (encoding, compress) => {
      const body = compress(JSON.stringify({ choices: [], usage: USAGE }));
      await using at = await start((response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': encoding });
        for (const byte of body) response.write(Buffer.of(byte));
        response.end();
      });
      expect(await (await post(at.chat, ASK)).json()).toMatchObject({ usage: USAGE });
      expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'ok', usage_status: 'final', raw_usage: USAGE });
    },
  );

  it('that compresses its stream is metered by what is in it, and its bytes pass as they are', async () => {
    const chunk = `data: ${JSON.stringify({ model: 'gpt-4o', choices: [], usage: USAGE })}\n\n`;
    const body = gzipSync(WORD_PLAIN + chunk + DONE);
    await using at = await start((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' }).end(body);
    });
    expect(await (await post(at.chat, STREAM)).text()).toBe(WORD_PLAIN + chunk + DONE);
    expect(await onlyEvent(at.weir)).toMatchObject({ outcome: 'ok', usage_status: 'final', raw_usage: USAGE });
  });

  it.each([
    ['that is compressed in a way that nobody knows', 'zstd', Buffer.from('anything at all')],
    ['that only says to be compressed', 'gzip', Buffer.from('no gzip at all!')],
  ])('%s is metered by a guess and marked', async (_, encoding, body) => {
    await using at = await start((response) =>
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': encoding }).end(body),
    );
    await (await post(at.chat, ASK)).arrayBuffer().catch(() => undefined);
    const data = await onlyEvent(at.weir);
    expect(data).toMatchObject({ usage_status: 'estimated', raw_usage: null });
    expect(data.quantities.output_tokens).toBe(String(Math.ceil(body.length / 4)));
  });

  it('that takes no stream_options is asked for none, and metered by a guess where it sends no usage', async () => {
    await using stub = await startStub((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end(WORD_PLAIN + DONE);
    });
    const plain = upstreamConfig('plain', stub.url, { includeUsage: false });
    await using weir = await startGateway(configOf([plain]));
    expect(await (await post(`${weir.url}/v1/chat/completions`, STREAM)).text()).toBe(WORD_PLAIN + DONE);
    expect(stub.requests[0]?.body).toBe(JSON.stringify(STREAM));
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({ outcome: 'ok', usage_status: 'estimated' });
    expect(event?.data.quantities.output_tokens).toBe('2');
  });

  it('that sends no usage is metered by a guess and marked', async () => {
    const body = JSON.stringify({ model: 'gpt-4o', choices: [{ message: { content: 'x'.repeat(40) } }] });
    await using at = await start((response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(body),
    );
    await (await post(at.chat, ASK)).text();
    const data = await onlyEvent(at.weir);
    expect(data).toMatchObject({ outcome: 'ok', usage_status: 'estimated', raw_usage: null });
    expect(Number(data.quantities.output_tokens)).toBeGreaterThanOrEqual(10);
    expect(data.cost).not.toBeNull();
  });
});
