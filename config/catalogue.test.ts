import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { formatExact, getExact, multiply } from '#core/exact.ts';
import { costOf, type ModelPrices, parsePrice } from '#core/price.ts';
import type { Unit } from '#core/quantity.ts';
import { catalogueVersion, PROVIDER_FILES } from './catalogue/version.ts';
import { builtinPriceBook, catalogueFiles, findProvider, listProviders, priceBook } from './catalogue.ts';

const book = builtinPriceBook();
const NOVEMBER = Date.parse('2026-11-20T12:00:00Z');

/** USD for a million of a unit, as text. */
function perMillion(prices: ModelPrices | undefined, unit: Unit): string | undefined {
  const price = prices?.prices[unit];
  if (!price) return undefined;
  return formatExact(
    multiply({ num: price.amount.num, den: price.amount.den * price.per * 1_000_000_000n }, getExact('1000000')),
  );
}

function modelOf(provider: string, name: string): string | undefined {
  return book.findModel(provider, name)?.model;
}

describe('the catalogue', () => {
  it('carries a version that names its contents', async () => {
    const date = book.version.split('.')[0] ?? '';
    expect(book.version).toBe(await catalogueVersion(date, catalogueFiles()));
    expect(listProviders().map((row) => row.provider)).toEqual(PROVIDER_FILES);
  });

  it('finds a model by its own name, by a snapshot and by what the provider calls it otherwise', () => {
    expect(modelOf('openai', 'gpt-4o')).toBe('gpt-4o');
    expect(modelOf('openai', 'gpt-4o-2024-08-06')).toBe('gpt-4o');
    expect(modelOf('openai', 'gpt-4o-mini-2024-07-18')).toBe('gpt-4o-mini');
    expect(modelOf('openai', 'gpt-5.6')).toBe('gpt-5.6-sol');
    expect(modelOf('openai', 'gpt-6.1-sol-2026-09-29')).toBe('gpt-6.1-sol');
    expect(modelOf('anthropic', 'claude-haiku-4-5-20251001')).toBe('claude-haiku-4-5');
    expect(modelOf('google', 'gemini-2.5-pro-preview-06-05')).toBe('gemini-2.5-pro');
  });

  it('takes the longest beginning, so that a newer model is not priced as the one it is named after', () => {
    expect(modelOf('anthropic', 'claude-opus-5-20260601')).toBe('claude-opus-5');
    expect(modelOf('anthropic', 'claude-opus-5-5-20260922')).toBe('claude-opus-5-5');
    expect(modelOf('anthropic', 'claude-fable-5-2')).toBe('claude-fable-5-2');
  });

  it('does not know what it does not list', () => {
    expect(modelOf('openai', 'gpt-4o-nonsense')).toBeUndefined();
    expect(modelOf('openai', 'x'.repeat(10_000))).toBeUndefined();
    expect(modelOf('nobody', 'gpt-4o')).toBeUndefined();
    expect(modelOf('openai', 'claude-opus-5')).toBeUndefined();
  });

  it('answers the same for a name that it has seen before', () => {
    expect(book.findModel('openai', 'gpt-4o-2024-08-06')).toBe(book.findModel('openai', 'gpt-4o-2024-08-06'));
    for (let i = 0; i < 20_001; i++) expect(book.findModel('openai', `made-up-${i % 10_007}`)).toBeUndefined();
    expect(modelOf('openai', 'gpt-4o')).toBe('gpt-4o');
  });

  it('picks the period in force, and knows none before the first', () => {
    const o3 = book.findModel('openai', 'o3');
    expect(perMillion(o3?.findPrices(Date.parse('2025-06-09T23:59:59.999Z')), 'input_tokens')).toBe('10');
    expect(perMillion(o3?.findPrices(Date.parse('2025-06-10T00:00:00Z')), 'input_tokens')).toBe('2');
    const luna = book.findModel('openai', 'gpt-6-luna');
    expect(luna?.findPrices(Date.parse('2026-09-21T23:59:59Z'))).toBeUndefined();
    expect(perMillion(luna?.findPrices(NOVEMBER), 'output_tokens')).toBe('0.5');
    const flash = book.findModel('google', 'gemini-3.6-flash');
    expect(perMillion(flash?.findPrices(Date.parse('2027-01-01T00:00:00Z')), 'input_tokens')).toBe('1.5');
  });

  it('leaves out the increase that was cancelled', () => {
    expect(perMillion(book.findModel('anthropic', 'claude-sonnet-5')?.findPrices(NOVEMBER), 'input_tokens')).toBe('2');
  });

  it('prices cached, audio and image input as input where the list names no price of its own', () => {
    const pro = book.findModel('openai', 'gpt-5.5-pro')?.findPrices(NOVEMBER);
    expect(perMillion(pro, 'cache_read_tokens')).toBe('30');
    expect(perMillion(pro, 'cache_write_tokens')).toBe('30');
    const gemini = book.findModel('google', 'gemini-2.5-flash')?.findPrices(NOVEMBER);
    expect(perMillion(gemini, 'input_audio_tokens')).toBe('1');
    expect(perMillion(gemini, 'cache_read_tokens')).toBe('0.03');
    const haiku = book.findModel('anthropic', 'claude-haiku-4-5')?.findPrices(NOVEMBER);
    expect(perMillion(haiku, 'cache_write_5m_tokens')).toBe('1.25');
    expect(perMillion(haiku, 'cache_write_1h_tokens')).toBe('2');
    expect(perMillion(haiku, 'cache_write_tokens')).toBeUndefined();
  });

  it('never prices audio that comes out as text', () => {
    const prices = book.findModel('openai', 'gpt-4o')?.findPrices(NOVEMBER);
    expect(prices && costOf({ output_audio_tokens: 1n }, prices)).toEqual({ unpriced: ['output_audio_tokens'] });
  });

  it('costs the whole request at the tier once its input passes the border', () => {
    const prices = book.findModel('openai', 'gpt-5.4')?.findPrices(NOVEMBER);
    const at = prices && costOf({ input_tokens: 200_000n, cache_read_tokens: 72_000n, output_tokens: 1_000n }, prices);
    const above =
      prices && costOf({ input_tokens: 200_001n, cache_read_tokens: 72_000n, output_tokens: 1_000n }, prices);
    // 0.2 * 2.5 + 0.072 * 0.25 + 0.001 * 15, and 0.200001 * 5 + 0.072 * 0.5 + 0.001 * 22.5
    expect(at).toEqual({ nanos: getExact('533000000') });
    expect(above).toEqual({ nanos: getExact('1058505000') });
  });

  it('knows how much a call can take in and give out', () => {
    const model = book.findModel('openai', 'gpt-4.1-mini');
    expect(model?.contextTokens).toBe(1_047_576n);
    expect(model?.outputTokensMax).toBe(32_768n);
    expect(book.findModel('openai', 'text-embedding-3-small')?.outputTokensMax).toBeNull();
  });

  it('lists the models of a provider', () => {
    expect(book.listModels('openai')).toContain('gpt-4o-mini');
    expect(book.listModels('google')).not.toContain('gpt-4o-mini');
    expect(book.listModels('nobody')).toEqual([]);
  });
});

describe('a provider', () => {
  it('is known by the host of its address before the name of the upstream', () => {
    expect(findProvider('main', 'https://api.openai.com/v1')?.provider).toBe('openai');
    expect(findProvider('openai', 'https://api.anthropic.com/v1')?.provider).toBe('anthropic');
    expect(findProvider('openai', 'http://localhost:9999/v1')?.provider).toBe('openai');
    expect(findProvider('gemini', null)?.provider).toBe('google');
    expect(findProvider('local', 'http://gpu-1:8000/v1')).toBeUndefined();
  });
});

describe('an override', () => {
  const price = parsePrice('0.2', 1_000_000n);
  if (!price) throw new Error('not a price');
  const overrides = [
    {
      provider: 'openai',
      model: 'gpt-4o',
      contextTokens: null,
      outputTokensMax: 4_096n,
      prices: { input_tokens: price },
    },
    {
      provider: 'lab',
      model: 'llama-*',
      contextTokens: 8_192n,
      outputTokensMax: null,
      prices: { output_tokens: price },
    },
  ];
  const own = priceBook(overrides, 'abc');

  it('replaces what it names and leaves the rest as the catalogue has it', () => {
    const model = own.findModel('openai', 'gpt-4o');
    expect(model?.contextTokens).toBe(128_000n);
    expect(model?.outputTokensMax).toBe(4_096n);
    expect(perMillion(model?.findPrices(0), 'input_tokens')).toBe('0.2');
    expect(perMillion(model?.findPrices(0), 'cache_read_tokens')).toBe('0.2');
    expect(perMillion(model?.findPrices(0), 'output_tokens')).toBeUndefined();
    expect(perMillion(own.findModel('openai', 'gpt-4o-mini')?.findPrices(0), 'output_tokens')).toBe('0.6');
  });

  it('makes models known that the catalogue has not, and gives the book another version', () => {
    expect(own.findModel('lab', 'llama-3.3-70b')?.contextTokens).toBe(8_192n);
    expect(own.findModel('lab', 'llama-3.3-70b')?.model).toBe('llama-3.3-70b');
    expect(own.version).toBe(`${book.version}+abc`);
  });
});

const COLLECTION = new URL('../../shared/data/model-prices.json', import.meta.url);

describe.runIf(existsSync(COLLECTION))('against the collection of prices', () => {
  interface Row {
    provider: string;
    model: string;
    current: {
      prices: Record<string, string>;
      tiers: { above_input_tokens: number; prices: Record<string, string> }[];
    };
  }
  const rows: Row[] = existsSync(COLLECTION) ? JSON.parse(readFileSync(COLLECTION, 'utf8')).models : [];
  const covered = rows.filter((row) => PROVIDER_FILES.some((provider) => provider === row.provider));
  // Prices for which Weir has no unit of its own; docs/configuration.md says so.
  const WITHOUT_UNIT = new Set(['cached_input_audio', 'cached_input_image', 'batch_input', 'batch_output']);

  function unitOf(provider: string, key: string): Unit {
    if (key === 'cached_input') return 'cache_read_tokens';
    if (key === 'cache_write') return provider === 'anthropic' ? 'cache_write_5m_tokens' : 'cache_write_tokens';
    if (key === 'web_search_per_1k') return 'web_searches';
    return `${key}_tokens` as Unit;
  }

  function expectPrices(row: Row, expected: Record<string, string>, prices: ModelPrices | undefined): void {
    for (const [key, amount] of Object.entries(expected)) {
      if (WITHOUT_UNIT.has(key)) continue;
      const wanted = key === 'web_search_per_1k' ? `${Number(amount) * 1000}` : amount;
      expect(perMillion(prices, unitOf(row.provider, key)), `${row.model} ${key}`).toBe(wanted);
    }
  }

  it('has every model of the providers that it covers', () => {
    expect(covered).toHaveLength(57);
    expect(covered.map((row) => row.model).sort()).toEqual(
      PROVIDER_FILES.flatMap((provider) => book.listModels(provider)).sort(),
    );
  });

  it.each(covered.map((row) => [`${row.provider} ${row.model}`, row] as const))(
    'prices %s as on 2026-11-20',
    (_, row) => {
      const prices = book.findModel(row.provider, row.model)?.findPrices(NOVEMBER);
      expectPrices(row, row.current.prices, prices);
      expect(prices?.tiers.map((tier) => Number(tier.aboveInputTokens))).toEqual(
        row.current.tiers.map((tier) => tier.above_input_tokens),
      );
      row.current.tiers.forEach((tier, i) => {
        const own = prices?.tiers[i];
        expectPrices(row, tier.prices, own && { currency: 'USD', prices: own.prices, tiers: [] });
      });
    },
  );
});
