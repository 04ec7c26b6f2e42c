import { describe, expect, it } from 'vitest';
import { decodeUtf8, encodeUtf8 } from './bytes.ts';
import { cohereChat, cohereEmbed, cohereRerank } from './cohere.ts';
import { parseBilled } from './cohere-usage.ts';
import type { AnswerHead, Meter } from './wire.ts';

const json: AnswerHead = { status: 200, headers: { 'content-type': 'application/json' }, hideUsage: false };
const sse: AnswerHead = { ...json, headers: { 'content-type': 'text/event-stream' } };
const bytes = (value: object) => encodeUtf8(JSON.stringify(value));
const hello = { model: 'command-a', messages: [{ role: 'user', content: 'Hello' }] };
const usage = {
  billed_units: { input_tokens: 12, output_tokens: 7 },
  tokens: { input_tokens: 507, output_tokens: 10 },
};

function events(...some: { type: string }[]): string {
  return some.map((one) => `event: ${one.type}\ndata: ${JSON.stringify(one)}\n\n`).join('');
}

function read(text: string, cut: number, meter: Meter) {
  const all = encodeUtf8(text);
  meter.push(all.subarray(0, cut));
  meter.push(all.subarray(cut));
  return meter.read();
}

describe("Cohere's chat", () => {
  const asked = cohereChat.parse(bytes({ ...hello, stream: true, max_tokens: 50 }));
  const delta = { type: 'content-delta', delta: { message: { content: { text: 'Paris, of course.' } } } };
  const end = { type: 'message-end', delta: { finish_reason: 'COMPLETE', usage } };

  it('is billed by its billed units, at every cut of a stream', () => {
    const text = events({ type: 'message-start' }, delta, end);
    for (let cut = 0; cut <= text.length; cut++) {
      const reading = read(text, cut, cohereChat.meter(asked, sse));
      expect(reading).toMatchObject({ complete: true, failed: false, usage: { raw: usage } });
      expect(reading.usage?.counts).toMatchObject({ input_tokens: 12n, output_tokens: 7n });
    }
  });

  it('is estimated by its text when the end does not come', () => {
    const meter = cohereChat.meter(asked, sse);
    expect(read(events(delta), 0, meter)).toMatchObject({ complete: false, usage: null, outputTokensGuess: 5n });
    expect(decodeUtf8(meter.breakOff('Over.', 'c') ?? new Uint8Array())).toContain('"finish_reason":"ERROR"');
  });

  it('has failed when it says so', () => {
    const failed = { type: 'message-end', delta: { finish_reason: 'ERROR', error: 'x' } };
    expect(read(events(delta, failed), 0, cohereChat.meter(asked, sse))).toMatchObject({ failed: true });
  });

  it('is asked with a maximum, and bounded by its bytes', () => {
    const body = bytes(hello);
    expect(asked).toMatchObject({ model: 'command-a', stream: true, outputTokensMax: 50n });
    expect(cohereChat.parse(body)).toMatchObject({ outputTokensMax: null, inputTokensMax: BigInt(body.length) + 64n });
  });
});

describe("Cohere's other endpoints", () => {
  it('embed texts and images, billed by tokens', () => {
    const image = `data:image/png;base64,${'A'.repeat(100_000)}`;
    const asked = cohereEmbed.parse(bytes({ model: 'embed-v4.0', images: [image], texts: ['a', 'b'] }));
    expect(asked).toMatchObject({ inputs: 3n, answers: 0n, outputTokensMax: 0n });
    expect(asked.inputTokensMax).toBeLessThan(10_000n);
    const answer = { embeddings: {}, meta: { billed_units: { input_tokens: 3, image_tokens: 700, images: 1 } } };
    const { usage: known } = read(JSON.stringify(answer), 9, cohereEmbed.meter(asked, json));
    expect(known?.counts).toMatchObject({ input_tokens: 3n, input_image_tokens: 700n, input_images: 0n });
    expect(parseBilled({ billed_units: { images: 2 } })?.counts.input_images).toBe(2n);
  });

  it('rank documents, billed by the search unit, which is bounded by how many and how long they are', () => {
    const documents = Array.from({ length: 150 }, () => 'short');
    const asked = cohereRerank.parse(bytes({ model: 'rerank-v3.5', query: 'q', documents }));
    expect(asked).toMatchObject({ bounds: { search_units: 2n }, inputTokensMax: 0n });
    const answer = { results: [], meta: { billed_units: { search_units: 2 } } };
    expect(read(JSON.stringify(answer), 3, cohereRerank.meter(asked, json)).usage?.counts.search_units).toBe(2n);
  });
});
