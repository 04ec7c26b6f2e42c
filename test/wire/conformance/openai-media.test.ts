import { expect } from 'vitest';
import { wireConformance } from '#test/conformance/wire.ts';
import { bodyOf, bytesOf, sseEvent, streamOf, WORDS } from '#test/conformance/wire-fixture.ts';

const openai = { family: 'openai', provider: 'openai' } as const;
const SSE = 'text/event-stream';

const BOUNDARY = 'weir7MA4';
const FORM_TYPE = `multipart/form-data; boundary=${BOUNDARY}`;

function form(fields: Readonly<Record<string, string>>, file: { name: string; bytes: Buffer }): Buffer {
  const head = (rest: string): string => `--${BOUNDARY}\r\nContent-Disposition: form-data; ${rest}\r\n\r\n`;
  return Buffer.concat([
    ...Object.entries(fields).map(([name, value]) => Buffer.from(`${head(`name="${name}"`)}${value}\r\n`)),
    Buffer.from(head(`name="${file.name}"; filename="a.bin"`)),
    file.bytes,
    Buffer.from(`\r\n--${BOUNDARY}--\r\n`),
  ]);
}

const typed = (type: string, fields: object = {}): string => sseEvent({ type, ...fields }, type);
const unknown = [typed('future.event', { news: { usage: { output_tokens: 99 } } })];

const PICTURES = {
  input_tokens: 62,
  input_tokens_details: { text_tokens: 12, image_tokens: 50 },
  output_tokens: 1_056,
  total_tokens: 1_118,
};
const PICTURE_QUANTITIES = { calls: '1', input_tokens: '12', input_image_tokens: '50', output_image_tokens: '1056' };
const B64 = Buffer.from('picture'.repeat(20)).toString('base64');

wireConformance(
  'openai-images',
  streamOf({
    ...openai,
    path: '/v1/images/generations',
    request: (prompt) => ({ model: 'gpt-image-1', prompt, stream: true, partial_images: 2 }),
    contentType: SSE,
    events: [
      typed('image_generation.partial_image', { partial_image_index: 0, b64_json: B64 }),
      typed('image_generation.partial_image', { partial_image_index: 1, b64_json: B64 }),
      typed('image_generation.completed', { b64_json: B64, usage: PICTURES }),
    ],
    unknown,
    quantities: PICTURE_QUANTITIES,
  }),
);

wireConformance(
  'openai-images, not streamed',
  bodyOf({
    ...openai,
    path: '/v1/images/edits',
    request: (text) => form({ model: 'gpt-image-1', prompt: 'Weir' }, { name: 'image', bytes: Buffer.from(text) }),
    requestType: FORM_TYPE,
    body: { created: 1, data: [{ b64_json: B64 }], usage: PICTURES },
    quantities: PICTURE_QUANTITIES,
  }),
);

wireConformance(
  'openai-images by the image',
  bodyOf({
    ...openai,
    path: '/v1/images/generations',
    request: (prompt) => ({ model: 'dall-e-3', prompt, size: '1024x1024' }),
    body: { created: 1, data: [{ url: 'https://example.com/1.png', revised_prompt: WORDS.join('') }] },
    quantities: { calls: '1', images: '1' },
  }),
);

wireConformance(
  'openai-speech',
  streamOf({
    ...openai,
    path: '/v1/audio/speech',
    request: (input) => ({ model: 'gpt-4o-mini-tts', input, voice: 'alloy', stream_format: 'sse' }),
    contentType: SSE,
    events: [
      ...WORDS.map((word) => typed('speech.audio.delta', { audio: Buffer.from(word).toString('base64') })),
      typed('speech.audio.done', { usage: { input_tokens: 12, output_tokens: 90, total_tokens: 102 } }),
    ],
    unknown,
    quantities: { calls: '1', input_tokens: '12', output_audio_tokens: '90' },
  }),
);

wireConformance(
  'openai-speech by the character',
  bytesOf({
    ...openai,
    path: '/v1/audio/speech',
    request: (input) => ({ model: 'tts-1', input, voice: 'alloy' }),
    contentType: 'audio/mpeg',
    body: Buffer.from('sound and fury '.repeat(100)),
    quantities: { calls: '1', characters: expect.stringMatching(/^\d+$/) },
  }),
);

const TRANSCRIPT = {
  type: 'tokens',
  input_tokens: 14,
  input_token_details: { audio_tokens: 14, text_tokens: 0 },
  output_tokens: 5,
  total_tokens: 19,
};
const TRANSCRIPT_QUANTITIES = { calls: '1', input_audio_tokens: '14', output_tokens: '5' };
const transcribe =
  (model: string, more: Record<string, string> = {}) =>
  (text: string) =>
    form({ model, ...more }, { name: 'file', bytes: Buffer.from(text.padEnd(6_000, '\0')) });

wireConformance(
  'openai-transcriptions',
  streamOf({
    ...openai,
    path: '/v1/audio/transcriptions',
    request: transcribe('gpt-4o-transcribe', { stream: 'true' }),
    requestType: FORM_TYPE,
    contentType: SSE,
    events: [
      ...WORDS.map((delta) => typed('transcript.text.delta', { delta })),
      typed('transcript.text.done', { text: WORDS.join(''), usage: TRANSCRIPT }),
    ],
    unknown: [typed('future.event', { news: 'none' })],
    quantities: TRANSCRIPT_QUANTITIES,
  }),
);

wireConformance(
  'openai-transcriptions, not streamed',
  bodyOf({
    ...openai,
    path: '/v1/audio/transcriptions',
    request: transcribe('whisper-1'),
    requestType: FORM_TYPE,
    body: { text: WORDS.join(''), usage: { type: 'duration', seconds: 7 } },
    quantities: { calls: '1', audio_seconds: '7' },
  }),
);
