import { wireConformance } from '#test/conformance/wire.ts';
import { bodyOf, sseEvent, streamOf, WORDS } from '#test/conformance/wire-fixture.ts';

const named = (type: string, fields: object = {}): string => sseEvent({ type, ...fields }, type);
const ANSWER = { id: 'msg_1', type: 'message', role: 'assistant', model: 'claude-sonnet-5' };
const USAGE = { input_tokens: 12, cache_read_input_tokens: 7, output_tokens: 1 };
const request = (content: string) => ({
  model: 'claude-sonnet-5',
  max_tokens: 1_000,
  messages: [{ role: 'user', content }],
});
const quantities = { calls: '1', input_tokens: '12', cache_read_tokens: '7', output_tokens: '9' };

const messages = {
  family: 'anthropic',
  provider: 'anthropic',
  path: '/v1/messages',
  request: (text: string) => ({ ...request(text), stream: true }),
  contentType: 'text/event-stream; charset=utf-8',
  events: [
    named('message_start', { message: { ...ANSWER, content: [], usage: USAGE } }),
    named('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
    named('ping'),
    ...WORDS.map((text) => named('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })),
    named('content_block_stop', { index: 0 }),
    named('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 9 } }),
    named('message_stop'),
  ],
  unknown: [named('future_event', { news: { usage: { output_tokens: 99 } } })],
  quantities,
} as const;

wireConformance('anthropic-messages', streamOf(messages));

wireConformance(
  'vertex-messages',
  streamOf({
    ...messages,
    family: 'vertex',
    path: '/v1/projects/p/locations/eu/publishers/anthropic/models/claude-sonnet-5@20260101:streamRawPredict',
    request: (content) => ({
      anthropic_version: 'vertex-2023-10-16',
      max_tokens: 1_000,
      messages: [{ role: 'user', content }],
      stream: true,
    }),
  }),
);

wireConformance(
  'anthropic-messages, not streamed',
  bodyOf({
    family: 'anthropic',
    provider: 'anthropic',
    path: '/v1/messages',
    request,
    body: {
      ...ANSWER,
      content: [{ type: 'text', text: WORDS.join('') }],
      stop_reason: 'end_turn',
      usage: { ...USAGE, output_tokens: 9 },
    },
    quantities,
  }),
);
