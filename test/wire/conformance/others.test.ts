import { wireConformance } from '#test/conformance/wire.ts';
import { bodyOf, sseEvent, streamOf, WORDS } from '#test/conformance/wire-fixture.ts';

const cohere = { family: 'cohere', provider: 'cohere' } as const;
const quantities = { calls: '1', input_tokens: '12', output_tokens: '5' };
const named = (type: string, fields: object = {}): string => sseEvent({ type, ...fields }, type);
const COHERE_USAGE = {
  billed_units: { input_tokens: 12, output_tokens: 5 },
  tokens: { input_tokens: 500, output_tokens: 8 },
};
const chat = (content: string) => ({ model: 'command-a-03-2025', messages: [{ role: 'user', content }] });

wireConformance(
  'cohere-chat',
  streamOf({
    ...cohere,
    path: '/v2/chat',
    request: (text) => ({ ...chat(text), stream: true }),
    contentType: 'text/event-stream',
    events: [
      named('message-start', { id: 'm', delta: { message: { role: 'assistant', content: [] } } }),
      ...WORDS.map((text) => named('content-delta', { index: 0, delta: { message: { content: { text } } } })),
      named('message-end', { delta: { finish_reason: 'COMPLETE', usage: COHERE_USAGE } }),
      'data: [DONE]\n\n',
    ],
    unknown: [named('future-event', { news: 'none' })],
    quantities,
  }),
);

wireConformance(
  'cohere-chat, not streamed',
  bodyOf({
    ...cohere,
    path: '/v2/chat',
    request: chat,
    body: {
      id: 'm',
      finish_reason: 'COMPLETE',
      message: { role: 'assistant', content: [{ type: 'text', text: WORDS.join('') }] },
      usage: COHERE_USAGE,
    },
    quantities,
  }),
);

wireConformance(
  'cohere-embed',
  bodyOf({
    ...cohere,
    path: '/v2/embed',
    request: (text) => ({ model: 'embed-v4.0', texts: [text], input_type: 'search_query', embedding_types: ['float'] }),
    body: { id: 'e', embeddings: { float: [[0.1, -0.5]] }, meta: { billed_units: { input_tokens: 12 } } },
    quantities: { calls: '1', input_tokens: '12' },
  }),
);

wireConformance(
  'cohere-rerank',
  bodyOf({
    ...cohere,
    path: '/v2/rerank',
    request: (query) => ({ model: 'rerank-v3.5', query, documents: ['a', 'b'] }),
    body: { id: 'r', results: [{ index: 1, relevance_score: 0.9 }], meta: { billed_units: { search_units: 1 } } },
    quantities: { calls: '1', search_units: '1' },
  }),
);

const ollama = { family: 'ollama', provider: 'ollama', contentType: 'application/x-ndjson' } as const;
const line = (fields: object): string => `${JSON.stringify({ model: 'llama3.2', ...fields })}\n`;
const COUNTS = { prompt_eval_count: 12, eval_count: 5 };

wireConformance(
  'ollama-chat',
  streamOf({
    ...ollama,
    path: '/api/chat',
    request: (content) => ({ model: 'llama3.2', messages: [{ role: 'user', content }] }),
    events: [
      ...WORDS.map((content) => line({ message: { role: 'assistant', content }, done: false })),
      line({ message: { role: 'assistant', content: '' }, done: true, ...COUNTS }),
    ],
    unknown: [line({ news: 'none' })],
    quantities,
  }),
);

wireConformance(
  'ollama-generate',
  streamOf({
    ...ollama,
    path: '/api/generate',
    request: (prompt) => ({ model: 'llama3.2', prompt }),
    events: [
      ...WORDS.map((response) => line({ response, done: false })),
      line({ response: '', done: true, context: [1, 2, 3], ...COUNTS, eval_duration: 2_500_000 }),
    ],
    unknown: [line({ news: 'none' })],
    quantities: { ...quantities, compute_ms: '3' },
  }),
);

wireConformance(
  'ollama-chat, not streamed',
  bodyOf({
    family: 'ollama',
    provider: 'ollama',
    path: '/api/chat',
    request: (content) => ({ model: 'llama3.2', messages: [{ role: 'user', content }], stream: false }),
    body: { model: 'llama3.2', message: { role: 'assistant', content: WORDS.join('') }, done: true, ...COUNTS },
    quantities,
  }),
);

wireConformance(
  'ollama-embed',
  bodyOf({
    family: 'ollama',
    provider: 'ollama',
    path: '/api/embed',
    request: (input) => ({ model: 'nomic-embed-text', input }),
    body: { model: 'nomic-embed-text', embeddings: [[0.1, -0.5]], prompt_eval_count: 12 },
    quantities: { calls: '1', input_tokens: '12' },
  }),
);
