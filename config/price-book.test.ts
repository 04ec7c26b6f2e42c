import { describe, expect, it } from 'vitest';
import { exact, formatExact, getExact, multiply } from '#core/exact.ts';
import { type ModelPrices, type Prices, parsePrice, plainPrices } from '#core/price.ts';
import type { Unit } from '#core/quantity.ts';
import { builtinPriceBook, type Catalogue, type ModelOverride, priceBook } from './price-book.ts';

const NOVEMBER = Date.parse('2026-11-20T12:00:00Z');
const DECEMBER = Date.parse('2026-12-01T00:00:00Z');

/** Dollars per million. */
function input(amount: string): ModelPrices {
  const price = parsePrice(amount, 1_000_000n);
  if (!price) throw new Error('not a price');
  const prices: Prices = { input_tokens: price };
  return plainPrices('USD', prices);
}

function override(changes: Partial<ModelOverride>): ModelOverride {
  return {
    provider: null,
    upstream: null,
    customer: null,
    model: '*',
    fromMs: null,
    contextTokens: null,
    outputTokensMax: null,
    prices: null,
    factor: null,
    holdOnly: false,
    ...changes,
  };
}

function perMillion(prices: ModelPrices | undefined, unit: Unit = 'input_tokens'): string | undefined {
  const price = prices?.standard.prices[unit];
  return price && formatExact(multiply(exact(price.amount.num, price.amount.den * price.per * 1_000n), getExact('1')));
}

interface Asked {
  provider?: string | null;
  model?: string;
  upstream?: string;
  customer?: string;
  atMs?: number;
}

function inputPrice(book: Catalogue, asked: Asked = {}): string | undefined {
  const { provider = 'openai', model = 'gpt-4o', upstream = 'openai', customer = 'acme', atMs = NOVEMBER } = asked;
  return perMillion(book.findModel(provider, model, upstream, customer)?.findPrices(atMs));
}

describe('an entry of the configuration', () => {
  it('replaces what it names and leaves the rest as the catalogue has it', () => {
    const book = priceBook(
      [override({ provider: 'openai', model: 'gpt-4o', outputTokensMax: 4_096n, prices: input('0.2') })],
      'abc',
    );
    const model = book.findModel('openai', 'gpt-4o', 'openai', 'acme');
    expect(model).toMatchObject({ contextTokens: 128_000n, outputTokensMax: 4_096n, listed: true });
    expect(perMillion(model?.findPrices(0))).toBe('0.2');
    expect(perMillion(model?.findPrices(0), 'output_tokens')).toBeUndefined();
    expect(inputPrice(book, { model: 'gpt-4o-mini' })).toBe('0.15');
  });

  it('makes models known that the catalogue has not, and gives the book another version', () => {
    const book = priceBook(
      [override({ provider: 'lab', model: 'llama-*', contextTokens: 8_192n, prices: input('1') })],
      'abc',
    );
    expect(book.findModel('lab', 'llama-3.3-70b', 'x', '')).toMatchObject({
      model: 'llama-3.3-70b',
      contextTokens: 8_192n,
    });
    expect(book.version).toBe(`${builtinPriceBook().version}+abc`);
    expect(book.listModels('lab', 'x')).toEqual([]);
  });

  it("prices a server of one's own by the name of its upstream", () => {
    const book = priceBook([override({ upstream: 'gpu', model: 'qwen', prices: input('1') })], 'a');
    expect(inputPrice(book, { provider: null, upstream: 'gpu', model: 'qwen' })).toBe('1');
    expect(inputPrice(book, { provider: null, upstream: 'other', model: 'qwen' })).toBeUndefined();
    expect(book.listModels(null, 'gpu')).toEqual(['qwen']);
    expect(book.listModels(null, 'other')).toEqual([]);
  });

  it('for a customer goes before one for an upstream, and that before one for all', () => {
    const book = priceBook(
      [
        override({ provider: 'openai', prices: input('1') }),
        override({ provider: 'openai', upstream: 'azure', prices: input('2') }),
        override({ provider: 'openai', customer: 'acme', prices: input('3') }),
        override({ provider: 'openai', upstream: 'azure', customer: 'acme', prices: input('4') }),
      ],
      'a',
    );
    expect(inputPrice(book, { customer: 'other' })).toBe('1');
    expect(inputPrice(book, { customer: 'other', upstream: 'azure' })).toBe('2');
    expect(inputPrice(book)).toBe('3');
    expect(inputPrice(book, { upstream: 'azure' })).toBe('4');
    expect(inputPrice(book, { provider: 'google', model: 'gemini-2.5-pro' })).toBe('1.25');
  });

  it('holds from its instant on, whatever the order of its dates', () => {
    const entries = [
      override({ provider: 'openai', model: 'gpt-4o', fromMs: DECEMBER, prices: input('9') }),
      override({ provider: 'openai', model: 'gpt-4o', fromMs: NOVEMBER, prices: input('8') }),
      override({ provider: 'openai', model: 'gpt-*', prices: input('7') }),
    ];
    const swapped = [entries[1], entries[0], entries[2]].flatMap((one) => one ?? []);
    for (const book of [priceBook(entries, 'a'), priceBook(swapped, 'a')]) {
      expect(inputPrice(book, { atMs: NOVEMBER - 1 })).toBe('7');
      expect(inputPrice(book, { atMs: NOVEMBER })).toBe('8');
      expect(inputPrice(book, { atMs: DECEMBER - 1 })).toBe('8');
      expect(inputPrice(book, { atMs: DECEMBER })).toBe('9');
    }
    expect(inputPrice(priceBook(entries.slice(0, 2), 'a'), { atMs: 0 })).toBe('2.5');
  });

  it('multiplies what would hold without it', () => {
    const book = priceBook(
      [
        override({ provider: 'openai', customer: 'acme', factor: exact(6n, 5n) }),
        override({ provider: 'openai', upstream: 'azure', factor: exact(9n, 10n), fromMs: DECEMBER }),
        override({ provider: 'openai', model: 'gpt-4.1', prices: input('1') }),
      ],
      'a',
    );
    expect(inputPrice(book)).toBe('3');
    expect(inputPrice(book, { upstream: 'azure' })).toBe('3');
    expect(inputPrice(book, { upstream: 'azure', atMs: DECEMBER })).toBe('2.7');
    expect(inputPrice(book, { model: 'gpt-4.1', upstream: 'azure', atMs: DECEMBER })).toBe('1.08');
    expect(inputPrice(book, { model: 'no-such' })).toBeUndefined();
    expect(book.findModel('openai', 'no-such', 'openai', 'acme')?.listed).toBe(false);
    const entry = book.findModel('openai', 'gpt-4o', 'openai', 'acme');
    expect(entry?.findPrices(NOVEMBER)).toBe(entry?.findPrices(NOVEMBER));
  });

  it('can say what holds a call that has no price, and is no price itself', () => {
    const book = priceBook([override({ provider: 'lab', holdOnly: true, prices: input('100') })], 'a');
    const entry = book.findModel('lab', 'anything', 'x', '');
    expect(entry?.listed).toBe(false);
    expect(entry?.findPrices(NOVEMBER)).toBeUndefined();
    expect(perMillion(entry?.findHoldPrices(NOVEMBER))).toBe('100');
    expect(book.findModel('openai', 'gpt-4o', 'x', '')?.findHoldPrices(NOVEMBER)).toBeUndefined();
  });

  it('answers the same for a name that it has seen before, apart for those who have prices of their own', () => {
    const book = priceBook([override({ provider: 'openai', customer: 'acme', prices: input('3') })], 'a');
    const of = (customer: string) => book.findModel('openai', 'gpt-4o', 'openai', customer);
    expect(of('x')).toBe(of('y'));
    expect(of('acme')).toBe(of('acme'));
    expect(of('acme')).not.toBe(of('x'));
  });
});
