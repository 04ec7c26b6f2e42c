import type { PriceOf } from '#config/charge-terms.ts';
import type { Exact } from '#core/exact.ts';
import { multiply } from '#core/exact.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';
import { factorOf, rateText, unitNanos } from './nanos.ts';
import type { Step } from './step.ts';
import { readyTiers, stepsByTiers } from './tiers.ts';

type ReadyTiers = ReturnType<typeof readyTiers>;
/** Prices never change; a period has thousands of quantities for the same one. */
const ready = new WeakMap<object, ReadyTiers>();

function readyFor(price: object, make: () => ReadyTiers): ReadyTiers {
  let rows = ready.get(price);
  if (!rows) {
    rows = make();
    ready.set(price, rows);
  }
  return rows;
}

/** A tier is entered by any quantity beyond the bound before it, a fraction of a unit included; the first always is. */
export function stepsByGraduation(price: PriceOf<'graduated'>, quantity: Exact): Step[] {
  return stepsByTiers(
    readyFor(price, () => readyTiers(price.tiers, unitNanos, rateText)),
    quantity,
  );
}

/** The same where the quantity is money. */
export function stepsByGraduatedPercentage(price: PriceOf<'graduated_percentage'>, quantity: Exact): Step[] {
  const make = () =>
    readyTiers(
      price.tiers,
      (tier) => multiply(factorOf(tier.percent), { num: NANOS_PER_UNIT, den: 1n }),
      (tier) => `${tier.percent} %`,
    );
  return stepsByTiers(readyFor(price, make), quantity);
}
