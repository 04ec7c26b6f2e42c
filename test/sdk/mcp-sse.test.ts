import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { startGateway } from '#test/support/running-gateway.ts';

const LATER = 'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/later"}\n\n';

/** A server of the official SDK over the transport of 2024-11-05. */
function newServer(): McpServer {
  const server = new McpServer({ name: 'old', version: '1.0.0' });
  server.registerTool('echo', { inputSchema: { text: z.string() } }, ({ text }) => ({
    content: [{ type: 'text', text: `${text} event: endpoint` }],
  }));
  server.registerPrompt('greet', {}, () => ({ messages: [{ role: 'user', content: { type: 'text', text: 'Hi' } }] }));
  return server;
}

describe('the official client and server of MCP over two endpoints, with a gateway between them', () => {
  const transports = new Map<string, SSEServerTransport>();
  const http = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://server');
    if (request.method === 'GET' && pathname === '/sse') {
      const transport = new SSEServerTransport('/messages', response);
      transports.set(transport.sessionId, transport);
      await newServer().connect(transport);
      return;
    }
    if (pathname === '/elsewhere/sse') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`event: endpoint\ndata: https://elsewhere.example/messages\n\n${LATER}`);
      return;
    }
    const transport = transports.get(searchParams.get('sessionId') ?? '');
    if (transport && pathname === '/messages') await transport.handlePostMessage(request, response);
    else response.writeHead(404).end();
  });
  let direct: string;
  beforeAll(async () => {
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    direct = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    http.closeAllConnections();
    http.close();
  });

  const throughOf = (limits = '[]', prices?: string) =>
    startGateway({ upstreamUrl: { mcp: direct }, models: ['*'], limits, ...(prices !== undefined && { prices }) });
  async function connected(url: string, secret = '') {
    const client = new Client({ name: 'test', version: '1.0.0' });
    const headers = { authorization: `Bearer ${secret}` };
    const transport = new SSEClientTransport(new URL(url), { requestInit: { headers } });
    await client.connect(transport as Parameters<Client['connect']>[0]);
    return client;
  }
  async function use(client: Client) {
    const told = [
      (await client.listTools()).tools.map(({ name }) => name),
      await client.callTool({ name: 'echo', arguments: { text: 'Hello' } }),
      await client.callTool({ name: 'echo', arguments: { text: 'wörter\n\nevent: endpoint\ndata: /elsewhere' } }),
      await client.getPrompt({ name: 'greet' }),
    ];
    await client.close();
    return told;
  }

  it('tell the same as without it, at addresses of ours, and every call counts', async () => {
    const gateway = await throughOf();
    try {
      const wanted = await use(await connected(`${direct}/sse`));
      expect(await use(await connected(`${gateway.origin}/mcp/upstream/sse`, gateway.secret))).toEqual(wanted);
      const used = await vi.waitFor(
        async () => {
          const all = (await gateway.emitted()).filter(({ data }) => Object.keys(data.quantities).length > 0);
          expect(all).toHaveLength(3);
          return all.map(({ data }) => data);
        },
        { timeout: 10_000 },
      );
      expect(new Set(used.map(({ session }) => session)).size).toBe(1);
      for (const { wire, session } of used) {
        expect(wire).toBe('mcp-sse');
        expect(transports.has(session ?? '')).toBe(true);
      }
      expect(
        used.filter(({ model, quantities }) => model === 'upstream/echo' && quantities.tool_calls === '1'),
      ).toHaveLength(2);
      expect(used.filter(({ quantities }) => quantities.prompt_reads === '1')).toHaveLength(1);
    } finally {
      await gateway.stop();
    }
  });

  it('are refused by a budget at the price of a tool, and what is free goes on', async () => {
    const prices = '[{ upstream: upstream, model: "upstream/*", prices: [{ unit: tool_calls, amount: 0.4 }] }]';
    const gateway = await throughOf('[{ budget: 1 USD, per: month }]', prices);
    try {
      const client = await connected(`${gateway.origin}/mcp/upstream/sse`, gateway.secret);
      const echo = () => client.callTool({ name: 'echo', arguments: { text: 'Hello' } });
      await echo();
      await echo();
      await expect(echo()).rejects.toThrow(/429.*budget_exhausted/s);
      expect((await client.listTools()).tools).toHaveLength(1);
      await client.close();
    } finally {
      await gateway.stop();
    }
  });

  it('do not learn an address that leads around the gateway, and reach nothing but streams and messages', async () => {
    const gateway = await throughOf();
    const headers = { authorization: `Bearer ${gateway.secret}` };
    try {
      const stream = await fetch(`${gateway.origin}/mcp/upstream/elsewhere/sse`, { headers });
      expect(await stream.text()).toBe(LATER);
      for (const method of ['GET', 'POST']) {
        const { status } = await fetch(`${gateway.origin}/mcp/upstream/admin`, { method, headers });
        expect([400, 404, 405]).toContain(status);
      }
    } finally {
      await gateway.stop();
    }
  });
});
