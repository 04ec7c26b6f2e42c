/**
 * Makes the catalogue's files from a collection of dated model prices:
 *
 *   node config/catalogue/convert.ts ../shared/data/model-prices.json
 *
 * Run by hand when the collection is newer; the result is committed and is all that Weir reads. Prints what it left out.
 * Facts come over, each with its source; what is no fact of the collection is a rule that its provider states, and the
 * rule says where.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import {
  type CatalogueFile,
  type CatalogueModel,
  type CataloguePeriod,
  catalogueFile,
  providersFile,
} from './catalogue-data.ts';
import { type CollectedModel, type CollectedPeriod, collectionFile, extraDate, extraPrices } from './collection.ts';
import { leftOut, standardOf, times } from './convert-prices.ts';
import { regionsOf, servicesOf } from './convert-services.ts';
import { catalogueVersion, PROVIDER_FILES } from './version.ts';

function convertMatch(model: CollectedModel): CatalogueModel['match'] {
  // Rows without rules: snapshots are named as the provider names those of the models before.
  if (!model.match) {
    return model.provider === 'openai'
      ? { regex: [`^${model.model.replaceAll('.', '\\.')}-\\d{4}-\\d{2}-\\d{2}$`] }
      : { starts_with: [model.model] };
  }
  const rules = 'or' in model.match ? model.match.or : [model.match];
  const of = (pick: (rule: (typeof rules)[number]) => string | undefined) => {
    const names = rules.flatMap((rule) => pick(rule) ?? []);
    return names.length > 0 ? names : undefined;
  };
  const equals = of((rule) => (rule.equals === model.model ? undefined : rule.equals));
  const startsWith = of((rule) => rule.starts_with);
  const contains = of((rule) => rule.contains);
  const regex = of((rule) => rule.regex);
  return {
    ...(equals && { equals }),
    ...(startsWith && { starts_with: startsWith }),
    ...(contains && { contains }),
    ...(regex && { regex }),
  };
}

function fromOf(model: CollectedModel, { effective_from }: CollectedPeriod): { from: string | null; note?: string } {
  if (effective_from === null || /^\d{4}-\d{2}-\d{2}$/.test(effective_from)) return { from: effective_from };
  const [, month] = /^(\d{4}-\d{2})(?!-\d)/.exec(effective_from) ?? [];
  if (month === undefined) throw new Error(`${model.model}: ${effective_from}`);
  return { from: `${month}-01`, note: 'The day is not known: taken as the first of the month.' };
}

/**
 * The period that the second list's prices belong to: the one in force on the day of that list, or the one whose input
 * its batches cost half of. Where none is, they stand on another price of the model, and are left out.
 */
function listedPeriod(model: CollectedModel, periods: readonly CollectedPeriod[]): CollectedPeriod | undefined {
  const extra = extraPrices(model);
  if (!model.litellm_extra) return undefined;
  const half = extra.batch_input ?? extra.flex_input;
  const fits = (period: CollectedPeriod | undefined) =>
    half === undefined || times(half, '2') === times(period?.prices.input ?? '0', '1');
  const day = extraDate(model);
  const inForce = periods.findLast((period) => period.effective_from === null || period.effective_from <= day);
  const found = fits(inForce) ? inForce : periods.find(fits);
  if (!found)
    leftOut.add(
      `${model.provider}/${model.model}: ${JSON.stringify(extra)}, of an input at ${times(half ?? '0', '2')}`,
    );
  return found;
}

function convertPeriods(model: CollectedModel): CataloguePeriod[] {
  const periods = model.periods.filter((period) => !period.cancelled && period.constraint === null);
  const listed = listedPeriod(model, periods);
  const { regions, source: regionsSource } = regionsOf(model);
  return periods
    .map((period): CataloguePeriod => {
      const { from, note } = fromOf(model, period);
      const standard = standardOf(model, period, period === listed);
      const services = servicesOf(model, standard, period === listed);
      const daily = model.periods.filter(
        (one) => one.constraint !== null && one.effective_from === period.effective_from,
      );
      const notes = [
        note,
        period.notes,
        period === listed && period.tiers.length === 0 && standard.tiers.length > 0
          ? `Tiers: ${model.litellm_extra?.source}.`
          : undefined,
        regionsSource && `Regions: ${regionsSource}.`,
        model.litellm_extra?.conflicts && `Sources differ: ${model.litellm_extra.conflicts.join(', ')}.`,
      ].filter((one) => one !== undefined);
      return {
        from,
        ...standard,
        ...(services && { services }),
        ...(regions && { regions }),
        ...(daily.length > 0 && {
          daily: daily.map((one) => ({
            from: one.constraint?.start_time.slice(0, 5) ?? '',
            to: one.constraint?.end_time.slice(0, 5) ?? '',
            ...standardOf(model, one, false),
          })),
        }),
        source: period.source,
        secondary_source: period.secondary_source ?? model.secondary_source ?? false,
        ...(notes.length > 0 && { note: notes.join(' ') }),
      };
    })
    .sort((a, b) => ((a.from ?? '') < (b.from ?? '') ? -1 : 1));
}

function convertModel(model: CollectedModel): CatalogueModel {
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
const collection = collectionFile.parse(JSON.parse(readFileSync(from, 'utf8')));
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
const covered = new Set<string>(PROVIDER_FILES);
for (const { provider, model } of collection.models) if (!covered.has(provider)) leftOut.add(`${provider}/${model}`);
const providers = providersFile.parse(JSON.parse(readFileSync(new URL('providers.json', folder), 'utf8')));
providers.version = await catalogueVersion(collection.generated_at, files);
writeFileSync(new URL('providers.json', folder), `${JSON.stringify(providers, null, 2)}\n`);
console.log(`version ${providers.version}\nleft out:\n  ${[...leftOut].join('\n  ')}`);
