import { describe, expect, it } from 'vitest';
import { encodeUtf8 } from './bytes.ts';
import { mistralFill, mistralOcr } from './mistral.ts';
import type { AnswerHead } from './wire.ts';

const json: AnswerHead = { status: 200, headers: { 'content-type': 'application/json' }, hideUsage: false };
const body = (value: object) => encodeUtf8(JSON.stringify(value));

describe("Mistral's filling in", () => {
  it('is metered like a chat, streamed or not', () => {
    const asked = mistralFill.parse(body({ model: 'codestral-2508', prompt: 'a', suffix: 'b', max_tokens: 9 }));
    expect(asked).toMatchObject({ stream: false, outputTokensMax: 9n, usageAsked: true });
    const usage = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 };
    const plain = mistralFill.meter(asked, json);
    plain.push(body({ choices: [{ message: { content: 'x' } }], usage }));
    expect(plain.read()).toMatchObject({ complete: true, usage: { raw: usage } });
    const streamed = mistralFill.meter(asked, { ...json, headers: { 'content-type': 'text/event-stream' } });
    const last = { choices: [{ delta: { content: 'x' }, finish_reason: 'stop' }], usage };
    streamed.push(encodeUtf8(`data: ${JSON.stringify(last)}\n\n`));
    expect(streamed.read()).toMatchObject({ complete: true, usage: { raw: usage } });
  });
});

describe("Mistral's reading of documents", () => {
  it('is billed by the page, and bounded by the pages that are asked for or the most that a document has', () => {
    const document = { type: 'document_url', document_url: 'https://x/y.pdf' };
    const bounds = (pages?: unknown) => mistralOcr.parse(body({ model: 'mistral-ocr-latest', document, pages })).bounds;
    expect([bounds([0, 1, 1]), bounds('0-5'), bounds()]).toEqual([{ pages: 2n }, { pages: 1_000n }, { pages: 1_000n }]);
    const meter = mistralOcr.meter();
    meter.push(body({ pages: [{ markdown: '# A' }], model: 'mistral-ocr-2505', usage_info: { pages_processed: 29 } }));
    expect(meter.read()).toMatchObject({ complete: true, model: 'mistral-ocr-2505' });
    expect(meter.read().usage?.counts).toEqual({ calls: 1n, pages: 29n });
  });
});
