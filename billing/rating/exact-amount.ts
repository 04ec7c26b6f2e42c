import { type Exact, exact, formatExact } from '#core/exact.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';
import type { RatedLine } from './rating.ts';
import type { Step } from './step.ts';

/**
 * An exact amount of nanos as text in the currency's unit: "0.0000000375" where its decimals end, else the fraction
 * "170/31". Nothing is rounded.
 */
export function formatNanosExact(nanos: Exact): string {
  return formatFraction(exact(nanos.num, nanos.den * NANOS_PER_UNIT));
}

/** The same for a quantity or a share. */
export function formatFraction(value: Exact): string {
  return endsInDecimals(value.den) ? formatExact(value) : `${value.num}/${value.den}`;
}

/** What a line consists of by model, in text, as it is stored and shown. */
export function modelsInText(
  line: Pick<RatedLine, 'models'>,
): { model: string; quantity: string; amount_exact: string }[] {
  return line.models.map(({ model, quantity, amount }) => ({
    model,
    quantity: formatFraction(quantity),
    amount_exact: formatNanosExact(amount),
  }));
}

export function stepsInText(line: { steps: readonly Step[] }): {
  formula: string;
  quantity: string;
  amount_exact: string;
}[] {
  return line.steps.map(({ formula, quantity, amount }) => ({
    formula,
    quantity: formatFraction(quantity),
    amount_exact: formatNanosExact(amount),
  }));
}

function endsInDecimals(den: bigint): boolean {
  let rest = den;
  while (rest % 2n === 0n) rest /= 2n;
  while (rest % 5n === 0n) rest /= 5n;
  return rest === 1n;
}
