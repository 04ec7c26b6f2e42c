import type { ChargePrice, ChargeTerms } from '#config/charge-terms.ts';
import { compare, type Exact, getExact, multiply, ONE, subtract, sum } from '#core/exact.ts';
import { parseInstant } from '#core/time.ts';
import { formatFraction } from './exact-amount.ts';
import { factorOf, nanosOf } from './nanos.ts';
import { cutOf, priceSteps, pricesPart } from './price.ts';
import type { Step } from './step.ts';
import type { UsageCut, UsagePart } from './usage-part.ts';

/** A charge of a plan version, with the meter that it names looked up. */
export interface Charge extends ChargeTerms {
  /** The price's id: it names one price of one version of a plan for ever. */
  readonly price_id: string;
  /** What the meter reads; null for a fixed amount. */
  readonly unit: string | null;
}

/** The period that is rated. */
export interface Span {
  readonly startMs: number;
  readonly endMs: number;
  readonly zone: string;
  /** How much of the whole interval it covers. */
  readonly share: Exact;
  /** The first one of its subscription: what is charged once is charged in it. */
  readonly first: boolean;
}

/** The prices that hold in a period, one after the other, and the instants at which they change. */
export function pricesIn(
  charge: Pick<ChargeTerms, 'price' | 'changes'>,
  { startMs, endMs }: Pick<Span, 'startMs' | 'endMs'>,
): { prices: readonly [ChargePrice, ...ChargePrice[]]; instants: readonly number[] } {
  let first = charge.price;
  const later: ChargePrice[] = [];
  const instants: number[] = [];
  for (const { effective_at, price } of charge.changes) {
    const atMs = parseInstant(effective_at) ?? 0;
    if (atMs <= startMs) first = price;
    else if (atMs < endMs) {
      later.push(price);
      instants.push(atMs);
    }
  }
  return { prices: [first, ...later], instants };
}

/** How finely the usage of a charge must be read in a period; null where the sum by model is enough. */
export function cutFor(charge: Charge, span: Span): UsageCut | null {
  const { prices, instants } = pricesIn(charge, span);
  return cutOf(prices, instants);
}

/**
 * What a charge comes to: its allowance, its prices, the discount, the cap, the minimum, in this order. Where the price
 * changes within the period, tiers and allowance go on: what was used before the change keeps what it cost, and what
 * came after costs the difference that it makes at the new price. `billsNothing`: no usage is rated as a quantity of
 * nothing.
 */
export function chargeSteps(charge: Charge, parts: readonly UsagePart[], span: Span, billsNothing: boolean): Step[] {
  const { prices, instants } = pricesIn(charge, span);
  const names = cutOf(prices, instants)?.dimensions ?? [];
  const looking = { free: getExact(charge.allowance), names, zone: span.zone };
  const steps: Step[] = [];
  for (const [segment, price] of prices.entries()) {
    // A cell that a price no longer has takes nothing from what was used while there was one.
    const until = parts.filter((part) => part.segment <= segment && pricesPart(price, names, part));
    const before = until.filter((part) => part.segment < segment);
    // Without usage only the policy bills the flat part of a first tier, and once.
    if (until.length === before.length && !(segment === 0 && billsNothing && parts.length === 0)) continue;
    steps.push(...priceSteps(price, until, looking));
    if (before.length === 0) continue;
    const at = charge.changes.find(
      (change) => parseInstant(change.effective_at) === instants[segment - 1],
    )?.effective_at;
    steps.push({
      formula: `less what was used before ${at}, at this price`,
      quantity: negative(sum(before.map((part) => part.quantity))),
      amount: negative(amountOf(priceSteps(price, before, looking))),
    });
  }
  return [...steps, ...adjustments(charge, amountOf(steps), span.share)];
}

export function amountOf(steps: readonly Step[]): Exact {
  return sum(steps.map((step) => step.amount));
}

/** Discount, then cap, then minimum, each as the step by which it changes the amount. */
function adjustments(charge: Charge, gross: Exact, share: Exact): Step[] {
  const steps: Step[] = [];
  let amount = gross;
  const change = (formula: string, to: Exact): void => {
    steps.push({ formula, quantity: ONE, amount: subtract(to, amount) });
    amount = to;
  };
  if (charge.discount_percent !== '0') {
    const left = subtract(ONE, factorOf(charge.discount_percent));
    change(`discount of ${charge.discount_percent} %`, multiply(amount, left));
  }
  if (charge.cap !== null && compare(amount, nanosOf(charge.cap)) > 0) {
    change(`cap of ${charge.cap}`, nanosOf(charge.cap));
  }
  if (charge.minimum !== null) {
    const least = multiply(nanosOf(charge.minimum), share);
    const part = compare(share, ONE) === 0 ? '' : ` x ${formatFraction(share)}`;
    if (compare(amount, least) < 0) change(`minimum of ${charge.minimum}${part}`, least);
  }
  return steps;
}

function negative(value: Exact): Exact {
  return { num: -value.num, den: value.den };
}

/** A fixed amount: whole where it is charged once, else the share of the interval that the period covers. */
export function flatSteps(amount: string, share: Exact): Step[] {
  const formula = compare(share, ONE) === 0 ? amount : `${amount} x ${share.num}/${share.den}`;
  return [{ formula, quantity: share, amount: multiply(nanosOf(amount), share) }];
}
