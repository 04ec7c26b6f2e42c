import { type Exact, getExact } from '#core/exact.ts';
import {
  type DailyPrices,
  type ModelEntry,
  type ModelPrices,
  type PriceSheet,
  type Prices,
  parsePrice,
} from '#core/price.ts';
import type { Unit } from '#core/quantity.ts';
import anthropic from './catalogue/anthropic.json' with { type: 'json' };
import bedrock from './catalogue/aws.bedrock.json' with { type: 'json' };
import {
  type CatalogueFile,
  type CatalogueModel,
  type CataloguePeriod,
  type CataloguePrices,
  type CatalogueTiers,
  catalogueFile,
  providersFile,
} from './catalogue/catalogue-data.ts';
import cohere from './catalogue/cohere.json' with { type: 'json' };
import deepseek from './catalogue/deepseek.json' with { type: 'json' };
import google from './catalogue/google.json' with { type: 'json' };
import groq from './catalogue/groq.json' with { type: 'json' };
import mistral from './catalogue/mistral.json' with { type: 'json' };
import openai from './catalogue/openai.json' with { type: 'json' };
import providersJson from './catalogue/providers.json' with { type: 'json' };
import together from './catalogue/together.json' with { type: 'json' };
import xai from './catalogue/xai.json' with { type: 'json' };
import { feesOf, withInputPrices } from './input-prices.ts';
import type { WireFamily } from './wires.ts';

/** The catalogue of this release: providers, and their models with dated prices. */
export interface ProviderRow {
  readonly provider: string;
  readonly name: string;
  readonly aliases: readonly string[];
  readonly hosts: readonly string[];
  readonly base_urls: Readonly<Partial<Record<WireFamily, string>>>;
  readonly include_usage?: boolean | undefined;
}

/** The currency of every cost. Costs of other currencies would need exchange rates on the request path. */
export const COST_CURRENCY = 'USD';

const FILES = [openai, anthropic, google, mistral, deepseek, xai, cohere, groq, together, bedrock];

/** A catalogue entry made ready: prices parsed, patterns compiled. */
export interface Listed {
  readonly entry: ModelEntry;
  readonly match: CatalogueModel['match'];
  readonly patterns: readonly RegExp[];
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
  return FILES.map((file) => catalogueFile.parse(file));
}

export function catalogueVersionName(): string {
  return loadProviders().version;
}

/** Models by provider. */
export function listedModels(): ReadonlyMap<string, readonly Listed[]> {
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
  const host = hostOf(baseUrl);
  return (
    listProviders().find((row) => host !== null && row.hosts.some((one) => hostPattern(one).test(host))) ??
    listProviders().find((row) => row.provider === name || row.aliases.includes(name))
  );
}

/** The region that a provider's host is in, where its name says so: `eu.api.openai.com`. */
export function findRegion(baseUrl: string | null): string | null {
  const host = hostOf(baseUrl);
  if (host === null) return null;
  for (const { hosts } of listProviders()) {
    for (const one of hosts) {
      const region = hostPattern(one).exec(host)?.groups?.region;
      if (region !== undefined) return region;
    }
  }
  return null;
}

function hostOf(baseUrl: string | null): string | null {
  return baseUrl === null ? null : (URL.parse(baseUrl)?.hostname ?? null);
}

function hostPattern(host: string): RegExp {
  return new RegExp(`^${host.replaceAll('.', '\\.').replace('{region}', '(?<region>[a-z0-9-]+)')}$`);
}

/** The model's own name first, then another of its names, then a pattern, then the longest part of a name. */
export function findListed(models: readonly Listed[], name: string): ModelEntry | undefined {
  const exact =
    models.find((model) => model.entry.model === name) ??
    models.find((model) => model.match.equals?.includes(name)) ??
    models.find((model) => model.patterns.some((pattern) => pattern.test(name)));
  if (exact) return exact.entry;
  let best: Listed | undefined;
  let length = 0;
  const see = (model: Listed, part: string, at: number) => {
    if (part.length <= length || at < 0 || NEXT_VERSION.test(name.slice(at + part.length))) return;
    best = model;
    length = part.length;
  };
  for (const model of models) {
    for (const part of model.match.starts_with ?? []) see(model, part, name.startsWith(part) ? 0 : -1);
    for (const part of model.match.contains ?? []) see(model, part, name.indexOf(part));
  }
  return best?.entry;
}

/**
 * What follows the part of a name makes it another model: `opus-5` is no part of `opus-5-6`, whose price nobody has told
 * us. Dates of snapshots (`-20260922`, `-05-06`, `-09-2026`) and revisions (`-001`, `-v1:0`) do not.
 */
const NEXT_VERSION = /^[-.][1-9]\d?(?!\d|-\d\d$|-\d{4}$)/;

interface DatedPrices {
  readonly fromMs: number;
  readonly prices: ModelPrices;
}

function makeListed(provider: string, per: bigint, model: CatalogueModel): Listed {
  const periods = model.periods.map((period) => makePeriod(period, per));
  return {
    entry: {
      provider,
      model: model.model,
      listed: true,
      contextTokens: model.context_tokens === null ? null : BigInt(model.context_tokens),
      outputTokensMax: model.output_tokens_max === null ? null : BigInt(model.output_tokens_max),
      findPrices: (atMs) => pricesAt(periods, atMs),
      findHoldPrices: () => undefined,
    },
    match: model.match,
    patterns: (model.match.regex ?? []).map((pattern) => new RegExp(pattern)),
  };
}

function pricesAt(periods: readonly DatedPrices[], atMs: number): ModelPrices | undefined {
  for (let i = periods.length - 1; i >= 0; i--) {
    const period = periods[i];
    if (period && period.fromMs <= atMs) return period.prices;
  }
  return undefined;
}

function makePeriod(period: CataloguePeriod, per: bigint): DatedPrices {
  const own = parsePrices(period.prices, per);
  const regions: Record<string, Exact> = {};
  for (const [region, factor] of Object.entries(period.regions ?? {})) regions[region] = getExact(factor);
  const services: Record<string, PriceSheet> = {};
  for (const [name, service] of Object.entries(period.services ?? {})) {
    const sheet = makeSheet(service, per, own);
    services[name] = { ...sheet, inputTokensMax: service.input_tokens_max ? BigInt(service.input_tokens_max) : null };
  }
  const pricesOf = (standard: PriceSheet): ModelPrices => ({ currency: COST_CURRENCY, standard, services, regions });
  return {
    fromMs: period.from === null ? Number.NEGATIVE_INFINITY : Date.parse(`${period.from}T00:00:00Z`),
    prices: { ...pricesOf(makeSheet(period, per, null)), ...(period.daily && { daily: period.daily.map(dailyOf) }) },
  };

  function dailyOf(hours: NonNullable<CataloguePeriod['daily']>[number]): DailyPrices {
    const prices = pricesOf(makeSheet(hours, per, null));
    return { fromMs: timeOfDay(hours.from), toMs: timeOfDay(hours.to), prices };
  }
}

/** `16:30`, in milliseconds since midnight. */
export function timeOfDay(text: string): number {
  const [hours = 0, minutes = 0] = text.split(':').map(Number);
  return (hours * 60 + minutes) * 60_000;
}

/** `standard`: the prices of the standard service, for a service beside it. Its fees hold there too; its tokens do not. */
function makeSheet(
  given: { prices: CataloguePrices; tiers: CatalogueTiers },
  per: bigint,
  standard: Prices | null,
): PriceSheet {
  const own = { ...(standard && feesOf(standard)), ...parsePrices(given.prices, per) };
  const base = { ...standard, ...own };
  return {
    prices: withInputPrices(own, standard ?? {}),
    tiers: given.tiers.map((tier) => ({
      aboveInputTokens: BigInt(tier.above_input_tokens),
      prices: withInputPrices(parsePrices(tier.prices, per), base),
    })),
    inputTokensMax: null,
    variants: {},
  };
}

function parsePrices(amounts: CataloguePrices, per: bigint): Prices {
  const prices: Partial<Record<Unit, ReturnType<typeof parsePrice>>> = {};
  for (const [unit, given] of Object.entries(amounts)) {
    const price = typeof given === 'string' ? parsePrice(given, per) : parsePrice(given.amount, BigInt(given.per));
    if (!price) throw new RangeError(`not a price: ${JSON.stringify(given)}`);
    prices[unit as Unit] = price;
  }
  return prices as Prices;
}
