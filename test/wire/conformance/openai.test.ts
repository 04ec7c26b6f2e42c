import { wireConformance } from '#test/conformance/wire.ts';
import { bodyOf, sseEvent, streamOf, WORDS } from '#test/conformance/wire-fixture.ts';

const openai = { family: 'openai', provider: 'openai' } as const;
const SSE = 'text/event-stream';
const DONE = 'data: [DONE]\n\n';
const USAGE = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 };
const QUANTITIES = { calls: '1', input_tokens: '12', output_tokens: '5' };
const STREAMED = { stream: true, stream_options: { include_usage: true } };

const chunk = (fields: object) => sseEvent({ id: 'c', object: 'chat.completion.chunk', model: 'gpt-4o', ...fields });
const chatEvents = [
  ...WORDS.map((content) => chunk({ choices: [{ index: 0, delta: { content } }], usage: null })),
  chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage: null }),
  chunk({ choices: [], usage: USAGE }),
  DONE,
];
const chatUnknown = [': still here\n\n', sseEvent({ object: 'future.chunk', choices: [{ index: 0, news: 'none' }] })];

wireConformance(
  'openai-chat',
  streamOf({
    ...openai,
    path: '/v1/chat/completions',
    request: (content) => ({ model: 'gpt-4o', messages: [{ role: 'user', content }], ...STREAMED }),
    contentType: SSE,
    events: chatEvents,
    unknown: chatUnknown,
    quantities: QUANTITIES,
  }),
);

wireConformance(
  'openai-chat, not streamed',
  bodyOf({
    ...openai,
    path: '/v1/chat/completions',
    request: (content) => ({ model: 'gpt-4o', messages: [{ role: 'user', content }] }),
    body: {
      id: 'c',
      object: 'chat.completion',
      model: 'gpt-4o',
      choices: [{ index: 0, message: { role: 'assistant', content: WORDS.join('') }, finish_reason: 'stop' }],
      usage: USAGE,
    },
    quantities: QUANTITIES,
  }),
);

wireConformance(
  'openai-chat at Azure',
  streamOf({
    family: 'azure',
    provider: 'azure',
    path: '/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21',
    request: (content) => ({ messages: [{ role: 'user', content }], ...STREAMED }),
    contentType: SSE,
    events: [chunk({ choices: [], prompt_filter_results: [{ prompt_index: 0 }] }), ...chatEvents],
    unknown: chatUnknown,
    quantities: QUANTITIES,
  }),
);

wireConformance(
  "openai-chat in Mistral's words",
  streamOf({
    family: 'openai',
    provider: 'mistral',
    path: '/v1/chat/completions',
    request: (content) => ({ model: 'mistral-large-latest', messages: [{ role: 'user', content }], stream: true }),
    contentType: SSE,
    upstream: { includeUsage: false },
    events: [
      ...WORDS.map((content) => chunk({ choices: [{ index: 0, delta: { content }, finish_reason: null }], p: 'abc' })),
      chunk({ choices: [{ index: 0, delta: { content: '' }, finish_reason: 'stop' }], usage: USAGE }),
      DONE,
    ],
    unknown: chatUnknown,
    quantities: QUANTITIES,
  }),
);

wireConformance(
  'mistral-fim',
  streamOf({
    family: 'openai',
    provider: 'mistral',
    path: '/v1/fim/completions',
    request: (prompt) => ({ model: 'codestral-latest', prompt, suffix: 'return', stream: true }),
    contentType: SSE,
    events: [
      ...WORDS.map((content) => chunk({ choices: [{ index: 0, delta: { content } }] })),
      chunk({ choices: [{ index: 0, delta: { content: '' }, finish_reason: 'stop' }], usage: USAGE }),
      DONE,
    ],
    unknown: chatUnknown,
    quantities: QUANTITIES,
  }),
);

wireConformance(
  'mistral-ocr',
  bodyOf({
    family: 'openai',
    provider: 'mistral',
    path: '/v1/ocr',
    request: (document_url) => ({ model: 'mistral-ocr-latest', document: { type: 'document_url', document_url } }),
    body: {
      model: 'mistral-ocr-latest',
      pages: [{ index: 0, markdown: WORDS.join('') }],
      usage_info: { pages_processed: 3 },
    },
    quantities: { calls: '1', pages: '3' },
  }),
);

const completion = (fields: object) =>
  sseEvent({ id: 'c', object: 'text_completion', model: 'davinci-002', ...fields });

wireConformance(
  'openai-completions',
  streamOf({
    ...openai,
    path: '/v1/completions',
    request: (prompt) => ({ model: 'davinci-002', prompt, max_tokens: 100, ...STREAMED }),
    contentType: SSE,
    events: [
      ...WORDS.map((text) => completion({ choices: [{ index: 0, text, finish_reason: null }], usage: null })),
      completion({ choices: [{ index: 0, text: '', finish_reason: 'stop' }], usage: null }),
      completion({ choices: [], usage: USAGE }),
      DONE,
    ],
    unknown: [': still here\n\n', sseEvent({ object: 'future.chunk', choices: [{ index: 0, news: 'none' }] })],
    quantities: QUANTITIES,
  }),
);

let sequence = 0;
const responded = (type: string, fields: object = {}): string =>
  sseEvent({ type, sequence_number: sequence++, ...fields }, type);
const response = (status: string, more: object = {}) => ({
  response: { id: 'resp_1', object: 'response', model: 'gpt-4o', status, error: null, output: [], ...more },
});
const RESPONSE_USAGE = {
  input_tokens: 12,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 5,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 17,
};
const MESSAGE = { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: WORDS.join('') }] };
const SEARCH = { type: 'web_search_call', status: 'completed', action: { type: 'search', query: 'weir' } };

wireConformance(
  'openai-responses',
  streamOf({
    ...openai,
    path: '/v1/responses',
    request: (input) => ({ model: 'gpt-4o', input, tools: [{ type: 'web_search' }], stream: true }),
    contentType: SSE,
    events: [
      responded('response.created', response('in_progress')),
      responded('response.output_item.added', { output_index: 0, item: { ...SEARCH, status: 'in_progress' } }),
      responded('response.output_item.done', { output_index: 0, item: SEARCH }),
      ...WORDS.map((delta) => responded('response.output_text.delta', { output_index: 1, content_index: 0, delta })),
      responded('response.output_item.done', { output_index: 1, item: MESSAGE }),
      responded('response.completed', response('completed', { output: [SEARCH, MESSAGE], usage: RESPONSE_USAGE })),
    ],
    unknown: [responded('response.future', { news: { usage: RESPONSE_USAGE } })],
    quantities: { ...QUANTITIES, web_searches: '1' },
  }),
);

wireConformance(
  'openai-responses, not streamed',
  bodyOf({
    ...openai,
    path: '/v1/responses',
    request: (input) => ({ model: 'gpt-4o', input }),
    body: response('completed', { output: [MESSAGE], usage: RESPONSE_USAGE }).response,
    quantities: QUANTITIES,
  }),
);

wireConformance(
  'openai-embeddings',
  bodyOf({
    ...openai,
    path: '/v1/embeddings',
    request: (input) => ({ model: 'text-embedding-3-small', input }),
    body: {
      object: 'list',
      data: [{ object: 'embedding', index: 0, embedding: [0.1, -0.25, 1e-3] }],
      model: 'text-embedding-3-small',
      usage: { prompt_tokens: 12, total_tokens: 12 },
    },
    quantities: { calls: '1', input_tokens: '12' },
  }),
);
