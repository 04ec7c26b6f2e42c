import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport, StreamableHTTPError } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { CreateMessageRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { startGateway } from '#test/support/running-gateway.ts';

const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });

/** A server of the official SDK, with a session for each client. */
function newServer(): McpServer {
  const server = new McpServer({ name: 'files', version: '1.0.0' });
  server.registerTool('echo', { inputSchema: { text: z.string() } }, ({ text: said }) => text(said));
  server.registerTool('fail', {}, () => {
    throw new Error('It failed.');
  });
  server.registerTool('ask', {}, async ({ requestId }) => {
    const messages = [{ role: 'user' as const, content: { type: 'text' as const, text: 'Hello' } }];
    const request = { method: 'sampling/createMessage' as const, params: { messages, maxTokens: 10 } };
    const answer = await server.server.createMessage(request.params, { relatedRequestId: requestId });
    return text(JSON.stringify(answer.content));
  });
  server.registerResource('note', 'note://one', {}, ({ href }) => ({ contents: [{ uri: href, text: 'A note' }] }));
  server.registerPrompt('greet', {}, () => ({ messages: [{ role: 'user', content: { type: 'text', text: 'Hi' } }] }));
  return server;
}

describe('the official clients and servers of MCP, with a gateway between them', () => {
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  const http = createServer(async (request, response) => {
    const id = String(request.headers['mcp-session-id'] ?? '');
    const known = sessions.get(id);
    if (known) return known.handleRequest(request, response);
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (session) => void sessions.set(session, transport),
    });
    await newServer().connect(transport);
    await transport.handleRequest(request, response);
  });
  let direct: string;
  beforeAll(async () => {
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    direct = `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`;
  });
  afterAll(() => {
    http.closeAllConnections();
    http.close();
  });

  const throughOf = (limits = '[]', prices?: string) =>
    startGateway({ upstreamUrl: { mcp: direct }, models: ['*'], limits, ...(prices !== undefined && { prices }) });
  async function connected(url: string, secret = '') {
    const client = new Client({ name: 'test', version: '1.0.0' }, { capabilities: { sampling: {} } });
    client.setRequestHandler(CreateMessageRequestSchema, () => ({
      model: 'm',
      role: 'assistant' as const,
      content: { type: 'text' as const, text: 'Sampled' },
    }));
    const requestInit = { headers: { authorization: `Bearer ${secret}` } };
    const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
    // Its optional members are of a type that leaves no room for what is undefined.
    await client.connect(transport as Parameters<Client['connect']>[0]);
    return { client, transport };
  }

  /** Everything that a client may ask, and what it was told. */
  async function use({ client, transport }: Awaited<ReturnType<typeof connected>>) {
    const told = [
      (await client.listTools()).tools.map(({ name }) => name),
      await client.callTool({ name: 'echo', arguments: { text: 'Hello' } }),
      await client.callTool({ name: 'fail' }),
      await client.callTool({ name: 'ask' }),
      await client.callTool({ name: 'nothing' }).catch((thrown: Error) => [thrown.name, thrown.message]),
      await client.readResource({ uri: 'note://one' }),
      await client.readResource({ uri: 'note://two' }).catch((thrown: Error) => [thrown.name, thrown.message]),
      await client.getPrompt({ name: 'greet' }),
    ];
    await transport.terminateSession();
    await client.close();
    return told;
  }

  it('tell the same as without it, and every call has one event', async () => {
    const gateway = await throughOf();
    try {
      const wanted = await use(await connected(direct));
      const through = await connected(`${gateway.origin}/mcp/upstream`, gateway.secret);
      const session = through.transport.sessionId;
      expect(await use(through)).toEqual(wanted);
      const emitted = await vi.waitFor(
        async () => {
          const all = (await gateway.emitted()).filter(({ data }) => Object.keys(data.quantities).length > 0);
          expect(all.length).toBeGreaterThanOrEqual(6);
          return all.map(({ data }) => data);
        },
        { timeout: 10_000 },
      );
      expect(new Set(emitted.map((data) => data.session))).toEqual(new Set([session]));
      expect(gateway.twice).toEqual([]);
      const used = emitted.map(({ model, quantities }) => [model, quantities] as const);
      expect(used).toContainEqual(['upstream/echo', { calls: '1', tool_calls: '1' }]);
      expect(used).toContainEqual(['upstream/fail', { calls: '1', tool_calls: '1' }]);
      expect(used).toContainEqual(['upstream/ask', { calls: '1', tool_calls: '1', sampling_requests: '1' }]);
      expect(used.filter(([, { resource_reads }]) => resource_reads === '1')).toHaveLength(1);
      expect(used.filter(([, { prompt_reads }]) => prompt_reads === '1')).toHaveLength(1);
    } finally {
      await gateway.stop();
    }
  });

  it('are refused by a budget at the price of a tool, with an error of their own and without a way to log in', async () => {
    const prices = '[{ upstream: upstream, model: "upstream/*", prices: [{ unit: tool_calls, amount: 0.4 }] }]';
    const gateway = await throughOf('[{ budget: 1 USD, per: month }]', prices);
    try {
      const { client, transport } = await connected(`${gateway.origin}/mcp/upstream`, gateway.secret);
      const echo = () => client.callTool({ name: 'echo', arguments: { text: 'Hello' } });
      await echo();
      await echo();
      const failure = await echo().catch((thrown: unknown) => thrown);
      expect(failure).toBeInstanceOf(StreamableHTTPError);
      expect(failure).toMatchObject({ code: 429, message: expect.stringContaining('budget_exhausted') });
      // What is free goes on.
      expect((await client.listTools()).tools).toHaveLength(3);
      await transport.terminateSession();
      await client.close();
    } finally {
      await gateway.stop();
    }
  });
});
