import { expect } from 'vitest';
import { wireConformance } from '#test/conformance/wire.ts';
import { bodyOf, bytesOf, sseEvent, streamOf, WORDS } from '#test/conformance/wire-fixture.ts';

const SSE = 'text/event-stream';
const SOME = expect.stringMatching(/^\d+$/);
const rpc = (fields: object): string => sseEvent({ jsonrpc: '2.0', ...fields }, 'message');

const mcp = {
  family: 'mcp',
  provider: 'mcp',
  path: '/mcp/upstream',
  request: (text: string) => ({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: 'echo', arguments: { text } },
  }),
} as const;
const RESULT = { content: [{ type: 'text', text: WORDS.join('') }] };

wireConformance(
  'mcp',
  streamOf({
    ...mcp,
    contentType: SSE,
    events: [
      ...WORDS.map((message, progress) => rpc({ method: 'notifications/progress', params: { progress, message } })),
      rpc({ id: 1, method: 'sampling/createMessage', params: { messages: [] } }),
      rpc({ id: 1, result: RESULT }),
    ],
    unknown: [': still here\n\n', rpc({ method: 'notifications/future', params: { id: 1, result: {} } })],
    quantities: { calls: '1', tool_calls: '1', sampling_requests: '1' },
  }),
);

wireConformance(
  'mcp, not streamed',
  bodyOf({ ...mcp, body: { jsonrpc: '2.0', id: 1, result: RESULT }, quantities: { calls: '1', tool_calls: '1' } }),
);

const a2a = { family: 'a2a', provider: 'a2a', path: '/a2a/upstream' } as const;
const send = (method: string) => (text: string) => ({
  jsonrpc: '2.0',
  id: 1,
  method,
  params: { message: { messageId: 'm', role: 'ROLE_USER', parts: [{ text }] } },
});
const status = (state: string) => ({ taskId: 't-1', contextId: 'c-1', status: { state } });
const A2A_QUANTITIES = { calls: '1', messages: '1', tasks: '1' };

wireConformance(
  'a2a',
  streamOf({
    ...a2a,
    request: send('SendStreamingMessage'),
    contentType: SSE,
    events: [
      rpc({ id: 1, result: { task: { id: 't-1', contextId: 'c-1', status: { state: 'TASK_STATE_SUBMITTED' } } } }),
      ...WORDS.map((text) =>
        rpc({ id: 1, result: { artifactUpdate: { taskId: 't-1', artifact: { parts: [{ text }] } } } }),
      ),
      rpc({ id: 1, result: { statusUpdate: status('TASK_STATE_COMPLETED') } }),
    ],
    unknown: [': still here\n\n', rpc({ id: 1, result: { futureUpdate: { taskId: 't-9' } } })],
    quantities: A2A_QUANTITIES,
  }),
);

wireConformance(
  'a2a, not streamed',
  bodyOf({
    ...a2a,
    request: send('SendMessage'),
    body: { jsonrpc: '2.0', id: 1, result: { task: { id: 't-1', status: { state: 'TASK_STATE_COMPLETED' } } } },
    quantities: A2A_QUANTITIES,
  }),
);

const agent = {
  family: 'agent',
  provider: 'agent',
  path: '/agents/upstream/run',
  request: (text: string) => ({ text }),
  quantities: { calls: '1', bytes_in: SOME, bytes_out: SOME },
} as const;

wireConformance(
  'agent, with units in its events',
  streamOf({
    ...agent,
    upstream: { units: [{ unit: 'output_tokens', from: 'event', at: 'usage.tokens', max: 1_000n }] },
    contentType: SSE,
    events: [...WORDS.map((text) => sseEvent({ text })), sseEvent({ usage: { tokens: 5 } }, 'end')],
    unknown: [sseEvent({ news: { usage: { tokens: 9 } } })],
    quantities: { ...agent.quantities, output_tokens: '5' },
  }),
);

wireConformance(
  'agent, with units in its answer',
  bodyOf({
    ...agent,
    upstream: { units: [{ unit: 'output_tokens', from: 'json', at: 'usage.tokens', max: 1_000n }] },
    body: { text: WORDS.join(''), usage: { tokens: 5 } },
    quantities: { ...agent.quantities, output_tokens: '5' },
  }),
);

wireConformance(
  'agent, with units of its own nowhere',
  bytesOf({ ...agent, contentType: 'application/octet-stream', body: Buffer.from('any bytes '.repeat(100)) }),
);
