import type { ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  post,
  SECRET,
  type Stub,
  sha256,
  startGateway,
  startStub,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import { testStored } from '#test/gateway/stored.ts';

const HELLO = { contents: [{ parts: [{ text: 'Hello' }] }] };
const usageMetadata = { promptTokenCount: 5, candidatesTokenCount: 2, totalTokenCount: 7 };
const ANSWER = { candidates: [{ content: { parts: [{ text: 'Hi.' }] }, finishReason: 'STOP' }], usageMetadata };
const NATIVE = { 'x-goog-api-key': SECRET, authorization: '' };
const MODEL = 'gemini-2.5-flash';

function answer(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(ANSWER));
}

function google(stub: Pick<Stub, 'url'>, changes: Parameters<typeof upstreamConfig>[2] = {}) {
  const addresses = { gemini: stub.url.replace(/\/v1$/, '') };
  return upstreamConfig('google', '', { addresses, provider: 'google', ...changes });
}

function vertex(stub: Pick<Stub, 'url'>, changes: Parameters<typeof upstreamConfig>[2] = {}) {
  const addresses = { vertex: `${stub.url}/projects/ours/locations/eu` };
  return upstreamConfig('vertex', '', { addresses, provider: 'google', ...changes });
}

describe('a call in the dialect of Google', () => {
  it.each([
    ['in its header', '?alt=sse&x=1', NATIVE],
    ['in the query', `?key=${SECRET}&alt=sse&x=1`, { authorization: '' }],
  ])("has the caller's key %s, and goes on with ours and as it came", async (_, query, headers) => {
    await using stub = await startStub(answer);
    await using weir = await startGateway(configOf([google(stub)]));
    const path = `/v1beta/models/${MODEL}:generateContent`;
    const answered = await post(`${weir.url}${path}${query}`, HELLO, { ...headers, 'x-goog-user-project': 'theirs' });
    expect([answered.status, await answered.json()]).toEqual([200, ANSWER]);
    const [asked] = stub.requests;
    expect([asked?.url, asked?.body]).toEqual([`${path}?alt=sse&x=1`, JSON.stringify(HELLO)]);
    expect(asked?.headers['x-goog-api-key']).toBe('sk-upstream');
    expect(asked?.headers['x-goog-user-project']).toBeUndefined();
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({
      wire: 'gemini-generate',
      endpoint: path,
      model: MODEL,
      usage_status: 'final',
      quantities: { calls: '1', input_tokens: '5', output_tokens: '2' },
    });
  });

  it('goes to another model where a route says so: by the path, and by the body of a batch', async () => {
    await using stub = await startStub(answer);
    const to = [{ upstream: 'google', weight: 1, model: MODEL }];
    await using weir = await startGateway(configOf([google(stub)], { routes: [{ model: 'fast', to, fallback: [] }] }));
    await post(`${weir.url}/v1/models/fast:streamGenerateContent`, HELLO, NATIVE);
    const batch = { requests: [{ model: 'models/fast', content: HELLO.contents[0] }] };
    await post(`${weir.url}/v1beta/models/fast:batchEmbedContents`, batch, NATIVE);
    expect(stub.requests.map(({ url }) => url)).toEqual([
      `/v1/models/${MODEL}:streamGenerateContent`,
      `/v1beta/models/${MODEL}:batchEmbedContents`,
    ]);
    expect(JSON.parse(stub.requests[1]?.body ?? '')).toEqual({
      requests: [{ model: `models/${MODEL}`, content: HELLO.contents[0] }],
    });
  });

  it('is told what went wrong as google.rpc.Status, whether a wire was found or not', async () => {
    await using weir = await startGateway(configOf([google({ url: 'http://127.0.0.1:1/v1' })]));
    const path = `/v1beta/models/${MODEL}:generateContent`;
    const cases = [
      [path, { 'x-goog-api-key': 'wrong' }, 401, 'UNAUTHENTICATED', 'INVALID_KEY'],
      ['/v1beta/nothing', NATIVE, 404, 'NOT_FOUND', 'ROUTE_NOT_FOUND'],
      ['/v1beta/models/no-such-model:generateContent', NATIVE, 404, 'NOT_FOUND', 'MODEL_NOT_FOUND'],
      [path, NATIVE, 502, 'UNAVAILABLE', 'UPSTREAM_UNREACHABLE'],
    ] as const;
    for (const [at, headers, status, name, reason] of cases) {
      const answered = await post(`${weir.url}${at}`, HELLO, { authorization: '', ...headers });
      const { error } = await answered.json();
      expect([answered.status, error.code, error.status]).toEqual([status, status, name]);
      expect(error.details[0]).toMatchObject({ reason, domain: 'weir' });
    }
  });

  it('is asked for whole: its usage cannot be left out of the answer', async () => {
    await using stub = await startStub(answer);
    await using weir = await startGateway(configOf([google(stub)]));
    const query = 'fields=candidates&%24fields=x&f%69elds=y&alt=proto&alt=json&callback=z&prettyPrint=false';
    const headers = { ...NATIVE, 'x-goog-fieldmask': 'candidates' };
    await post(`${weir.url}/v1beta/models/${MODEL}:generateContent?${query}`, HELLO, headers);
    const [sent] = stub.requests;
    expect(sent?.url).toBe(`/v1beta/models/${MODEL}:generateContent?alt=json&prettyPrint=false`);
    expect(sent?.headers).not.toHaveProperty('x-goog-fieldmask');
  });

  it('is refused by a rate with the time to wait in the body, where its clients look for it', async () => {
    await using stub = await startStub(answer);
    const limits = [limitPolicy({ kind: 'requests', amount: '1', per: 'hour' })];
    await using weir = await startGateway(configOf([google(stub)]), [keyPolicy({ limits })]);
    const path = `${weir.url}/v1beta/models/${MODEL}:generateContent`;
    expect((await post(path, HELLO, NATIVE)).status).toBe(200);
    const refused = await post(path, HELLO, NATIVE);
    const { error } = await refused.json();
    expect([refused.status, error.status]).toEqual([429, 'RESOURCE_EXHAUSTED']);
    expect(error.details).toContainEqual({
      '@type': 'type.googleapis.com/google.rpc.RetryInfo',
      retryDelay: expect.stringMatching(/^\d+(\.\d+)?s$/),
    });
  });

  it('is stopped by the upstream in the middle: its client gets a last event that its SDK throws on', async () => {
    await using stub = await startStub((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(
        `data: ${JSON.stringify({ ...ANSWER, candidates: [{ content: { parts: [{ text: 'Hi' }] } }] })}\r\n\r\n`,
      );
      response.socket?.once('drain', () => response.destroy());
      setImmediate(() => response.destroy());
    });
    await using weir = await startGateway(configOf([google(stub)]));
    const path = `${weir.url}/v1beta/models/${MODEL}:streamGenerateContent?alt=sse`;
    const text = await (await post(path, HELLO, NATIVE)).text();
    const last = text.trim().split('\r\n\r\n').at(-1) ?? '';
    expect(JSON.parse(last.replace(/^data: /, ''))).toMatchObject({ error: { code: 500, status: 'INTERNAL' } });
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({ outcome: 'cut', usage_status: 'partial', quantities: { output_tokens: '2' } });
  });
});

describe('a call to Vertex', () => {
  const paths = [
    '/v1/projects/theirs/locations/us-central1/publishers/google/models',
    '/v1beta1/projects/theirs/locations/global/publishers/google/models',
    '/v1beta1/publishers/google/models',
  ];

  it.each(paths)('below %s goes to the project and region of its upstream, with a token for it', async (path) => {
    await using stub = await startStub(answer);
    const asked: (string | null)[] = [];
    const googleTokens = (key: string | null) => {
      asked.push(key);
      return asked.length === 1 ? Promise.resolve('ya29.token') : 'ya29.token';
    };
    await using weir = await startGateway(configOf([vertex(stub)]), undefined, { googleTokens });
    for (let n = 0; n < 2; n++) {
      expect((await post(`${weir.url}${path}/${MODEL}:generateContent`, HELLO)).status).toBe(200);
    }
    expect(asked).toEqual(['sk-upstream', 'sk-upstream']);
    for (const { url, headers } of stub.requests) {
      expect(url).toBe(`/v1/projects/ours/locations/eu/publishers/google/models/${MODEL}:generateContent`);
      expect(headers.authorization).toBe('Bearer ya29.token');
    }
    expect((await eventsOf(weir, 2))[0]?.data).toMatchObject({ wire: 'vertex-generate', usage_status: 'final' });
  });

  it('may go with a key of its express mode, and needs no token then', async () => {
    await using stub = await startStub(answer);
    const express = vertex(stub, { auth: 'x-goog-api-key', addresses: { vertex: stub.url } });
    await using weir = await startGateway(configOf([express]));
    await post(`${weir.url}${paths[0]}/${MODEL}:generateContent`, HELLO, NATIVE);
    expect(stub.requests[0]?.url).toBe(`/v1/publishers/google/models/${MODEL}:generateContent`);
    expect(stub.requests[0]?.headers['x-goog-api-key']).toBe('sk-upstream');
  });

  it('goes to the next upstream of its route when no token is to be had for the first', async () => {
    await using stub = await startStub(answer);
    const other = vertex(stub, { name: 'other', auth: 'x-goog-api-key' });
    const to = [{ upstream: 'vertex', weight: 1, model: null }];
    const routes = [{ model: '*', to, fallback: [{ upstream: 'other', model: null }] }];
    const config = configOf([vertex(stub), other], { routes, gateway: { retriesMax: 1 } });
    const googleTokens = () => Promise.reject(new Error('no token'));
    await using weir = await startGateway(config, undefined, { googleTokens });
    expect((await post(`${weir.url}${paths[0]}/${MODEL}:generateContent`, HELLO)).status).toBe(200);
    const [event] = await eventsOf(weir, 1);
    expect(event?.data.attempts.map(({ upstream, status }) => [upstream, status])).toEqual([
      ['vertex', null],
      ['other', 200],
    ]);
  });

  it('fails as the operator, not the caller, has it wrong when no token is to be had', async () => {
    await using stub = await startStub(answer);
    await using weir = await startGateway(configOf([vertex(stub)]));
    const answered = await post(`${weir.url}${paths[0]}/${MODEL}:generateContent`, HELLO);
    expect(answered.status).toBe(502);
    expect((await answered.json()).error.details[0].reason).toBe('UPSTREAM_UNAUTHORIZED');
    expect(stub.requests).toEqual([]);
    expect((await eventsOf(weir, 1))[0]?.data).toMatchObject({ outcome: 'failed', usage_status: 'none' });
  });
});

describe('a list that grows', () => {
  const part = (text: string) =>
    JSON.stringify({ ...ANSWER, candidates: [{ content: { parts: [{ text }] } }] }, null, 2);
  const path = `/v1beta/models/${MODEL}:streamGenerateContent`;

  it('passes as it is, and is metered by its last element', async () => {
    const list = `[${part('Water')}\r\n,\r\n${JSON.stringify(ANSWER)}\r\n]`;
    await using stub = await startStub((response) => {
      response.writeHead(200, { 'content-type': 'application/json; charset=UTF-8' });
      for (const character of list) response.write(character);
      response.end();
    });
    await using weir = await startGateway(configOf([google(stub)]));
    expect(await (await post(`${weir.url}${path}`, HELLO, NATIVE)).text()).toBe(list);
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({ stream: true, outcome: 'ok', quantities: { input_tokens: '5' } });
  });

  it('is still a list when it breaks off between two elements, with the error as its last', async () => {
    await using stub = await startStub((response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write(`[${part('Water')}\r\n,`, () => setImmediate(() => response.destroy()));
    });
    await using weir = await startGateway(configOf([google(stub)]));
    const list = await (await post(`${weir.url}${path}`, HELLO, NATIVE)).json();
    expect(list).toEqual([
      JSON.parse(part('Water')),
      { error: expect.objectContaining({ code: 500, status: 'INTERNAL' }) },
    ]);
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({ outcome: 'cut', usage_status: 'partial' });
  });
});

describe('an interaction', () => {
  it.each(['whole', 'streamed'])('that was %s is gone on from by the customer who began it alone', async (how) => {
    const usage = { total_input_tokens: 5, total_output_tokens: 2, total_tokens: 7 };
    const interaction = { id: 'v1_abc', model: MODEL, status: 'completed', usage };
    await using stub = await startStub((response) => {
      if (how === 'whole') {
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(interaction));
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const event_type of ['interaction.created', 'interaction.completed'])
        response.write(`event: ${event_type}\ndata: ${JSON.stringify({ event_type, interaction })}\n\n`);
      response.end();
    });
    const other = keyPolicy({ customer: 'other', key: 'key_other', secretHashes: [sha256('wr_test_other')] });
    const stored = testStored().stored;
    await using weir = await startGateway(configOf([google(stub)]), [keyPolicy(), other], { stored });
    const ask = async (more: object, key = SECRET) => {
      const body = { model: MODEL, input: 'Hi', stream: how === 'streamed', ...more };
      const response = await post(`${weir.url}/v1beta/interactions`, body, {
        'x-goog-api-key': key,
        authorization: '',
      });
      await response.arrayBuffer();
      return response.status;
    };
    expect(await ask({})).toBe(200);
    expect(await ask({ previous_interaction_id: 'v1_abc' })).toBe(200);
    expect(await ask({ previous_interaction_id: 'v1_abc' }, 'wr_test_other')).toBe(404);
    expect(await ask({ previousInteractionId: 'v1_abc' }, 'wr_test_other')).toBe(404);
    expect(stub.requests).toHaveLength(2);
  });
});

describe('a file for Google', () => {
  const google1 =
    'https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=abc&upload_protocol=resumable';

  it('is sent through the gateway: the address for its bytes is ours', async () => {
    await using stub = await startStub((response, { url }) => {
      const headers = url.includes('upload_id')
        ? {}
        : { 'x-goog-upload-url': google1, 'x-goog-upload-control-url': google1 };
      response.writeHead(200, { ...headers, 'content-type': 'application/json' }).end('{"file":{"name":"files/abc"}}');
    });
    await using weir = await startGateway(configOf([google(stub)]), undefined, { stored: testStored().stored });
    for (const [prefix, headers, key] of [
      ['', NATIVE, ''],
      ['/u/google', { authorization: '' }, `&key=${SECRET}`],
    ] as const) {
      const begun = await post(`${weir.url}${prefix}/upload/v1beta/files${key.replace('&', '?')}`, {}, headers);
      const address = begun.headers.get('x-goog-upload-url') ?? '';
      expect(address).toBe(`${weir.url}${prefix}/upload/v1beta/files?upload_id=abc&upload_protocol=resumable${key}`);
      expect(begun.headers.has('x-goog-upload-control-url')).toBe(false);
      const sent = await fetch(address, { method: 'POST', headers, body: new Uint8Array([0xff, 0x00, 0x0a]) });
      expect(await sent.json()).toEqual({ file: { name: 'files/abc' } });
    }
    expect(stub.requests.map(({ url }) => url)).toEqual([
      '/upload/v1beta/files',
      '/upload/v1beta/files?upload_id=abc&upload_protocol=resumable',
      '/upload/v1beta/files',
      '/upload/v1beta/files?upload_id=abc&upload_protocol=resumable',
    ]);
  });

  it('is there for the customer who sent it alone, whose calls may read it; and listed by nobody', async () => {
    await using stub = await startStub((response, { url }) => {
      if (!url.includes('/files')) return answer(response);
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"file":{"name":"files/abc"}}');
    });
    const other = keyPolicy({ customer: 'other', key: 'key_other', secretHashes: [sha256('wr_test_other')] });
    await using weir = await startGateway(configOf([google(stub)]), [keyPolicy(), other], {
      stored: testStored().stored,
    });
    const ask = async (method: string, path: string, key = SECRET) =>
      (await fetch(`${weir.url}${path}`, { method, headers: { 'x-goog-api-key': key } })).status;
    const readAt = async (fileUri: string, key: string, method = 'generateContent') => {
      const content = { parts: [{ fileData: { fileUri } }] };
      const body = method === 'embedContent' ? { content } : { contents: [content] };
      const headers = { 'x-goog-api-key': key, authorization: '' };
      return (await post(`${weir.url}/v1beta/models/gemini-2.5-flash:${method}`, body, headers)).status;
    };
    const read = (file: string, key = SECRET) =>
      readAt(`https://generativelanguage.googleapis.com/v1beta/files/${file}`, key);
    await post(`${weir.url}/upload/v1beta/files?upload_id=abc`, {}, NATIVE);
    expect(await ask('GET', '/v1beta/files/abc')).toBe(200);
    expect(await read('abc')).toBe(200);
    expect(await read('of-the-operator', 'wr_test_other')).toBe(200);
    const before = stub.requests.length;
    expect(await ask('GET', '/v1beta/files/abc', 'wr_test_other')).toBe(404);
    expect(await ask('DELETE', '/v1beta/files/abc', 'wr_test_other')).toBe(404);
    expect(await read('abc', 'wr_test_other')).toBe(404);
    for (const spelled of ['abc?alt=json', 'abc#1', '%61bc', 'ABC', 'abc/'])
      expect(await read(spelled, 'wr_test_other'), spelled).toBe(404);
    expect(await readAt('files/abc', 'wr_test_other')).toBe(404);
    for (const method of ['countTokens', 'embedContent'])
      expect(await readAt('https://generativelanguage.googleapis.com/v1beta/files/abc', 'wr_test_other', method)).toBe(
        404,
      );
    expect(await ask('GET', '/v1beta/files')).toBe(404);
    expect(stub.requests.length).toBe(before);
    expect(await ask('DELETE', '/v1beta/files/abc')).toBe(200);
  });
});
