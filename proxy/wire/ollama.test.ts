import { describe, expect, it } from 'vitest';
import { decodeUtf8, encodeUtf8 } from './bytes.ts';
import { ollamaChat, ollamaEmbed, ollamaGenerate } from './ollama.ts';
import type { Meter } from './wire.ts';

const body = (value: object) => encodeUtf8(JSON.stringify({ model: 'llama3.2', ...value }));
const line = (value: object) => `${JSON.stringify({ model: 'llama3.2', ...value })}\n`;
const last = {
  message: { role: 'assistant', content: '' },
  done: true,
  done_reason: 'stop',
  total_duration: 9_000_000,
  load_duration: 1_000_000,
  prompt_eval_count: 26,
  prompt_eval_duration: 2_500_000,
  eval_count: 298,
  eval_duration: 4_000_001,
};
const STREAM =
  line({ message: { content: 'Water ' }, done: false }) +
  line({ message: { content: 'flows.' }, done: false }) +
  line(last);

function read(text: string, cut: number, meter: Meter) {
  const all = encodeUtf8(text);
  meter.push(all.subarray(0, cut));
  meter.push(all.subarray(cut));
  return meter.read();
}

describe('an answer of Ollama', () => {
  const asked = ollamaChat.parse(body({ messages: [{ role: 'user', content: 'Hello' }] }));

  it('is a stream unless the request says otherwise, metered at every cut by its last line', () => {
    expect(asked.stream).toBe(true);
    for (let cut = 0; cut <= STREAM.length; cut++) {
      const reading = read(STREAM, cut, ollamaChat.meter(asked));
      expect(reading).toMatchObject({ complete: true, failed: false, model: 'llama3.2', outputTokensGuess: 3n });
      expect(reading.usage?.counts).toEqual({ calls: 1n, input_tokens: 26n, output_tokens: 298n, compute_ms: 7n });
    }
  });

  it('lacks the count of a prompt that was all in the cache', () => {
    const { prompt_eval_count: _, ...cached } = last;
    expect(read(line(cached), 0, ollamaChat.meter(asked)).usage?.counts.input_tokens).toBe(0n);
  });

  it('is estimated when it breaks off, and can be ended with an error on a line of its own', () => {
    const begun = STREAM.split('\n')[0] ?? '';
    const meter = ollamaChat.meter(asked);
    expect(read(begun, 5, meter)).toMatchObject({ complete: false, usage: null, outputTokensGuess: 2n });
    const words = decodeUtf8(meter.breakOff('Over.', 'c') ?? new Uint8Array());
    expect((begun + words).split('\n').map((one) => one && JSON.parse(one).error)).toEqual([undefined, 'Over.', '']);
    meter.push(encodeUtf8('\n{"mod'));
    expect(meter.breakOff('Over.', 'c')).toBeUndefined();
  });

  it('has failed when a line says so', () => {
    expect(read(`${STREAM.split('\n')[0]}\n{"error":"out of memory"}\n`, 0, ollamaChat.meter(asked)).failed).toBe(true);
  });

  it('is one value where the request wants no stream', () => {
    const plain = ollamaGenerate.parse(body({ prompt: 'Hello', stream: false }));
    expect(read(line({ ...last, response: 'Hi.' }).trim(), 7, ollamaGenerate.meter(plain))).toMatchObject({
      complete: true,
    });
  });
});

describe('a request to Ollama', () => {
  it('says its maximum among its options; below zero there is none', () => {
    const max = (options: object) => ollamaGenerate.parse(body({ prompt: 'Hello', options })).outputTokensMax;
    expect([max({ num_predict: 12 }), max({ num_predict: -1 }), max({})]).toEqual([12n, null, null]);
  });

  it('bounds its text by its bytes and its images by the most that one can cost', () => {
    const small = ollamaChat.parse(body({ messages: [{ content: 'a', images: ['A'.repeat(100_000)] }] }));
    expect(small.inputTokensMax).toBeLessThan(20_000n);
    expect(ollamaEmbed.parse(body({ input: ['a', 'b'] }))).toMatchObject({
      inputs: 2n,
      answers: 0n,
      outputTokensMax: 0n,
    });
  });

  it('is metered by what an embedding says it read', () => {
    const asked = ollamaEmbed.parse(body({ input: 'a' }));
    const answer = { embeddings: [[1]], total_duration: 5_000_000, load_duration: 1_000_000, prompt_eval_count: 8 };
    expect(read(line(answer), 0, ollamaEmbed.meter(asked)).usage?.counts).toEqual({
      calls: 1n,
      input_tokens: 8n,
      output_tokens: 0n,
      compute_ms: 4n,
    });
  });
});
