import type { ServerResponse } from 'node:http';
import { describe, expect, it, vi } from 'vitest';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  post,
  type Stub,
  startGateway,
  startStub,
  upstreamConfig,
} from '#test/gateway/harness.ts';

const files = (stub: Pick<Stub, 'url'>) =>
  upstreamConfig('files', '', { addresses: { mcp: stub.url.replace(/\/v1$/, '/mcp') }, provider: null });
const call = (id: number, name = 'read', more: object = {}) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: {}, ...more },
});
const result = (id: number, fields: object = { content: [] }) => ({ jsonrpc: '2.0', id, result: fields });
const error = (id: number) => ({ jsonrpc: '2.0', id, error: { code: -32602, message: 'Unknown tool' } });
const event = (value: object): string => `event: message\ndata: ${JSON.stringify(value)}\n\n`;
const STATELESS = { 'mcp-protocol-version': '2026-07-28' };

function json(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}
function stream(response: ServerResponse, ...events: string[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).end(events.join(''));
}

describe('a tool that is called through the gateway', () => {
  it.each([
    ['a result', result(1), { calls: '1', tool_calls: '1' }, 'ok'],
    [
      'the result of a tool that failed',
      result(1, { content: [], isError: true }),
      { calls: '1', tool_calls: '1' },
      'ok',
    ],
    ['an error', error(1), {}, 'failed'],
    ['a wish for more', result(1, { resultType: 'input_required', requestState: 'x' }), {}, 'ok'],
    [
      'a wish for a completion',
      result(1, {
        resultType: 'input_required',
        inputRequests: { a: { method: 'sampling/createMessage', params: {} }, b: { method: 'elicitation/create' } },
      }),
      { sampling_requests: '1' },
      'ok',
    ],
    [
      'a task',
      result(1, { task: { taskId: 't-1', status: 'working' } }),
      { calls: '1', tool_calls: '1', tasks: '1' },
      'ok',
    ],
    [
      'a task of the newest kind',
      result(1, { resultType: 'task', taskId: 't-1' }),
      { calls: '1', tool_calls: '1', tasks: '1' },
      'ok',
    ],
  ])('counts by what it answers, as JSON and as events: %s', async (_, message, quantities, outcome) => {
    const noise = { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1, id: 1, result: {} } };
    await using stub = await startStub((response, _request, nth) => {
      if (nth === 0) json(response, message);
      else stream(response, ': alive\n\n', event(noise), event(result(99)), event(message));
    });
    await using weir = await startGateway(configOf([files(stub)]));
    for (const _kind of ['json', 'events']) {
      expect((await post(`${weir.url}/mcp/files`, call(1), { 'mcp-session-id': 's-1' })).status).toBe(200);
    }
    for (const { data } of await eventsOf(weir, 2)) {
      expect(data).toMatchObject({
        wire: 'mcp',
        model: 'files/read',
        session: 's-1',
        outcome,
        usage_status: 'final',
        upstream: 'files',
      });
      expect(data.quantities).toEqual(quantities);
      expect(data.labels.run).toBe('tasks' in quantities ? 't-1' : undefined);
    }
    expect(stub.requests[0]).toMatchObject({ url: '/mcp', body: JSON.stringify(call(1)) });
    expect(stub.requests[0]?.headers.authorization).toBe('Bearer sk-upstream');
  });

  it('counts each of a batch, and nothing that is no call', async () => {
    await using stub = await startStub((response, { body }) => {
      json(response, body.startsWith('[') ? [result(1), error(2), result(3)] : result(1, { tools: [] }));
    });
    await using weir = await startGateway(configOf([files(stub)]));
    const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
    await post(`${weir.url}/mcp/files`, [call(1), call(2), call(3), { jsonrpc: '2.0', method: 'notifications/x' }]);
    await post(`${weir.url}/mcp/files`, list);
    await post(`${weir.url}/mcp/files`, { ...list, method: 'tasks/get', params: { taskId: 't-1' } });
    const events = await eventsOf(weir, 3);
    expect(events.map(({ data }) => [data.model, data.quantities, data.labels.run])).toEqual([
      ['files/read', { calls: '1', tool_calls: '2' }, undefined],
      ['files', {}, undefined],
      ['files', {}, 't-1'],
    ]);
    const mixed = await post(`${weir.url}/mcp/files`, [call(1), call(2, 'write')]);
    expect([mixed.status, (await mixed.json()).error.code]).toEqual([400, -32600]);
  });

  it('counts completions that the server asks for while it works, and in its own stream', async () => {
    const wish = (id: number) => ({ jsonrpc: '2.0', id, method: 'sampling/createMessage', params: { messages: [] } });
    await using stub = await startStub((response, { method }) => {
      if (method === 'GET') stream(response, event(wish(7)));
      // The ids of a server are its own.
      else stream(response, event(wish(1)), event(wish(2)), event(result(1)));
    });
    await using weir = await startGateway(configOf([files(stub)]));
    await (await post(`${weir.url}/mcp/files`, call(1))).text();
    const own = await fetch(`${weir.url}/mcp/files`, { headers: { 'x-api-key': 'wr_test_secret' } });
    await own.text();
    const events = await eventsOf(weir, 2);
    expect(events.map(({ data }) => data.quantities)).toEqual([
      { calls: '1', tool_calls: '1', sampling_requests: '2' },
      { sampling_requests: '1' },
    ]);
  });

  it('is refused in words that say again which call it was, and never as a matter of logging in', async () => {
    await using stub = await startStub((response) => json(response, result(1)));
    const limits = [limitPolicy({ kind: 'requests', amount: '1', per: 'hour' })];
    await using weir = await startGateway(configOf([files(stub)]), [keyPolicy({ limits })]);
    await post(`${weir.url}/mcp/files`, call(1));
    const refused = await post(`${weir.url}/mcp/files`, { ...call(0), id: 'call-2' });
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).not.toBeNull();
    expect(await refused.json()).toMatchObject({ jsonrpc: '2.0', id: 'call-2', error: { code: -31429 } });
    const unknown = await post(`${weir.url}/mcp/files`, call(1), { authorization: '' });
    expect([unknown.status, (await unknown.json()).error.code]).toEqual([401, -31401]);
    expect((await post(`${weir.url}/mcp/nothing`, call(1))).status).toBe(404);
  });

  it('is held to what its key may use: a tool, or all of its server', async () => {
    await using stub = await startStub((response) => json(response, result(1)));
    await using weir = await startGateway(configOf([files(stub)]), [keyPolicy({ models: ['files/read*'] })]);
    const at = `${weir.url}/mcp/files`;
    const read = { jsonrpc: '2.0', id: 1, method: 'resources/read', params: { uri: 'file:///a' } };
    const statuses = [];
    for (const body of [call(1), call(1, 'write'), { jsonrpc: '2.0', id: 1, method: 'tools/list' }, read]) {
      statuses.push((await post(at, body)).status);
    }
    expect(statuses).toEqual([200, 403, 200, 403]);
    // Nor in other words, of which a server may take the other one.
    const twice = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","name":"read"}}';
    const cased = '{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call","params":{"name":"write"}}';
    const inList = '[{"id":1,"method":"tools/call","params":{"Name":"write","name":"read"}}]';
    const { id: _, ...silent } = call(1);
    for (const body of [twice, cased, inList, silent]) expect((await post(at, body)).status).toBe(400);
    expect((await post(`${weir.url}/u/other/mcp/files`, call(1))).status).toBe(404);
    expect(stub.requests).toHaveLength(2);
  });

  it('must be called by headers and body alike, in the revision that has such headers', async () => {
    await using stub = await startStub((response) => json(response, result(1)));
    await using weir = await startGateway(configOf([files(stub)]));
    const statusOf = async (headers: Record<string, string>, body: unknown = call(1)) => {
      const answered = await post(`${weir.url}/mcp/files`, body, { ...STATELESS, ...headers });
      return [answered.status, (await answered.json()).error?.code];
    };
    expect(await statusOf({ 'mcp-method': 'tools/call', 'mcp-name': 'read' })).toEqual([200, undefined]);
    expect(await statusOf({ 'mcp-name': `=?base64?${btoa('read')}?=` })).toEqual([200, undefined]);
    expect(await statusOf({ 'mcp-method': 'tools/list' })).toEqual([400, -32020]);
    expect(await statusOf({ 'mcp-name': 'write' })).toEqual([400, -32020]);
    const other = call(1, 'read', { _meta: { 'io.modelcontextprotocol/protocolVersion': '2025-11-25' } });
    expect(await statusOf({}, other)).toEqual([400, -32020]);
    expect(await statusOf({ 'mcp-name': 'write', 'mcp-protocol-version': '2025-11-25' })).toEqual([200, undefined]);
  });

  it('is not called again where it may have run, and is where nobody was there', async () => {
    await using stub = await startStub((response) => json(response, { error: 'busy' }, 503));
    await using weir = await startGateway(configOf([files(stub)], { gateway: { retriesMax: 2 } }));
    expect((await post(`${weir.url}/mcp/files`, call(1))).status).toBe(503);
    expect(stub.requests).toHaveLength(1);
    const [{ data } = { data: undefined }] = await eventsOf(weir, 1);
    expect(data).toMatchObject({ outcome: 'failed', quantities: {} });
    const nobody = files({ url: 'http://127.0.0.1:1/v1' });
    await using alone = await startGateway(configOf([nobody], { gateway: { retriesMax: 2 } }));
    expect((await post(`${alone.url}/mcp/files`, call(1))).status).toBe(502);
    expect((await eventsOf(alone, 1))[0]?.data.attempts).toHaveLength(3);
  });

  it.each([
    ['an error that says which', 'the call would have to be made anew', '2025-11-25', ''],
    ['a broken connection', 'its events have ids by which its client comes back', '2025-11-25', 'id: 1\n'],
    ['an error that says which', 'nothing runs on, ids or not', '2026-07-28', 'id: 1\n'],
  ])('that breaks off in the middle ends with %s, where %s', async (wanted, _, version, id) => {
    await using stub = await startStub((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const progress = `${id}${event({ jsonrpc: '2.0', method: 'notifications/progress' })}`;
      response.write(progress, () => response.destroy());
    });
    await using weir = await startGateway(configOf([files(stub)]));
    const answered = await post(`${weir.url}/mcp/files`, call(7), { 'mcp-protocol-version': version });
    const text = await answered.text().catch(() => 'broken');
    const last = text.split('data: ').at(-1) ?? '';
    expect(last === 'broken' ? 'a broken connection' : 'an error that says which').toBe(wanted);
    if (last !== 'broken') expect(JSON.parse(last)).toMatchObject({ jsonrpc: '2.0', id: 7, error: { code: -31_502 } });
    const [{ data } = { data: undefined }] = await eventsOf(weir, 1);
    expect(data?.quantities).toEqual(version < '2026' ? { calls: '1', tool_calls: '1' } : {});
  });

  it.each([
    [
      'runs on, and is read to its end, where hanging up means nothing',
      '2025-11-25',
      { calls: '1', tool_calls: '1' },
      'ok',
    ],
    ['is cancelled with its client where hanging up says so', '2026-07-28', {}, 'gone'],
  ])('%s', async (_, version, quantities, outcome) => {
    const gone = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();
    await using stub = await startStub(async (response) => {
      response.on('close', left.resolve);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(event({ jsonrpc: '2.0', method: 'notifications/progress' }));
      await gone.promise;
      if (version < '2026') response.end(event(result(1)));
    });
    await using weir = await startGateway(configOf([files(stub)]));
    const leaving = new AbortController();
    const answered = await fetch(`${weir.url}/mcp/files`, {
      method: 'POST',
      headers: { authorization: 'Bearer wr_test_secret', 'mcp-protocol-version': version },
      body: JSON.stringify(call(1)),
      signal: leaving.signal,
    });
    await answered.body?.getReader().read();
    leaving.abort();
    if (version < '2026') {
      await vi.waitFor(() => expect(weir.gateway.callsInFlight).toBe(1));
      gone.resolve();
    }
    await left.promise;
    const [{ data } = { data: undefined }] = await eventsOf(weir, 1);
    expect(data).toMatchObject({ outcome, quantities });
  });

  it('is billed as an estimate where its stream ends before its result, which comes by another', async () => {
    await using stub = await startStub((response) => stream(response, 'id: 1\ndata: \n\n'));
    await using weir = await startGateway(configOf([files(stub)]));
    await (await post(`${weir.url}/mcp/files`, call(1), { 'mcp-protocol-version': '2025-11-25' })).text();
    const [{ data } = { data: undefined }] = await eventsOf(weir, 1);
    expect(data).toMatchObject({ usage_status: 'estimated', quantities: { calls: '1', tool_calls: '1' } });
  });
});
