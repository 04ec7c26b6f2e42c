import { ceil, compare, type Exact, exact, ONE } from './exact.ts';
import { FREE_UNLESS_PRICED, type ModelPrices, type PriceSheet, type Prices } from './price.ts';
import { type Counts, INPUT_TOKEN_UNITS, OUTPUT_TOKEN_UNITS, TOKEN_UNITS, type Unit } from './quantity.ts';

/**
 * What a call costs at its provider, and what it can cost at most. Every call asks, so prices are made ready once: as
 * whole numbers over one denominator, with the tiers, the factor of the region and the dearest of them worked out.
 */

/** What decides a price beside the model and the instant; null where nothing is said of it. */
export interface Service {
  /** Service tier, in the words of the price book: `batch`, `flex`, `priority`, `fast`, … */
  readonly tier: string | null;
  /** Where the model ran. */
  readonly region: string | null;
  /** Size, quality or length of context, where prices hang on it. */
  readonly variant: string | null;
}

export const STANDARD_SERVICE: Service = { tier: null, region: null, variant: null };

/** Words of providers for the service that the list prices are for. */
const STANDARD_TIERS: ReadonlySet<string> = new Set(['', 'auto', 'default', 'standard', 'standard_only', 'on_demand']);

/** Tiers that cost no more than the list, whatever they cost: the list price bounds them. */
const TIERS_BELOW_LIST: ReadonlySet<string> = new Set(['flex', 'batch', 'scale']);

/** Another word for a tier, where the provider has no price for the word itself: OpenAI serves `fast` as `priority`. */
const SAME_TIER: Readonly<Record<string, string>> = { fast: 'priority' };

/** The most that a call can be billed for. */
export interface Bounds {
  /** All of its input, in whichever of `inputUnits` it comes to be billed; likewise the output. */
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  /** Null for every unit of input, or of output. Lists that never change: what is worked out for one is kept. */
  readonly inputUnits: readonly Unit[] | null;
  readonly outputUnits: readonly Unit[] | null;
  /** Units that are no tokens, each by itself. */
  readonly others: Counts;
}

export type ExactCost = { readonly nanos: Exact } | { readonly unpriced: string[] };

/** Exact cost in nanos, or the units that have a quantity and no price (such a call is unpriced, never free). */
export function costOf(counts: Counts, model: ModelPrices, service: Service = STANDARD_SERVICE): ExactCost {
  const table = tableFor(readyOf(model), service.tier, service.region);
  const numerators = table && numeratorsFor(table, counts, service.variant);
  let nanos = 0n;
  let unpriced: string[] | null = null;
  for (const unit in counts) {
    const count = counts[unit as Unit];
    if (!count) continue;
    const price = numerators?.[unit as Unit];
    if (price !== undefined) nanos += count * price;
    else if (!FREE_UNLESS_PRICED.has(unit)) unpriced = [...(unpriced ?? []), unit];
  }
  return unpriced ? { unpriced } : { nanos: exact(nanos, table?.denominator ?? 1n) };
}

/**
 * The most that a call can cost, in whole nanos rounded up: every unit at the dearest price that may come to apply. A
 * tier that was asked for may be served as the standard one, a region that nobody named may be any. Undefined where one
 * of the prices is not known. A tier that has no price of its own and costs no more than the list counts as the list.
 */
export function worstCostNanos(
  bounds: Bounds,
  model: ModelPrices,
  asked: Service = STANDARD_SERVICE,
): bigint | undefined {
  const ready = readyOf(model);
  const standard = asked.tier === null || STANDARD_TIERS.has(asked.tier);
  const tables = asked.region === null && standard ? ready.worstTables : worstTablesFor(ready, asked);
  if (!tables) return undefined;
  let worst = 0n;
  for (const table of tables) {
    const nanos = worstOfTable(bounds, table, asked.variant);
    if (nanos === undefined) return undefined;
    if (nanos > worst) worst = nanos;
  }
  return worst;
}

/** True where the list price bounds a tier that has no price of its own. */
export function isBelowList(tier: string | null): boolean {
  return tier !== null && TIERS_BELOW_LIST.has(tier);
}

const INPUT: ReadonlySet<string> = new Set(INPUT_TOKEN_UNITS);

type Numerators = Readonly<Partial<Record<Unit, bigint>>>;

interface Table {
  readonly denominator: bigint;
  readonly inputTokensMax: bigint | null;
  readonly base: Level;
  readonly tiers: readonly (Level & { readonly aboveInputTokens: bigint })[];
}

/** Prices of one tier by input, those below it included. */
interface Level {
  readonly numerators: Numerators;
  readonly variants: Readonly<Record<string, Numerators>>;
  /** The dearest at this level or one below, by the units that are asked for. Filled as it is asked. */
  readonly dearest: Map<readonly Unit[], bigint | null>;
}

interface Ready {
  readonly model: ModelPrices;
  readonly standard: Table;
  readonly tables: Map<string, Table | undefined>;
  readonly worstTables: readonly Table[];
  readonly worst: Map<string, readonly Table[] | undefined>;
}

const known = new WeakMap<ModelPrices, Ready>();

function readyOf(model: ModelPrices): Ready {
  let ready = known.get(model);
  if (!ready) {
    const standard = makeTable(model.standard, null);
    const worstTables = hoursOf(model).map((one) => atDearestRegion(one.standard, one));
    ready = { model, standard, tables: new Map(), worstTables, worst: new Map() };
    known.set(model, ready);
  }
  return ready;
}

/** Undefined for a tier without a price of its own. */
function tableFor(ready: Ready, tier: string | null, region: string | null): Table | undefined {
  if (region === null && (tier === null || STANDARD_TIERS.has(tier))) return ready.standard;
  const factor = region === null ? undefined : ownValue(ready.model.regions, region);
  const key = `${tier ?? ''} ${factor ? region : ''}`;
  if (ready.tables.has(key)) return ready.tables.get(key);
  const sheet = sheetFor(ready.model, tier);
  const table =
    sheet && (sheet === ready.model.standard && !factor ? ready.standard : makeTable(sheet, factor ?? null));
  // Tiers are named by upstreams: what has no price is not worth remembering.
  if (table) ready.tables.set(key, table);
  return table;
}

function sheetFor({ standard, services }: ModelPrices, tier: string | null): PriceSheet | undefined {
  if (tier === null || STANDARD_TIERS.has(tier)) return standard;
  return ownValue(services, tier) ?? ownValue(services, SAME_TIER[tier] ?? tier);
}

function worstTablesFor(ready: Ready, { tier, region }: Service): readonly Table[] | undefined {
  const { model } = ready;
  const own = sheetFor(model, tier);
  if (!own && !isBelowList(tier)) return undefined;
  const factor = region === null ? null : (ownValue(model.regions, region) ?? null);
  const key = `${own ? tier : ''} ${region === null ? '*' : factor ? region : ''}`;
  let tables = ready.worst.get(key);
  if (!tables) {
    const sheets = hoursOf(model).flatMap((one) => {
      const ofTier = sheetFor(one, tier);
      return ofTier && ofTier !== one.standard ? [ofTier, one.standard] : [one.standard];
    });
    tables = sheets.map((sheet) => (region === null ? atDearestRegion(sheet, model) : makeTable(sheet, factor)));
    ready.worst.set(key, tables);
  }
  return tables;
}

/** It may come to be served at any hour of the day. */
function hoursOf(model: ModelPrices): readonly ModelPrices[] {
  return model.daily ? [model, ...model.daily.map(({ prices }) => prices)] : [model];
}

/** As a call comes to be billed whose region nobody named. */
function atDearestRegion(sheet: PriceSheet, model: ModelPrices): Table {
  let dearest: Exact | null = null;
  for (const factor of Object.values(model.regions)) {
    if (compare(factor, dearest ?? ONE) > 0) dearest = factor;
  }
  return makeTable(sheet, dearest);
}

function makeTable(sheet: PriceSheet, factor: Exact | null): Table {
  const levels = [sheet.prices, ...sheet.tiers.map((tier) => tier.prices)];
  let denominator = 1n;
  const see = (prices: Prices) => {
    for (const unit in prices) {
      denominator = leastCommonMultiple(denominator, perUnit(prices, unit as Unit, factor).den);
    }
  };
  for (const prices of [...levels, ...Object.values(sheet.variants)]) see(prices);
  const numeratorsOf = (prices: Prices): Numerators =>
    Object.fromEntries(
      Object.keys(prices).map((unit) => {
        const { num, den } = perUnit(prices, unit as Unit, factor);
        return [unit, (num * denominator) / den];
      }),
    );
  const levelOf = (prices: Prices): Level => ({
    numerators: numeratorsOf(prices),
    variants: Object.fromEntries(
      Object.entries(sheet.variants).map(([name, own]) => [name, numeratorsOf({ ...prices, ...own })]),
    ),
    dearest: new Map(),
  });
  let prices = sheet.prices;
  const base = levelOf(prices);
  const tiers = sheet.tiers.map((tier) => {
    prices = { ...prices, ...tier.prices };
    return { ...levelOf(prices), aboveInputTokens: tier.aboveInputTokens };
  });
  return { denominator, inputTokensMax: sheet.inputTokensMax, base, tiers };
}

/** Nanos for one unit. The factor of a region is on tokens: fees of tools are the same everywhere. */
function perUnit(prices: Prices, unit: Unit, factor: Exact | null): Exact {
  const price = prices[unit];
  if (!price) return { num: 0n, den: 1n };
  const { amount, per } = price;
  if (!factor || !TOKEN_UNITS.has(unit)) return exact(amount.num, amount.den * per);
  return exact(amount.num * factor.num, amount.den * per * factor.den);
}

function leastCommonMultiple(a: bigint, b: bigint): bigint {
  return exact(a, b).num * b;
}

function numeratorsFor(table: Table, counts: Counts, variant: string | null): Numerators | undefined {
  let level = table.base;
  if (table.tiers.length > 0 || table.inputTokensMax !== null) {
    let input = 0n;
    for (const unit in counts) if (INPUT.has(unit)) input += counts[unit as Unit] ?? 0n;
    if (table.inputTokensMax !== null && input > table.inputTokensMax) return undefined;
    for (const tier of table.tiers) if (input > tier.aboveInputTokens) level = tier;
  }
  return variant === null ? level.numerators : (ownValue(level.variants, variant) ?? level.numerators);
}

function worstOfTable(bounds: Bounds, table: Table, variant: string | null): bigint | undefined {
  const { inputTokens, outputTokens, others } = bounds;
  let level = table.base;
  for (const tier of table.tiers) if (inputTokens > tier.aboveInputTokens) level = tier;
  const reach = table.tiers.length === 0 ? null : inputTokens;
  let nanos = 0n;
  if (inputTokens > 0n) {
    const price = dearestOf(table, level, reach, bounds.inputUnits ?? INPUT_TOKEN_UNITS);
    if (price === null) return undefined;
    nanos += inputTokens * price;
  }
  if (outputTokens > 0n) {
    const price = dearestOf(table, level, reach, bounds.outputUnits ?? OUTPUT_TOKEN_UNITS);
    if (price === null) return undefined;
    nanos += outputTokens * price;
  }
  for (const unit in others) {
    const count = others[unit as Unit];
    if (!count) continue;
    const price = dearestOfUnit(table, reach, unit as Unit, variant);
    if (price === null && !FREE_UNLESS_PRICED.has(unit)) return undefined;
    nanos += count * (price ?? 0n);
  }
  return ceil({ num: nanos, den: table.denominator });
}

/** Wires have a few lists of units each. A list that is made anew for a call is answered, and not remembered. */
const LISTS_MAX = 64;

/** The dearest of the units at a level or one below it: less input than the bound may stay below a border. */
function dearestOf(table: Table, level: Level, reach: bigint | null, units: readonly Unit[]): bigint | null {
  const kept = level.dearest.get(units);
  if (kept !== undefined) return kept;
  let dearest: bigint | null = null;
  for (const unit of units) {
    const price = dearestOfUnit(table, reach, unit, null);
    if (price !== null && (dearest === null || price > dearest)) dearest = price;
  }
  if (level.dearest.size < LISTS_MAX) level.dearest.set(units, dearest);
  return dearest;
}

function dearestOfUnit(table: Table, reach: bigint | null, unit: Unit, variant: string | null): bigint | null {
  let dearest: bigint | null = null;
  const see = (level: Level) => {
    const own = variant === null ? undefined : ownValue(level.variants, variant);
    for (const numerators of own ? [own] : [level.numerators, ...Object.values(level.variants)]) {
      const price = numerators[unit];
      if (price !== undefined && (dearest === null || price > dearest)) dearest = price;
    }
  };
  see(table.base);
  for (const tier of table.tiers) if (reach !== null && reach > tier.aboveInputTokens) see(tier);
  return dearest;
}

/** Names come from upstreams: `constructor` is none of ours. */
function ownValue<Value>(record: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
