import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { completable } from '@modelcontextprotocol/sdk/server/completable.js';
import { McpServer, ResourceTemplate } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { SubscribeRequestSchema, UnsubscribeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';

/** What the conformance suite of MCP asks a server for, by the names that it asks with. */
const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });
const description = 'For tests.';
/** One transparent dot, and no sound at all. */
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=';
const image = { type: 'image' as const, data: PNG, mimeType: 'image/png' };
const embedded = (uri: string) => ({
  type: 'resource' as const,
  resource: { uri, mimeType: 'text/plain', text: 'This is an embedded resource content.' },
});

function everything(): McpServer {
  const capabilities = { logging: {}, resources: { subscribe: true } };
  const server = new McpServer({ name: 'everything', version: '1.0.0' }, { capabilities });
  server.registerTool('test_simple_text', { description }, () => text('This is a simple text response for testing.'));
  server.registerTool('test_image_content', { description }, () => ({ content: [image] }));
  server.registerTool('test_audio_content', { description }, () => ({
    content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }],
  }));
  server.registerTool('test_embedded_resource', { description }, () => ({
    content: [embedded('test://embedded-resource')],
  }));
  server.registerTool('test_multiple_content_types', { description }, () => ({
    content: [...text('Multiple content types test:').content, image, embedded('test://mixed-content-resource')],
  }));
  server.registerTool('test_error_handling', { description }, () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  server.registerTool('test_tool_with_logging', { description }, async ({ sendNotification }) => {
    for (const data of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
      await sendNotification({ method: 'notifications/message', params: { level: 'info', data } });
    }
    return text('Logged');
  });
  server.registerTool('test_tool_with_progress', { description }, async ({ sendNotification, _meta }) => {
    for (const progress of [0, 50, 100]) {
      const params = { progressToken: _meta?.progressToken ?? 0, progress, total: 100 };
      await sendNotification({ method: 'notifications/progress', params });
    }
    return text('Progressed');
  });
  server.registerTool(
    'test_sampling',
    { description, inputSchema: { prompt: z.string() } },
    async ({ prompt }, { requestId }) => {
      const messages = [{ role: 'user' as const, content: { type: 'text' as const, text: prompt } }];
      const answer = await server.server.createMessage({ messages, maxTokens: 100 }, { relatedRequestId: requestId });
      return text(`LLM response: ${JSON.stringify(answer.content)}`);
    },
  );
  server.registerTool(
    'test_elicitation',
    { description, inputSchema: { message: z.string() } },
    async ({ message }, { requestId }) => {
      const requestedSchema = {
        type: 'object' as const,
        properties: { username: { type: 'string' as const }, email: { type: 'string' as const } },
      };
      const answer = await server.server.elicitInput({ message, requestedSchema }, { relatedRequestId: requestId });
      return text(`User response: ${JSON.stringify(answer)}`);
    },
  );
  server.registerTool('test_elicitation_sep1034_defaults', { description }, async ({ requestId }) => {
    const requestedSchema = {
      type: 'object' as const,
      properties: {
        name: { type: 'string' as const, default: 'John Doe' },
        age: { type: 'integer' as const, default: 30 },
        score: { type: 'number' as const, default: 95.5 },
        status: { type: 'string' as const, enum: ['active', 'inactive', 'pending'], default: 'active' },
        verified: { type: 'boolean' as const, default: true },
      },
    };
    const asked = { message: 'Please review', requestedSchema };
    return text(JSON.stringify(await server.server.elicitInput(asked, { relatedRequestId: requestId })));
  });
  server.registerResource('static-text', 'test://static-text', { mimeType: 'text/plain' }, ({ href }) => ({
    contents: [{ uri: href, mimeType: 'text/plain', text: 'This is the content of the static text resource.' }],
  }));
  server.registerResource('static-binary', 'test://static-binary', { mimeType: 'image/png' }, ({ href }) => ({
    contents: [{ uri: href, mimeType: 'image/png', blob: PNG }],
  }));
  server.registerResource('watched', 'test://watched-resource', {}, ({ href }) => ({
    contents: [{ uri: href, mimeType: 'text/plain', text: 'Watched' }],
  }));
  const template = new ResourceTemplate('test://template/{id}/data', { list: undefined });
  server.registerResource('template', template, {}, ({ href }, { id }) => ({
    contents: [{ uri: href, mimeType: 'application/json', text: JSON.stringify({ id, data: `Data for ID: ${id}` }) }],
  }));
  const user = (content: ReturnType<typeof embedded> | typeof image | { type: 'text'; text: string }) => ({
    role: 'user' as const,
    content,
  });
  server.registerPrompt('test_simple_prompt', { description }, () => ({
    messages: [user({ type: 'text', text: 'This is a simple prompt for testing.' })],
  }));
  const argsSchema = { arg1: completable(z.string(), () => ['one', 'two']), arg2: z.string() };
  server.registerPrompt('test_prompt_with_arguments', { description, argsSchema }, ({ arg1, arg2 }) => ({
    messages: [user({ type: 'text', text: `Prompt with arguments: arg1='${arg1}', arg2='${arg2}'` })],
  }));
  const withUri = { description, argsSchema: { resourceUri: z.string() } };
  server.registerPrompt('test_prompt_with_embedded_resource', withUri, ({ resourceUri }) => ({
    messages: [
      user(embedded(resourceUri)),
      user({ type: 'text', text: 'Please process the embedded resource above.' }),
    ],
  }));
  server.registerPrompt('test_prompt_with_image', { description }, () => ({
    messages: [user(image), user({ type: 'text', text: 'Please analyze the image above.' })],
  }));
  server.server.setRequestHandler(SubscribeRequestSchema, () => ({}));
  server.server.setRequestHandler(UnsubscribeRequestSchema, () => ({}));
  return server;
}

/** On no port yet. A client that has no session gets one. */
export function everythingServer(): Server {
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  return createServer(async (request, response) => {
    const known = sessions.get(String(request.headers['mcp-session-id'] ?? ''));
    if (known) return known.handleRequest(request, response);
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (session) => void sessions.set(session, transport),
    });
    await everything().connect(transport);
    await transport.handleRequest(request, response);
  });
}
