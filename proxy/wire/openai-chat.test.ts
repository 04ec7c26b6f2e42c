import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fault } from '#core/fault.ts';
import { decodeUtf8, encodeUtf8 } from './bytes.ts';
import { openaiChat } from './openai-chat.ts';
import { openaiEmbeddings } from './openai-embeddings.ts';

const messages = [{ role: 'user', content: 'Hello' }];

function parse(body: unknown) {
  return openaiChat.parse(encodeUtf8(typeof body === 'string' ? body : JSON.stringify(body)));
}

function faultOf(work: () => unknown): string {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof Fault) return `${thrown.code}: ${thrown.detail ?? ''}`;
    throw thrown;
  }
  return 'none';
}

function rewritten(body: string, edits: { model?: string; includeUsage?: boolean; outputTokensMax?: bigint }): string {
  const bytes = encodeUtf8(body);
  const asked = openaiChat.parse(bytes);
  return decodeUtf8(openaiChat.rewrite(bytes, asked, { includeUsage: false, ...edits, model: edits.model ?? null }));
}

describe('a chat request', () => {
  it('is read for what matters: the model, the stream, who it was for, the most that it can answer', () => {
    const asked = parse({
      model: 'gpt-4o',
      messages,
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 10,
      max_completion_tokens: 200,
      n: 3,
      user: 'ada',
      metadata: { session_id: 's-1' },
      service_tier: 'flex',
    });
    expect(asked).toMatchObject({
      model: 'gpt-4o',
      stream: true,
      usageAsked: true,
      user: 'ada',
      session: 's-1',
      serviceTier: 'flex',
      outputTokensMax: 200n,
      answers: 3n,
    });
  });

  it('takes no maximum from a zero or a negative one: some servers read that as unlimited', () => {
    expect(parse({ model: 'm', max_tokens: 0 }).outputTokensMax).toBeNull();
    expect(parse({ model: 'm', max_tokens: -1 }).outputTokensMax).toBeNull();
    expect(parse({ model: 'm', n: null }).answers).toBe(1n);
  });

  it('refuses what is no JSON, no UTF-8, or no object', () => {
    for (const body of ['', '{', '{"model":"m"', '{"model":"m",}', 'nul', "{'model':'m'}", '{"model":"m"}x']) {
      expect(
        faultOf(() => parse(body)),
        body,
      ).toMatch(/^invalid_json/);
    }
    expect(faultOf(() => openaiChat.parse(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)))).toMatch(/^invalid_json/);
    for (const body of ['[]', '"m"', '1', 'null'])
      expect(
        faultOf(() => parse(body)),
        body,
      ).toMatch(/^invalid_request/);
  });

  it('refuses fields of the wrong type, which a lenient server would read in its own way', () => {
    for (const fields of [
      { model: 1 },
      { model: '' },
      { model: 'x'.repeat(257) },
      { model: 'm', stream: 'true' },
      { model: 'm', n: '5' },
      { model: 'm', n: 1.5 },
      { model: 'm', max_tokens: '10' },
      { model: 'm', stream_options: true },
      { model: 'm', stream_options: { include_usage: 'yes' } },
    ]) {
      expect(
        faultOf(() => parse(fields)),
        JSON.stringify(fields),
      ).toMatch(/^invalid_request/);
    }
  });

  it('refuses a deciding field that is given twice, however its name is written', () => {
    expect(faultOf(() => parse('{"model":"cheap","model":"dear"}'))).toContain("'model' is given twice");
    expect(faultOf(() => parse('{"max_tokens":1,"model":"m","max\\u005ftokens":9}'))).toContain("'max_tokens'");
    expect(faultOf(() => parse('{"model":"m","stop":1,"stop":2}'))).toBe('none');
  });

  it('is bounded by its bytes, with room for the template and for tools', () => {
    const body = JSON.stringify({ model: 'm', messages });
    expect(parse(body).inputTokensMax).toBe(BigInt(body.length) + 64n);
    const withTools = JSON.stringify({ model: 'm', messages, tools: [] });
    expect(parse(withTools).inputTokensMax).toBe(BigInt(withTools.length) + 64n + 1024n);
  });

  it('counts media by their own maxima instead of their bytes', () => {
    const data = 'A'.repeat(100_000);
    const ask = (model: string, part: unknown) => parse({ model, messages: [{ role: 'user', content: [part] }] });
    const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${data}` } };
    expect(ask('gpt-4o', image).inputTokensMax).toBeLessThan(1_445n + 300n);
    expect(ask('gpt-4o-mini', image).inputTokensMax).toBeGreaterThan(48_169n);
    expect(
      ask('unheard-of', { type: 'image_url', image_url: { url: 'https://x/y.png' } }).inputTokensMax,
    ).toBeGreaterThan(48_169n);
    // 100,000 characters of base64 are 75,000 bytes: at 6 kbit/s 100 seconds, at 10 tokens a second 1,000 tokens.
    const sound = ask('gpt-4o-audio-preview', { type: 'input_audio', input_audio: { data, format: 'mp3' } });
    expect(sound.inputTokensMax).toBeLessThan(1_000n + 300n);
    expect(ask('gpt-4o', { type: 'file', file: { file_data: data } }).inputElsewhere).toBe(true);
    expect(ask('gpt-4o', { type: 'file', file: { file_id: 'f' } }).inputElsewhere).toBe(true);
    expect(parse({ model: 'm', web_search_options: {} }).inputElsewhere).toBe(true);
  });
});

describe('the edits of a chat request', () => {
  it('ask for usage with as few bytes as can be, and leave every other byte alone', () => {
    const cases: readonly [string, string][] = [
      ['{"model":"m","stream":true}', '{"model":"m","stream":true,"stream_options":{"include_usage":true}}'],
      [
        '{ "stream" : true , "model" : "m" }\n',
        '{ "stream" : true , "model" : "m","stream_options":{"include_usage":true} }\n',
      ],
      [
        '{"stream_options":null,"model":"m","stream":true}',
        '{"stream_options":{"include_usage":true},"model":"m","stream":true}',
      ],
      [
        '{"stream_options":{},"model":"m","stream":true}',
        '{"stream_options":{"include_usage":true},"model":"m","stream":true}',
      ],
      [
        '{"stream_options":{"include_obfuscation": false},"model":"m","stream":true}',
        '{"stream_options":{"include_usage":true,"include_obfuscation": false},"model":"m","stream":true}',
      ],
      [
        '{"stream_options":{"include_usage": false , "x":1},"model":"m","stream":true}',
        '{"stream_options":{"include_usage": true , "x":1},"model":"m","stream":true}',
      ],
      [
        '{"model":"m","stream":true,"stop":"\\"stream_options\\":{}","a":[{"stream_options":1}]}',
        '{"model":"m","stream":true,"stop":"\\"stream_options\\":{}","a":[{"stream_options":1}],"stream_options":{"include_usage":true}}',
      ],
    ];
    for (const [before, after] of cases) expect(rewritten(before, { includeUsage: true })).toBe(after);
  });

  it('replace the name of the model and nothing else', () => {
    expect(rewritten('{"a":{"model":"x"},"model" : "gpt-4o" ,"b":1}', { model: 'my "deploy"' })).toBe(
      '{"a":{"model":"x"},"model" : "my \\"deploy\\"" ,"b":1}',
    );
    expect(rewritten('{"model":"m","stream":true}', { model: 'n', includeUsage: true })).toBe(
      '{"model":"n","stream":true,"stream_options":{"include_usage":true}}',
    );
  });

  it('are none where there is nothing to change', () => {
    const body = encodeUtf8('{"model":"m","stream":true,"stream_options":{"include_usage":true}}');
    const asked = openaiChat.parse(body);
    expect(openaiChat.rewrite(body, asked, { model: null, includeUsage: true })).toBe(body);
    const plain = encodeUtf8('{"model":"m"}');
    expect(openaiChat.rewrite(plain, openaiChat.parse(plain), { model: null, includeUsage: true })).toBe(plain);
  });

  it('mean the same as setting the field on the parsed body, for any body', () => {
    const rest = fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 6 });
    const options = fc.option(fc.dictionary(fc.constantFrom('include_usage', 'a', 'b"'), fc.boolean()));
    fc.assert(
      fc.property(rest, options, fc.integer({ min: 0, max: 2 }), (others, streamOptions, blanks) => {
        fc.pre(
          !['stream_options', 'n', 'max_tokens', 'tools', 'messages', '__proto__'].some(
            (key) => key in others && Object.hasOwn(others, key),
          ),
        );
        const body = { ...others, model: 'm', stream: true, ...(streamOptions && { stream_options: streamOptions }) };
        const text = JSON.stringify(body, null, blanks);
        expect(JSON.parse(rewritten(text, { model: 'n', includeUsage: true }))).toEqual(
          JSON.parse(
            JSON.stringify({ ...body, model: 'n', stream_options: { ...streamOptions, include_usage: true } }),
          ),
        );
      }),
    );
  });
});

describe('an embeddings request', () => {
  it('is bounded by its bytes, answers no tokens, and counts token ids for its guess', () => {
    const body = encodeUtf8('{"model":"text-embedding-3-small","input":[[1,2,3],[4]],"user":"ada"}');
    expect(openaiEmbeddings.parse(body)).toMatchObject({
      inputTokensMax: BigInt(body.length),
      inputTokensGuess: 4n,
      outputTokensMax: 0n,
      answers: 0n,
      user: 'ada',
    });
    expect(openaiEmbeddings.parse(encodeUtf8('{"model":"m","input":[4438,656]}')).inputTokensGuess).toBe(2n);
    expect(openaiEmbeddings.parse(encodeUtf8('{"model":"m","input":["a","b"]}')).inputTokensGuess).toBe(8n);
    expect(faultOf(() => openaiEmbeddings.parse(encodeUtf8('{"model":"m","model":"n"}')))).toMatch(/^invalid_request/);
  });
});

describe('the most that a chat may answer', () => {
  it('is lowered wherever it stands, and put in under the name that the model knows where it does not', () => {
    const lower = (body: string, model?: string) => rewritten(body, { outputTokensMax: 7n, ...(model && { model }) });
    expect(lower('{"model":"m","max_tokens" : 100 , "n":2}')).toBe('{"model":"m","max_tokens" : 7 , "n":2}');
    expect(lower('{"max_tokens":9,"model":"m","max_completion_tokens":100}')).toBe(
      '{"max_tokens":7,"model":"m","max_completion_tokens":7}',
    );
    expect(lower('{"model":"gpt-4o"}')).toBe('{"model":"gpt-4o","max_completion_tokens":7}');
    expect(lower('{"model":"llama-3"}')).toBe('{"model":"llama-3","max_tokens":7}');
    expect(lower('{"model":"fast"}', 'openai/o3')).toBe('{"model":"openai/o3","max_completion_tokens":7}');
    expect(lower('{"model":"m","max_tokens":null,"stream":true}')).toBe('{"model":"m","max_tokens":7,"stream":true}');
  });

  it('is lowered together with the other edits, and what is sent says what was meant', () => {
    const sent = rewritten('{"model":"m","messages":[],"stream":true,"max_tokens":500}', {
      model: 'gpt-4o',
      includeUsage: true,
      outputTokensMax: 20n,
    });
    expect(JSON.parse(sent)).toEqual({
      model: 'gpt-4o',
      messages: [],
      stream: true,
      max_tokens: 20,
      stream_options: { include_usage: true },
    });
  });
});

describe('the text of a chat', () => {
  const text = (body: unknown) => openaiChat.inputText(encodeUtf8(JSON.stringify(body)));

  it('is what its messages say, with the tokens around them', () => {
    const content = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ];
    expect(
      text({
        model: 'm',
        messages: [
          { role: 'system', content: 'Be brief.' },
          { role: 'user', name: 'ada', content },
        ],
      }),
    ).toEqual({
      texts: ['Be brief.', 'a', 'b', 'ada'],
      extraTokens: 12n,
    });
  });

  it('is not known where there is more than text', () => {
    for (const more of [
      { tools: [{}] },
      { response_format: { type: 'json_schema' } },
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] },
      { messages: [{ role: 'assistant', content: null, tool_calls: [] }] },
      { messages: 'x' },
    ]) {
      expect(text({ model: 'm', messages: [{ role: 'user', content: 'x' }], ...more })).toBeUndefined();
    }
  });
});
