import { type Exact, exact, getExact } from '#core/exact.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';

/** An amount of terms that were validated when their plan was stored, in exact nanos. */
export function nanosOf(amount: string): Exact {
  const { num, den } = getExact(amount);
  return exact(num * NANOS_PER_UNIT, den);
}

/** What one unit costs, in exact nanos. */
export function unitNanos(price: { amount: string; per: string }): Exact {
  const { num, den } = nanosOf(price.amount);
  return exact(num, den * BigInt(price.per));
}

export function rateText(price: { amount: string; per: string }): string {
  return price.per === '1' ? price.amount : `${price.amount} / ${price.per}`;
}

/** A percentage as a factor. */
export function factorOf(percent: string): Exact {
  const { num, den } = getExact(percent);
  return exact(num, den * 100n);
}
