import { describe, expect, it } from 'vitest';
import { decodeUtf8, encodeUtf8 } from './bytes.ts';
import { geminiGenerate } from './gemini-generate.ts';
import type { Asked, CallHead } from './wire.ts';

const head = (method = 'generateContent', headers: CallHead['headers'] = {}): CallHead => ({
  method: 'POST',
  path: `/v1beta/models/m:${method}`,
  query: '',
  headers,
});
const hello = { contents: [{ role: 'user', parts: [{ text: 'Hello' }] }] };

function parse(
  body: unknown,
  { model = 'gemini-3-flash', ...call }: { model?: string } & Partial<CallHead> = {},
): Asked {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return geminiGenerate.parse(encodeUtf8(text), { ...head(), ...call }, { model });
}

describe('a request of generateContent', () => {
  it('has its model in the path and is a stream by its method', () => {
    expect(parse(hello, { model: 'tuned%2Fone' })).toMatchObject({ model: 'tuned/one', stream: false, answers: 1n });
    expect(parse(hello, head('streamGenerateContent')).stream).toBe(true);
    expect(() => parse(hello, { model: '%E0%A4%A' })).toThrow('must name a model');
    expect(() => parse(hello, { model: '' })).toThrow('must name a model');
  });

  it.each(['m:generateContent', 'm%3AgenerateContent', '..%2Fother', 'a%2F.%2Fb'])(
    'is refused for a model named %s',
    (model) => {
      expect(() => parse(hello, { model })).toThrow('must name a model');
    },
  );

  it('may name its model again in the body, which must be that of the path', () => {
    expect(parse({ ...hello, model: 'models/gemini-3-flash' }).model).toBe('gemini-3-flash');
    expect(() => parse({ ...hello, model: 'models/gemini-3-pro' })).toThrow('must name the model of the path');
    const body = encodeUtf8('{"model":"models/gemini-3-flash","contents":[]}');
    const edits = { model: 'other', includeUsage: false };
    expect(decodeUtf8(geminiGenerate.rewrite(body, parse(hello), edits))).toBe(
      '{"model":"models/other","contents":[]}',
    );
  });

  it('says its maximum in either spelling, as a number or as text', () => {
    const max = (body: object) => parse({ ...hello, ...body }).outputTokensMax;
    expect(max({ generationConfig: { maxOutputTokens: 100 } })).toBe(100n);
    expect(max({ generation_config: { max_output_tokens: '100' } })).toBe(100n);
    expect(max({ generationConfig: { maxOutputTokens: 0 } })).toBeNull();
    expect(max({})).toBeNull();
    expect(parse({ ...hello, generationConfig: { candidateCount: 3 } }).answers).toBe(3n);
  });

  it.each([
    ['in both spellings', { ...hello, generationConfig: { maxOutputTokens: 1, max_output_tokens: 9 } }],
    ['as two objects', { ...hello, generationConfig: {}, generation_config: { maxOutputTokens: 9 } }],
    ['twice', '{"contents":[],"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":9}}'],
    ['twice, once in disguise', '{"contents":[],"generationConfig":{"maxOutputTokens":1,"max\\u004futputTokens":9}}'],
    ['as two objects of one name', '{"contents":[],"generationConfig":{},"generationConfig":{"maxOutputTokens":9}}'],
  ])('is refused when its maximum stands in it %s: nobody knows which counts', (_, body) => {
    expect(() => parse(body)).toThrow('is given twice');
  });

  it.each([['"lots"'], ['1.5'], ['{}'], ['true']])('is refused when its maximum is %s', (text) => {
    expect(() => parse(`{"generationConfig":{"maxOutputTokens":${text}}}`)).toThrow('must be a whole number');
  });

  it('bounds its text by its bytes, and media by what such things can cost at most', () => {
    const bytes = (body: object) => BigInt(JSON.stringify(body).length);
    expect(parse(hello).inputTokensMax).toBe(bytes(hello) + 64n);
    const data = 'A'.repeat(1_000_000);
    const image = { contents: [{ parts: [{ inlineData: { mimeType: 'image/png', data } }] }] };
    expect(parse(image).inputTokensMax).toBe(bytes(image) - 1_000_000n + 64n + 2_240n);
    const sound = { contents: [{ parts: [{ inline_data: { mime_type: 'audio/ogg', data } }] }] };
    expect(parse(sound).inputTokensMax).toBe(bytes(sound) - 1_000_000n + 64n + 32_000n);
    expect(parse(image).inputElsewhere).toBe(false);
  });

  it.each([
    ['a file', { contents: [{ parts: [{ fileData: { fileUri: 'https://x' } }] }] }],
    ['pages', { contents: [{ parts: [{ inlineData: { mimeType: 'application/pdf', data: 'AAAA' } }] }] }],
    ['a film', { contents: [{ parts: [{ inlineData: { mimeType: 'video/mp4', data: 'AAAA' } }] }] }],
    [
      'a file that a function gave back',
      { contents: [{ parts: [{ functionResponse: { parts: [{ fileData: {} }] } }] }] },
    ],
    ['what is cached', { ...hello, cachedContent: 'cachedContents/x' }],
    ['a search', { ...hello, tools: [{ google_search: {} }] }],
    ['pages of the web', { ...hello, tools: [{ urlContext: {} }] }],
  ])('is bounded by the context alone where it points at %s', (_, body) => {
    expect(parse(body).inputElsewhere).toBe(true);
  });

  it('rules out the dearer units of sound and images where it has and wants none', () => {
    expect(parse(hello)).toMatchObject({ inputUnits: ['input_tokens', 'cache_read_tokens'], outputUnits: null });
    const spoken = { contents: [{ parts: [{ inlineData: { mimeType: 'audio/wav', data: 'AAAA' } }] }] };
    expect(parse(spoken).inputUnits).toBeNull();
    expect(parse({ ...hello, cachedContent: 'cachedContents/x' }).inputUnits).toBeNull();
    const only = (...responseModalities: string[]) => parse({ ...hello, generationConfig: { responseModalities } });
    expect([only('TEXT').outputUnits, only('TEXT', 'IMAGE').outputUnits]).toEqual([['output_tokens'], null]);
  });

  it('may search, for a fee, and only where it has the tool', () => {
    expect(parse({ ...hello, tools: [{ googleSearch: {} }] }).bounds).toMatchObject({ grounded_prompts: 1n });
    expect(parse({ ...hello, tools: [{ googleMaps: {} }] }).bounds).toEqual({ maps_queries: 1n });
    expect(parse({ ...hello, tools: [{ functionDeclarations: [] }] }).bounds).toEqual({});
  });

  it('can be lowered to what is left of a budget', () => {
    const lower = (text: string) => {
      const body = encodeUtf8(text);
      const edits = { model: 'other', includeUsage: false, outputTokensMax: 7n };
      return decodeUtf8(geminiGenerate.rewrite(body, parse(text), edits));
    };
    expect(lower('{"contents":[]}')).toBe('{"contents":[],"generationConfig":{"maxOutputTokens":7}}');
    expect(lower('{"generation_config":{"max_output_tokens":"900"}}')).toBe(
      '{"generation_config":{"max_output_tokens":7}}',
    );
  });

  it('asks for a tier in its body, or by the header of Vertex', () => {
    expect(parse({ ...hello, serviceTier: 'FLEX' }).serviceTier).toBe('flex');
    const headers = { 'x-vertex-ai-llm-shared-request-type': 'priority' };
    expect(parse(hello, { headers }).serviceTier).toBe('priority');
    expect(parse(hello).serviceTier).toBeNull();
  });
});
