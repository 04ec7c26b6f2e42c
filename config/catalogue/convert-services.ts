import { TOKEN_UNITS, type Unit } from '#core/quantity.ts';
import type { CataloguePeriod, CataloguePrices, CatalogueService } from './catalogue-data.ts';
import { type CollectedModel, extraPrices } from './collection.ts';
import { leftOut, type Standard, times } from './convert-prices.ts';

/**
 * Prices of service tiers and regions: those that the collection lists, and those that follow from a rule of the
 * provider's own. Whatever neither says has no price.
 */
const HALF = '0.5';
const BATCH_SOURCE = "The provider's rule: batch is half of input and output";
const CLAUDE_PRICING = 'https://platform.claude.com/docs/en/about-claude/pricing';
const CLAUDE_RESIDENCY = 'https://platform.claude.com/docs/en/build-with-claude/data-residency';
const OPENAI_FLEX = 'https://developers.openai.com/api/docs/guides/flex-processing: at the rates of the Batch API';
const OPENAI_RESIDENCY = 'https://developers.openai.com/api/docs/guides/data-residency';

/** Endpoints that OpenAI's batches do not take. */
const NO_BATCH: ReadonlySet<string | null> = new Set(['realtime', 'audio_speech', 'audio_transcription']);

/** `listed`: the extras belong to this period. */
export function servicesOf(model: CollectedModel, standard: Standard, listed: boolean): CataloguePeriod['services'] {
  const services: Record<string, CatalogueService> = {};
  const extra = listed ? model.litellm_extra : undefined;
  const add = (name: string, service: CatalogueService | undefined) => {
    if (service && Object.keys(service.prices).length > 0) services[name] = service;
  };
  add('batch', batchOf(model, standard, listed));
  add('flex', flexOf(model, standard, listed));
  const [, priority] = /Priority tier is ([\d.]+)x/.exec(model.notes ?? '') ?? [];
  if (priority !== undefined) {
    add('priority', { ...scaled(standard, priority, isToken), source: `${model.periods[0]?.source}; notes` });
  } else if (extra) {
    add('priority', {
      ...withWrites(model, standard, explicit(model, 'priority')),
      tiers: [],
      // Long contexts have no price in priority service (https://openai.com/api-priority-processing/).
      ...(standard.tiers[0] && { input_tokens_max: standard.tiers[0].above_input_tokens }),
      source: extra.source,
    });
  }
  const fast = model.other_units?.multipliers?.fast ?? fastFromNotes(model);
  if (fast !== undefined) {
    const source = model.other_units?.source ?? `${model.periods[0]?.source}; notes`;
    add('fast', { ...scaled(standard, fast, isToken), source });
  }
  return Object.keys(services).length === 0 ? undefined : services;
}

/** Reading from a cache costs half in a batch too where the provider says so: Anthropic of all models, OpenAI of those that it lists. */
function batchOf(model: CollectedModel, standard: Standard, listed: boolean): CatalogueService | undefined {
  if (NO_BATCH.has(model.mode)) return undefined;
  if (model.provider === 'anthropic') {
    return { ...scaled(standard, HALF, isToken), source: `${CLAUDE_PRICING}: half, stacks with prompt caching` };
  }
  if (model.provider !== 'openai' && model.provider !== 'google') return undefined;
  const reads = model.provider === 'openai' && extraPrices(model).flex_cached_input !== undefined;
  const { prices, tiers } = scaled(standard, HALF, reads ? isToken : isNoRead);
  const own = listed ? explicit(model, 'batch') : { prices: {} };
  const cached = listed && reads ? explicit(model, 'flex').prices.cache_read_tokens : undefined;
  return {
    prices: { ...prices, ...(cached !== undefined && { cache_read_tokens: cached }), ...own.prices },
    tiers,
    source: Object.keys(own.prices).length > 0 ? (model.litellm_extra?.source ?? BATCH_SOURCE) : BATCH_SOURCE,
  };
}

/** OpenAI's flex costs as a batch does; Google's costs half where its notes say so. */
function flexOf(model: CollectedModel, standard: Standard, listed: boolean): CatalogueService | undefined {
  const own = listed ? explicit(model, 'flex') : { prices: {} };
  const hasFlex = extraPrices(model).flex_input !== undefined;
  const noted = /Batch and Flex tiers offer 50% discount/.test(model.notes ?? '');
  if (!hasFlex && !noted) return undefined;
  const { prices, tiers } = scaled(standard, HALF, model.provider === 'openai' ? isToken : isNoRead);
  const source = model.provider === 'openai' ? OPENAI_FLEX : `${model.periods[0]?.source}; notes`;
  return {
    prices: { ...prices, ...own.prices },
    tiers,
    source: Object.keys(own.prices).length > 0 ? (model.litellm_extra?.source ?? source) : source,
  };
}

function explicit(model: CollectedModel, service: string): { prices: CataloguePrices } {
  const prices: CataloguePrices = {};
  const given = { ...model.periods.at(-1)?.prices, ...extraPrices(model) };
  const units = { input: 'input_tokens', output: 'output_tokens', cached_input: 'cache_read_tokens' } as const;
  for (const [key, unit] of Object.entries(units)) {
    const amount = given[`${service}_${key}`];
    if (amount !== undefined) prices[unit] = times(amount, '1');
  }
  return { prices };
}

/** "Cache writes are billed at 1.25x the uncached input rate", in every service. */
function withWrites(model: CollectedModel, standard: Standard, { prices }: { prices: CataloguePrices }) {
  const input = prices.input_tokens;
  const ruled = /Cache writes .*1\.25x the (uncached )?input rate/.test(model.notes ?? '');
  if (!ruled || typeof input !== 'string' || standard.prices.cache_write_tokens === undefined) return { prices };
  return { prices: { ...prices, cache_write_tokens: times(input, '1.25') } };
}

/** `fast mode 2x ($16/$80)`, `fast mode $8/$40`: as a multiple, which holds for every price (docs of fast mode). */
function fastFromNotes(model: CollectedModel): string | undefined {
  const [, factor, input, output] = /fast mode (?:([\d.]+)x )?\(?\$(\d+)\/\$(\d+)/.exec(model.notes ?? '') ?? [];
  if (input === undefined || output === undefined) return undefined;
  const found = factor ?? '2';
  for (const period of model.periods) {
    const { input: i = '', output: o = '' } = period.prices;
    if (times(i, found) !== input || times(o, found) !== output)
      throw new Error(`${model.model}: fast mode is no ${found}x`);
  }
  return found;
}

const isToken = (unit: Unit): boolean => TOKEN_UNITS.has(unit);
const isNoRead = (unit: Unit): boolean => TOKEN_UNITS.has(unit) && !unit.startsWith('cache_read_');

function scaled(standard: Standard, factor: string, wanted: (unit: Unit) => boolean): Standard {
  const scale = (prices: CataloguePrices): CataloguePrices =>
    Object.fromEntries(
      Object.entries(prices).flatMap(([unit, amount]) =>
        wanted(unit as Unit) && typeof amount === 'string' ? [[unit, times(amount, factor)]] : [],
      ),
    );
  return {
    prices: scale(standard.prices),
    tiers: standard.tiers.map((tier) => ({ ...tier, prices: scale(tier.prices) })),
  };
}

/** Claude 4.6 and later can be kept in the US for 1.1 times the price of every token. */
const CLAUDE_WITH_GEO = /^claude-(?!.*-4-[0-5]$)/;
/** Released after 5 March 2026: 10 % more where data resides. */
const OPENAI_WITH_RESIDENCY = /^gpt-6/;

export function regionsOf(model: CollectedModel): { regions?: CataloguePeriod['regions']; source?: string } {
  const regions: Record<string, string> = {};
  for (const [key, factor] of Object.entries(model.other_units?.multipliers ?? {})) {
    const [, region] = /^(?:regional_processing_uplift_multiplier_)?(us|eu)$/.exec(key) ?? [];
    if (region !== undefined) regions[region] = factor;
    else if (key !== 'fast') leftOut.add(`${model.provider}/${model.model}: multiplier ${key} ${factor}`);
  }
  if (Object.keys(regions).length > 0) return { regions, source: model.other_units?.source ?? '' };
  if (model.provider === 'anthropic' && CLAUDE_WITH_GEO.test(model.model)) {
    return { regions: { us: '1.1' }, source: CLAUDE_RESIDENCY };
  }
  if (model.provider === 'openai' && OPENAI_WITH_RESIDENCY.test(model.model)) {
    return { regions: { us: '1.1', eu: '1.1' }, source: OPENAI_RESIDENCY };
  }
  return {};
}
