import type { PriceOf } from '#config/charge-terms.ts';
import { divide, type Exact, getExact, multiply, round } from '#core/exact.ts';
import { formatFraction } from './exact-amount.ts';
import { nanosOf } from './nanos.ts';
import type { Step } from './step.ts';

export function stepsByPackage(price: PriceOf<'package'>, quantity: Exact): Step[] {
  const packages = round(divide(quantity, getExact(price.size)), price.round);
  return [
    {
      formula: `${formatFraction(quantity)} in ${packages} packages of ${price.size}: ${packages} x ${price.amount}`,
      quantity,
      amount: multiply({ num: packages, den: 1n }, nanosOf(price.amount)),
    },
  ];
}
