import { type Exact, exact, formatScaled, parseExact, round } from './exact.ts';
import { NANOS_PER_UNIT } from './money.ts';
import type { Unit } from './quantity.ts';

/** What one unit costs: `amount` (exact, in nanos of the currency) for every `per` units. 0.0025 USD per million stays exact. */
export interface Price {
  readonly amount: Exact;
  readonly per: bigint;
}

/** A unit that is absent has no known price. */
export type Prices = Readonly<Partial<Record<Unit, Price>>>;

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

/** The prices of one kind of service. */
export interface PriceSheet {
  readonly prices: Prices;
  /** Other prices for the whole request once its total input, cached included, exceeds a number of tokens. Ascending. */
  readonly tiers: readonly PriceTier[];
  /** A request with more input than this has no known price; null where every request has one. */
  readonly inputTokensMax: bigint | null;
  /** Prices that hang on a size, a quality or a length of context, by the name that the wire gives it. */
  readonly variants: Readonly<Record<string, Prices>>;
}

export interface PriceTier {
  readonly aboveInputTokens: bigint;
  /** A unit that is absent costs what it costs below. */
  readonly prices: Prices;
}

/** What a model's units cost at its provider at an instant. */
export interface ModelPrices {
  readonly currency: string;
  readonly standard: PriceSheet;
  /** By service tier: `batch`, `flex`, `priority`, `fast`. */
  readonly services: Readonly<Record<string, PriceSheet>>;
  /** What the price of a token is multiplied by where the region of inference has a price of its own. */
  readonly regions: Readonly<Record<string, Exact>>;
  /** Prices of hours of every day, in place of these. */
  readonly daily?: readonly DailyPrices[];
}

/** Hours in UTC, by the milliseconds since midnight: `toMs` excluded, and on the next day where it is the smaller. */
export interface DailyPrices {
  readonly fromMs: number;
  readonly toMs: number;
  readonly prices: ModelPrices;
}

const DAY_MS = 86_400_000;

/** What holds at the hour of an instant. */
export function pricesAtHour(prices: ModelPrices, atMs: number): ModelPrices {
  if (!prices.daily) return prices;
  const timeMs = ((atMs % DAY_MS) + DAY_MS) % DAY_MS;
  const hours = prices.daily.find(({ fromMs, toMs }) =>
    fromMs < toMs ? fromMs <= timeMs && timeMs < toMs : fromMs <= timeMs || timeMs < toMs,
  );
  return hours?.prices ?? prices;
}

/** Prices of the standard service alone. */
export function plainPrices(currency: string, prices: Prices, tiers: readonly PriceTier[] = []): ModelPrices {
  return { currency, standard: { prices, tiers, inputTokensMax: null, variants: {} }, services: {}, regions: {} };
}

export interface ModelEntry {
  readonly provider: string | null;
  readonly model: string;
  /** The catalogue or the configuration has the model; false where it is only told what to hold for it. */
  readonly listed: boolean;
  readonly contextTokens: bigint | null;
  readonly outputTokensMax: bigint | null;
  /** The prices in force at an instant (epoch ms), whatever its hour; undefined when none is known. */
  findPrices(atMs: number): ModelPrices | undefined;
  /** What holds a call under a budget where no price is known. Never a cost. */
  findHoldPrices(atMs: number): ModelPrices | undefined;
}

/** Dated provider prices under one version, which every cost names. */
export interface PriceBook {
  readonly version: string;
  /** As the upstream sells it, and as it counts for the customer. */
  findModel(provider: string | null, model: string, upstream: string, customer: string): ModelEntry | undefined;
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
