import { type WireFixture, wireConformance } from '#test/conformance/wire.ts';

const WORDS = ['Water ', 'flows ', 'over ', 'the ', 'weir.'];
const FUTURE = { future: { deep: [{ usage: null }, 'x'] } };

/** An event of data lines with one member more. */
const widenedJson = (event: string): string =>
  event.replace(/^((?:event: .*\n)?(?:data: )?)(\{.*\})/, (_, before: string, json: string) => {
    return `${before}${JSON.stringify({ ...FUTURE, ...(JSON.parse(json) as object) })}`;
  });

const data = (value: object): string => `data: ${JSON.stringify(value)}\n\n`;
const chunk = (fields: object) => data({ id: 'c', object: 'chat.completion.chunk', model: 'gpt-4o', ...fields });

const openaiChat: WireFixture = {
  family: 'openai',
  provider: 'openai',
  path: '/v1/chat/completions',
  request: (content) => ({
    model: 'gpt-4o',
    messages: [{ role: 'user', content }],
    stream: true,
    stream_options: { include_usage: true },
  }),
  contentType: 'text/event-stream',
  events: [
    ...WORDS.map((content) => chunk({ choices: [{ index: 0, delta: { content } }], usage: null })),
    chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage: null }),
    chunk({ choices: [], usage: { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 } }),
    'data: [DONE]\n\n',
  ],
  unknown: [': still here\n\n', data({ object: 'future.chunk', choices: [{ index: 0, news: 'none' }] })],
  widened: widenedJson,
  quantities: { calls: '1', input_tokens: '12', output_tokens: '5' },
};

const named = (type: string, fields: object = {}): string =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
const message = (usage: object) => ({
  message: { id: 'msg_1', type: 'message', role: 'assistant', content: [], model: 'claude-sonnet-5', usage },
});

const anthropicMessages: WireFixture = {
  family: 'anthropic',
  provider: 'anthropic',
  path: '/v1/messages',
  request: (content) => ({
    model: 'claude-sonnet-5',
    max_tokens: 1_000,
    messages: [{ role: 'user', content }],
    stream: true,
  }),
  contentType: 'text/event-stream; charset=utf-8',
  events: [
    named('message_start', message({ input_tokens: 12, cache_read_input_tokens: 7, output_tokens: 1 })),
    named('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
    named('ping'),
    ...WORDS.map((text) => named('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })),
    named('content_block_stop', { index: 0 }),
    named('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 9 } }),
    named('message_stop'),
  ],
  unknown: [named('future_event', { news: { usage: { output_tokens: 99 } } })],
  widened: widenedJson,
  quantities: { calls: '1', input_tokens: '12', cache_read_tokens: '7', output_tokens: '9' },
};

const vertexMessages: WireFixture = {
  ...anthropicMessages,
  family: 'vertex',
  path: '/v1/projects/p/locations/eu/publishers/anthropic/models/claude-sonnet-5@20260101:streamRawPredict',
  request: (content) => ({
    anthropic_version: 'vertex-2023-10-16',
    max_tokens: 1_000,
    messages: [{ role: 'user', content }],
    stream: true,
  }),
};

const part = (text: string, answer: number, more: object = {}): string => {
  const usageMetadata = { promptTokenCount: 12, candidatesTokenCount: answer, totalTokenCount: 12 + answer };
  const candidates = [{ content: { role: 'model', parts: [{ text }] }, index: 0, ...more }];
  return `data: ${JSON.stringify({ candidates, usageMetadata, modelVersion: 'gemini-2.5-flash' })}\r\n\r\n`;
};

const geminiGenerate: WireFixture = {
  family: 'gemini',
  provider: 'google',
  path: '/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse',
  request: (text) => ({ contents: [{ role: 'user', parts: [{ text }] }] }),
  contentType: 'text/event-stream',
  events: [...WORDS.map((word, i) => part(word, i + 1)), part('', 5, { finishReason: 'STOP' })],
  unknown: [`data: ${JSON.stringify({ news: 'none' })}\r\n\r\n`],
  widened: widenedJson,
  quantities: { calls: '1', input_tokens: '12', output_tokens: '5' },
};

/** The same as a list that grows: what clients get that ask for no events. */
const geminiList: WireFixture = {
  ...geminiGenerate,
  path: '/v1beta/models/gemini-2.5-flash:streamGenerateContent',
  contentType: 'application/json; charset=UTF-8',
  events: [
    '[',
    ...geminiGenerate.events.map((event, i, { length }) => {
      return event.replace('data: ', '').replace('\r\n\r\n', i === length - 1 ? '\r\n]' : '\r\n,\r\n');
    }),
  ],
  unknown: ['{"news":"none"}\r\n,\r\n'],
};

const happened = (event_type: string, fields: object = {}): string =>
  `event: ${event_type}\ndata: ${JSON.stringify({ event_type, ...fields })}\n\n`;
const interaction = (status: string, more: object = {}) => ({
  interaction: { id: 'i', model: 'gemini-2.5-flash', status, ...more },
});

const geminiInteractions: WireFixture = {
  family: 'gemini',
  provider: 'google',
  path: '/v1beta/interactions',
  request: (input) => ({ model: 'gemini-2.5-flash', input, stream: true }),
  contentType: 'text/event-stream',
  events: [
    happened('interaction.created', interaction('in_progress')),
    happened('step.start', { index: 0, step: { type: 'model_output' } }),
    ...WORDS.map((text) => happened('step.delta', { index: 0, delta: { type: 'text', text } })),
    happened('step.stop', { index: 0 }),
    happened(
      'interaction.completed',
      interaction('completed', {
        usage: { total_input_tokens: 12, total_output_tokens: 3, total_thought_tokens: 2, total_tokens: 17 },
      }),
    ),
    'event: done\ndata: [DONE]\n\n',
  ],
  unknown: [happened('future.event', { news: 'none' })],
  widened: widenedJson,
  quantities: { calls: '1', input_tokens: '12', output_tokens: '5' },
};

const cohereChat: WireFixture = {
  family: 'cohere',
  provider: 'cohere',
  path: '/v2/chat',
  request: (content) => ({ model: 'command-a-03-2025', messages: [{ role: 'user', content }], stream: true }),
  contentType: 'text/event-stream',
  events: [
    named('message-start', { id: 'm', delta: { message: { role: 'assistant', content: [] } } }),
    ...WORDS.map((text) => named('content-delta', { index: 0, delta: { message: { content: { text } } } })),
    named('message-end', {
      delta: {
        finish_reason: 'COMPLETE',
        usage: {
          billed_units: { input_tokens: 12, output_tokens: 5 },
          tokens: { input_tokens: 500, output_tokens: 8 },
        },
      },
    }),
    'data: [DONE]\n\n',
  ],
  unknown: [named('future-event', { news: 'none' })],
  widened: widenedJson,
  quantities: { calls: '1', input_tokens: '12', output_tokens: '5' },
};

const line = (fields: object): string => `${JSON.stringify({ model: 'llama3.2', ...fields })}\n`;

const ollamaChat: WireFixture = {
  family: 'ollama',
  provider: 'ollama',
  path: '/api/chat',
  request: (content) => ({ model: 'llama3.2', messages: [{ role: 'user', content }] }),
  contentType: 'application/x-ndjson',
  events: [
    ...WORDS.map((content) => line({ message: { role: 'assistant', content }, done: false })),
    line({ message: { role: 'assistant', content: '' }, done: true, prompt_eval_count: 12, eval_count: 5 }),
  ],
  unknown: [line({ news: 'none' })],
  widened: widenedJson,
  quantities: { calls: '1', input_tokens: '12', output_tokens: '5' },
};

const rpc = (fields: object): string => `event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', ...fields })}\n\n`;

const mcp: WireFixture = {
  family: 'mcp',
  provider: 'mcp',
  path: '/mcp/upstream',
  request: (text) => ({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: { text } } }),
  contentType: 'text/event-stream',
  events: [
    ...WORDS.map((message, progress) => rpc({ method: 'notifications/progress', params: { progress, message } })),
    rpc({ id: 1, method: 'sampling/createMessage', params: { messages: [] } }),
    rpc({ id: 1, result: { content: [{ type: 'text', text: WORDS.join('') }] } }),
  ],
  unknown: [': still here\n\n', rpc({ method: 'notifications/future', params: { id: 1, result: {} } })],
  widened: widenedJson,
  quantities: { calls: '1', tool_calls: '1', sampling_requests: '1' },
};

wireConformance('mcp', mcp);
wireConformance('openai-chat', openaiChat);
wireConformance('anthropic-messages', anthropicMessages);
wireConformance('vertex-messages', vertexMessages);
wireConformance('gemini-generate', geminiGenerate);
wireConformance('gemini-generate as a list', geminiList);
wireConformance('gemini-interactions', geminiInteractions);
wireConformance('cohere-chat', cohereChat);
wireConformance('ollama-chat', ollamaChat);
