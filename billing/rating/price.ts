import { type ChargePrice, isQuantityPrice } from '#config/charge-terms.ts';
import { compare, type Exact, subtract, sum, ZERO } from '#core/exact.ts';
import { findCell, stepsByCarried, stepsByMatrix, stepsByTimeOfDay, stepsByWindow } from './dimension-price.ts';
import { formatFraction } from './exact-amount.ts';
import { isByEvent, stepsByPercentage } from './percentage-price.ts';
import { stepsByQuantity } from './quantity-price.ts';
import type { Step } from './step.ts';
import type { UsageCut, UsagePart } from './usage-part.ts';

/** A new kind of price is its terms in config/, its file here, and a line in each of the two functions below. */

const NO_CUT: UsageCut = { instants: [], dimensions: [], window: null, carried: null, events: false };

/** How finely prices that follow each other look at usage, or null where the sum is all that they need. */
export function cutOf(prices: readonly ChargePrice[], instants: readonly number[]): UsageCut | null {
  let cut: UsageCut = { ...NO_CUT, instants };
  for (const price of prices) {
    if (price.kind === 'matrix') {
      cut = { ...cut, dimensions: [...new Set([...cut.dimensions, ...price.dimensions])] };
    } else if (price.kind === 'time_of_day') {
      cut = { ...cut, window: { size: 'quarter_hour', aggregation: 'sum' } };
    } else if (price.kind === 'windowed') {
      cut = { ...cut, window: { size: price.window, aggregation: price.aggregation } };
    } else if (price.kind === 'dynamic') cut = { ...cut, carried: price.of };
    else if (price.kind === 'percentage') cut = { ...cut, events: cut.events || isByEvent(price) };
  }
  const counts = prices.some((price) => price.kind === 'percentage');
  const coarse = instants.length === 0 && cut.dimensions.length === 0 && !cut.window && !cut.carried && !counts;
  return coarse ? null : cut;
}

/** Whether a price has an amount for a part: a matrix may have no cell for it, an event carry no price. */
export function pricesPart(price: ChargePrice, names: readonly string[], part: UsagePart): boolean {
  if (price.kind === 'matrix') return findCell(price, names, part) !== undefined;
  return price.kind !== 'dynamic' || part.carried !== null;
}

/** What the usage of a period costs, step by step, in exact nanos. `free` is what an allowance takes off first. */
export function priceSteps(
  price: ChargePrice,
  parts: readonly UsagePart[],
  { free, names, zone }: { free: Exact; names: readonly string[]; zone: string },
): Step[] {
  if (isQuantityPrice(price)) return stepsAfter(free, price, sum(parts.map((part) => part.quantity)));
  switch (price.kind) {
    case 'flat':
      throw new Error('a flat price is for no usage');
    case 'percentage':
      return parts.length === 0 ? [] : stepsByPercentage(price, parts);
    case 'dynamic':
      return parts.length === 0 ? [] : stepsByCarried(price, parts);
    case 'matrix':
      return stepsByMatrix(price, names, parts);
    case 'time_of_day':
      return stepsByTimeOfDay(price, zone, parts);
    case 'windowed':
      return stepsByWindow(price, parts);
  }
}

function stepsAfter(allowance: Exact, price: Parameters<typeof stepsByQuantity>[0], quantity: Exact): Step[] {
  if (allowance.num === 0n) return stepsByQuantity(price, quantity);
  const free = compare(quantity, allowance) < 0 ? quantity : allowance;
  const steps: Step[] = [];
  if (free.num > 0n) steps.push({ formula: `allowance: ${formatFraction(free)} free`, quantity: free, amount: ZERO });
  // What the allowance covers in full is no zero usage that would bill the flat part of a first tier.
  const billable = subtract(quantity, free);
  return billable.num > 0n || quantity.num === 0n ? [...steps, ...stepsByQuantity(price, billable)] : steps;
}
