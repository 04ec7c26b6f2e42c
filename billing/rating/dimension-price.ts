import { type PriceOf, WEEKDAYS } from '#config/charge-terms.ts';
import type { QuantityPrice } from '#config/price-terms.ts';
import { add, compare, type Exact, getExact, multiply, sum, ZERO } from '#core/exact.ts';
import { formatInstant, localClock } from '#core/time.ts';
import { formatNanosExact } from './exact-amount.ts';
import { stepsByQuantity } from './quantity-price.ts';
import type { Step } from './step.ts';
import { quantitiesByEvent, type UsagePart } from './usage-part.ts';

/** Prices that tell parts of the usage apart: each group of parts is priced on its own, and the prices are added. */

/** The first cell that fits; undefined where none does and there is no fallback. */
export function findCell(
  price: PriceOf<'matrix'>,
  names: readonly string[],
  part: UsagePart,
): { label: string; price: QuantityPrice } | undefined {
  const values = price.dimensions.map((name) => part.dimensions[names.indexOf(name)] ?? '');
  const cell = price.cells.find(({ of }) => of.every((wanted, i) => wanted === '*' || wanted === values[i]));
  if (cell) return { label: `(${cell.of.join(', ')})`, price: cell.price };
  return price.fallback ? { label: '(any other)', price: price.fallback } : undefined;
}

export function stepsByMatrix(price: PriceOf<'matrix'>, names: readonly string[], parts: readonly UsagePart[]): Step[] {
  return stepsByGroup(parts, (part) => findCell(price, names, part));
}

export function stepsByTimeOfDay(price: PriceOf<'time_of_day'>, zone: string, parts: readonly UsagePart[]): Step[] {
  return stepsByGroup(parts, (part) => {
    const band = price.bands.find((candidate) => holds(candidate, part.windowMs ?? 0, zone));
    return band
      ? { label: `${band.from} to ${band.to}${band.days ? ` ${band.days.join(' ')}` : ''}`, price: band.price }
      : { label: 'other hours', price: price.fallback };
  });
}

/** A band over midnight belongs to the day on which it begins. */
function holds(band: PriceOf<'time_of_day'>['bands'][number], atMs: number, zone: string): boolean {
  const { weekday, time } = localClock(atMs, zone);
  const overMidnight = band.to < band.from;
  const afterMidnight = overMidnight && time < band.to;
  const inside = overMidnight ? time >= band.from || afterMidnight : time >= band.from && time < band.to;
  if (!inside || !band.days) return inside;
  const day = WEEKDAYS[(weekday + (afterMidnight ? 5 : 6)) % 7];
  return day !== undefined && band.days.includes(day);
}

/** Keyed by the instant at which a window begins: the hour that a change of clocks repeats is two windows. */
export function stepsByWindow(price: PriceOf<'windowed'>, parts: readonly UsagePart[]): Step[] {
  const windows = new Map<number, UsagePart[]>();
  for (const part of parts) {
    const window = windows.get(part.windowMs ?? 0) ?? [];
    window.push(part);
    windows.set(part.windowMs ?? 0, window);
  }
  const quantityOf = price.aggregation === 'max' ? largestEvent : sumOfParts;
  return [...windows]
    .sort(([a], [b]) => a - b)
    .flatMap(([atMs, window]) => labelled(formatInstant(atMs), stepsByQuantity(price.price, quantityOf(window))));
}

function sumOfParts(parts: readonly UsagePart[]): Exact {
  return sum(parts.map((part) => part.quantity));
}

function largestEvent(parts: readonly UsagePart[]): Exact {
  return quantitiesByEvent(parts).reduce((most, { quantity }) => (compare(quantity, most) > 0 ? quantity : most), ZERO);
}

/** What the events carry, added up exactly, times the factor. */
export function stepsByCarried(price: PriceOf<'dynamic'>, parts: readonly UsagePart[]): Step[] {
  const carried = sum(parts.map((part) => part.carried ?? ZERO));
  const what = price.of === 'event_price' ? 'prices of events' : "providers' cost";
  return [
    {
      formula: `${what} ${formatNanosExact(carried)} x ${price.multiplier}`,
      quantity: sum(parts.map((part) => part.quantity)),
      amount: multiply(carried, getExact(price.multiplier)),
    },
  ];
}

function stepsByGroup(
  parts: readonly UsagePart[],
  groupOf: (part: UsagePart) => { label: string; price: QuantityPrice } | undefined,
): Step[] {
  // By the price itself: labels are made of what customers write, and two of them may read the same.
  const groups = new Map<QuantityPrice, { label: string; quantity: Exact }>();
  for (const part of parts) {
    const found = groupOf(part);
    if (!found) throw new Error('a part that no price is for');
    const quantity = add(groups.get(found.price)?.quantity ?? ZERO, part.quantity);
    groups.set(found.price, { label: found.label, quantity });
  }
  return [...groups].flatMap(([price, { label, quantity }]) => labelled(label, stepsByQuantity(price, quantity)));
}

function labelled(label: string, steps: readonly Step[]): Step[] {
  return steps.map((step) => ({ ...step, formula: `${label}: ${step.formula}` }));
}
