import type { PriceOf } from '#config/charge-terms.ts';
import { add, compare, type Exact, getExact, multiply, subtract, ZERO } from '#core/exact.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';
import { formatFraction } from './exact-amount.ts';
import { factorOf, nanosOf } from './nanos.ts';
import type { Step } from './step.ts';
import { quantitiesByEvent, type UsagePart } from './usage-part.ts';

/** Whether events must be seen one by one: bounds and what is free depend on each of them. */
export function isByEvent(price: PriceOf<'percentage'>): boolean {
  return [price.free_events, price.free_volume, price.event_minimum, price.event_maximum].some((term) => term !== null);
}

/** What is left of an event once the free part is taken off; undefined for one that is free altogether. */
type Freed = (event: { quantity: Exact }) => Exact | undefined;

/** In the order of time: free until the free events or the free volume are used up. The event that crosses pays on the excess. */
function freedBy(price: PriceOf<'percentage'>): Freed {
  const events = price.free_events === null ? null : BigInt(price.free_events);
  const volume = price.free_volume === null ? null : getExact(price.free_volume);
  let seen = 0n;
  let sofar = ZERO;
  let open = events !== null || volume !== null;
  return ({ quantity }) => {
    if (!open) return quantity;
    const before = sofar;
    seen += 1n;
    sofar = add(sofar, quantity);
    if (events !== null && seen > events) open = false;
    else if (volume !== null && compare(sofar, volume) > 0) {
      open = false;
      return compare(before, volume) < 0 ? subtract(sofar, volume) : quantity;
    }
    return open ? undefined : quantity;
  };
}

export function stepsByPercentage(price: PriceOf<'percentage'>, parts: readonly UsagePart[]): Step[] {
  const factor = multiply(factorOf(price.percent), { num: NANOS_PER_UNIT, den: 1n });
  const fixed = nanosOf(price.fixed);
  const minimum = price.event_minimum === null ? null : nanosOf(price.event_minimum);
  const maximum = price.event_maximum === null ? null : nanosOf(price.event_maximum);
  const freed = freedBy(price);
  const bounded = minimum !== null || maximum !== null;
  let volume = ZERO;
  let free = ZERO;
  let events = 0n;
  const raised = { events: 0n, by: ZERO };
  const lowered = { events: 0n, by: ZERO };
  for (const event of quantitiesByEvent(parts)) {
    const left = freed(event);
    free = add(free, subtract(event.quantity, left ?? ZERO));
    if (left === undefined) continue;
    volume = add(volume, left);
    events += event.events;
    if (!bounded) continue;
    const amount = add(multiply(left, factor), fixed);
    if (minimum !== null && compare(amount, minimum) < 0) {
      raised.events += 1n;
      raised.by = add(raised.by, subtract(minimum, amount));
    } else if (maximum !== null && compare(amount, maximum) > 0) {
      lowered.events += 1n;
      lowered.by = add(lowered.by, subtract(maximum, amount));
    }
  }
  const count = (n: bigint): Exact => ({ num: n, den: 1n });
  const steps: Step[] = [];
  if (free.num > 0n) steps.push({ formula: `${formatFraction(free)} free`, quantity: free, amount: ZERO });
  steps.push({
    formula: `${price.percent} % of ${formatFraction(volume)}`,
    quantity: volume,
    amount: multiply(volume, factor),
  });
  if (fixed.num > 0n) {
    const amount = multiply(count(events), fixed);
    steps.push({ formula: `${events} events x ${price.fixed}`, quantity: count(events), amount });
  }
  for (const [{ events: times, by }, word, bound] of [
    [raised, 'raised', price.event_minimum],
    [lowered, 'lowered', price.event_maximum],
  ] as const) {
    if (times > 0n)
      steps.push({ formula: `${times} events ${word} to ${bound} each`, quantity: count(times), amount: by });
  }
  return steps;
}
