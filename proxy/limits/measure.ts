import { type Bounds, costOf, worstCostNanos } from '#core/cost.ts';
import { ceil } from '#core/exact.ts';
import { Fault } from '#core/fault.ts';
import { type LimitPolicy, type LimitPrice, matchesPattern } from '#core/key-policy.ts';
import { type ModelPrices, type Price, parsePrice, plainPrices } from '#core/price.ts';
import { type Counts, INPUT_TOKEN_UNITS, OUTPUT_TOKEN_UNITS, tokensOf, type Unit } from '#core/quantity.ts';

/** What a limit counts of a call: the most that it can be before, and what it was after. */

/** The most that a call can use. `costNanos` is null where one of its prices is not known. */
export interface WorstUse {
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  readonly costNanos: bigint | null;
  readonly currency: string;
  /** Of units that are no tokens. One that is absent has no bound: it counts when the call is over. */
  readonly quantities?: Counts;
}

/** What a call has used. A cost that is not known (null) leaves its worst case charged: never free. */
export interface ActualUse {
  readonly counts: Counts;
  readonly costNanos: bigint | null;
  /** As the caller named it. */
  readonly model: string;
}

export interface Measure {
  worst(worst: WorstUse, model: string): bigint;
  /** Null where it is not known. */
  used(use: ActualUse): bigint | null;
}

const ONE: Measure = { worst: () => 1n, used: () => 1n };
const TOKENS: Measure = {
  worst: ({ inputTokens, outputTokens }) => inputTokens + outputTokens,
  used: ({ counts }) => tokensOf(counts),
};

export function measureOf(limit: LimitPolicy): Measure {
  if (limit.kind === 'tokens') return TOKENS;
  if (limit.kind === 'quantity') return quantityOf(limit.unit as Unit);
  if (limit.kind !== 'budget') return ONE;
  return limit.basis === 'price' ? priceMeasure(limit) : costMeasure(limit);
}

const INPUT: ReadonlySet<Unit> = new Set(INPUT_TOKEN_UNITS);
const OUTPUT: ReadonlySet<Unit> = new Set(OUTPUT_TOKEN_UNITS);

function quantityOf(unit: Unit): Measure {
  return {
    worst: ({ inputTokens, outputTokens, quantities }) => {
      if (unit === 'calls') return 1n;
      if (INPUT.has(unit)) return inputTokens;
      return OUTPUT.has(unit) ? outputTokens : (quantities?.[unit] ?? 0n);
    },
    used: ({ counts }) => counts[unit] ?? 0n,
  };
}

/** No price, no free ride: a budget that refuses takes no call whose worst case is not known. */
function costMeasure({ currency, mode }: LimitPolicy): Measure {
  return {
    worst: (worst) => {
      if (worst.costNanos !== null && worst.currency === currency) return worst.costNanos;
      if (mode === undefined) throw new Fault('unpriced_model');
      return 0n;
    },
    used: ({ costNanos }) => costNanos,
  };
}

/** Models whose prices are kept at once: a client may make up names. */
const MODELS_MAX = 256;

/**
 * What the customer pays: so much for each unit, by the first price that matches unit and model, as billing rates it.
 * What no price matches is not billed, and counts nothing.
 */
function priceMeasure({ prices = [], mode }: LimitPolicy): Measure {
  const known = new Map<string, ModelPrices>();
  function pricesOf(model: string): ModelPrices {
    let found = known.get(model);
    if (!found) {
      if (known.size >= MODELS_MAX) known.clear();
      found = linearPrices(prices, model);
      known.set(model, found);
    }
    return found;
  }
  return {
    worst: ({ inputTokens, outputTokens, quantities }, model) => {
      // The customer has no plan, or one whose prices hang on what came before.
      if (prices.length === 0 && mode === undefined) throw new Fault('unpriced_model');
      const own = pricesOf(model);
      const others = costOf(pricedOnly({ ...quantities, calls: 1n }, own), own);
      return (
        (worstCostNanos({ ...NOTHING, inputTokens }, own) ?? 0n) +
        (worstCostNanos({ ...NOTHING, outputTokens }, own) ?? 0n) +
        ('nanos' in others ? ceil(others.nanos) : 0n)
      );
    },
    used: ({ counts, model }) => {
      const own = pricesOf(model);
      const sum = costOf(pricedOnly(counts, own), own);
      return 'nanos' in sum ? ceil(sum.nanos) : null;
    },
  };
}

export function linearPrices(list: readonly LimitPrice[], model: string): ModelPrices {
  const prices: Partial<Record<Unit, Price>> = {};
  for (const { unit, model: pattern, amount, per } of list) {
    if (prices[unit] || !matchesPattern(pattern, model)) continue;
    const price = parsePrice(amount, BigInt(per));
    if (price) prices[unit] = price;
  }
  return plainPrices('', prices);
}

const NOTHING: Bounds = { inputTokens: 0n, outputTokens: 0n, inputUnits: null, outputUnits: null, others: {} };

function pricedOnly(counts: Counts, { standard: { prices } }: ModelPrices): Counts {
  const priced: Partial<Record<Unit, bigint>> = {};
  for (const unit in prices) {
    const count = counts[unit as Unit];
    if (count !== undefined) priced[unit as Unit] = count;
  }
  return priced;
}
