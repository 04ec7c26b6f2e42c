import { describe, expect, it } from 'vitest';
import type { Fault } from '#core/fault.ts';
import { decodeUtf8, encodeUtf8 } from './bytes.ts';
import { openaiImages } from './openai-images.ts';
import { openaiSpeech } from './openai-speech.ts';
import { openaiTranscriptions } from './openai-transcriptions.ts';
import type { Asked, CallHead, Meter, Reading } from './wire.ts';

const BOUNDARY = '----weir7MA4';

function callOf(type: string): CallHead {
  return { method: 'POST', path: '/', query: '', headers: { 'content-type': type } };
}
const FORM = callOf(`multipart/form-data; boundary="${BOUNDARY}"`);
const JSON_CALL = callOf('application/json');

/** A field, or a file where the value is bytes. */
function form(parts: readonly (readonly [name: string, value: string | Uint8Array])[]): Uint8Array {
  const pieces = parts.flatMap(([name, value]) => {
    const isFile = typeof value !== 'string';
    const more = isFile ? '; filename="a.bin"\r\nContent-Type: application/octet-stream' : '';
    const head = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n`;
    return [encodeUtf8(head), isFile ? value : encodeUtf8(value), encodeUtf8('\r\n')];
  });
  return Buffer.concat([...pieces, encodeUtf8(`--${BOUNDARY}--\r\n`)]);
}

const NO_EDITS = { model: null, includeUsage: false };
const SOUND = new Uint8Array(6_000);
const sse = (events: readonly object[]) => events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('');
const head = (type: string) => ({ status: 200, headers: { 'content-type': type }, hideUsage: false });
const SSE = head('text/event-stream');
const JSON_ANSWER = head('application/json');

function readEvery(text: string, meter: () => Meter): Reading {
  const bytes = encodeUtf8(text);
  const readings = Array.from({ length: bytes.length + 1 }, (_, cut) => {
    const one = meter();
    one.push(bytes.subarray(0, cut));
    one.push(bytes.subarray(cut));
    one.end();
    return one.read();
  });
  for (const reading of readings) expect(reading).toEqual(readings[0]);
  return readings[0] as Reading;
}

describe('a transcription', () => {
  const parse = (model: string, more: [string, string][] = []): Asked =>
    openaiTranscriptions.parse(form([['file', SOUND], ['model', model], ...more]), FORM);
  const read = (asked: Asked, text: string, answer = JSON_ANSWER): Reading =>
    readEvery(text, () => openaiTranscriptions.meter(asked, answer));

  it('is bounded by the seconds of its file, or by what tokens they can be', () => {
    expect(parse('whisper-1')).toMatchObject({
      bounds: { audio_seconds: 8n },
      inputTokensMax: 0n,
      outputTokensMax: 0n,
    });
    expect(parse('gpt-4o-transcribe', [['prompt', 'weir']])).toMatchObject({
      bounds: {},
      inputTokensMax: 92n,
      outputTokensMax: 160n,
    });
  });

  it('is metered by the usage that is reported, of either kind', () => {
    const tokens = {
      type: 'tokens',
      input_tokens: 14,
      input_token_details: { audio_tokens: 14, text_tokens: 0 },
      output_tokens: 45,
      total_tokens: 59,
    };
    expect(
      read(parse('whisper-1'), JSON.stringify({ text: 'a', usage: { type: 'duration', seconds: 7 } })).usage?.counts,
    ).toEqual({ calls: 1n, audio_seconds: 7n });
    expect(read(parse('gpt-4o-transcribe'), JSON.stringify({ text: 'a', usage: tokens })).usage?.counts).toMatchObject({
      input_audio_tokens: 14n,
      output_tokens: 45n,
      input_tokens: 0n,
    });
    const stream = sse([
      { type: 'transcript.text.delta', delta: 'Wa' },
      { type: 'transcript.text.done', text: 'Water', usage: tokens },
    ]);
    expect(read(parse('gpt-4o-transcribe', [['stream', 'true']]), stream, SSE)).toMatchObject({
      complete: true,
      usage: { counts: { input_audio_tokens: 14n } },
    });
  });

  it('is estimated by its text or its file where nothing is reported, and says so', () => {
    expect(read(parse('whisper-1'), '{"text":"a","duration":6.2}').usage).toMatchObject({
      counts: { audio_seconds: 7n },
      estimated: true,
    });
    expect(read(parse('whisper-1'), 'WEBVTT\n', head('text/vtt')).usage).toMatchObject({
      counts: { audio_seconds: 8n },
      estimated: true,
    });
    expect(read(parse('gpt-4o-transcribe'), 'Water flows.', head('text/plain'))).toMatchObject({
      usage: null,
      outputTokensGuess: 3n,
    });
  });

  it('is refused without a file or a model, with a model given twice, and where the form is not whole', () => {
    const refused = expect.objectContaining<Partial<Fault>>({ code: 'invalid_request' });
    for (const parts of [
      [['model', 'whisper-1']],
      [['file', SOUND]],
      [
        ['model', 'a'],
        ['model', 'b'],
        ['file', SOUND],
      ],
    ] as [string, string | Uint8Array][][]) {
      expect(() => openaiTranscriptions.parse(form(parts), FORM)).toThrow(refused);
    }
    const whole = form([
      ['model', 'whisper-1'],
      ['file', SOUND],
    ]);
    for (let cut = 0; cut < whole.length - 4; cut += 1 + Math.floor(cut / 300)) {
      expect(() => openaiTranscriptions.parse(whole.subarray(0, cut), FORM)).toThrow(refused);
    }
    expect(() => openaiTranscriptions.parse(whole, callOf('multipart/form-data'))).toThrow(refused);
  });

  it('changes its model in the form and nothing else', () => {
    const parts = (model: string) =>
      form([
        ['prompt', 'model'],
        ['model', model],
        ['file', SOUND],
      ]);
    const asked = openaiTranscriptions.parse(parts('fast'), FORM);
    const body = openaiTranscriptions.rewrite(parts('fast'), asked, { ...NO_EDITS, model: 'whisper-large-v3' });
    expect(decodeUtf8(body)).toBe(decodeUtf8(parts('whisper-large-v3')));
  });
});

describe('speech', () => {
  const parse = (body: object): Asked => openaiSpeech.parse(encodeUtf8(JSON.stringify({ voice: 'alloy', ...body })));

  it('is billed by the characters of its text, by older models', () => {
    const asked = parse({ model: 'tts-1', input: 'Wasser fließt 🌊' });
    expect(asked).toMatchObject({ fixed: { characters: 15n }, bounds: { characters: 15n }, outputTokensMax: 0n });
    expect(readEvery('ID3', () => openaiSpeech.meter(asked, head('audio/mpeg'))).usage).toEqual({
      counts: { calls: 1n },
      raw: null,
    });
  });

  it('is billed by the tokens that a stream of events reports, and estimated without', () => {
    const asked = parse({ model: 'gpt-4o-mini-tts', input: 'a'.repeat(30), stream_format: 'sse' });
    const done = { type: 'speech.audio.done', usage: { input_tokens: 9, output_tokens: 50, total_tokens: 59 } };
    const stream = sse([{ type: 'speech.audio.delta', audio: 'AAAA' }, done]);
    expect(readEvery(stream, () => openaiSpeech.meter(asked, SSE))).toMatchObject({
      complete: true,
      usage: { counts: { calls: 1n, input_tokens: 9n, output_audio_tokens: 50n } },
    });
    expect(readEvery('ID3', () => openaiSpeech.meter(asked, head('audio/mpeg'))).usage).toMatchObject({
      counts: { input_tokens: 8n, output_audio_tokens: 40n },
      estimated: true,
    });
  });
});

describe('images', () => {
  const parse = (body: object): Asked =>
    openaiImages.parse(encodeUtf8(JSON.stringify({ prompt: 'A weir', ...body })), JSON_CALL);
  const usage = {
    input_tokens: 50,
    input_tokens_details: { text_tokens: 10, image_tokens: 40 },
    output_tokens: 272,
    total_tokens: 322,
  };

  it('are billed by the piece where the model reports no tokens', () => {
    const asked = parse({ model: 'dall-e-3', n: 2 });
    expect(asked).toMatchObject({ bounds: { images: 2n }, inputTokensMax: 0n });
    const answer = JSON.stringify({ created: 1, data: [{ b64_json: 'AAAA' }, { b64_json: 'BBBB' }] });
    expect(readEvery(answer, () => openaiImages.meter(asked, JSON_ANSWER))).toMatchObject({
      complete: true,
      usage: { counts: { calls: 1n, images: 2n }, estimated: false },
    });
    const refused = JSON.stringify({ error: { message: 'no' } });
    expect(readEvery(refused, () => openaiImages.meter(asked, JSON_ANSWER)).usage).toBeNull();
  });

  it('are billed by the tokens that the younger models report, whole and streamed', () => {
    const asked = parse({ model: 'gpt-image-1', n: 1, stream: true, partial_images: 2 });
    expect(asked).toMatchObject({ inputTokensMax: 6n, outputTokensMax: 6_440n, answers: 1n, bounds: {} });
    const counts = { input_tokens: 10n, input_image_tokens: 40n, output_image_tokens: 272n };
    const whole = JSON.stringify({ created: 1, data: [{ b64_json: 'A'.repeat(500) }], usage });
    expect(readEvery(whole, () => openaiImages.meter(asked, JSON_ANSWER)).usage?.counts).toMatchObject(counts);
    const stream = sse([
      { type: 'image_generation.partial_image', b64_json: 'AAAA' },
      { type: 'image_generation.completed', b64_json: 'AAAA', usage },
    ]);
    expect(readEvery(stream, () => openaiImages.meter(asked, SSE))).toMatchObject({
      complete: true,
      usage: { counts },
    });
  });

  it('are read from a form, pictures and all', () => {
    const body = form([
      ['model', 'gpt-image-1'],
      ['prompt', 'A weir'],
      ['n', '3'],
      ['image[]', SOUND],
      ['image[]', SOUND],
    ]);
    expect(openaiImages.parse(body, FORM)).toMatchObject({ answers: 3n, inputTokensMax: 20_006n });
    const bad = form([
      ['model', 'gpt-image-1'],
      ['n', 'many'],
    ]);
    expect(() => openaiImages.parse(bad, FORM)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });
});
