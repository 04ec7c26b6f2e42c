import type { Config } from '#config/config.ts';
import { ceil } from '#core/exact.ts';
import type { MoneyJson } from '#core/money.ts';
import { costOf, formatNanos, type ModelEntry, type ModelPrices, worstCostNanos } from '#core/price.ts';
import type { Counts, Unit } from '#core/quantity.ts';
import type { Target } from './upstream/route-table.ts';
import { type Asked, NO_COUNTS } from './wire/wire.ts';

/** What a call can cost before it is sent, and what it did cost after. */

/**
 * Tiers whose prices the price book does not hold: their cost is unknown, never the list price. What is below the list
 * price is still held and counted at it, so that a limit is kept; what is above it cannot be held at all.
 */
const TIERS_BELOW_LIST: ReadonlySet<string> = new Set(['flex', 'batch', 'scale']);
const TIERS_ABOVE_LIST: ReadonlySet<string> = new Set(['priority', 'fast', 'ultrafast']);

export interface WorstCase {
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  /** At the dearest of the targets; null when one of them has no known price. */
  readonly costNanos: bigint | null;
  readonly currency: string;
}

/** The most tokens that one target can bill a call for. */
export interface TokensMax {
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
}

export function tokensMaxOf(asked: Asked, target: Target, config: Config): TokensMax {
  return tokensMaxAt(asked, findEntry(config, target, asked.model), config);
}

function tokensMaxAt(asked: Asked, entry: ModelEntry | undefined, config: Config): TokensMax {
  return {
    inputTokens: inputMax(asked, entry),
    outputTokens: outputMax(asked, entry, BigInt(config.gateway.outputTokensMax)),
  };
}

export function worstCaseOf(asked: Asked, targets: readonly Target[], config: Config, atMs: number): WorstCase {
  let inputTokens = 0n;
  let outputTokens = 0n;
  let costNanos: bigint | null = 0n;
  let currency = 'USD';
  if (asked.metering === 'free') return FREE;
  for (const target of targets) {
    const entry = findEntry(config, target, asked.model);
    const { inputTokens: input, outputTokens: output } = tokensMaxAt(asked, entry, config);
    const prices = TIERS_ABOVE_LIST.has(asked.serviceTier ?? '') ? undefined : entry?.findPrices(atMs);
    const cost = prices && asked.metering === 'usage' ? worstCost(asked, input, output, prices) : undefined;
    if (cost === undefined) costNanos = null;
    else if (costNanos !== null && cost > costNanos) costNanos = cost;
    if (prices) currency = prices.currency;
    if (input > inputTokens) inputTokens = input;
    if (output > outputTokens) outputTokens = output;
  }
  return { inputTokens, outputTokens, costNanos, currency };
}

const FREE: WorstCase = { inputTokens: 0n, outputTokens: 0n, costNanos: 0n, currency: 'USD' };

function worstCost(asked: Asked, input: bigint, output: bigint, prices: ModelPrices): bigint | undefined {
  const tokens = worstCostNanos(input, output, prices);
  if (tokens === undefined || asked.bounds === NO_COUNTS) return tokens;
  const others = costOf(asked.bounds, prices);
  return 'unpriced' in others ? undefined : tokens + ceil(others.nanos);
}

/** A provider refuses what does not fit into the context, so the context bounds each input too. */
function inputMax(asked: Asked, entry: ModelEntry | undefined): bigint {
  const contextTokens = entry?.contextTokens ?? null;
  if (contextTokens === null) return asked.inputTokensMax;
  const context = contextTokens * asked.inputs;
  return asked.inputElsewhere || asked.inputTokensMax > context ? context : asked.inputTokensMax;
}

function outputMax(asked: Asked, entry: ModelEntry | undefined, unknownMax: bigint): bigint {
  const modelMax = entry?.outputTokensMax ?? entry?.contextTokens ?? null;
  const wanted = asked.outputTokensMax;
  const each = wanted === null ? (modelMax ?? unknownMax) : modelMax !== null && modelMax < wanted ? modelMax : wanted;
  return each * asked.answers;
}

export interface Cost {
  readonly json: MoneyJson | null;
  /** For the limits, rounded up: the cost, or a bound of it. Null where there is none. */
  readonly nanos: bigint | null;
  readonly unpriced: string[];
}

const NONE: string[] = [];
const NOTHING: Cost = { json: null, nanos: 0n, unpriced: NONE };
/** Of a call that nobody can read: it is marked, never free. */
const UNKNOWN: Cost = { json: null, nanos: null, unpriced: ['calls'] };
/** What has no price is named unit by unit. */
const NO_PRICES: ModelPrices = { currency: 'USD', prices: {}, tiers: [] };

/** `served` and `tier` as the upstream named them. */
export function costOfCall(
  counts: Counts,
  target: Target | null,
  asked: Asked,
  served: { model: string | null; tier: string | null },
  config: Config,
  atMs: number,
): Cost {
  if (target === null || isNothing(counts)) return NOTHING;
  if (asked.metering === 'unmetered') return UNKNOWN;
  const tier = served.tier ?? '';
  const prices = TIERS_ABOVE_LIST.has(tier) ? undefined : pricesOf(target, asked, served.model, config, atMs);
  const cost = costOf(counts, prices ?? NO_PRICES);
  if ('unpriced' in cost) return { json: null, nanos: null, unpriced: cost.unpriced };
  const nanos = ceil(cost.nanos);
  if (TIERS_BELOW_LIST.has(tier)) return { json: null, nanos, unpriced: unitsOf(counts) };
  const currency = prices?.currency ?? NO_PRICES.currency;
  return { json: { amount: formatNanos(cost.nanos), currency }, nanos, unpriced: NONE };
}

function unitsOf(counts: Counts): string[] {
  return Object.keys(counts).filter((unit) => unit !== 'calls' && counts[unit as Unit]);
}

function isNothing(counts: Counts): boolean {
  for (const unit in counts) if (counts[unit as Unit]) return false;
  return true;
}

/** By the model that answered; by the one that was sent for where the answer's name is not in the book. */
function pricesOf(
  target: Target,
  asked: Asked,
  served: string | null,
  config: Config,
  atMs: number,
): ModelPrices | undefined {
  const { provider } = target.upstream;
  const entry = served !== null && provider !== null ? config.priceBook.findModel(provider, served) : undefined;
  return (entry ?? findEntry(config, target, asked.model))?.findPrices(atMs);
}

function findEntry(config: Config, target: Target, model: string): ModelEntry | undefined {
  const { provider } = target.upstream;
  return provider === null ? undefined : config.priceBook.findModel(provider, target.model ?? model);
}
