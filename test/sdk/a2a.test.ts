import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AgentCard, Role, TaskState } from '@a2a-js/sdk';
import {
  type Client,
  ClientFactory,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from '@a2a-js/sdk/client';
import { LegacyJsonRpcTransportHandler } from '@a2a-js/sdk/compat/v0_3/server';
import {
  AgentEvent,
  type AgentExecutor,
  DefaultRequestHandler,
  InMemoryTaskStore,
  JsonRpcTransportHandler,
  ServerCallContext,
} from '@a2a-js/sdk/server';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startGateway } from '#test/support/running-gateway.ts';

/** Answers what is said to it, at once or as a task. */
const executor: AgentExecutor = {
  async execute({ userMessage, taskId, contextId }, bus) {
    const part = userMessage.parts[0]?.content;
    const said = part?.$case === 'text' ? part.value : '';
    const common = { contextId, metadata: undefined, extensions: [], referenceTaskIds: [] };
    const answer = {
      ...common,
      messageId: 'a-1',
      taskId: '',
      role: Role.ROLE_AGENT,
      parts: [partOf(`You said ${said}`)],
    };
    if (said === 'fail') throw new Error('It failed.');
    if (said !== 'work') bus.publish(AgentEvent.message(answer));
    else {
      const at = (state: TaskState) => ({ state, message: undefined, timestamp: undefined });
      const task = { id: taskId, contextId, artifacts: [], history: [], metadata: undefined };
      bus.publish(AgentEvent.task({ ...task, status: at(TaskState.TASK_STATE_WORKING) }));
      const done = { taskId, contextId, metadata: undefined, status: at(TaskState.TASK_STATE_COMPLETED) };
      bus.publish(AgentEvent.statusUpdate(done));
    }
    bus.finished();
  },
  async cancelTask() {},
};

function partOf(value: string) {
  return { content: { $case: 'text' as const, value }, metadata: undefined, filename: '', mediaType: 'text/plain' };
}

describe('the official client and server of A2A, with a gateway between them', () => {
  /** Each at a path of its own, with a card that tells of it alone. */
  const BINDINGS = [
    ['JSON-RPC of 1.0', '/one', 'JSONRPC', '1.0'],
    ['JSON-RPC of 0.3', '/old', 'JSONRPC', '0.3'],
    ['HTTP+JSON of 1.0', '/http', 'HTTP+JSON', '1.0'],
  ] as const;
  let handler: JsonRpcTransportHandler;
  let legacy: LegacyJsonRpcTransportHandler;
  const cards = new Map<string, object>();
  const http = createServer(async (request, response) => {
    const url = request.url ?? '';
    const known = cards.get(url);
    if (known) return json(response, known);
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts).toString();
    const isHttp = url.startsWith('/http');
    const old = url.startsWith('/old');
    const context = new ServerCallContext({ requestedVersion: old ? '0.3' : '1.0' });
    const asked = isHttp ? JSON.stringify({ jsonrpc: '2.0', id: 1, ...methodOf(url, body) }) : body;
    const answered = await (old ? legacy : handler).handle(asked, context);
    // The HTTP binding says the same without the envelope.
    const bare = (one: object): unknown => (isHttp && 'result' in one ? one.result : one);
    if (!(Symbol.asyncIterator in answered)) {
      if (isHttp && 'error' in answered) return json(response, NOT_FOUND, 404);
      return json(response, bare(answered));
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for await (const one of answered) response.write(`data: ${JSON.stringify(bare(one))}\n\n`);
    response.end();
  });
  const info = {
    '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
    reason: 'TASK_NOT_FOUND',
    domain: 'a2a-protocol.org',
  };
  const NOT_FOUND = { error: { code: 404, status: 'NOT_FOUND', message: 'No such task', details: [info] } };
  function methodOf(url: string, body: string): object {
    const task = /\/tasks\/([^?/]+)/.exec(url)?.[1];
    if (task !== undefined) return { method: 'GetTask', params: { id: task } };
    return { method: url.endsWith(':stream') ? 'SendStreamingMessage' : 'SendMessage', params: JSON.parse(body) };
  }
  let direct: string;
  beforeAll(async () => {
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    direct = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
    const cardOf = (at: string, protocolBinding: string, protocolVersion: string) =>
      AgentCard.fromJSON({
        name: 'Planner',
        description: 'Plans',
        version: '1.0.0',
        supportedInterfaces: [{ url: `${direct}${at}`, protocolBinding, protocolVersion }],
        capabilities: { streaming: true },
        defaultInputModes: ['text/plain'],
        defaultOutputModes: ['text/plain'],
        skills: [],
      });
    for (const [, at, binding, version] of BINDINGS) {
      cards.set(`${at}/.well-known/agent-card.json`, AgentCard.toJSON(cardOf(at, binding, version)) as object);
    }
    const requests = new DefaultRequestHandler(cardOf('/one', 'JSONRPC', '1.0'), new InMemoryTaskStore(), executor);
    handler = new JsonRpcTransportHandler(requests);
    legacy = new LegacyJsonRpcTransportHandler(requests);
  });
  afterAll(() => {
    http.closeAllConnections();
    http.close();
  });

  function json(response: ServerResponse, value: unknown, status = 200): void {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  }

  function clientOf(url: string, secret = ''): Promise<Client> {
    const fetchImpl: typeof fetch = (input, init) => {
      const headers = new Headers(init?.headers);
      headers.set('authorization', `Bearer ${secret}`);
      return fetch(input, { ...init, headers });
    };
    const cardResolver = new DefaultAgentCardResolver({ fetchImpl });
    const options = { fetchImpl, legacyCompat: { enabled: true } };
    const transports = [new JsonRpcTransportFactory(options), new RestTransportFactory(options)];
    return new ClientFactory({ transports, cardResolver }).createFromUrl(url);
  }

  const messageOf = (text: string) => ({
    tenant: '',
    configuration: undefined,
    metadata: undefined,
    message: {
      messageId: crypto.randomUUID(),
      contextId: '',
      taskId: '',
      role: Role.ROLE_USER,
      parts: [partOf(text)],
      metadata: undefined,
      extensions: [],
      referenceTaskIds: [],
    },
  });

  /** What a client is told; ids are made anew each time. */
  async function use(client: Client) {
    const told: unknown[] = [await client.sendMessage(messageOf('hello'))];
    const streamed = await Array.fromAsync(client.sendMessageStream(messageOf('work')));
    told.push(streamed.map(({ payload }) => payload?.$case));
    const task = await client.sendMessage(messageOf('work'));
    const id = 'id' in task ? task.id : '';
    told.push((await client.getTask({ tenant: '', id, historyLength: 0 })).status?.state);
    told.push(await client.getTask({ tenant: '', id: 'no', historyLength: 0 }).catch((thrown: Error) => thrown.name));
    return JSON.parse(JSON.stringify(told, (key, value) => (key === 'contextId' ? 'c' : value)));
  }

  it.each(BINDINGS)(
    'tell the same as without it, by the card that it republishes, and every message is counted: %s',
    async (_, at) => {
      const gateway = await startGateway({ upstreamUrl: { a2a: `${direct}${at}` }, models: ['*'] });
      try {
        const wanted = await use(await clientOf(`${direct}${at}/`));
        expect(await use(await clientOf(`${gateway.origin}/a2a/upstream/`, gateway.secret))).toEqual(wanted);
        const used = await vi.waitFor(
          async () => {
            const all = (await gateway.emitted()).filter(({ data }) => data.quantities.messages !== undefined);
            expect(all).toHaveLength(3);
            return all.map(({ data }) => data);
          },
          { timeout: 10_000 },
        );
        expect(used.map(({ quantities }) => quantities.tasks).sort()).toEqual(['1', '1', undefined]);
        for (const { quantities, labels } of used) expect(labels.run !== undefined).toBe(quantities.tasks === '1');
        expect(gateway.twice).toEqual([]);
      } finally {
        await gateway.stop();
      }
    },
  );

  it("raise the client's own error when a budget at the price of a message is used up", async () => {
    const prices = '[{ upstream: upstream, model: upstream, prices: [{ unit: messages, amount: 0.6 }] }]';
    const limits = '[{ budget: 1 USD, per: month }]';
    const gateway = await startGateway({ upstreamUrl: { a2a: `${direct}/one` }, models: ['*'], prices, limits });
    try {
      const client = await clientOf(`${gateway.origin}/a2a/upstream/`, gateway.secret);
      await client.sendMessage(messageOf('hello'));
      const failure = await client.sendMessage(messageOf('hello')).catch((thrown: unknown) => thrown);
      expect(failure).toMatchObject({ message: expect.stringContaining('budget') });
    } finally {
      await gateway.stop();
    }
  });
});
