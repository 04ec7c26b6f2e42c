import { type Exact, multiply } from '#core/exact.ts';
import { matchesPattern } from '#core/key-policy.ts';
import type { ModelEntry, ModelPrices, Price, PriceBook, PriceSheet, Prices } from '#core/price.ts';
import { catalogueVersionName, findListed, listedModels } from './catalogue.ts';

/** The price book that the configuration makes: the catalogue of this release under the prices of the file. */
export interface Catalogue extends PriceBook {
  /** Models of an upstream by their own names: the catalogue's in its order, then those of the configuration. */
  listModels(provider: string | null, upstream: string): readonly string[];
}

/** Prices and sizes that the configuration sets; what is null stays as it is. */
export interface ModelOverride {
  /** Null for every provider, upstream or customer. */
  readonly provider: string | null;
  readonly upstream: string | null;
  readonly customer: string | null;
  /** Pattern with `*`. */
  readonly model: string;
  /** In force from then on; null for ever. */
  readonly fromMs: number | null;
  readonly contextTokens: bigint | null;
  readonly outputTokensMax: bigint | null;
  /** In place of all that is listed. */
  readonly prices: ModelPrices | null;
  /** Or a multiple of what would hold without this. */
  readonly factor: Exact | null;
  /** The prices hold a call under a budget where no price is known, and cost nothing. */
  readonly holdOnly: boolean;
}

/** Names asked for are the caller's to choose: the cache of answers starts anew when it holds this many. */
const NAMES_CACHED_MAX = 10_000;
const NAME_LENGTH_CACHED_MAX = 200;

/** The catalogue alone. */
export function builtinPriceBook(): Catalogue {
  return priceBook([], '');
}

/** The catalogue under overrides; `overridesHash` names them in the version, and is empty when there are none. */
export function priceBook(overrides: readonly ModelOverride[], overridesHash: string): Catalogue {
  const models = listedModels();
  const version = catalogueVersionName();
  const upstreams = new Set(overrides.map((one) => one.upstream));
  const customers = new Set(overrides.map((one) => one.customer));
  const cache = new Map<string, Map<string, ModelEntry | undefined>>();
  let cached = 0;

  function find(provider: string | null, model: string, upstream: string, customer: string): ModelEntry | undefined {
    const found = provider === null ? undefined : findListed(models.get(provider) ?? [], model);
    const own = overrides.filter(
      (one) =>
        (one.provider === null || one.provider === provider) &&
        (one.upstream === null || one.upstream === upstream) &&
        (one.customer === null || one.customer === customer) &&
        matchesPattern(one.model, model),
    );
    return own.length === 0 ? found : overridden(provider, model, found, own);
  }

  /** Most upstreams and customers have no prices of their own, and share one answer. */
  function scopeOf(provider: string | null, upstream: string, customer: string): string {
    const named = upstreams.has(upstream);
    if (!named && !customers.has(customer)) return provider ?? '';
    return `${provider ?? ''}/${named ? upstream : ''}/${customers.has(customer) ? customer : ''}`;
  }

  return {
    version: overridesHash === '' ? version : `${version}+${overridesHash}`,
    findModel(provider, model, upstream, customer) {
      const scope = scopeOf(provider, upstream, customer);
      let names = cache.get(scope);
      const known = names?.get(model);
      if (known) return known;
      if (names?.has(model)) return undefined;
      const found = find(provider, model, upstream, customer);
      if (model.length > NAME_LENGTH_CACHED_MAX) return found;
      if (cached >= NAMES_CACHED_MAX) {
        cache.clear();
        names = undefined;
        cached = 0;
      }
      if (!names) {
        names = new Map();
        cache.set(scope, names);
      }
      names.set(model, found);
      cached++;
      return found;
    },
    listModels(provider, upstream) {
      const own = overrides.filter(
        (one) =>
          (one.provider === null || one.provider === provider) &&
          (one.upstream === null || one.upstream === upstream) &&
          isListing(one) &&
          !one.model.includes('*'),
      );
      const listed = provider === null ? [] : (models.get(provider) ?? []);
      return [...new Set([...listed.map((one) => one.entry.model), ...own.map((one) => one.model)])];
    },
  };
}

/** What gives a model prices or a size makes it one that is served; a factor, or what to hold for the unknown, does not. */
function isListing(one: ModelOverride): boolean {
  return !one.holdOnly && (one.prices !== null || one.contextTokens !== null || one.outputTokensMax !== null);
}

function overridden(
  provider: string | null,
  name: string,
  found: ModelEntry | undefined,
  own: readonly ModelOverride[],
): ModelEntry {
  const timelines = timelinesOf(own.filter((one) => !one.holdOnly && (one.prices || one.factor)));
  const holds = timelinesOf(own.filter((one) => one.holdOnly));
  const scaled = new Map<ModelOverride, WeakMap<ModelPrices, ModelPrices>>();

  /** The first timeline that has something in force decides; a factor stands on what the ones after it say. */
  function pricesFrom(i: number, atMs: number): ModelPrices | undefined {
    const timeline = timelines[i];
    if (!timeline) return found?.findPrices(atMs);
    const current = inForce(timeline, atMs);
    if (current?.prices) return current.prices;
    const below = pricesFrom(i + 1, atMs);
    if (!current?.factor || !below) return below;
    const known = scaled.get(current) ?? new WeakMap<ModelPrices, ModelPrices>();
    const prices = known.get(below) ?? scale(below, current.factor);
    scaled.set(current, known.set(below, prices));
    return prices;
  }

  return {
    provider,
    model: found?.model ?? name,
    listed: found !== undefined || own.some(isListing),
    contextTokens: own.find((one) => one.contextTokens !== null)?.contextTokens ?? found?.contextTokens ?? null,
    outputTokensMax: own.find((one) => one.outputTokensMax !== null)?.outputTokensMax ?? found?.outputTokensMax ?? null,
    findPrices: (atMs) => pricesFrom(0, atMs),
    findHoldPrices(atMs) {
      for (const timeline of holds) {
        const current = inForce(timeline, atMs);
        if (current?.prices) return current.prices;
      }
      return undefined;
    },
  };
}

/** Entries for the same thing, by date. What is for one customer goes before what is for one upstream, and that before the rest. */
function timelinesOf(own: readonly ModelOverride[]): (readonly ModelOverride[])[] {
  const groups = new Map<string, ModelOverride[]>();
  for (const one of [...own].sort((a, b) => weightOf(b) - weightOf(a))) {
    const key = JSON.stringify([one.provider, one.upstream, one.customer, one.model]);
    const group = groups.get(key);
    if (group) group.push(one);
    else groups.set(key, [one]);
  }
  return [...groups.values()].map((group) => group.sort((a, b) => (a.fromMs ?? -Infinity) - (b.fromMs ?? -Infinity)));
}

function weightOf({ customer, upstream }: ModelOverride): number {
  return (customer === null ? 0 : 2) + (upstream === null ? 0 : 1);
}

function inForce(timeline: readonly ModelOverride[], atMs: number): ModelOverride | undefined {
  return timeline.findLast((one) => one.fromMs === null || one.fromMs <= atMs);
}

function scale(model: ModelPrices, factor: Exact): ModelPrices {
  const priceOf = ({ amount, per }: Price): Price => ({ amount: multiply(amount, factor), per });
  const pricesOf = (prices: Prices): Prices =>
    Object.fromEntries(Object.entries(prices).map(([unit, price]) => [unit, priceOf(price)]));
  const sheetOf = (sheet: PriceSheet): PriceSheet => ({
    ...sheet,
    prices: pricesOf(sheet.prices),
    tiers: sheet.tiers.map((tier) => ({ ...tier, prices: pricesOf(tier.prices) })),
    variants: Object.fromEntries(Object.entries(sheet.variants).map(([name, prices]) => [name, pricesOf(prices)])),
  });
  return {
    ...model,
    standard: sheetOf(model.standard),
    services: Object.fromEntries(Object.entries(model.services).map(([name, sheet]) => [name, sheetOf(sheet)])),
    ...(model.daily && { daily: model.daily.map((one) => ({ ...one, prices: scale(one.prices, factor) })) }),
  };
}
