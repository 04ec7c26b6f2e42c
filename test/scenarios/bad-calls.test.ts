import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { add, compare, getExact, ZERO } from '#core/exact.ts';
import type { UsageEvent } from '#core/usage-event.ts';
import { type Stub, type StubAnswer, sha256, startStub } from '../gateway/harness.ts';
import { freePort } from '../servers/server.ts';
import { type Deployment, deploy } from './deployment.ts';
import { until } from './until.ts';

const USAGE = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 };
const WORD = 'data: {"id":"1","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"12345678"}}]}\n\n';
const LAST = `data: {"id":"1","model":"gpt-4o","choices":[],"usage":${JSON.stringify(USAGE)}}\n\ndata: [DONE]\n\n`;
const WHOLE = JSON.stringify({ model: 'gpt-4o', choices: [{ message: { content: 'Hi' } }], usage: USAGE });

/** What the upstream does is what the message asks it to do. */
const BEHAVIOURS: Readonly<Record<string, StubAnswer>> = {
  answer: (response) => response.writeHead(200, { 'content-type': 'application/json' }).end(WHOLE),
  'fail with 500': (response) => response.writeHead(500).end('{"error":{"message":"of its own"}}'),
  'refuse the credential': (response) => response.writeHead(401).end('{"error":{"message":"sk-upstream is wrong"}}'),
  'stay silent': () => undefined,
  'close instead': (response) => response.destroy(),
  'say no JSON': (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('<html>'),
  'break off': (response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': WHOLE.length });
    response.write(WHOLE.slice(0, 20), () => response.destroy());
  },
  'break off a stream': (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(WORD, () => response.destroy());
  },
  'fall silent in a stream': (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(WORD);
  },
  'stream on': (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(WORD);
    setTimeout(() => response.end(LAST), 200);
  },
};

const GATEWAY = [
  'retries_max: 0',
  'body_bytes_max: 4KiB',
  'header_bytes_max: 8KiB',
  'body_timeout: 500ms',
  'headers_timeout: 1s',
  'idle_timeout: 1s',
].join(', ');

/**
 * Whatever is wrong with a call, of a gateway as operators run it. One call at a time is allowed, so that each call
 * also shows that nothing is left of the one before.
 */
describe.each(['embedded', 'shared'] as const)('%s, a call that goes wrong', { timeout: 60_000 }, (kind) => {
  let stub: Stub;
  let weir: Deployment;
  let url: string;
  let noHttp: ReturnType<typeof createServer>;
  /** The ids of calls that were put on record, with how each ended. */
  const expected = new Map<string, string>();

  beforeAll(async () => {
    stub = await startStub((response, request, nth) => {
      const { messages } = JSON.parse(request.body) as { messages: { content: string }[] };
      const behaviour = BEHAVIOURS[messages[0]?.content ?? ''];
      if (!behaviour) throw new Error(`no behaviour ${request.body}`);
      behaviour(response, request, nth);
    });
    noHttp = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end('SSH-2.0-nothing of HTTP\r\n');
    });
    noHttp.listen(0, '127.0.0.1');
    await once(noHttp, 'listening');
    const closedPort = await freePort();
    weir = await deploy({
      kind,
      upstreamUrl: stub.url,
      gateway: GATEWAY,
      limits: '[{ budget: 1 USD, per: month, mode: hard }, { concurrency: 1 }]',
      upstreams: `  down: { wire: openai, provider: openai, base_url: "http://127.0.0.1:${closedPort}/v1" }
  noise: { wire: openai, provider: openai, base_url: "http://127.0.0.1:${(noHttp.address() as AddressInfo).port}/v1" }`,
      customers: `  bad:
    name: Bad keys
    keys:
      bad-expired: { secret: "sha256:${sha256('wr_bad_expired')}", expires: 2020-01-01 }
      bad-revoked: { secret: "sha256:${sha256('wr_bad_revoked')}", revoked: true }
      bad-narrow: { secret: "sha256:${sha256('wr_bad_narrow')}", models: ["gpt-4o-mini"] }`,
      sections: `routes:
  - { model: gpt-4o, to: [stub] }
  - { model: gpt-4.1, to: [down] }
  - { model: gpt-4.1-mini, to: [noise] }`,
    });
    url = `${weir.gatewayUrls[0]}/v1/chat/completions`;
  }, 120_000);

  afterAll(async () => {
    await weir?.stop();
    await stub?.[Symbol.asyncDispose]();
    noHttp?.close();
  });

  function ask(content: string, changes: object = {}): object {
    return { model: 'gpt-4o', messages: [{ role: 'user', content }], max_tokens: 100, ...changes };
  }

  function send(body: object | string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${weir.secret}`, 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }

  /**
   * Where the budget stands, told to a call that can never fit. The client has its answer a moment before its call is
   * settled, so this waits until nothing is held any more.
   */
  async function settled(): Promise<{ code: string; used: string }> {
    let standing = { code: '', used: '', reserved: '' };
    await until(
      async () => {
        const refused = await send(ask('answer', { n: 100, max_tokens: 16_000 }), { 'x-weir-clamp': 'off' });
        const { error } = (await refused.json()) as { error: { weir: typeof standing } };
        standing = error.weir;
        return compare(getExact(standing.reserved), ZERO) === 0;
      },
      'nothing to be held',
      () => JSON.stringify(standing),
    );
    return standing;
  }

  /** Status, OpenAI's code and ours. */
  async function wrong(response: Response): Promise<[number, string, string]> {
    const { error } = (await response.json()) as { error: { message: string; code: string; weir: { code: string } } };
    expect(error.message).toMatch(/^[A-Z].*\.$/s);
    return [response.status, error.code, error.weir.code];
  }

  function recorded(response: Response, ending: string): void {
    expected.set(response.headers.get('x-request-id') ?? '', ending);
  }

  async function events(): Promise<Map<string, UsageEvent>> {
    return new Map((await weir.events()).map((event) => [event.id, event]));
  }

  /** A client that can hang up, with so much of its body. */
  function rawCall(body: object, bodyBytes?: number): { socket: ReturnType<typeof connect>; text(): string } {
    const { port, hostname, pathname } = new URL(url);
    const text = JSON.stringify(body);
    const socket = connect(Number(port), hostname);
    let received = '';
    socket.on('data', (chunk) => {
      received += chunk.toString();
    });
    socket.on('error', () => undefined);
    socket.write(
      `POST ${pathname} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${weir.secret}\r\ncontent-length: ${text.length}\r\n\r\n${text.slice(0, bodyBytes)}`,
    );
    return { socket, text: () => received };
  }

  it('is refused in the words of OpenAI before anything is held', async () => {
    const key = (secret: string) => ({ authorization: `Bearer ${secret}` });
    const ok = ask('answer');
    const cases: [() => Promise<Response>, [number, string, string]][] = [
      [() => send('{"model":'), [400, 'invalid_json', 'invalid_json']],
      [() => send('[]'), [400, 'invalid_request', 'invalid_request']],
      [() => send(ok, { authorization: '' }), [401, 'invalid_api_key', 'missing_key']],
      [() => send(ok, key('wr_nobody')), [401, 'invalid_api_key', 'invalid_key']],
      [() => send(ok, key('wr_bad_expired')), [401, 'invalid_api_key', 'expired_key']],
      [() => send(ok, key('wr_bad_revoked')), [401, 'invalid_api_key', 'revoked_key']],
      [() => send(ok, key('wr_bad_narrow')), [403, 'model_not_allowed', 'model_not_allowed']],
      [() => send(ask('answer', { model: 'no-such' })), [404, 'model_not_found', 'model_not_found']],
      [() => send(ask('x'.repeat(5_000))), [413, 'body_too_large', 'body_too_large']],
      [() => send(ok, { 'x-long': 'x'.repeat(9_000) }), [431, 'headers_too_large', 'headers_too_large']],
    ];
    for (const [call, wanted] of cases) expect(await wrong(await call())).toEqual(wanted);
    expect(stub.requests).toEqual([]);
  });

  it('upstream is told in the words of OpenAI, and is an event that costs nothing', async () => {
    const cases: [object, [number, string, string]][] = [
      [ask('stay silent'), [504, 'upstream_timeout', 'upstream_timeout']],
      [ask('close instead'), [502, 'upstream_broken', 'upstream_broken']],
      [ask('refuse the credential'), [502, 'upstream_unauthorized', 'upstream_unauthorized']],
      [ask('answer', { model: 'gpt-4.1' }), [502, 'upstream_unreachable', 'upstream_unreachable']],
      [ask('answer', { model: 'gpt-4.1-mini' }), [502, 'upstream_invalid', 'upstream_invalid']],
    ];
    for (const [body, wanted] of cases) {
      await settled();
      const response = await send(body);
      recorded(response, 'failed, none');
      expect(await wrong(response)).toEqual(wanted);
    }
    await settled();
    const own = await send(ask('fail with 500'));
    recorded(own, 'failed, none');
    expect([own.status, await own.text()]).toEqual([500, '{"error":{"message":"of its own"}}']);
  });

  it('in the middle of its answer is cut or ended with an error event, and billed for what came', async () => {
    await settled();
    const rubbish = await send(ask('say no JSON'));
    expect([rubbish.status, await rubbish.text()]).toEqual([200, '<html>']);
    recorded(rubbish, 'failed, none');
    await settled();
    const whole = await send(ask('break off'));
    recorded(whole, 'failed, none');
    await expect(whole.text()).rejects.toThrow();
    for (const [content, code] of [
      ['break off a stream', 'upstream_broken'],
      ['fall silent in a stream', 'upstream_timeout'],
    ] as const) {
      await settled();
      const response = await send(ask(content, { stream: true }));
      recorded(response, 'cut, estimated');
      const text = await response.text();
      expect(text.startsWith(WORD)).toBe(true);
      expect(JSON.parse(text.slice(WORD.length).replace('data: ', '')).error.code).toBe(code);
    }
  });

  it('since its client hangs up is billed from the moment that it was sent, and not before', async () => {
    const before = rawCall(ask('answer'), 20);
    before.socket.destroy();
    const late = rawCall(ask('answer'), 20);
    await once(late.socket, 'close');
    expect(late.text()).toContain('HTTP/1.1 408');

    await settled();
    const during = rawCall(ask('stream on', { stream: true }));
    await until(() => during.text().includes('12345678'), 'the first words');
    during.socket.destroy();
    const [, duringId = ''] = /x-request-id: (\S+)/i.exec(during.text()) ?? [];
    await until(async () => (await events()).has(duringId), 'the event of the client that hung up');
    expected.set(duringId, 'ok, final');
    expect((await events()).get(duringId)?.data.quantities).toEqual({
      calls: '1',
      input_tokens: '12',
      output_tokens: '5',
    });

    await settled();
    const after = rawCall(ask('answer'));
    await until(() => after.text().includes('"Hi"'), 'the answer');
    after.socket.destroy();
    const [, afterId = ''] = /x-request-id: (\S+)/i.exec(after.text()) ?? [];
    expected.set(afterId, 'ok, final');
  });

  it('leaves its one event and nothing held', async () => {
    await settled();
    const response = await send(ask('answer'));
    expect(response.status).toBe(200);
    recorded(response, 'ok, final');
    await until(async () => (await events()).size >= expected.size, 'all events');
    const found = await events();
    const endings = [...found].map(([id, { data }]) => [id, `${data.outcome}, ${data.usage_status}`]);
    expect(Object.fromEntries(endings)).toEqual(Object.fromEntries(expected));
    expect(await weir.events()).toHaveLength(expected.size);

    const costs = [...found.values()].flatMap(({ data }) => (data.cost ? [getExact(data.cost.amount)] : []));
    const spent = costs.reduce((sum, cost) => add(sum, cost), ZERO);
    const standing = await settled();
    expect(standing.code).toBe('budget_exhausted');
    expect(compare(getExact(standing.used), spent)).toBe(0);
  });
});
