import { type Exact, exact, getExact, ZERO } from '#core/exact.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';

/** An amount of terms that were validated when their plan was stored, in exact nanos. */
export function nanosOf(amount: string): Exact {
  if (amount === '0') return ZERO;
  const { num, den } = getExact(amount);
  return exact(num * NANOS_PER_UNIT, den);
}

/** Terms never change, and a price is asked again for each quantity. */
const units = new WeakMap<object, Exact>();

/** What one unit costs, in exact nanos. */
export function unitNanos(price: { amount: string; per: string }): Exact {
  let unit = units.get(price);
  if (!unit) {
    const { num, den } = nanosOf(price.amount);
    unit = exact(num, den * BigInt(price.per));
    units.set(price, unit);
  }
  return unit;
}

export function rateText(price: { amount: string; per: string }): string {
  return price.per === '1' ? price.amount : `${price.amount} / ${price.per}`;
}

/** A percentage as a factor. */
export function factorOf(percent: string): Exact {
  const { num, den } = getExact(percent);
  return exact(num, den * 100n);
}
