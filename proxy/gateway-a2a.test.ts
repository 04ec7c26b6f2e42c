import type { ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
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

const planner = (stub: Pick<Stub, 'url'>) =>
  upstreamConfig('planner', '', { addresses: { a2a: stub.url.replace(/\/v1$/, '') }, provider: null });
const rpc = (method: string, params: object = {}) => ({ jsonrpc: '2.0', id: 'r-1', method, params });
const answer = (result: object) => ({ jsonrpc: '2.0', id: 'r-1', result });
const event = (value: object): string => `data: ${JSON.stringify(value)}\n\n`;
const message = (more: object = {}) => ({ messageId: 'm-1', role: 'ROLE_USER', parts: [{ text: 'Hello' }], ...more });
const said = { messageId: 'm-2', role: 'ROLE_AGENT', parts: [{ text: 'task' }] };
const AUTH = { 'x-api-key': 'wr_test_secret' };

function json(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}
function stream(response: ServerResponse, ...values: object[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).end(values.map(event).join(''));
}

const task = { id: 't-1', contextId: 'c-1', status: { state: 'TASK_STATE_WORKING' } };
const update = { taskId: 't-1', contextId: 'c-1', status: { state: 'TASK_STATE_COMPLETED' } };

describe('a message to an agent through the gateway', () => {
  it.each([
    ['1.0, as a task', 'SendMessage', {}, [answer({ task })], { tasks: '1' }],
    ['1.0, as a message', 'SendMessage', {}, [answer({ message: said })], {}],
    ['1.0, streamed', 'SendStreamingMessage', {}, [answer({ task }), answer({ statusUpdate: update })], { tasks: '1' }],
    ['1.0, going on with a task', 'SendMessage', { taskId: 't-1' }, [answer({ task })], {}],
    ['0.3, as a task', 'message/send', {}, [answer({ kind: 'task', ...task })], { tasks: '1' }],
    ['0.3, as a message', 'message/send', {}, [answer({ kind: 'message', ...said })], {}],
    [
      '0.3, streamed',
      'message/stream',
      {},
      [answer({ kind: 'task', ...task }), answer({ kind: 'status-update', ...update, final: true })],
      { tasks: '1' },
    ],
  ])('counts once, and each task that is new: %s', async (_, method, more, messages, tasks) => {
    await using stub = await startStub((response) => {
      if (/stream/i.test(method)) stream(response, ...messages);
      else json(response, messages[0]);
    });
    await using weir = await startGateway(configOf([planner(stub)]));
    await (await post(`${weir.url}/a2a/planner/rpc`, rpc(method, { message: message(more) }))).text();
    const [{ data } = { data: undefined }] = await eventsOf(weir, 1);
    expect(data).toMatchObject({ wire: 'a2a', model: 'planner', outcome: 'ok', usage_status: 'final' });
    const { duration_ms, ...quantities } = data?.quantities ?? {};
    expect(quantities).toEqual({ calls: '1', messages: '1', ...tasks });
    expect([undefined, `${data?.duration_ms}`]).toContain(duration_ms);
    if ('tasks' in tasks) expect([data?.labels.run, data?.session]).toEqual(['t-1', 'c-1']);
    expect(stub.requests[0]?.url).toBe('/rpc');
  });

  it('counts over HTTP+JSON as well, below whatever path the agent has it', async () => {
    await using stub = await startStub((response, { url }) => {
      if (url.endsWith(':stream')) stream(response, { task }, { statusUpdate: update });
      else json(response, url.includes('/tasks/') ? task : { task });
    });
    await using weir = await startGateway(configOf([planner(stub)]));
    const at = `${weir.url}/a2a/planner`;
    await post(`${at}/message:send`, { message: message() });
    await (await post(`${at}/v1/message:stream`, { message: message({ contextId: 'c-0' }) })).text();
    await post(`${at}/tasks/t-1:cancel`, {});
    await fetch(`${at}/tasks/t-1`, { headers: AUTH });
    const events = await eventsOf(weir, 4);
    const used = events.map(({ data: { quantities, session, labels } }) => [
      quantities.messages,
      quantities.tasks,
      session,
      labels.run,
    ]);
    expect(used).toEqual([
      ['1', '1', 'c-1', 't-1'],
      ['1', '1', 'c-0', 't-1'],
      [undefined, undefined, null, 't-1'],
      [undefined, undefined, null, 't-1'],
    ]);
    expect(stub.requests.map(({ url }) => url)).toEqual([
      '/message:send',
      '/v1/message:stream',
      '/tasks/t-1:cancel',
      '/tasks/t-1',
    ]);
  });

  it('is not billed where the agent answers an error, and never for looking, but is for what nobody knows', async () => {
    await using stub = await startStub((response, { body }) => {
      if (body.includes('SendMessage'))
        json(response, { jsonrpc: '2.0', id: 'r-1', error: { code: -32001, message: 'No' } });
      else json(response, answer({ task }));
    });
    await using weir = await startGateway(configOf([planner(stub)]));
    for (const method of ['SendMessage', 'GetTask', 'tasks/cancel', 'x/other']) {
      await post(`${weir.url}/a2a/planner`, rpc(method, { message: message(), id: 't-1' }));
    }
    const events = await eventsOf(weir, 4);
    expect(events.map(({ data }) => [data.outcome, data.quantities, data.unpriced])).toEqual([
      ['failed', {}, []],
      ['ok', {}, []],
      ['ok', {}, []],
      ['ok', { calls: '1' }, ['calls']],
    ]);
  });

  it("is no way to look at everybody's tasks, or around what is metered", async () => {
    await using stub = await startStub((response) => json(response, answer({ task })));
    await using weir = await startGateway(configOf([planner(stub)]));
    const at = `${weir.url}/a2a/planner`;
    const statuses = [
      (await post(at, rpc('ListTasks'))).status,
      (await post(at, rpc('tasks/list'))).status,
      (await fetch(`${at}/tasks`, { headers: AUTH })).status,
      (await fetch(`${at}/v1/Tasks/`, { headers: AUTH })).status,
      (await fetch(`${at}/admin`, { headers: AUTH })).status,
    ];
    expect(statuses).toEqual([400, 400, 400, 400, 404]);
    expect(stub.requests).toEqual([]);
    for (const path of ['/Message:Send/', '/message%3Asend']) {
      await post(`${at}${path}`, { ...rpc('GetTask'), message: message() });
    }
    const events = await eventsOf(weir, 2);
    expect(events.map(({ data }) => data.quantities.messages)).toEqual(['1', '1']);
  });

  it('is refused in the words of its binding', async () => {
    await using stub = await startStub((response) => json(response, answer({ task })));
    const limits = [limitPolicy({ kind: 'requests', amount: '1', per: 'hour' })];
    await using weir = await startGateway(configOf([planner(stub)]), [keyPolicy({ limits })]);
    const at = `${weir.url}/a2a/planner`;
    await post(at, rpc('SendMessage', { message: message() }));
    const overRpc = await post(at, rpc('SendMessage', { message: message() }));
    expect([overRpc.status, await overRpc.json()]).toMatchObject([429, { id: 'r-1', error: { code: -31429 } }]);
    const overHttp = await post(`${at}/message:send`, { message: message() });
    expect([overHttp.status, await overHttp.json()]).toMatchObject([429, { error: { status: 'RESOURCE_EXHAUSTED' } }]);
  });
});

describe('the card of an agent', () => {
  it('tells an address of ours in every place, and nothing that leads around the gateway', async () => {
    let own = '';
    await using stub = await startStub((response, { url, method }) => {
      const card = {
        name: 'Planner',
        supportedInterfaces: [
          { url: `${own}/rpc`, protocolBinding: 'JSONRPC', protocolVersion: '1.0' },
          { url: `${own}:1/rpc`, protocolBinding: 'HTTP+JSON', protocolVersion: '1.0' },
          { url: `${own}/grpc`, protocolBinding: 'GRPC', protocolVersion: '1.0' },
        ],
        signatures: [{ protected: 'x', signature: 'y' }],
      };
      const old = { name: 'Planner', url: own, additionalInterfaces: [{ url: `${own}/v1`, transport: 'HTTP+JSON' }] };
      if (method === 'POST') json(response, answer(card));
      else json(response, url.endsWith('agent-card.json') ? card : old);
    });
    own = stub.url.replace(/\/v1$/, '');
    await using weir = await startGateway(configOf([planner(stub)]));
    const at = `${weir.url}/a2a/planner`;
    const get = async (path: string) => (await fetch(`${at}${path}`, { headers: AUTH })).json();
    const card = {
      name: 'Planner',
      supportedInterfaces: [{ url: `${at}/rpc`, protocolBinding: 'JSONRPC', protocolVersion: '1.0' }],
    };
    expect(await get('/.well-known/agent-card.json')).toEqual(card);
    expect(await get('/.well-known/agent.json')).toEqual({
      name: 'Planner',
      url: at,
      additionalInterfaces: [{ url: `${at}/v1`, transport: 'HTTP+JSON' }],
    });
    expect(await (await post(at, rpc('GetExtendedAgentCard'))).json()).toEqual(answer(card));
    expect((await eventsOf(weir, 3)).map(({ data }) => data.quantities)).toEqual([{}, {}, {}]);
  });
});
