import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { costOf, STANDARD_SERVICE, worstCostNanos } from '#core/cost.ts';
import { ceil, formatExact, getExact, multiply } from '#core/exact.ts';
import { type ModelPrices, pricesAtHour } from '#core/price.ts';
import { type Counts, INPUT_TOKEN_UNITS, OUTPUT_TOKEN_UNITS, UNITS, type Unit } from '#core/quantity.ts';
import { catalogueVersion, PROVIDER_FILES } from './catalogue/version.ts';
import { catalogueFiles, findProvider, findRegion, listProviders } from './catalogue.ts';
import { builtinPriceBook } from './price-book.ts';

const book = builtinPriceBook();
const NOVEMBER = Date.parse('2026-11-20T12:00:00Z');

/** USD for a million of a unit, as text. */
function perMillion(prices: ModelPrices | undefined, unit: Unit): string | undefined {
  const price = prices?.standard.prices[unit];
  if (!price) return undefined;
  return formatExact(
    multiply({ num: price.amount.num, den: price.amount.den * price.per * 1_000_000_000n }, getExact('1000000')),
  );
}

function find(provider: string, name: string) {
  return book.findModel(provider, name, '', '');
}

function modelOf(provider: string, name: string): string | undefined {
  return find(provider, name)?.model;
}

describe('the catalogue', () => {
  it('carries a version that names its contents', async () => {
    const date = book.version.split('.')[0] ?? '';
    expect(book.version).toBe(await catalogueVersion(date, catalogueFiles()));
    // Who runs Ollama says what its models cost.
    expect(listProviders().map((row) => row.provider)).toEqual([...PROVIDER_FILES, 'ollama']);
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

  it('does not take the next version of a model for the model, whose price nobody has told us', () => {
    expect(modelOf('anthropic', 'claude-opus-5-6')).toBeUndefined();
    expect(modelOf('anthropic', 'claude-opus-5-6-20270101')).toBeUndefined();
    expect(modelOf('aws.bedrock', 'us.anthropic.claude-opus-5-5-20260922-v1:0')).toBeUndefined();
    expect(modelOf('google', 'gemini-2.5-flash-lite-preview-09-2025')).toBe('gemini-2.5-flash-lite');
    expect(modelOf('cohere', 'command-a-03-2025')).toBe('command-a');
  });

  it('finds the models of Bedrock in the ids of its inference profiles', () => {
    expect(modelOf('aws.bedrock', 'us.amazon.nova-pro-v1:0')).toBe('amazon.nova-pro-v1:0');
    expect(modelOf('aws.bedrock', 'eu.anthropic.claude-opus-5-20260601-v1:0')).toBe('regional.anthropic.claude-opus-5');
    expect(modelOf('aws.bedrock', 'global.anthropic.claude-opus-5-20260601-v1:0')).toBe(
      'global.anthropic.claude-opus-5',
    );
  });

  it('does not know what it does not list', () => {
    expect(modelOf('openai', 'gpt-4o-nonsense')).toBeUndefined();
    expect(modelOf('openai', 'x'.repeat(10_000))).toBeUndefined();
    expect(modelOf('nobody', 'gpt-4o')).toBeUndefined();
    expect(modelOf('openai', 'claude-opus-5')).toBeUndefined();
  });

  it('answers the same for a name that it has seen before', () => {
    expect(find('openai', 'gpt-4o-2024-08-06')).toBe(find('openai', 'gpt-4o-2024-08-06'));
    for (let i = 0; i < 20_001; i++) expect(find('openai', `made-up-${i % 10_007}`)).toBeUndefined();
    expect(modelOf('openai', 'gpt-4o')).toBe('gpt-4o');
  });

  it('picks the period in force, and knows none before the first', () => {
    const o3 = find('openai', 'o3');
    expect(perMillion(o3?.findPrices(Date.parse('2025-06-09T23:59:59.999Z')), 'input_tokens')).toBe('10');
    expect(perMillion(o3?.findPrices(Date.parse('2025-06-10T00:00:00Z')), 'input_tokens')).toBe('2');
    const luna = find('openai', 'gpt-6-luna');
    expect(luna?.findPrices(Date.parse('2026-09-21T23:59:59Z'))).toBeUndefined();
    expect(perMillion(luna?.findPrices(NOVEMBER), 'output_tokens')).toBe('0.5');
    const flash = find('google', 'gemini-3.6-flash');
    expect(perMillion(flash?.findPrices(Date.parse('2027-01-01T00:00:00Z')), 'input_tokens')).toBe('1.5');
  });

  it('has the prices of the hour where a provider has some', () => {
    const deepseek = find('deepseek', 'deepseek-chat');
    const at = (time: string) => {
      const atMs = Date.parse(`2025-03-01T${time}Z`);
      const prices = deepseek?.findPrices(atMs);
      return perMillion(prices && pricesAtHour(prices, atMs), 'input_tokens');
    };
    expect([at('00:29:59'), at('00:30:00'), at('16:29:59.999'), at('16:30:00')]).toEqual([
      '0.135',
      '0.27',
      '0.27',
      '0.135',
    ]);
    // A call that is asked for at night may be answered in the day, and is held as if it were.
    const night = deepseek?.findPrices(Date.parse('2025-03-01T20:00:00Z'));
    const bounds = { inputTokens: 1_000_000n, outputTokens: 0n, inputUnits: null, outputUnits: null, others: {} };
    expect(night && worstCostNanos(bounds, night)).toBe(270_000_000n);
  });

  it('leaves out the increase that was cancelled', () => {
    expect(perMillion(find('anthropic', 'claude-sonnet-5')?.findPrices(NOVEMBER), 'input_tokens')).toBe('2');
  });

  it('prices cached, audio and image input as input where the list names no price of its own', () => {
    const pro = find('openai', 'gpt-5.5-pro')?.findPrices(NOVEMBER);
    expect(perMillion(pro, 'cache_read_tokens')).toBe('30');
    expect(perMillion(pro, 'cache_write_tokens')).toBe('30');
    const gemini = find('google', 'gemini-2.5-flash')?.findPrices(NOVEMBER);
    expect(perMillion(gemini, 'input_audio_tokens')).toBe('1');
    expect(perMillion(gemini, 'cache_read_tokens')).toBe('0.03');
    const haiku = find('anthropic', 'claude-haiku-4-5')?.findPrices(NOVEMBER);
    expect(perMillion(haiku, 'cache_write_5m_tokens')).toBe('1.25');
    expect(perMillion(haiku, 'cache_write_1h_tokens')).toBe('2');
    expect(perMillion(haiku, 'cache_write_tokens')).toBeUndefined();
  });

  it('never prices audio that comes out as text', () => {
    const prices = find('openai', 'gpt-4o')?.findPrices(NOVEMBER);
    expect(prices && costOf({ output_audio_tokens: 1n }, prices)).toEqual({ unpriced: ['output_audio_tokens'] });
  });

  it('costs the whole request at the tier once its input passes the border', () => {
    const prices = find('openai', 'gpt-5.4')?.findPrices(NOVEMBER);
    const at = prices && costOf({ input_tokens: 200_000n, cache_read_tokens: 72_000n, output_tokens: 1_000n }, prices);
    const above =
      prices && costOf({ input_tokens: 200_001n, cache_read_tokens: 72_000n, output_tokens: 1_000n }, prices);
    // 0.2 * 2.5 + 0.072 * 0.25 + 0.001 * 15, and 0.200001 * 5 + 0.072 * 0.5 + 0.001 * 22.5
    expect(at).toEqual({ nanos: getExact('533000000') });
    expect(above).toEqual({ nanos: getExact('1058505000') });
  });

  it('prices the service that was given: batch, flex, priority and fast, with the fees of the standard one', () => {
    const costIn = (model: string, provider: string, tier: string | null, counts: Parameters<typeof costOf>[0]) => {
      const prices = find(provider, model)?.findPrices(NOVEMBER);
      const cost = prices && costOf(counts, prices, { ...STANDARD_SERVICE, tier });
      return cost && 'nanos' in cost ? formatExact(cost.nanos) : undefined;
    };
    const both = { input_tokens: 1_000n, output_tokens: 1_000n };
    expect(costIn('gpt-4o', 'openai', 'batch', both)).toBe('6250000');
    expect(costIn('gpt-4o', 'openai', 'priority', both)).toBe('21250000');
    expect(costIn('o3', 'openai', 'flex', { ...both, file_searches: 1n })).toBe('7500000');
    expect(costIn('claude-opus-5', 'anthropic', 'fast', { ...both, cache_read_tokens: 1_000n })).toBe('61000000');
    expect(costIn('claude-opus-5', 'anthropic', 'batch', { cache_write_1h_tokens: 1_000n, web_searches: 1n })).toBe(
      '15000000',
    );
    // The 30 minutes' cache of a promotion has no priority price, nor has anything above the border of its tiers.
    expect(costIn('gpt-5.6-sol', 'openai', 'priority', both)).toBeUndefined();
    expect(costIn('gpt-5.4', 'openai', 'priority', { input_tokens: 272_000n })).toBe('1360000000');
    expect(costIn('gpt-5.4', 'openai', 'priority', { input_tokens: 272_001n })).toBeUndefined();
  });

  it('costs more where a region has its price', () => {
    const prices = find('anthropic', 'claude-opus-5')?.findPrices(NOVEMBER);
    const counts = { input_tokens: 1_000n, web_searches: 1n };
    expect(prices && costOf(counts, prices, { ...STANDARD_SERVICE, region: 'us' })).toEqual({
      nanos: getExact('15500000'),
    });
    expect(prices && costOf(counts, prices, { ...STANDARD_SERVICE, region: 'global' })).toEqual({
      nanos: getExact('15000000'),
    });
  });

  it('never costs more than the worst case of the same call, whichever model, service and region', () => {
    const models = catalogueFiles().flatMap((file) => file.models.map((model) => find(file.provider, model.model)));
    const counts = fc.dictionary(fc.constantFrom(...UNITS), fc.bigInt({ min: 0n, max: 400_000n }), {
      noNullPrototype: true,
      maxKeys: 8,
    }) as fc.Arbitrary<Counts>;
    const service = fc.record({
      tier: fc.constantFrom(null, 'default', 'batch', 'flex', 'priority', 'fast'),
      region: fc.constantFrom(null, 'us', 'eu', 'global'),
      variant: fc.constant(null),
    });
    const atMs = fc.integer({ min: Date.parse('2025-01-01T00:00:00Z'), max: Date.parse('2027-06-01T00:00:00Z') });
    fc.assert(
      fc.property(
        fc.constantFrom(...models),
        counts,
        service,
        fc.boolean(),
        atMs,
        (model, used, asked, asStandard, at) => {
          const prices = model?.findPrices(at);
          if (!prices) return;
          const sumOf = (units: readonly Unit[]) => units.reduce((sum, unit) => sum + (used[unit] ?? 0n), 0n);
          const bounds = {
            inputTokens: sumOf(INPUT_TOKEN_UNITS),
            outputTokens: sumOf(OUTPUT_TOKEN_UNITS),
            inputUnits: null,
            outputUnits: null,
            others: Object.fromEntries(
              Object.entries(used).filter(
                ([unit]) => ![...INPUT_TOKEN_UNITS, ...OUTPUT_TOKEN_UNITS].includes(unit as Unit),
              ),
            ),
          };
          const real = costOf(used, prices, { ...asked, tier: asStandard ? null : asked.tier });
          const worst = worstCostNanos(bounds, prices, asked);
          if ('nanos' in real && worst !== undefined) expect(worst).toBeGreaterThanOrEqual(ceil(real.nanos));
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('knows how much a call can take in and give out', () => {
    const model = find('openai', 'gpt-4.1-mini');
    expect(model?.contextTokens).toBe(1_047_576n);
    expect(model?.outputTokensMax).toBe(32_768n);
    expect(find('openai', 'text-embedding-3-small')?.outputTokensMax).toBeNull();
  });

  it('lists the models of a provider', () => {
    expect(book.listModels('openai', '')).toContain('gpt-4o-mini');
    expect(book.listModels('google', '')).not.toContain('gpt-4o-mini');
    expect(book.listModels('nobody', '')).toEqual([]);
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

  it('and its region by the name of the host', () => {
    expect(findProvider('a', 'https://eu.api.openai.com/v1')?.provider).toBe('openai');
    expect(findRegion('https://eu.api.openai.com/v1')).toBe('eu');
    expect(findRegion('https://bedrock-runtime.us-east-1.amazonaws.com')).toBe('us-east-1');
    expect(findRegion('https://api.openai.com/v1')).toBeNull();
    expect(findRegion('https://evil.example/api.openai.com')).toBeNull();
    expect(findRegion(null)).toBeNull();
  });
});
