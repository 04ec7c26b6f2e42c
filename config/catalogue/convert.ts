/**
 * Makes the catalogue's files from a collection of dated model prices:
 *
 *   node config/catalogue/convert.ts ../shared/data/model-prices.json
 *
 * Run by hand when the collection is newer; the result is committed and is all that Weir reads. Prints what it could
 * not express and left out. Facts come over, each with its source; nothing is guessed but what `note` says.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { formatExact, getExact, multiply } from '#core/exact.ts';
import type { Unit } from '#core/quantity.ts';
import {
  type CatalogueFile,
  type CatalogueModel,
  type CataloguePeriod,
  catalogueFile,
  providersFile,
} from './catalogue-data.ts';
import { catalogueVersion, PROVIDER_FILES } from './version.ts';

const prices = z.record(z.string(), z.string());
const tiers = z.array(z.strictObject({ above_input_tokens: z.number(), prices }));
const rule = z.strictObject({
  equals: z.string().optional(),
  starts_with: z.string().optional(),
  regex: z.string().optional(),
  contains: z.string().optional(),
});
const source = z.object({
  generated_at: z.string(),
  models: z.array(
    z.object({
      provider: z.string(),
      model: z.string(),
      mode: z.string().nullable(),
      context_window: z.number().nullable(),
      max_input_tokens: z.number().nullable(),
      max_output_tokens: z.number().nullable(),
      match: z.union([rule, z.strictObject({ or: z.array(rule) })]).optional(),
      secondary_source: z.boolean().optional(),
      other_units: z.record(z.string(), z.unknown()).optional(),
      periods: z.array(
        z.object({
          effective_from: z.string().nullable(),
          constraint: z.unknown(),
          prices,
          tiers,
          source: z.string(),
          cancelled: z.boolean().optional(),
          secondary_source: z.boolean().optional(),
        }),
      ),
    }),
  ),
});
type SourceModel = z.infer<typeof source>['models'][number];

const MILLION = getExact('1000000');

/** The collection's price keys that stand for a unit, all per million. */
const UNIT_OF_KEY: Readonly<Record<string, Unit>> = {
  input: 'input_tokens',
  cached_input: 'cache_read_tokens',
  cache_write_1h: 'cache_write_1h_tokens',
  input_audio: 'input_audio_tokens',
  input_image: 'input_image_tokens',
  output: 'output_tokens',
  output_audio: 'output_audio_tokens',
  output_image: 'output_image_tokens',
};

const leftOut = new Set<string>();

function convertPrices(model: SourceModel, given: Record<string, string>): CataloguePeriod['prices'] {
  const converted: CataloguePeriod['prices'] = {};
  for (const [key, amount] of Object.entries(given)) {
    const unit =
      key === 'cache_write'
        ? // Anthropic has two lifetimes with a price each, of which this is the five minutes; the others have one.
          model.provider === 'anthropic'
          ? 'cache_write_5m_tokens'
          : 'cache_write_tokens'
        : UNIT_OF_KEY[key];
    if (unit) converted[unit] = formatExact(getExact(amount));
    else if (key === 'web_search_per_1k')
      converted.web_searches = formatExact(multiply(getExact(amount), getExact('1000')));
    else leftOut.add(`${model.provider}/${model.model}: ${key} ${amount}`);
  }
  return converted;
}

/** Models sold by other units than tokens alone; the rest of `other_units` repeats or refines prices in tokens. */
function otherPrices(model: SourceModel): CataloguePeriod['prices'] {
  const others = model.other_units ?? {};
  const perSecond = others.audio_input_per_second_usd;
  const perMillionCharacters = others.per_1m_characters;
  const priced = model.periods.some((period) => Object.keys(period.prices).length > 0);
  for (const [key, value] of Object.entries(others)) {
    const used = !priced && (key === 'audio_input_per_second_usd' || key === 'per_1m_characters');
    if (key !== 'source' && key !== 'web_search_per_1k_usd' && !used) {
      leftOut.add(`${model.provider}/${model.model}: ${key} ${JSON.stringify(value)}`);
    }
    if (key === 'web_search_per_1k_usd' && !model.periods.some((period) => 'web_search_per_1k' in period.prices)) {
      leftOut.add(`${model.provider}/${model.model}: ${key} ${JSON.stringify(value)}`);
    }
  }
  if (priced) return {};
  return {
    ...(typeof perSecond === 'string' && { audio_seconds: formatExact(multiply(getExact(perSecond), MILLION)) }),
    ...(typeof perMillionCharacters === 'string' && { characters: formatExact(getExact(perMillionCharacters)) }),
  };
}

function convertMatch(model: SourceModel): CatalogueModel['match'] {
  // Rows without rules: snapshots are named as the provider names those of the models before.
  if (!model.match) {
    return model.provider === 'anthropic'
      ? { starts_with: [model.model] }
      : { regex: [`^${model.model.replaceAll('.', '\\.')}-\\d{4}-\\d{2}-\\d{2}$`] };
  }
  const rules = 'or' in model.match ? model.match.or : [model.match];
  const equals = rules.flatMap((one) => (one.equals && one.equals !== model.model ? [one.equals] : []));
  const startsWith = rules.flatMap((one) => (one.starts_with ? [one.starts_with] : []));
  const regex = rules.flatMap((one) => (one.regex ? [one.regex] : []));
  for (const one of rules) if (one.contains) leftOut.add(`${model.provider}/${model.model}: contains ${one.contains}`);
  return {
    ...(equals.length > 0 && { equals }),
    ...(startsWith.length > 0 && { starts_with: startsWith }),
    ...(regex.length > 0 && { regex }),
  };
}

function convertPeriods(model: SourceModel): CataloguePeriod[] {
  const periods: CataloguePeriod[] = [];
  for (const period of model.periods) {
    if (period.cancelled) continue;
    if (period.constraint !== null) {
      leftOut.add(`${model.provider}/${model.model}: constraint ${JSON.stringify(period.constraint)}`);
      continue;
    }
    const day = /^\d{4}-\d{2}-\d{2}$/.test(period.effective_from ?? '');
    const month = /^(\d{4}-\d{2})(?!-\d)/.exec(period.effective_from ?? '');
    if (period.effective_from !== null && !day && !month) throw new Error(`${model.model}: ${period.effective_from}`);
    periods.push({
      from: month ? `${month[1]}-01` : period.effective_from,
      prices: { ...convertPrices(model, period.prices), ...otherPrices(model) },
      tiers: period.tiers.map((tier) => ({
        above_input_tokens: tier.above_input_tokens,
        prices: convertPrices(model, tier.prices),
      })),
      source: period.source,
      secondary_source: period.secondary_source ?? model.secondary_source ?? false,
      ...(month && { note: 'The day is not known: taken as the first of the month.' }),
    });
  }
  return periods.sort((a, b) => ((a.from ?? '') < (b.from ?? '') ? -1 : 1));
}

function convertModel(model: SourceModel): CatalogueModel {
  // The two figures disagree for some models; the larger one is the safe bound for what a call can take in.
  const context = Math.max(model.context_window ?? 0, model.max_input_tokens ?? 0);
  return {
    model: model.model,
    mode: model.mode,
    context_tokens: context === 0 ? null : context,
    output_tokens_max: model.max_output_tokens,
    match: convertMatch(model),
    periods: convertPeriods(model),
  };
}

const [from] = process.argv.slice(2);
if (!from) throw new Error('usage: node config/catalogue/convert.ts FILE');
const collection = source.parse(JSON.parse(readFileSync(from, 'utf8')));
const folder = new URL('./', import.meta.url);
const files: CatalogueFile[] = PROVIDER_FILES.map((provider) =>
  catalogueFile.parse({
    provider,
    currency: 'USD',
    per: 1_000_000,
    models: collection.models.filter((model) => model.provider === provider).map(convertModel),
  }),
);
for (const file of files) {
  writeFileSync(new URL(`${file.provider}.json`, folder), `${JSON.stringify(file, null, 2)}\n`);
  console.log(`${file.provider}: ${file.models.length} models`);
}
const providers = providersFile.parse(JSON.parse(readFileSync(new URL('providers.json', folder), 'utf8')));
providers.version = await catalogueVersion(collection.generated_at, files);
writeFileSync(new URL('providers.json', folder), `${JSON.stringify(providers, null, 2)}\n`);
console.log(`version ${providers.version}\nleft out:\n  ${[...leftOut].join('\n  ')}`);
