import { formatExact, getExact, multiply } from '#core/exact.ts';
import type { Unit } from '#core/quantity.ts';
import type { CataloguePrices, CatalogueTiers } from './catalogue-data.ts';
import { type CollectedModel, type CollectedPeriod, extraPrices, otherUnits } from './collection.ts';

/** The collection's prices of the standard service, unit by unit. */

export interface Standard {
  readonly prices: CataloguePrices;
  readonly tiers: CatalogueTiers;
}

/** What could not be expressed, or is not believed: printed, so that nothing is lost unseen. */
export const leftOut = new Set<string>();

const PER_THOUSAND = '1000';
const PER_ONE = '1000000';

export function times(amount: string, factor: string): string {
  return formatExact(multiply(getExact(amount), getExact(factor)));
}

/** The collection's keys that stand for a unit, all per million. */
const UNIT_OF_KEY: Readonly<Record<string, Unit>> = {
  input: 'input_tokens',
  cached_input: 'cache_read_tokens',
  cache_write_1h: 'cache_write_1h_tokens',
  input_audio: 'input_audio_tokens',
  cached_input_audio: 'cache_read_audio_tokens',
  input_image: 'input_image_tokens',
  cached_input_image: 'cache_read_image_tokens',
  output: 'output_tokens',
  output_audio: 'output_audio_tokens',
  output_image: 'output_image_tokens',
};

/** Extras that a service tier or another rule reads. */
const SERVICE_KEY = /^(batch|flex|priority)_/;

export function standardOf(model: CollectedModel, period: CollectedPeriod, extras: boolean): Standard {
  const own = convertPrices(model, period.prices);
  const tiers = period.tiers.length > 0 || !extras ? period.tiers : (model.litellm_extra?.tiers ?? []);
  return {
    prices: { ...(extras && convertPrices(model, extraPrices(model))), ...own, ...feesOf(model) },
    tiers: tiers.map((tier) => ({
      above_input_tokens: tier.above_input_tokens,
      prices: convertPrices(model, tier.prices),
    })),
  };
}

function convertPrices(model: CollectedModel, given: Record<string, string>): CataloguePrices {
  const converted: CataloguePrices = {};
  for (const [key, amount] of Object.entries(given)) {
    const unit = UNIT_OF_KEY[key];
    if (key === 'cache_write') for (const one of writesOf(model, amount)) converted[one] = times(amount, '1');
    else if (key === 'web_search_per_1k') converted.web_searches = times(amount, PER_THOUSAND);
    else if (unit) converted[unit] = times(amount, '1');
    else if (!SERVICE_KEY.test(key)) skip(model, key, amount);
  }
  return converted;
}

/** Anthropic's caches have two lifetimes with a price each, of which this is the five minutes; the others have one. */
function writesOf(model: CollectedModel, amount: string): Unit[] {
  if (model.provider === 'anthropic') return ['cache_write_5m_tokens'];
  if (model.model.includes('anthropic.')) return ['cache_write_tokens', 'cache_write_5m_tokens'];
  // A list says that DeepSeek's writes are free. It reports none, and tokens must not become free by a word.
  if (model.provider !== 'deepseek') return ['cache_write_tokens'];
  skip(model, 'cache_write', amount);
  return [];
}

/** What is priced by other units than tokens. */
function feesOf(model: CollectedModel): CataloguePrices {
  const fees: CataloguePrices = {};
  for (const [key, amount] of Object.entries(otherUnits(model))) {
    switch (key) {
      case 'web_search_per_1k_usd':
        Object.assign(fees, searchFees(model, times(amount, PER_THOUSAND)));
        break;
      case 'audio_input_per_second_usd':
        fees.audio_seconds = times(amount, PER_ONE);
        break;
      case 'audio_output_per_second_usd':
        // Of a model that only listens, this repeats the price of listening.
        if (model.mode === 'audio_transcription') skip(model, key, amount);
        else fees.output_audio_seconds = times(amount, PER_ONE);
        break;
      case 'per_1m_characters':
        fees.characters = times(amount, '1');
        break;
      case 'per_output_image_usd':
        fees.images = times(amount, PER_ONE);
        break;
      case 'per_search_unit_usd':
        fees.search_units = times(amount, PER_ONE);
        break;
      default:
        skip(model, key, amount);
    }
  }
  // The collection's notes have it, and no unit for it.
  const [, storage] = /cache storage price \(\$([\d.]+) per 1M tokens per hour\)/.exec(model.notes ?? '') ?? [];
  if (storage !== undefined) fees.cache_storage_token_seconds = { amount: times(storage, '1'), per: '3600000000' };
  return { ...fees, ...toolFees(model) };
}

/** Gemini bills by query from version 3 on, and by prompt before: the other of the two costs nothing. */
function searchFees(model: CollectedModel, fee: string): CataloguePrices {
  if (model.provider !== 'google') return { web_searches: fee };
  return model.model.startsWith('gemini-2')
    ? { grounded_prompts: fee, grounding_queries: '0' }
    : { grounding_queries: fee, grounded_prompts: '0' };
}

/** Models that reason pay one fee for a search, whichever version of the tool searches; for others it depends on that. */
const OPENAI_REASONS = /^(o\d|gpt-[56])/;

/**
 * Fees that are the same for every model of a provider, which the collection has for some: 10 dollars for 1,000 searches
 * (https://platform.claude.com/docs/en/about-claude/pricing, https://developers.openai.com/api/docs/pricing), 2.50 for
 * 1,000 searches of OpenAI's vector stores.
 */
function toolFees(model: CollectedModel): CataloguePrices {
  if (model.provider === 'anthropic') return { web_searches: times('10', PER_THOUSAND) };
  if (model.provider !== 'openai' || (model.mode !== 'chat' && model.mode !== 'responses')) return {};
  return {
    file_searches: times('2.5', PER_THOUSAND),
    ...(OPENAI_REASONS.test(model.model) && { web_searches: times('10', PER_THOUSAND) }),
  };
}

function skip(model: CollectedModel, key: string, amount: string): void {
  const prices = model.periods.map((period) => period.prices.output);
  // Reasoning is output, at the price of output.
  if (key === 'reasoning_output' && prices.includes(amount)) return;
  leftOut.add(`${model.provider}/${model.model}: ${key} ${amount}`);
}
