import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat, decodeUtf8, encodeUtf8 } from './bytes.ts';
import { streamMeter } from './openai-stream-meter.ts';
import { EVENT_BYTES_MAX } from './sse.ts';
import type { Reading } from './wire.ts';

const USAGE = { prompt_tokens: 12, completion_tokens: 100, total_tokens: 112 };
const RAW = JSON.stringify(USAGE);

/** What an upstream sends when usage is asked for, and what the same upstream sends when it is not. */
interface Pair {
  name: string;
  asked: string;
  plain: string;
}

function chunk(delta: string, usage: string, extra = ''): string {
  return `{"id":"c1","model":"gpt-5-nano-2025-08-07","service_tier":"default","choices":[{"index":0,"delta":${delta}}]${usage}${extra}}`;
}

const NULL = ',"usage":null';
const FINAL = `{"id":"c1","model":"gpt-5-nano-2025-08-07","choices":[],"usage":${RAW},"obfuscation":"t9"}`;

function stream(payloads: readonly string[], end = '\n\n'): string {
  return payloads.map((payload) => `data: ${payload}${end}`).join('');
}

const PAIRS: readonly Pair[] = [
  {
    name: 'OpenAI',
    asked: stream([
      chunk('{"role":"assistant","content":""}', NULL, ',"obfuscation":"WuQNX"'),
      chunk('{"content":"Grüße, \\"usage\\":null 🌍"}', NULL, ',"obfuscation":"x"'),
      FINAL,
      '[DONE]',
    ]),
    plain: stream([
      chunk('{"role":"assistant","content":""}', '', ',"obfuscation":"WuQNX"'),
      chunk('{"content":"Grüße, \\"usage\\":null 🌍"}', '', ',"obfuscation":"x"'),
      '[DONE]',
    ]),
  },
  {
    name: 'Azure, whose first chunk has no choices either',
    asked: stream([
      '{"choices":[],"id":"","model":"","prompt_filter_results":[],"usage":null}',
      chunk('{"content":"Hi"}', NULL),
      FINAL,
      '[DONE]',
    ]),
    plain: stream([
      '{"choices":[],"id":"","model":"","prompt_filter_results":[]}',
      chunk('{"content":"Hi"}', ''),
      '[DONE]',
    ]),
  },
  {
    name: 'a null usage after the usage (moderation)',
    asked: stream([
      chunk('{"content":"Hi"}', NULL),
      FINAL,
      '{"id":"c1","moderation":{"usage":1},"choices":[],"usage":null}',
      '[DONE]',
    ]),
    plain: stream([chunk('{"content":"Hi"}', ''), '{"id":"c1","moderation":{"usage":1},"choices":[]}', '[DONE]']),
  },
  {
    name: 'usage with the last words (Mistral), which always comes',
    asked: stream([chunk('{"content":"Hi"}', ''), chunk('{"content":"!"}', `,"usage":${RAW}`), '[DONE]']),
    plain: stream([chunk('{"content":"Hi"}', ''), chunk('{"content":"!"}', `,"usage":${RAW}`), '[DONE]']),
  },
  {
    name: 'blanks around the null, and the null first in its object',
    asked: stream([
      '{"usage": null, "choices": [{"delta": {"content": "a"}}]}',
      '{"id": 1, "usage" : null , "choices": []}',
      FINAL,
    ]),
    plain: stream(['{"choices": [{"delta": {"content": "a"}}]}', '{"id": 1 , "choices": []}']),
  },
  {
    name: 'CRLF',
    asked: stream([chunk('{"content":"Hi"}', NULL), FINAL, '[DONE]'], '\r\n\r\n'),
    plain: stream([chunk('{"content":"Hi"}', ''), '[DONE]'], '\r\n\r\n'),
  },
  {
    name: 'CR',
    asked: stream([chunk('{"content":"Hi"}', NULL), FINAL, '[DONE]'], '\r\r'),
    plain: stream([chunk('{"content":"Hi"}', ''), '[DONE]'], '\r\r'),
  },
  {
    name: 'a byte order mark, comments, names, blank lines and data without a blank',
    asked: `\uFEFFdata:${chunk('{"content":"Hi"}', NULL)}\n\n\n: OPENROUTER PROCESSING\n\nevent: message\nid: 7\ndata: ${FINAL}\n\n: "usage"\n\ndata: [DONE]\n\n`,
    plain: `\uFEFFdata:${chunk('{"content":"Hi"}', '')}\n\n\n: OPENROUTER PROCESSING\n\n: "usage"\n\ndata: [DONE]\n\n`,
  },
  {
    name: 'data over several lines',
    asked: `data: {"id":"c1",\ndata: "choices":[{"delta":{"content":"Hi"}}],\ndata: "usage":\ndata: null,"x":1}\n\ndata: {"choices":[],\ndata:"usage":${RAW}}\n\n`,
    plain: `data: {"id":"c1",\ndata: "choices":[{"delta":{"content":"Hi"}}],"x":1}\n\n`,
  },
  {
    name: 'a last event without its blank line',
    asked: `${stream([chunk('{"content":"Hi"}', NULL)])}data: ${FINAL}`,
    plain: stream([chunk('{"content":"Hi"}', '')]),
  },
  {
    name: 'what is no JSON',
    asked: 'data: {"usage":nul\n\ndata: "usage"\n\nusage\n\ndata: [1,"usage"]\n\n',
    plain: 'data: {"usage":nul\n\ndata: "usage"\n\nusage\n\ndata: [1,"usage"]\n\n',
  },
];

function run(chunks: readonly Uint8Array[], hideUsage: boolean): { text: string; reading: Reading } {
  const meter = streamMeter(hideUsage);
  // Copies, since what a meter gives may be a view that its next push reuses.
  const parts = chunks.map((bytes) => meter.push(bytes).slice());
  parts.push(meter.end().slice());
  return { text: new TextDecoder('utf-8', { ignoreBOM: true }).decode(concat(parts)), reading: meter.read() };
}

function* cutsOf(bytes: Uint8Array): Generator<Uint8Array[]> {
  yield [bytes];
  for (let at = 1; at < bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
  yield Array.from(bytes, (byte) => Uint8Array.of(byte));
}

describe('the meter of a chat stream', () => {
  for (const { name, asked, plain } of PAIRS) {
    it(`hides what only our asking brought, at every cut of the bytes: ${name}`, () => {
      const bytes = encodeUtf8(asked);
      const whole = run([bytes], true).reading;
      for (const chunks of cutsOf(bytes)) {
        const { text, reading } = run(chunks, true);
        expect(text).toBe(plain);
        expect(reading).toEqual(whole);
      }
    });

    it(`passes every byte where the client asked, and reads the same: ${name}`, () => {
      const bytes = encodeUtf8(asked);
      const whole = run([bytes], true).reading;
      for (const chunks of cutsOf(bytes)) {
        const { text, reading } = run(chunks, false);
        expect(text).toBe(asked);
        expect(reading).toEqual(whole);
      }
    });
  }

  it('reads the same whatever the chunks', () => {
    const bytes = encodeUtf8(PAIRS.map(({ asked }) => asked).join(''));
    const whole = run([bytes], true);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 40 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const chunks = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
        expect(run(chunks, true)).toEqual(whole);
      }),
    );
  });

  it('takes the last usage that is not null, and the model and tier that come with it', () => {
    const { reading } = run([encodeUtf8(PAIRS[2]?.asked ?? '')], true);
    expect(reading).toMatchObject({
      usage: { raw: USAGE, counts: { calls: 1n, input_tokens: 12n, output_tokens: 100n } },
      model: 'gpt-5-nano-2025-08-07',
      serviceTier: 'default',
      complete: true,
      failed: false,
    });
  });

  it('counts only generated text for its guess, in every choice, escaped or not', () => {
    const text = [
      '{"choices":[{"index":0,"delta":{"role":"assistant","content":"12345678"}},{"index":1,"delta":{"content":"1234"}}]}',
      '{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\\"a\\":1}"}}]}}]}',
      '{"choices":[{"delta":{"reasoning_content":"1234"}}],"obfuscation":"aaaaaaaaaaaaaaaaaaaaaa"}',
    ];
    expect(run([encodeUtf8(stream(text))], false).reading).toMatchObject({
      usage: null,
      complete: false,
      outputTokensGuess: 7n, // 8 + 4 + 9 + 4 bytes
    });
  });

  it('sees an error inside the stream, and no error in a word or a null', () => {
    const failed = stream([chunk('{"content":"Hi"}', ''), '{"error":{"message":"overloaded","type":"server_error"}}']);
    expect(run([encodeUtf8(failed)], false).reading.failed).toBe(true);
    const fine = stream([chunk('{"content":"\\"error\\": x"}', '', ',"error":null'), '[DONE]']);
    expect(run([encodeUtf8(fine)], false).reading).toMatchObject({ failed: false, complete: true });
  });

  it('can break off between events only, unless unfinished events are held back anyway', () => {
    const meter = streamMeter(false);
    meter.push(encodeUtf8('data: {"a":1}\n\n'));
    expect(decodeUtf8(meter.breakOff('Gone.', 'upstream_broken') ?? new Uint8Array())).toBe(
      'data: {"error":{"message":"Gone.","type":"server_error","param":null,"code":"upstream_broken"}}\n\n',
    );
    meter.push(encodeUtf8('data: {"a'));
    expect(meter.breakOff('Gone.', 'upstream_broken')).toBeUndefined();
    const hiding = streamMeter(true);
    hiding.push(encodeUtf8('data: {"a'));
    expect(hiding.breakOff('Gone.', 'upstream_broken')).toBeDefined();
  });

  it('passes an event beyond every bound without holding it, and reads on after it', () => {
    const large = `data: {"choices":[],"x":"${'y'.repeat(EVENT_BYTES_MAX)}"}\n\n`;
    const bytes = encodeUtf8(`${large}${stream([FINAL, '[DONE]'])}`);
    const chunks = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, i) =>
      bytes.subarray(i * 65_536, (i + 1) * 65_536),
    );
    const { text, reading } = run(chunks, true);
    expect(text === `${large}data: [DONE]\n\n`).toBe(true);
    expect(reading.usage?.raw).toEqual(USAGE);
  });
});

describe('what a stream has shown, for a call that is held in parts', () => {
  const chunk = (delta: object) => encodeUtf8(`data: ${JSON.stringify({ choices: [{ index: 0, delta }] })}\n\n`);

  it('is never fewer bytes than there are tokens, and its text as it was meant', () => {
    const meter = streamMeter(true, true);
    const frame = meter.shown?.tokensMax ?? 0;
    meter.push(chunk({ role: 'assistant', content: '' }));
    const opened = meter.shown?.tokensMax ?? 0;
    meter.push(chunk({ content: 'Grüße,\n"Ada" 🙂' }));
    expect((meter.shown?.tokensMax ?? 0) - opened).toBeGreaterThanOrEqual(encodeUtf8('Grüße,\n"Ada" 🙂').length);
    expect(opened).toBeGreaterThanOrEqual(frame);
    expect(meter.shown?.takeText()).toBe('Grüße,\n"Ada" 🙂');
    meter.push(chunk({ reasoning_content: 'hm' }));
    expect(meter.shown?.takeText()).toBe('hm');
  });

  it('has no text to count once there is a tool call, whose tokens are not all seen', () => {
    const meter = streamMeter(false, true);
    const before = meter.shown?.tokensMax ?? 0;
    const call = { index: 0, id: 'call_1', type: 'function', function: { name: 'look_up', arguments: '{"a":1}' } };
    meter.push(chunk({ tool_calls: [call] }));
    expect(meter.shown?.takeText()).toBeUndefined();
    expect((meter.shown?.tokensMax ?? 0) - before).toBeGreaterThan('look_up{"a":1}'.length + 8);
  });

  it('is not looked for where nobody wants it', () => {
    expect(streamMeter(true).shown).toBeUndefined();
  });
});
