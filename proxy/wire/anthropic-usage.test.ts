import { describe, expect, it } from 'vitest';
import { parseAnthropicUsage } from './anthropic-usage.ts';

const SHORT = { hourWrites: false, unbilled: false };

function read(raw: unknown, context = SHORT) {
  const usage = parseAnthropicUsage(raw, context);
  return usage && { ...plain(usage.counts), parts: usage.parts?.map(({ model, counts }) => [model, plain(counts)]) };
}

function plain(counts: Readonly<Record<string, bigint>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(counts)
      .filter(([, value]) => value !== 0n)
      .map(([unit, value]) => [unit, Number(value)]),
  );
}

const entry = (type: string, input: number, output: number, more: object = {}) => ({
  type,
  input_tokens: input,
  output_tokens: output,
  cache_read_input_tokens: 0,
  cache_creation_input_tokens: 0,
  ...more,
});

describe("Anthropic's usage", () => {
  it('leaves out of the input what a cache took or gave, and tells writes apart by their lifetime', () => {
    expect(
      read({
        input_tokens: 10,
        cache_read_input_tokens: 20,
        cache_creation_input_tokens: 70,
        cache_creation: { ephemeral_5m_input_tokens: 30, ephemeral_1h_input_tokens: 40 },
        output_tokens: 5,
      }),
    ).toEqual({
      calls: 1,
      input_tokens: 10,
      cache_read_tokens: 20,
      cache_write_5m_tokens: 30,
      cache_write_1h_tokens: 40,
      output_tokens: 5,
      parts: undefined,
    });
  });

  it('takes writes without a lifetime for short ones, and for long ones where the request may have asked for these', () => {
    const raw = {
      input_tokens: 1,
      cache_creation_input_tokens: 100,
      cache_creation: { ephemeral_5m_input_tokens: 60, ephemeral_1h_input_tokens: 0 },
      output_tokens: 1,
    };
    expect(read(raw)).toMatchObject({ cache_write_5m_tokens: 100 });
    expect(read(raw, { ...SHORT, hourWrites: true })).toMatchObject({
      cache_write_5m_tokens: 60,
      cache_write_1h_tokens: 40,
    });
  });

  it('takes the lifetimes from the iterations where these are all that was written', () => {
    const split = (short: number, long: number) => ({
      cache_creation_input_tokens: short + long,
      cache_creation: { ephemeral_5m_input_tokens: short, ephemeral_1h_input_tokens: long },
    });
    const raw = {
      ...entry('', 2, 9),
      cache_creation_input_tokens: 100,
      iterations: [entry('message', 1, 4, split(10, 20)), entry('message', 1, 5, split(30, 40))],
    };
    expect(read(raw)).toMatchObject({ cache_write_5m_tokens: 40, cache_write_1h_tokens: 60 });
  });

  it('has the cost that OpenRouter states, with what an own key paid behind it', () => {
    const costOf = (more: object) =>
      parseAnthropicUsage({ input_tokens: 34, output_tokens: 13, cache_read_input_tokens: 192, ...more }, SHORT)
        ?.costUsd;
    const details = { upstream_inference_cost: 0.00015472 };
    expect(costOf({ cost: 0.00015472, is_byok: false, cost_details: details })).toBe('0.00015472');
    expect(costOf({ cost: 0, is_byok: true, cost_details: details })).toBe('0.00015472');
    expect(costOf({ cost: 0.00015472 })).toBeUndefined();
  });

  it("counts its own tools' uses", () => {
    const server_tool_use = { web_search_requests: 2, web_fetch_requests: 3 };
    expect(read({ input_tokens: 1, output_tokens: 1, server_tool_use })).toMatchObject({
      web_searches: 2,
      web_fetches: 3,
    });
  });

  it('adds what was done beside the answer, each at its own model, its caches included', () => {
    const iterations = [
      entry('message', 50, 5),
      entry('compaction', 400, 30, {
        cache_creation_input_tokens: 55_096,
        cache_creation: { ephemeral_5m_input_tokens: 55_096, ephemeral_1h_input_tokens: 0 },
      }),
      entry('advisor_message', 60, 70, { model: 'claude-opus-9' }),
      entry('message', 50, 5),
    ];
    expect(read({ input_tokens: 100, output_tokens: 10, iterations })).toEqual({
      calls: 1,
      input_tokens: 560,
      cache_write_5m_tokens: 55_096,
      output_tokens: 110,
      parts: [
        [null, { calls: 1, input_tokens: 500, cache_write_5m_tokens: 55_096, output_tokens: 40 }],
        ['claude-opus-9', { input_tokens: 60, output_tokens: 70 }],
      ],
    });
    expect(read({ input_tokens: 100, output_tokens: 10, iterations: [entry('message', 100, 10)] })?.parts).toBe(
      undefined,
    );
  });

  it('bills a model that declined in the middle at its own price, and one that declined before any output not at all', () => {
    const iterations = [
      entry('message', 106, 1, { model: 'claude-fable-5' }),
      entry('message', 106, 40, { model: 'claude-fable-4' }),
      entry('message', 20, 2, { model: 'claude-opus-5' }),
      entry('fallback_message', 100, 50, { model: 'claude-opus-5' }),
    ];
    expect(read({ input_tokens: 120, output_tokens: 52, iterations })).toMatchObject({
      input_tokens: 226,
      output_tokens: 92,
      parts: [
        [null, { calls: 1, input_tokens: 120, output_tokens: 52 }],
        ['claude-fable-4', { input_tokens: 106, output_tokens: 40 }],
      ],
    });
  });

  it('is nothing but a call for a refusal before any output', () => {
    expect(read({ input_tokens: 106, output_tokens: 1 }, { ...SHORT, unbilled: true })).toEqual({ calls: 1 });
  });

  it.each([null, 7, [], {}, { input_tokens: '5' }, { output_tokens: -1 }, { input_tokens: 1.5 }])(
    'is none in %j',
    (raw) => {
      expect(read(raw)).toBeUndefined();
    },
  );
});
