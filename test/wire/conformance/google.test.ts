import { wireConformance } from '#test/conformance/wire.ts';
import { bodyOf, sseEvent, streamOf, WORDS } from '#test/conformance/wire-fixture.ts';

const gemini = { family: 'gemini', provider: 'google' } as const;
const MODEL = 'gemini-2.5-flash';
const quantities = { calls: '1', input_tokens: '12', output_tokens: '5' };
const generation = (text: string) => ({ contents: [{ role: 'user', parts: [{ text }] }] });

const partOf = (text: string, answer: number, more: object = {}) => ({
  candidates: [{ content: { role: 'model', parts: [{ text }] }, index: 0, ...more }],
  usageMetadata: { promptTokenCount: 12, candidatesTokenCount: answer, totalTokenCount: 12 + answer },
  modelVersion: MODEL,
});
const PARTS = [...WORDS.map((word, i) => partOf(word, i + 1)), partOf('', 5, { finishReason: 'STOP' })];
const event = (value: object): string => `data: ${JSON.stringify(value)}\r\n\r\n`;

const streamed = {
  ...gemini,
  path: `/v1beta/models/${MODEL}:streamGenerateContent?alt=sse`,
  request: generation,
  contentType: 'text/event-stream',
  events: PARTS.map(event),
  unknown: [event({ news: 'none' })],
  quantities,
};

wireConformance('gemini-generate', streamOf(streamed));

wireConformance(
  'vertex-generate',
  streamOf({
    ...streamed,
    family: 'vertex',
    path: `/v1/projects/p/locations/eu/publishers/google/models/${MODEL}:streamGenerateContent?alt=sse`,
  }),
);

// What clients get that ask for no events: a list that grows.
wireConformance(
  'gemini-generate as a list',
  streamOf({
    ...streamed,
    path: `/v1beta/models/${MODEL}:streamGenerateContent`,
    contentType: 'application/json; charset=UTF-8',
    events: ['[', ...PARTS.map((one, i) => `${JSON.stringify(one)}${i === PARTS.length - 1 ? '\r\n]' : '\r\n,\r\n'}`)],
    unknown: ['{"news":"none"}\r\n,\r\n'],
  }),
);

wireConformance(
  'gemini-generate, not streamed',
  bodyOf({
    ...gemini,
    path: `/v1beta/models/${MODEL}:generateContent`,
    request: generation,
    body: partOf(WORDS.join(''), 5, { finishReason: 'STOP' }),
    quantities,
  }),
);

const happened = (event_type: string, fields: object = {}): string => sseEvent({ event_type, ...fields }, event_type);
const interaction = (status: string, more: object = {}) => ({ id: 'i', model: MODEL, status, ...more });
const USAGE = { total_input_tokens: 12, total_output_tokens: 3, total_thought_tokens: 2, total_tokens: 17 };

wireConformance(
  'gemini-interactions',
  streamOf({
    ...gemini,
    path: '/v1beta/interactions',
    request: (input) => ({ model: MODEL, input, stream: true }),
    contentType: 'text/event-stream',
    events: [
      happened('interaction.created', { interaction: interaction('in_progress') }),
      happened('step.start', { index: 0, step: { type: 'model_output' } }),
      ...WORDS.map((text) => happened('step.delta', { index: 0, delta: { type: 'text', text } })),
      happened('step.stop', { index: 0 }),
      happened('interaction.completed', { interaction: interaction('completed', { usage: USAGE }) }),
      'event: done\ndata: [DONE]\n\n',
    ],
    unknown: [happened('future.event', { news: 'none' })],
    quantities,
  }),
);

wireConformance(
  'gemini-interactions, not streamed',
  bodyOf({
    ...gemini,
    path: '/v1beta/interactions',
    request: (input) => ({ model: MODEL, input }),
    body: interaction('completed', { outputs: [{ type: 'text', text: WORDS.join('') }], usage: USAGE }),
    quantities,
  }),
);

const DRAWN = { mimeType: 'image/png', bytesBase64Encoded: Buffer.alloc(100_000, 'weir').toString('base64') };

wireConformance(
  'gemini-predict, pictures',
  bodyOf({
    ...gemini,
    path: '/v1beta/models/imagen-4.0-generate-001:predict',
    request: (prompt) => ({ instances: [{ prompt }], parameters: { sampleCount: 3 } }),
    // One of the three was held back.
    body: { predictions: [DRAWN, { raiFilteredReason: 'It shows too much water.' }, DRAWN] },
    quantities: { calls: '1', images: '2' },
  }),
);

wireConformance(
  'vertex-predict, embeddings',
  bodyOf({
    family: 'vertex',
    provider: 'google',
    path: '/v1/projects/p/locations/eu/publishers/google/models/text-embedding-005:predict',
    request: (content) => ({ instances: [{ content }, { content: 'Weir' }] }),
    body: {
      predictions: [9, 3].map((token_count) => ({
        embeddings: { values: [0.1, -0.5], statistics: { token_count, truncated: false } },
      })),
    },
    quantities: { calls: '1', input_tokens: '12' },
  }),
);
