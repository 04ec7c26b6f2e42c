import { costOf, isBelowList, type Service, STANDARD_SERVICE } from './cost.ts';
import { add, ceil, type Exact, exact, parseExact, ZERO } from './exact.ts';
import { type MoneyJson, NANOS_PER_UNIT } from './money.ts';
import { formatNanos, type ModelEntry, type ModelPrices, type PriceBook, plainPrices, pricesAtHour } from './price.ts';
import type { Counts } from './quantity.ts';

/**
 * The cost of one call by a price book. The gateway asks when a call ends, billing when a call is costed anew by a newer
 * book: both get the same figure from the same facts.
 */
export interface CallFacts {
  readonly provider: string | null;
  readonly upstream: string;
  readonly customer: string;
  /** The name that the upstream was asked by, and the one that it answered with. */
  readonly modelSent: string;
  readonly modelServed: string | null;
  readonly service: Service;
  /** When it began: the prices of that day hold. */
  readonly atMs: number;
  /** When its answer was whole: where prices hang on the hour, that of this instant holds. */
  readonly endMs: number;
}

/** What one of several models used of a call; null for the model that the answer names. */
export interface PartUsed {
  readonly model: string | null;
  readonly counts: Counts;
}

export interface CallCost {
  /** Exact; null where a price is not known. */
  readonly json: MoneyJson | null;
  /** For the limits, rounded up: the cost, or a bound of it. Null where there is none. */
  readonly nanos: bigint | null;
  /** Units that were used and have no price. */
  readonly unpriced: string[];
  /** Of each part, where there are some. */
  readonly parts?: readonly (MoneyJson | null)[] | undefined;
  /** Where the figure is the provider's own. */
  readonly source?: 'provider' | undefined;
}

/** A provider's own figure has no more digits than billing takes in an event. */
const WHOLE_DIGITS_MAX = 18;

/** What has no price is named unit by unit. */
const NO_PRICES = plainPrices('USD', {});

const NONE: string[] = [];
/** Nothing was used: that is known, and counts as no call without a price. */
export const NO_COST: CallCost = { json: { amount: '0', currency: 'USD' }, nanos: 0n, unpriced: NONE };

/** `parts` in place of the counts where several models served the call. */
export function costOfCallBy(
  book: PriceBook,
  facts: CallFacts,
  counts: Counts,
  parts: readonly PartUsed[] | null,
): CallCost {
  if (!parts || parts.length === 0) {
    const found = costOfPart(book, facts, facts.modelServed, counts);
    return found.nanos && found.isCost ? costOfNanos(found.nanos, found.currency) : boundOf([found]);
  }
  const all = parts.map((part) =>
    costOfPart(book, facts, part.model ?? facts.modelServed, part.counts, part.model === null),
  );
  const costs = all.map((one) => (one.nanos && one.isCost ? jsonOf(one.nanos, one.currency) : null));
  const currency = all[0]?.currency ?? '';
  let total: Exact = ZERO;
  for (const one of all) {
    if (!one.nanos || !one.isCost || one.currency !== currency) return { ...boundOf(all), parts: costs };
    total = add(total, one.nanos);
  }
  return { ...costOfNanos(total, currency), parts: costs };
}

/** What the provider itself says that the call costs. Undefined where that is no amount. */
export function reportedCost(amount: string, currency: string): CallCost | undefined {
  const value = parseExact(amount);
  if (!value || value.num < 0n || value.num / value.den >= 10n ** BigInt(WHOLE_DIGITS_MAX)) return undefined;
  return { ...costOfNanos(exact(value.num * NANOS_PER_UNIT, value.den), currency), source: 'provider' };
}

function costOfNanos(nanos: Exact, currency: string): CallCost {
  return { json: jsonOf(nanos, currency), nanos: ceil(nanos), unpriced: NONE };
}

function jsonOf(nanos: Exact, currency: string): MoneyJson {
  return { amount: formatNanos(nanos), currency };
}

/** No cost: what holds the limits, and what has no price. */
function boundOf(all: readonly PartCost[]): CallCost {
  let nanos: bigint | null = 0n;
  const unpriced = new Set<string>();
  for (const one of all) {
    nanos = one.nanos && nanos !== null ? nanos + ceil(one.nanos) : null;
    for (const unit of one.unpriced) unpriced.add(unit);
  }
  return { json: null, nanos, unpriced: [...unpriced] };
}

interface PartCost {
  /** The cost, or a bound of it; null for neither. */
  readonly nanos: Exact | null;
  readonly isCost: boolean;
  readonly currency: string;
  readonly unpriced: string[];
}

/** By the model that answered; by the one that was sent for where the answer's name is not in the book. */
function costOfPart(book: PriceBook, facts: CallFacts, served: string | null, counts: Counts, orSent = true): PartCost {
  const { service } = facts;
  const entry = entryOf(book, facts, served, orSent);
  const prices = pricesOf(entry, facts);
  const currency = prices?.currency ?? 'USD';
  const cost = prices && costOf(counts, prices, service);
  if (cost && 'nanos' in cost) return { nanos: cost.nanos, isCost: true, currency, unpriced: NONE };
  const unpriced = cost ? cost.unpriced : unitsOf(counts);
  if (unpriced.length === 0) return { nanos: ZERO, isCost: true, currency, unpriced };
  return { nanos: boundOfPart(entry, facts, counts), isCost: false, currency, unpriced };
}

/** A tier below the list is bounded by the list; what has no price at all by what the operator holds for it. */
function boundOfPart(entry: ModelEntry | undefined, facts: CallFacts, counts: Counts): Exact | null {
  const { service, atMs } = facts;
  const listed = isBelowList(service.tier) ? pricesOf(entry, facts) : undefined;
  const bound = listed && costOf(counts, listed, { ...service, tier: null });
  if (bound && 'nanos' in bound) return bound.nanos;
  const held = entry?.findHoldPrices(atMs);
  const hold = held && costOf(counts, held, STANDARD_SERVICE);
  return hold && 'nanos' in hold ? hold.nanos : null;
}

function pricesOf(entry: ModelEntry | undefined, { atMs, endMs }: CallFacts): ModelPrices | undefined {
  const prices = entry?.findPrices(atMs);
  return prices && pricesAtHour(prices, endMs);
}

function entryOf(
  book: PriceBook,
  { provider, upstream, customer, modelSent }: CallFacts,
  served: string | null,
  orSent: boolean,
): ModelEntry | undefined {
  const found = served === null ? undefined : book.findModel(provider, served, upstream, customer);
  if (found?.listed || !orSent) return found;
  return book.findModel(provider, modelSent, upstream, customer) ?? found;
}

function unitsOf(counts: Counts): string[] {
  const cost = costOf(counts, NO_PRICES);
  return 'unpriced' in cost ? cost.unpriced : NONE;
}
