import type { QuantityRounding } from '#config/meter-terms.ts';
import { divide, type Exact, exact, getExact, multiply, round } from '#core/exact.ts';

/** The quantity that is billed: to decimals, or to a multiple, in the mode that the meter names. */
export function roundQuantity(quantity: Exact, rounding: QuantityRounding | undefined): Exact {
  if (!rounding) return quantity;
  const step =
    rounding.multiple_of === undefined
      ? exact(1n, 10n ** BigInt(rounding.digits ?? 0))
      : getExact(rounding.multiple_of);
  const steps = divide(quantity, step);
  const whole = rounding.mode === 'half_even' ? halfEven(steps) : round(steps, rounding.mode);
  return multiply({ num: whole, den: 1n }, step);
}

function halfEven(value: Exact): bigint {
  const isTie = value.den === 2n;
  const away = round(value, 'half_up');
  return isTie && away % 2n !== 0n ? round(value, 'down') : away;
}
