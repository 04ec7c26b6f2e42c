import { add, ceil, type Exact, exact, formatScaled, multiply, parseExact, round, ZERO } from './exact.ts';
import { NANOS_PER_UNIT } from './money.ts';
import { type Counts, INPUT_TOKEN_UNITS, OUTPUT_TOKEN_UNITS, type Unit } from './quantity.ts';

/** What one unit costs: `amount` (exact, in nanos of the currency) for every `per` units. 0.0025 USD per million stays exact. */
export interface Price {
  readonly amount: Exact;
  readonly per: bigint;
}

/** Undefined when the amount is no plain decimal or the number of units is not positive. */
export function parsePrice(amount: string, per: bigint): Price | undefined {
  const value = parseExact(amount);
  if (!value || per <= 0n) return undefined;
  return { amount: exact(value.num * NANOS_PER_UNIT, value.den), per };
}

/** `quantity * price` in exact nanos: multiplies first, divides once. */
export function priceOf(quantity: Exact, price: Price): Exact {
  return exact(quantity.num * price.amount.num, quantity.den * price.amount.den * price.per);
}

/** What a model's units cost at its provider from an instant on. Prices by unit; a unit that is absent is not offered. */
export interface ModelPrices {
  readonly currency: string;
  readonly prices: Readonly<Partial<Record<Unit, Price>>>;
  /** Dearer prices for the whole request once its total input, cached included, exceeds a number of tokens. Ascending. */
  readonly tiers: readonly {
    readonly aboveInputTokens: bigint;
    readonly prices: Readonly<Partial<Record<Unit, Price>>>;
  }[];
}

export interface ModelEntry {
  readonly provider: string;
  readonly model: string;
  readonly contextTokens: bigint | null;
  readonly outputTokensMax: bigint | null;
  /** The prices in force at an instant (epoch ms); undefined when none is known. */
  findPrices(atMs: number): ModelPrices | undefined;
}

/** Dated provider prices under one version, which every cost names. */
export interface PriceBook {
  readonly version: string;
  findModel(provider: string, model: string): ModelEntry | undefined;
}

/**
 * Units that are free wherever the price list does not name them: they say how a call went, and whoever bills for one
 * of them bills for that one alone. Every other unit without a price makes a call unpriced.
 */
export const FREE_UNLESS_PRICED: ReadonlySet<string> = new Set<Unit>([
  'calls',
  'web_fetches',
  'computer_calls',
  'tool_calls',
  'resource_reads',
  'prompt_reads',
  'sampling_requests',
  'messages',
  'tasks',
  'duration_ms',
  'compute_ms',
  'bytes_in',
  'bytes_out',
]);

function pricesFor(counts: Counts, model: ModelPrices): Readonly<Partial<Record<Unit, Price>>> {
  if (model.tiers.length === 0) return model.prices;
  let input = 0n;
  for (const unit of INPUT_TOKEN_UNITS) input += counts[unit] ?? 0n;
  let prices = model.prices;
  for (const tier of model.tiers) if (input > tier.aboveInputTokens) prices = { ...prices, ...tier.prices };
  return prices;
}

/** Exact cost in nanos, or the units that have a quantity and no price (such a call is unpriced, never free). */
export function costOf(counts: Counts, model: ModelPrices): { nanos: Exact } | { unpriced: string[] } {
  const prices = pricesFor(counts, model);
  let nanos = ZERO;
  const unpriced: string[] = [];
  for (const unit in counts) {
    const count = counts[unit as Unit] ?? 0n;
    if (count === 0n) continue;
    const price = prices[unit as Unit];
    if (price) nanos = add(nanos, priceOf({ num: count, den: 1n }, price));
    else if (!FREE_UNLESS_PRICED.has(unit)) unpriced.push(unit);
  }
  return unpriced.length > 0 ? { unpriced } : { nanos };
}

/**
 * The most that a call can cost, in whole nanos rounded up: every input token at the dearest input price of the model
 * in any tier, every output token likewise. Undefined when input or output has no price at all.
 */
export function worstCostNanos(inputTokens: bigint, outputTokens: bigint, model: ModelPrices): bigint | undefined {
  const { input, output } = dearestOf(model);
  if ((inputTokens > 0n && !input) || (outputTokens > 0n && !output)) return undefined;
  const nanos = add(
    input ? priceOf({ num: inputTokens, den: 1n }, input) : ZERO,
    output ? priceOf({ num: outputTokens, den: 1n }, output) : ZERO,
  );
  return ceil(nanos);
}

interface Dearest {
  readonly input: Price | undefined;
  readonly output: Price | undefined;
}

/** Prices never change; every call asks for the dearest of them. */
const dearestKnown = new WeakMap<ModelPrices, Dearest>();

function dearestOf(model: ModelPrices): Dearest {
  let known = dearestKnown.get(model);
  if (!known) {
    known = { input: dearest(model, INPUT_TOKEN_UNITS), output: dearest(model, OUTPUT_TOKEN_UNITS) };
    dearestKnown.set(model, known);
  }
  return known;
}

function dearest(model: ModelPrices, units: readonly Unit[]): Price | undefined {
  let found: Price | undefined;
  for (const prices of [model.prices, ...model.tiers.map((tier) => tier.prices)]) {
    for (const unit of units) {
      const price = prices[unit];
      if (price && (!found || isDearer(price, found))) found = price;
    }
  }
  return found;
}

function isDearer(a: Price, b: Price): boolean {
  const left = multiply(a.amount, { num: b.per, den: 1n });
  const right = multiply(b.amount, { num: a.per, den: 1n });
  return left.num * right.den > right.num * left.den;
}

/** The decimals of a cost: as many as billing takes in an event. */
export const COST_DECIMALS_MAX = 30;

/**
 * Exact nanos as a decimal amount of the unit ("0.0000000375"). Where decimals do not end, as those of one second at a
 * price for 60 may not, or not soon enough, the last is rounded half up.
 */
export function formatNanos(nanos: Exact): string {
  let { num } = nanos;
  let scale = 9;
  // A price per million leaves at most a power of ten in the denominator; widen until it divides.
  while (num % nanos.den !== 0n && scale < COST_DECIMALS_MAX) {
    num *= 10n;
    scale++;
  }
  return formatScaled(round({ num, den: nanos.den }, 'half_up'), scale);
}
