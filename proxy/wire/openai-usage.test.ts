import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tokensOf } from '#core/quantity.ts';
import { parseUsage } from './openai-usage.ts';

describe('a usage object of OpenAI', () => {
  it('is taken apart into units that share no token', () => {
    const usage = parseUsage({
      prompt_tokens: 4_020,
      completion_tokens: 130,
      total_tokens: 4_150,
      prompt_tokens_details: { cached_tokens: 1_000, cache_write_tokens: 3_000, audio_tokens: 12 },
      completion_tokens_details: { reasoning_tokens: 64, audio_tokens: 30, rejected_prediction_tokens: 6 },
    });
    expect(usage?.counts).toEqual({
      calls: 1n,
      input_tokens: 8n,
      cache_read_tokens: 1_000n,
      cache_write_tokens: 3_000n,
      input_audio_tokens: 12n,
      output_tokens: 100n,
      output_audio_tokens: 30n,
    });
  });

  it('has its reasoning added where the total says that the completion leaves it out (xAI)', () => {
    const usage = parseUsage({
      prompt_tokens: 12,
      completion_tokens: 1,
      total_tokens: 303,
      prompt_tokens_details: { cached_tokens: 11 },
      completion_tokens_details: { reasoning_tokens: 290 },
    });
    expect(usage?.counts).toMatchObject({ input_tokens: 1n, cache_read_tokens: 11n, output_tokens: 291n });
  });

  it('has the seconds of sound that are billed beside its tokens (Mistral)', () => {
    const raw = { prompt_audio_seconds: 203, prompt_tokens: 4, completion_tokens: 635, total_tokens: 3_264 };
    expect(parseUsage(raw)?.counts).toMatchObject({ audio_seconds: 203n, input_tokens: 4n, output_tokens: 635n });
  });

  it('has what caches gave under every name that providers have for it (DeepSeek, Moonshot)', () => {
    const totals = { prompt_tokens: 100, completion_tokens: 5, total_tokens: 105 };
    const deepseek = { ...totals, prompt_cache_hit_tokens: 64, prompt_cache_miss_tokens: 36 };
    for (const usage of [deepseek, { ...totals, cached_tokens: 64 }]) {
      expect(parseUsage(usage)?.counts).toMatchObject({ input_tokens: 36n, cache_read_tokens: 64n });
    }
    const both = { ...deepseek, prompt_tokens_details: { cached_tokens: 64 } };
    expect(parseUsage(both)?.counts).toMatchObject({ input_tokens: 36n, cache_read_tokens: 64n });
  });

  it('has the cost that its provider states (xAI, OpenRouter, Perplexity), and none that may be of anything', () => {
    const totals = { prompt_tokens: 100, completion_tokens: 5, total_tokens: 105 };
    const costOf = (more: object) => parseUsage({ ...totals, ...more })?.costUsd;
    expect(costOf({ cost_in_usd_ticks: 1_466_250 })).toBe('0.000146625');
    expect(costOf({ cost: 0.0133176, is_byok: false, cost_details: { upstream_inference_cost: null } })).toBe(
      '0.0133176',
    );
    expect(costOf({ cost: 1.5e-7, is_byok: false })).toBe('0.00000015');
    expect(costOf({ cost: 0, is_byok: false })).toBe('0');
    // The operator's own key paid the most of it.
    expect(costOf({ cost: 0.0005, is_byok: true, cost_details: { upstream_inference_cost: 0.0095 } })).toBe('0.01');
    expect(costOf({ cost: 0, is_byok: true, cost_details: { upstream_inference_cost: null } })).toBeUndefined();
    expect(costOf({ cost: { input_tokens_cost: 0.0001, request_cost: 0.005, total_cost: 0.0051 } })).toBe('0.0051');
    expect(costOf({ cost: 12 })).toBeUndefined();
    expect(costOf({ cost: -1, is_byok: false })).toBeUndefined();
  });

  it('has the searches beside its tokens (OpenRouter)', () => {
    const usage = { prompt_tokens: 9, completion_tokens: 5, server_tool_use_details: { web_search_requests: 2 } };
    expect(parseUsage(usage)?.counts).toMatchObject({ input_tokens: 9n, web_searches: 2n });
  });

  it('keeps an explicit zero, which is not the same as no usage', () => {
    expect(parseUsage({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 })?.counts.output_tokens).toBe(0n);
    expect(parseUsage({ prompt_tokens: 7, total_tokens: 7 })?.counts).toMatchObject({
      input_tokens: 7n,
      output_tokens: 0n,
    });
  });

  it('is none where its totals are no counts', () => {
    for (const raw of [
      null,
      undefined,
      1,
      'x',
      [],
      {},
      { prompt_tokens: -1 },
      { prompt_tokens: 1.5 },
      { prompt_tokens: '3' },
    ]) {
      expect(parseUsage(raw)).toBeUndefined();
    }
    expect(parseUsage({ prompt_tokens: 1, completion_tokens: null })).toBeUndefined();
    expect(parseUsage({ prompt_tokens: 2 ** 60 })).toBeUndefined();
  });

  it('adds up to the totals, whatever the details say', () => {
    const count = fc.integer({ min: -5, max: 1_000 });
    fc.assert(
      fc.property(fc.nat(1_000), fc.nat(1_000), count, count, count, count, (prompt, completion, a, b, c, d) => {
        const usage = parseUsage({
          prompt_tokens: prompt,
          completion_tokens: completion,
          prompt_tokens_details: { cached_tokens: a, cache_write_tokens: b, audio_tokens: c },
          completion_tokens_details: { audio_tokens: d },
        });
        expect(usage && tokensOf(usage.counts)).toBe(BigInt(prompt + completion));
        expect(Object.values(usage?.counts ?? {}).every((value) => value >= 0n)).toBe(true);
      }),
    );
  });
});
