import { matchesPattern } from '#core/key-policy.ts';
import { type ModelEntry, type ModelPrices, type Price, type PriceBook, parsePrice } from '#core/price.ts';
import type { Unit } from '#core/quantity.ts';
import anthropic from './catalogue/anthropic.json' with { type: 'json' };
import { type CatalogueFile, type CatalogueModel, catalogueFile, providersFile } from './catalogue/catalogue-data.ts';
import google from './catalogue/google.json' with { type: 'json' };
import openai from './catalogue/openai.json' with { type: 'json' };
import providersJson from './catalogue/providers.json' with { type: 'json' };
import type { WireFamily } from './wires.ts';

/** The price book that the configuration makes: the catalogue of this release under the prices of the file. */
export interface Catalogue extends PriceBook {
  /** Models of a provider by their own names: the catalogue's in its order, then those of the configuration. */
  listModels(provider: string): readonly string[];
}

export interface ProviderRow {
  readonly provider: string;
  readonly name: string;
  readonly aliases: readonly string[];
  readonly hosts: readonly string[];
  readonly base_urls: Readonly<Partial<Record<WireFamily, string>>>;
}

/** Prices and sizes that the configuration sets. They replace the catalogue's, for good; what is null stays as it is. */
export interface ModelOverride {
  readonly provider: string;
  /** Pattern with `*`. */
  readonly model: string;
  readonly contextTokens: bigint | null;
  readonly outputTokensMax: bigint | null;
  readonly prices: ModelPrices['prices'] | null;
}

/** The currency of every cost. Costs of other currencies would need exchange rates on the request path. */
export const COST_CURRENCY = 'USD';

/** Names asked for are the caller's to choose: the cache of answers starts anew when it holds this many. */
const NAMES_CACHED_MAX = 10_000;
const NAME_LENGTH_CACHED_MAX = 200;

/**
 * What a unit costs where a list does not name it: providers name a price of its own only where it differs. Output has
 * no such rule, since audio and images cost a multiple of text there; a call that has them is unpriced instead.
 */
const PRICED_AS_INPUT: readonly Unit[] = [
  'cache_read_tokens',
  'input_audio_tokens',
  'input_image_tokens',
  'input_video_tokens',
];

/** Likewise, but only together: where one of them has a price, a write of another kind has one too that we do not know. */
const CACHE_WRITES: readonly Unit[] = [
  'cache_write_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'cache_write_12h_tokens',
];

/**
 * What is read from a cache costs as text read from one does, where the medium costs as text does; where it has a price
 * of its own and a discount for reading it from a cache is not known, it costs that.
 */
const CACHE_READS: readonly { readonly unit: Unit; readonly uncached: Unit }[] = [
  { unit: 'cache_read_audio_tokens', uncached: 'input_audio_tokens' },
  { unit: 'cache_read_image_tokens', uncached: 'input_image_tokens' },
  { unit: 'cache_read_video_tokens', uncached: 'input_video_tokens' },
];

type Prices = Partial<Record<Unit, Price>>;

interface DatedPrices {
  fromMs: number;
  prices: ModelPrices;
}

/** A catalogue entry made ready: prices parsed, patterns compiled. */
interface Listed {
  entry: ModelEntry;
  names: ReadonlySet<string>;
  prefixes: readonly string[];
  patterns: readonly RegExp[];
}

let providers: { version: string; rows: readonly ProviderRow[] } | undefined;
let listed: ReadonlyMap<string, readonly Listed[]> | undefined;

function loadProviders(): { version: string; rows: readonly ProviderRow[] } {
  if (!providers) {
    const parsed = providersFile.parse(providersJson);
    providers = { version: parsed.version, rows: parsed.providers };
  }
  return providers;
}

/** The files as they are committed, in a fixed order. */
export function catalogueFiles(): CatalogueFile[] {
  return [openai, anthropic, google].map((file) => catalogueFile.parse(file));
}

function loadListed(): ReadonlyMap<string, readonly Listed[]> {
  listed ??= new Map(
    catalogueFiles().map((file) => [
      file.provider,
      file.models.map((model) => makeListed(file.provider, BigInt(file.per), model)),
    ]),
  );
  return listed;
}

export function listProviders(): readonly ProviderRow[] {
  return loadProviders().rows;
}

/** A provider known by the host of its address or, where that says nothing, by the name that the operator gave it. */
export function findProvider(name: string, baseUrl: string | null): ProviderRow | undefined {
  const host = baseUrl === null ? null : URL.parse(baseUrl)?.hostname;
  return (
    listProviders().find((row) => host != null && row.hosts.includes(host)) ??
    listProviders().find((row) => row.provider === name || row.aliases.includes(name))
  );
}

/** The catalogue alone. */
export function builtinPriceBook(): Catalogue {
  return priceBook([], '');
}

/** The catalogue under overrides; `overridesHash` names them in the version, and is empty when there are none. */
export function priceBook(overrides: readonly ModelOverride[], overridesHash: string): Catalogue {
  const models = loadListed();
  const cache = new Map<string, Map<string, ModelEntry | undefined>>();
  let cached = 0;

  function find(provider: string, model: string): ModelEntry | undefined {
    const found = findListed(models.get(provider) ?? [], model);
    const override = overrides.find((one) => one.provider === provider && matchesPattern(one.model, model));
    return override ? overridden(override, model, found) : found;
  }

  return {
    version: `${loadProviders().version}${overridesHash === '' ? '' : `+${overridesHash}`}`,
    findModel(provider, model) {
      const known = cache.get(provider)?.get(model);
      if (known) return known;
      if (cache.get(provider)?.has(model)) return undefined;
      const found = find(provider, model);
      if (model.length > NAME_LENGTH_CACHED_MAX) return found;
      if (cached >= NAMES_CACHED_MAX) {
        cache.clear();
        cached = 0;
      }
      let names = cache.get(provider);
      if (!names) {
        names = new Map();
        cache.set(provider, names);
      }
      names.set(model, found);
      cached++;
      return found;
    },
    listModels(provider) {
      const own = overrides.filter((one) => one.provider === provider && !one.model.includes('*'));
      return [
        ...new Set([...(models.get(provider) ?? []).map((one) => one.entry.model), ...own.map((one) => one.model)]),
      ];
    },
  };
}

/** The model's own name first, then another of its names, then a pattern, then the longest beginning: `opus-5-5-…` is no `opus-5`. */
function findListed(models: readonly Listed[], name: string): ModelEntry | undefined {
  const exact =
    models.find((model) => model.entry.model === name) ??
    models.find((model) => model.names.has(name)) ??
    models.find((model) => model.patterns.some((pattern) => pattern.test(name)));
  if (exact) return exact.entry;
  let best: Listed | undefined;
  let length = 0;
  for (const model of models) {
    for (const prefix of model.prefixes) {
      if (prefix.length > length && name.startsWith(prefix)) {
        best = model;
        length = prefix.length;
      }
    }
  }
  return best?.entry;
}

function overridden(override: ModelOverride, name: string, found: ModelEntry | undefined): ModelEntry {
  const own: ModelPrices | null = override.prices && {
    currency: COST_CURRENCY,
    prices: withInputPrices(override.prices),
    tiers: [],
  };
  return {
    provider: override.provider,
    model: found?.model ?? name,
    contextTokens: override.contextTokens ?? found?.contextTokens ?? null,
    outputTokensMax: override.outputTokensMax ?? found?.outputTokensMax ?? null,
    findPrices: (atMs) => own ?? found?.findPrices(atMs),
  };
}

function makeListed(provider: string, per: bigint, model: CatalogueModel): Listed {
  const periods = model.periods.map((period): DatedPrices => {
    const own = parsePrices(period.prices, per);
    return {
      fromMs: period.from === null ? Number.NEGATIVE_INFINITY : Date.parse(`${period.from}T00:00:00Z`),
      prices: {
        currency: COST_CURRENCY,
        prices: withInputPrices(own),
        tiers: period.tiers.map((tier) => ({
          aboveInputTokens: BigInt(tier.above_input_tokens),
          prices: withInputPrices(parsePrices(tier.prices, per), own),
        })),
      },
    };
  });
  return {
    entry: {
      provider,
      model: model.model,
      contextTokens: model.context_tokens === null ? null : BigInt(model.context_tokens),
      outputTokensMax: model.output_tokens_max === null ? null : BigInt(model.output_tokens_max),
      findPrices: (atMs) => periods.findLast((period) => period.fromMs <= atMs)?.prices,
    },
    names: new Set(model.match.equals),
    prefixes: model.match.starts_with ?? [],
    patterns: (model.match.regex ?? []).map((pattern) => new RegExp(pattern)),
  };
}

function parsePrices(amounts: Partial<Record<Unit, string | undefined>>, per: bigint): Prices {
  const prices: Prices = {};
  for (const unit in amounts) {
    const amount = amounts[unit as Unit];
    if (amount === undefined) continue;
    const price = parsePrice(amount, per);
    if (!price) throw new RangeError(`not a price: ${amount}`);
    prices[unit as Unit] = price;
  }
  return prices;
}

/** `base` is what the prices stand above (a tier's model): what that names keeps its price. */
function withInputPrices(prices: Prices, base: Prices = {}): Prices {
  const input = prices.input_tokens;
  if (!input) return prices;
  const filled: Prices = { ...prices };
  const isNamed = (unit: Unit): boolean => prices[unit] !== undefined || base[unit] !== undefined;
  for (const unit of PRICED_AS_INPUT) if (!isNamed(unit)) filled[unit] = input;
  if (!CACHE_WRITES.some(isNamed)) for (const unit of CACHE_WRITES) filled[unit] = input;
  for (const { unit, uncached } of CACHE_READS) {
    const price = isNamed(uncached) ? filled[uncached] : filled.cache_read_tokens;
    if (price && !isNamed(unit)) filled[unit] = price;
  }
  return filled;
}
