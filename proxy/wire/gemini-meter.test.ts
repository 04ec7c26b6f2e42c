import { describe, expect, it } from 'vitest';
import { decodeUtf8, encodeUtf8 } from './bytes.ts';
import { GeminiReader } from './gemini-meter.ts';
import { jsonMeter, sseMeter } from './paths-meter.ts';
import type { Meter, Reading } from './wire.ts';

const usage = (answer: number, thoughts = 0) => ({
  promptTokenCount: 9,
  candidatesTokenCount: answer,
  thoughtsTokenCount: thoughts,
  totalTokenCount: 9 + answer + thoughts,
});
const part = (text: string, more: object = {}, answer = 1) => ({
  candidates: [{ content: { role: 'model', parts: [{ text }] }, index: 0, ...more }],
  usageMetadata: usage(answer),
  modelVersion: 'gemini-3-flash',
});
const STREAM = [part('Water '), part('flows.', {}, 2), part('', { finishReason: 'STOP' }, 3)];

const sse = (events: readonly object[]) => events.map((one) => `data: ${JSON.stringify(one)}\r\n\r\n`).join('');
const list = (events: readonly object[]) =>
  `[${events.map((one) => JSON.stringify(one, null, 2)).join('\r\n,\r\n')}\r\n]`;

function readAt(cut: number, text: string, meter: Meter): Reading {
  const bytes = encodeUtf8(text);
  for (const piece of [bytes.subarray(0, cut), bytes.subarray(cut)]) meter.push(piece);
  meter.end();
  return meter.read();
}

const whole = (text: string, meter: Meter) => readAt(0, text, meter);

describe('a stream of generateContent', () => {
  it.each([
    ['events', sse(STREAM), () => sseMeter(new GeminiReader(true))],
    ['a list', list(STREAM), () => jsonMeter(new GeminiReader(true))],
  ])('is metered by the last usage in it, as %s, at every cut', (_, text, meter) => {
    for (let cut = 0; cut <= text.length; cut++) {
      const reading = readAt(cut, text, meter());
      expect(reading).toMatchObject({ complete: true, failed: false, model: 'gemini-3-flash', outputTokensGuess: 3n });
      expect(reading.usage?.raw).toEqual(usage(3));
    }
  });

  it('takes the last usage even where it is lower: it is what Google thinks now', () => {
    const text = sse([{ usageMetadata: { promptTokenCount: 15 } }, { usageMetadata: { promptTokenCount: 13 } }]);
    expect(whole(text, sseMeter(new GeminiReader(true))).usage?.counts.input_tokens).toBe(13n);
  });

  it('is whole once a candidate has said why it ends, or the prompt was blocked', () => {
    const complete = (events: readonly object[]) => whole(sse(events), sseMeter(new GeminiReader(true))).complete;
    expect(complete(STREAM.slice(0, 2))).toBe(false);
    expect(complete([{ promptFeedback: { blockReason: 'SAFETY' }, usageMetadata: usage(0) }])).toBe(true);
  });

  it('counts distinct searches over all of it, and grounding in Maps once', () => {
    const grounded = (...webSearchQueries: string[]) => part('', { groundingMetadata: { webSearchQueries } });
    const maps = part('', { groundingMetadata: { groundingChunks: [{ maps: { placeId: 'x' } }, { maps: {} }] } });
    const text = sse([grounded('a', 'b', ''), grounded('b', 'ü'), maps]);
    expect(whole(text, sseMeter(new GeminiReader(true))).usage?.counts).toMatchObject({
      grounding_queries: 3n,
      grounded_prompts: 1n,
      maps_queries: 1n,
    });
  });

  it('has failed when an error stands in it', () => {
    const text = sse([part('a'), { error: { code: 503, message: 'Overloaded', status: 'UNAVAILABLE' } }]);
    expect(whole(text, sseMeter(new GeminiReader(true)))).toMatchObject({ failed: true, complete: false });
  });

  it('can be ended with an error between two events, and nowhere else', () => {
    const text = sse(STREAM.slice(0, 1));
    for (let cut = 1; cut < text.length; cut++) {
      const meter = sseMeter(new GeminiReader(true));
      meter.push(encodeUtf8(text.slice(0, cut)));
      expect(meter.breakOff('Over.', 'c'), `at ${cut}`).toBeUndefined();
    }
    const meter = sseMeter(new GeminiReader(true));
    meter.push(encodeUtf8(text));
    expect(decodeUtf8(meter.breakOff('Over.', 'budget_exhausted') ?? new Uint8Array())).toMatch(
      /^data: \{.*\}\r\n\r\n$/,
    );
  });

  it('is a whole list with the error as its last element, wherever between two elements it ends', () => {
    const text = list(STREAM);
    let ended = 0;
    for (let cut = 1; cut < text.length; cut++) {
      const meter = jsonMeter(new GeminiReader(true));
      meter.push(encodeUtf8(text.slice(0, cut)));
      const words = meter.breakOff('Over.', 'budget_exhausted');
      if (!words) continue;
      ended++;
      const answers = JSON.parse(text.slice(0, cut) + decodeUtf8(words));
      expect(answers.at(-1)).toMatchObject({ error: { message: 'Over.', code: expect.any(Number) } });
    }
    // Behind the opening bracket, and around each of two commas: blank, blank, comma, blank, blank.
    expect(ended).toBeGreaterThanOrEqual(11);
  });
});

describe('one answer of generateContent', () => {
  it('is metered, whole or not', () => {
    const text = JSON.stringify(part('Water flows.', { finishReason: 'STOP' }, 5), null, 2);
    for (let cut = 0; cut <= text.length; cut++) {
      const meter = jsonMeter(new GeminiReader(false));
      expect(readAt(cut, text, meter)).toMatchObject({ complete: true, usage: { raw: usage(5) } });
    }
    const broken = jsonMeter(new GeminiReader(false));
    broken.push(encodeUtf8(text.slice(0, -1)));
    expect(broken.read()).toMatchObject({ complete: false, outputTokensGuess: 3n });
  });
});
