import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tokensOf } from '#core/quantity.ts';
import { billedQueries, groundingCounts, parseInteractionUsage, parseUsageMetadata, tierOf } from './gemini-usage.ts';

/** Without what is zero. */
function counts(usage: ReturnType<typeof parseUsageMetadata>) {
  return usage && Object.fromEntries(Object.entries(usage.counts).filter(([, count]) => count !== 0n));
}

const of = (modality: string, tokenCount: number) => ({ modality, tokenCount });

describe("Google's usage", () => {
  it('has its thoughts beside its answer, and both are output', () => {
    const raw = { promptTokenCount: 9, candidatesTokenCount: 23, totalTokenCount: 217, thoughtsTokenCount: 185 };
    expect(counts(parseUsageMetadata(raw))).toEqual({ calls: 1n, input_tokens: 9n, output_tokens: 208n });
  });

  it('is taken apart by what was cached, what tools brought in, and what is no text', () => {
    const raw = {
      promptTokenCount: 1_000,
      promptTokensDetails: [of('TEXT', 300), of('AUDIO', 400), of('IMAGE', 258), of('VIDEO', 42)],
      cachedContentTokenCount: 500,
      cacheTokensDetails: [of('TEXT', 200), of('AUDIO', 300)],
      toolUsePromptTokenCount: 60,
      toolUsePromptTokensDetails: [of('TEXT', 50), of('IMAGE', 10)],
      candidatesTokenCount: 1_300,
      candidatesTokensDetails: [of('TEXT', 10), of('IMAGE', 1_290)],
      thoughtsTokenCount: 7,
      totalTokenCount: 2_367,
    };
    expect(counts(parseUsageMetadata(raw))).toEqual({
      calls: 1n,
      input_tokens: 150n,
      input_audio_tokens: 100n,
      input_image_tokens: 268n,
      input_video_tokens: 42n,
      cache_read_tokens: 200n,
      cache_read_audio_tokens: 300n,
      output_tokens: 17n,
      output_image_tokens: 1_290n,
    });
  });

  it.each([
    [
      'the answer counts the thoughts too',
      { candidatesTokenCount: 50, thoughtsTokenCount: 20, totalTokenCount: 60 },
      50n,
    ],
    ['only the total has the thoughts', { candidatesTokenCount: 50, totalTokenCount: 80 }, 70n],
    [
      'the total leaves out what tools brought in',
      { candidatesTokenCount: 50, thoughtsTokenCount: 5, toolUsePromptTokenCount: 30, totalTokenCount: 65 },
      55n,
    ],
    ['there is no total', { candidatesTokenCount: 50, thoughtsTokenCount: 20 }, 70n],
    ['the total is too small to be one', { candidatesTokenCount: 50, thoughtsTokenCount: 20, totalTokenCount: 3 }, 70n],
  ])('gives the right output where %s', (_, raw, output) => {
    expect(parseUsageMetadata({ promptTokenCount: 10, ...raw })?.counts.output_tokens).toBe(output);
  });

  it('may be text, lack what is zero, or say nothing', () => {
    expect(counts(parseUsageMetadata({ totalTokenCount: '12', promptTokenCount: '12' }))).toEqual({
      calls: 1n,
      input_tokens: 12n,
    });
    expect(parseUsageMetadata({ trafficType: 'ON_DEMAND' })).toBeUndefined();
    expect(parseUsageMetadata({ promptTokenCount: -1 })).toBeUndefined();
    expect(parseUsageMetadata(null)).toBeUndefined();
  });

  it("never counts a token twice: its units sum up to the provider's own total", () => {
    const tokens = fc.nat({ max: 1_000 });
    const details = fc.array(
      fc.record({ modality: fc.constantFrom('TEXT', 'AUDIO', 'IMAGE', 'VIDEO', 'DOCUMENT'), tokenCount: tokens }),
    );
    fc.assert(
      fc.property(tokens, tokens, tokens, tokens, tokens, details, details, details, details, (...drawn) => {
        const [prompt, cached, answer, thoughts, tools, a, b, c, d] = drawn;
        const totalTokenCount = prompt + answer + thoughts + tools;
        const usage = parseUsageMetadata({
          promptTokenCount: prompt,
          cachedContentTokenCount: cached,
          candidatesTokenCount: answer,
          thoughtsTokenCount: thoughts,
          toolUsePromptTokenCount: tools,
          totalTokenCount,
          promptTokensDetails: a,
          cacheTokensDetails: b,
          candidatesTokensDetails: c,
          toolUsePromptTokensDetails: d,
        });
        expect(tokensOf(usage?.counts ?? {})).toBe(BigInt(totalTokenCount));
        expect(Object.values(usage?.counts ?? {}).every((one) => one >= 0n)).toBe(true);
      }),
    );
  });

  it('is the same of an interaction under other names', () => {
    const raw = {
      total_input_tokens: 22,
      total_output_tokens: 590,
      total_thought_tokens: 1_173,
      total_tool_use_tokens: 198,
      total_cached_tokens: 2,
      total_tokens: 1_983,
      input_tokens_by_modality: [
        { modality: 'text', tokens: 12 },
        { modality: 'audio', tokens: 10 },
      ],
      grounding_tool_count: [
        { type: 'google_search', count: 3 },
        { type: 'google_maps', count: 1 },
      ],
    };
    expect(counts(parseInteractionUsage(raw))).toEqual({
      calls: 1n,
      input_tokens: 208n,
      input_audio_tokens: 10n,
      cache_read_tokens: 2n,
      output_tokens: 1_763n,
      grounding_queries: 3n,
      grounded_prompts: 1n,
      maps_queries: 1n,
    });
  });

  it('names the tier that served', () => {
    expect(tierOf({ trafficType: 'ON_DEMAND' })).toBeNull();
    expect(tierOf({ trafficType: 'ON_DEMAND_FLEX' })).toBe('flex');
    expect(tierOf({ serviceTier: 'priority' })).toBe('priority');
    expect(tierOf({ serviceTier: 'unspecified' })).toBeNull();
    expect(tierOf({ serviceTier: 'standard' })).toBeNull();
    expect(tierOf(undefined)).toBeNull();
  });
});

describe('searches behind an answer', () => {
  it('are counted by the distinct query and by the prompt: the price list says which of them is billed', () => {
    const queries = billedQueries(new Set(['', 'a', 'b']));
    expect(groundingCounts(queries)).toEqual({ grounding_queries: 2n, grounded_prompts: 1n });
    expect(groundingCounts(billedQueries(new Set(['']))).grounded_prompts).toBeUndefined();
  });
});
