import { describe, expect, it } from 'vitest';
import { type CallFacts, costOfCallBy, reportedCost } from './call-cost.ts';
import { STANDARD_SERVICE } from './cost.ts';
import { type ModelEntry, type ModelPrices, type PriceBook, parsePrice, plainPrices } from './price.ts';

/** Dollars per million of input and of output. */
function prices(input: string, output: string): ModelPrices {
  const [first, second] = [parsePrice(input, 1_000_000n), parsePrice(output, 1_000_000n)];
  if (!first || !second) throw new Error('not a price');
  return plainPrices('USD', { input_tokens: first, output_tokens: second });
}

function entry(model: string, changes: Partial<ModelEntry> = {}): ModelEntry {
  return {
    provider: 'p',
    model,
    listed: true,
    contextTokens: null,
    outputTokensMax: null,
    findPrices: () => undefined,
    findHoldPrices: () => undefined,
    ...changes,
  };
}

const MODELS: Record<string, ModelEntry> = {
  small: entry('small', { findPrices: () => prices('1', '2') }),
  large: entry('large', { findPrices: () => prices('10', '20') }),
  held: entry('held', { listed: false, findHoldPrices: () => prices('100', '200') }),
};
const BOOK: PriceBook = { version: 'test', findModel: (_provider, model) => MODELS[model] };

const FACTS: CallFacts = {
  provider: 'p',
  upstream: 'u',
  customer: 'acme',
  modelSent: 'small',
  modelServed: 'small',
  service: STANDARD_SERVICE,
  atMs: 0,
  endMs: 0,
};

const COUNTS = { calls: 1n, input_tokens: 3n, output_tokens: 5n };

describe('the cost of a call whose price hangs on the hour', () => {
  it('is that of the hour in which its answer was whole, on the day on which it began', () => {
    const daily = [{ fromMs: 3_600_000, toMs: 7_200_000, prices: prices('2', '4') }];
    const book: PriceBook = {
      version: 'test',
      findModel: () => entry('small', { findPrices: () => ({ ...prices('1', '2'), daily }) }),
    };
    const amountAt = (endMs: number) => costOfCallBy(book, { ...FACTS, endMs }, COUNTS, null).json?.amount;
    expect([0, 3_599_999, 3_600_000, 7_199_999, 7_200_000].map(amountAt)).toEqual([
      '0.000013',
      '0.000013',
      '0.000026',
      '0.000026',
      '0.000013',
    ]);
  });
});

describe('the cost of a call of several parts', () => {
  it('is the exact sum of the parts, each at the price of its own model', () => {
    const parts = [
      { model: null, counts: COUNTS },
      { model: 'large', counts: { input_tokens: 7n } },
    ];
    expect(costOfCallBy(BOOK, FACTS, COUNTS, parts)).toEqual({
      json: { amount: '0.000083', currency: 'USD' },
      nanos: 83_000n,
      unpriced: [],
      parts: [
        { amount: '0.000013', currency: 'USD' },
        { amount: '0.00007', currency: 'USD' },
      ],
    });
  });

  it('is unknown where a part has no price, even if the model of the call has one', () => {
    const parts = [
      { model: null, counts: COUNTS },
      { model: 'nobody-knows', counts: { calls: 1n, output_tokens: 7n } },
    ];
    expect(costOfCallBy(BOOK, FACTS, COUNTS, parts)).toEqual({
      json: null,
      nanos: null,
      unpriced: ['output_tokens'],
      parts: [{ amount: '0.000013', currency: 'USD' }, null],
    });
  });
});

describe('the cost of what has no price', () => {
  it('is unknown, while limits count what the operator holds for it', () => {
    const facts = { ...FACTS, modelSent: 'held', modelServed: 'held-2026-01-01' };
    expect(costOfCallBy(BOOK, facts, COUNTS, null)).toEqual({
      json: null,
      nanos: 1_300_000n,
      unpriced: ['input_tokens', 'output_tokens'],
    });
    expect(costOfCallBy(BOOK, facts, { ...COUNTS, images: 1n }, null)).toMatchObject({ json: null, nanos: null });
  });

  it('is nothing where nothing was used that anyone bills', () => {
    const facts = { ...FACTS, modelSent: 'no-such', modelServed: null };
    expect(costOfCallBy(BOOK, facts, { calls: 1n, tool_calls: 2n }, null)).toMatchObject({ nanos: 0n, unpriced: [] });
  });

  it('is by the model that was sent for where the answer names one that only what is held is known of', () => {
    const facts = { ...FACTS, modelServed: 'held' };
    expect(costOfCallBy(BOOK, facts, COUNTS, null).json).toEqual({ amount: '0.000013', currency: 'USD' });
  });
});

describe('a cost that the provider reports', () => {
  it('is taken to the last digit, and said to be its own', () => {
    expect(reportedCost('0.0133176', 'USD')).toEqual({
      json: { amount: '0.0133176', currency: 'USD' },
      nanos: 13_317_600n,
      unpriced: [],
      source: 'provider',
    });
    expect(reportedCost('0.0000000001', 'USD')).toMatchObject({ json: { amount: '0.0000000001' }, nanos: 1n });
  });

  it('is none where it is no amount that an event can have', () => {
    for (const text of ['', '-1', '1e-5', 'NaN', `1${'0'.repeat(18)}`])
      expect(reportedCost(text, 'USD')).toBeUndefined();
    expect(reportedCost('999999999999999999.5', 'USD')).toBeDefined();
  });
});
