import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { costOf, STANDARD_SERVICE } from '#core/cost.ts';
import { pricesAtHour } from '#core/price.ts';
import type { Counts, Unit } from '#core/quantity.ts';
import { PROVIDER_FILES } from './catalogue/version.ts';
import { builtinPriceBook } from './price-book.ts';

/**
 * Every price of the collection, asked of the price book as a call would ask it, against a sum that shares nothing with
 * the catalogue: whole numbers of 10^-18 dollars, straight from the text of the raw file.
 */
const COLLECTION = new URL('../../shared/data/model-prices.json', import.meta.url);

type Amounts = Record<string, string>;
interface Tier {
  above_input_tokens: number;
  prices: Amounts;
}
interface Period {
  effective_from: string | null;
  constraint: { start_time: string; end_time: string } | null;
  prices: Amounts;
  tiers: Tier[];
  cancelled?: boolean;
}
interface Row {
  provider: string;
  model: string;
  mode: string | null;
  periods: Period[];
  current: { prices: Amounts; tiers: Tier[] };
  match?: { equals?: string; or?: { equals?: string }[] } | null;
  litellm_extra?: Record<string, unknown> & { tiers?: Tier[] };
  other_units?: Record<string, unknown> & { multipliers?: Amounts };
}

const rows: Row[] = existsSync(COLLECTION) ? JSON.parse(readFileSync(COLLECTION, 'utf8')).models : [];
const book = builtinPriceBook();
const TODAY = Date.parse('2026-11-20T20:00:00Z');

/** 10^-18 dollars for one unit, of an amount for so many. */
function attos(amount: string, per: 1 | 1_000 | 1_000_000): bigint {
  const [whole = '', fraction = ''] = amount.split('.');
  return BigInt(whole + fraction.padEnd(18, '0')) / BigInt(per);
}

function unitOf(row: Row, key: string): Unit {
  if (key === 'cached_input') return 'cache_read_tokens';
  if (key.startsWith('cached_input_')) return `cache_read_${key.slice('cached_input_'.length)}_tokens` as Unit;
  if (key === 'cache_write' && row.provider === 'anthropic') return 'cache_write_5m_tokens';
  return `${key}_tokens` as Unit;
}

/** What the book says that the call costs, in 10^-18 dollars; undefined where it knows no price. */
function costInBook(row: Row, counts: Counts, atMs: number, service: Partial<typeof STANDARD_SERVICE> = {}) {
  const prices = book.findModel(row.provider, row.model, '', '')?.findPrices(atMs);
  const cost = prices && costOf(counts, pricesAtHour(prices, atMs), { ...STANDARD_SERVICE, ...service });
  if (!cost || 'unpriced' in cost) return undefined;
  expect((cost.nanos.num * 1_000_000_000n) % cost.nanos.den).toBe(0n);
  return (cost.nanos.num * 1_000_000_000n) / cost.nanos.den;
}

/** A call that uses some of everything that is priced, and what it costs by the text. */
function someOf(row: Row, amounts: Amounts, inputs: bigint): { counts: Counts; wanted: bigint } {
  const counts: Partial<Record<Unit, bigint>> = {};
  let wanted = 0n;
  let count = 7n;
  for (const [key, amount] of Object.entries(amounts)) {
    if (key.startsWith('batch_')) continue;
    count = (count * 31n) % 1_009n;
    const isSearch = key === 'web_search_per_1k';
    const n = key === 'input' ? inputs : count;
    counts[isSearch ? 'web_searches' : unitOf(row, key)] = n;
    wanted += n * attos(amount, isSearch ? 1_000 : 1_000_000);
  }
  return { counts, wanted };
}

function tiersOf(row: Row, period: Period): Tier[] {
  return period.tiers.length > 0 ? period.tiers : (row.litellm_extra?.tiers ?? []);
}

/** Instants at which a period holds: its first and its last. */
function instantsOf(row: Row, period: Period): number[] {
  if (period.constraint) {
    const { start_time, end_time } = period.constraint;
    return [Date.parse(`2026-11-20T${start_time}`), Date.parse(`2026-11-20T${end_time}`) - 1];
  }
  const hours = row.periods.find((one) => one.constraint)?.constraint;
  if (hours) return [Date.parse(`2026-11-20T${hours.start_time}`) - 1, Date.parse(`2026-11-20T${hours.end_time}`)];
  const from = period.effective_from?.slice(0, 10).replace(/^(\d{4}-\d{2}) .*$/, '$1-01');
  const start = from === undefined ? Date.parse('2020-01-01T00:00:00Z') : Date.parse(`${from}T00:00:00Z`);
  const next = row.periods
    .filter(
      (one) => !one.cancelled && one.effective_from !== null && (period.effective_from ?? '') < one.effective_from,
    )
    .map((one) => Date.parse(`${one.effective_from}T00:00:00Z`));
  return [start, next.length > 0 ? Math.min(...next) - 1 : Date.parse('2030-01-01T00:00:00Z')];
}

describe.runIf(existsSync(COLLECTION))('the catalogue, against the collection of prices', () => {
  it('has every model of it, and no other', () => {
    const names = (list: readonly string[]) => [...list].sort();
    for (const provider of PROVIDER_FILES) {
      const listed = rows.filter((row) => row.provider === provider).map((row) => row.model);
      expect(names(book.listModels(provider, ''))).toEqual(names(listed));
    }
    expect(rows.filter((row) => !PROVIDER_FILES.some((provider) => provider === row.provider))).toEqual([]);
    for (const row of rows) {
      for (const rule of [row.match ?? {}, ...(row.match?.or ?? [])]) {
        if (rule.equals) expect(book.findModel(row.provider, rule.equals, '', '')?.model).toBe(row.model);
      }
    }
  });

  it.each(rows.map((row) => [`${row.provider} ${row.model}`, row] as const))('prices %s in every period', (_, row) => {
    for (const period of row.periods) {
      if (period.cancelled) continue;
      for (const atMs of instantsOf(row, period)) {
        const { counts, wanted } = someOf(row, period.prices, 1_000n);
        expect(costInBook(row, counts, atMs)).toBe(wanted);
        for (const tier of tiersOf(row, period)) {
          const amounts = { ...period.prices, ...tier.prices };
          const above = someOf(row, amounts, BigInt(tier.above_input_tokens));
          const some = Object.entries(above.counts).some(([unit, n]) => unit !== 'input_tokens' && n > 0n);
          if (some) expect(costInBook(row, above.counts, atMs)).toBe(above.wanted);
          const alone = { input_tokens: BigInt(tier.above_input_tokens) };
          expect(costInBook(row, alone, atMs)).toBe(alone.input_tokens * attos(period.prices.input ?? '', 1_000_000));
        }
      }
    }
    const now = someOf(row, row.current.prices, 1_000n);
    expect(costInBook(row, now.counts, TODAY)).toBe(now.wanted);
  });

  const SERVICE_PRICE = /^(batch|flex|priority)_(input|output|cached_input)$/;
  // The second list stands on another price of the model than the first, and the row says so.
  const ON_ANOTHER_PRICE = new Set(['gemini-3.1-flash-image-preview']);
  const listed = rows.flatMap((row) =>
    Object.entries({ ...row.periods[0]?.prices, ...row.litellm_extra }).flatMap(([key, amount]) => {
      const [, tier, kind] = SERVICE_PRICE.exec(key) ?? [];
      if (tier === undefined || kind === undefined || ON_ANOTHER_PRICE.has(row.model)) return [];
      return [[`${row.model} ${key}`, row, tier, unitOf(row, kind), String(amount)] as const];
    }),
  );

  it.each(listed)('prices %s', (_, row, tier, unit, amount) => {
    // Of the prices of January 2027, on which the list of August 2026 stands; else of the day of that list.
    const atMs = Date.parse(row.model === 'gemini-3.6-flash' ? '2027-01-01T00:00:00Z' : '2026-08-01T00:00:00Z');
    const own = row.model === 'claude-fable-5-2' ? TODAY : atMs;
    // An output of nothing is listed for embeddings.
    if (amount !== '0')
      expect(costInBook(row, { [unit]: 1_000n }, own, { tier })).toBe(1_000n * attos(amount, 1_000_000));
  });

  const NO_BATCH = new Set(['realtime', 'audio_speech', 'audio_transcription']);
  const halved = rows.filter(
    (row) => ['openai', 'anthropic', 'google'].includes(row.provider) && !NO_BATCH.has(row.mode ?? ''),
  );

  it.each(halved.map((row) => [row.model, row] as const))('halves input and output of %s in a batch', (_, row) => {
    for (const unit of ['input_tokens', 'output_tokens'] as const) {
      const whole = costInBook(row, { [unit]: 2_000_000n }, TODAY);
      if (whole !== undefined)
        expect(costInBook(row, { [unit]: 2_000_000n }, TODAY, { tier: 'batch' })).toBe(whole / 2n);
    }
  });

  it('multiplies by the factors of regions and of fast service', () => {
    for (const row of rows) {
      for (const [name, factor] of Object.entries(row.other_units?.multipliers ?? {})) {
        const key = name.replace('regional_processing_uplift_multiplier_', '');
        const service = key === 'fast' ? { tier: 'fast' } : { region: key };
        const { counts, wanted } = someOf(
          row,
          { input: row.current.prices.input ?? '', output: row.current.prices.output ?? '' },
          10n,
        );
        expect(costInBook(row, counts, TODAY, service), `${row.model} ${name}`).toBe(
          (wanted * attos(factor, 1)) / 10n ** 18n,
        );
      }
    }
  });

  it('prices what is sold by the second, the character, the image, the search', () => {
    const units: Record<string, [Unit, 1 | 1_000 | 1_000_000]> = {
      audio_input_per_second_usd: ['audio_seconds', 1],
      per_1m_characters: ['characters', 1_000_000],
      per_output_image_usd: ['images', 1],
      per_search_unit_usd: ['search_units', 1],
    };
    for (const row of rows) {
      for (const [key, amount] of Object.entries(row.other_units ?? {})) {
        const byModel: [Unit, 1 | 1_000 | 1_000_000] | undefined =
          key === 'audio_output_per_second_usd' && row.mode === 'audio_speech'
            ? ['output_audio_seconds', 1]
            : key === 'web_search_per_1k_usd'
              ? [
                  row.provider !== 'google'
                    ? 'web_searches'
                    : row.model.startsWith('gemini-2')
                      ? 'grounded_prompts'
                      : 'grounding_queries',
                  1_000,
                ]
              : units[key];
        if (!byModel) {
          expect(['source', 'multipliers', 'audio_output_per_second_usd']).toContain(key);
          continue;
        }
        const [unit, per] = byModel;
        expect(costInBook(row, { [unit]: 12_345n }, TODAY), `${row.model} ${key}`).toBe(
          12_345n * attos(String(amount), per),
        );
      }
    }
  });
});
