import { type Exact, formatScaled, parseExact, type Rounding, round } from './exact.ts';

/** An amount in 10^-9 of the currency's unit. Cost and price are both Money, and never share a field. */
export interface Money {
  readonly nanos: bigint;
  readonly currency: string;
}

/** Money as it stands in JSON: the amount in plain decimal notation. */
export interface MoneyJson {
  amount: string;
  currency: string;
}

export const NANOS_PER_UNIT = 1_000_000_000n;
const NANOS_SCALE = 9;

/** ISO 4217 exponents that are not 2, as of the list of 2024. */
const EXPONENTS: Readonly<Record<string, number>> = {
  BHD: 3,
  BIF: 0,
  CLF: 4,
  CLP: 0,
  DJF: 0,
  GNF: 0,
  IQD: 3,
  ISK: 0,
  JOD: 3,
  JPY: 0,
  KMF: 0,
  KRW: 0,
  KWD: 3,
  LYD: 3,
  OMR: 3,
  PYG: 0,
  RWF: 0,
  TND: 3,
  UGX: 0,
  UYI: 0,
  UYW: 4,
  VND: 0,
  VUV: 0,
  XAF: 0,
  XOF: 0,
  XPF: 0,
};

const CURRENCY = /^[A-Z]{3}$/;

export function isCurrency(text: string): boolean {
  return CURRENCY.test(text);
}

/** Digits after the point on a document in this currency (ISO 4217). */
export function exponentOf(currency: string): number {
  return EXPONENTS[currency] ?? 2;
}

export function money(nanos: bigint, currency: string): Money {
  if (!isCurrency(currency)) throw new RangeError(`not a currency code: ${currency.slice(0, 8)}`);
  return { nanos, currency };
}

/** Parses a decimal amount. Undefined when it is no decimal, or finer than 10^-9 of the unit. */
export function parseMoney(amount: string, currency: string): Money | undefined {
  const value = parseExact(amount);
  if (!value || !isCurrency(currency)) return undefined;
  const nanos = value.num * NANOS_PER_UNIT;
  return nanos % value.den === 0n ? { nanos: nanos / value.den, currency } : undefined;
}

export function addMoney(a: Money, b: Money): Money {
  assertSameCurrency(a, b);
  return { nanos: a.nanos + b.nanos, currency: a.currency };
}

export function subtractMoney(a: Money, b: Money): Money {
  assertSameCurrency(a, b);
  return { nanos: a.nanos - b.nanos, currency: a.currency };
}

function assertSameCurrency(a: Money, b: Money): void {
  if (a.currency !== b.currency) throw new RangeError(`cannot combine ${a.currency} with ${b.currency}`);
}

/** An exact number of nanos to Money at 10^-9; the mode is named at the call. */
export function toNanos(nanos: Exact, currency: string, mode: Rounding): Money {
  return money(round(nanos, mode), currency);
}

/** Rounds an exact number of nanos to what a document in this currency can print. The only rounding of a document line. */
export function roundToCurrency(nanos: Exact, currency: string, mode: Rounding): Money {
  const step = 10n ** BigInt(NANOS_SCALE - exponentOf(currency));
  return money(round({ num: nanos.num, den: nanos.den * step }, mode) * step, currency);
}

/**
 * Splits an amount in proportion to weights by largest remainder, in whole steps of the currency's exponent:
 * the parts always add up to the amount. Ties go to the earlier part. Asserts a positive sum of weights.
 */
export function allocate(total: Money, weights: readonly bigint[]): Money[] {
  const step = 10n ** BigInt(NANOS_SCALE - exponentOf(total.currency));
  if (total.nanos % step !== 0n) throw new RangeError('allocate wants a rounded amount');
  const weightSum = weights.reduce((a, b) => a + b, 0n);
  if (weightSum <= 0n || weights.some((weight) => weight < 0n)) throw new RangeError('weights must be positive');
  const steps = total.nanos / step;
  const sign = steps < 0n ? -1n : 1n;
  const magnitude = steps * sign;
  const parts = weights.map((weight, index) => ({
    index,
    steps: (magnitude * weight) / weightSum,
    rest: (magnitude * weight) % weightSum,
  }));
  let left = magnitude - parts.reduce((a, part) => a + part.steps, 0n);
  for (const part of [...parts].sort((a, b) => (a.rest === b.rest ? a.index - b.index : a.rest < b.rest ? 1 : -1))) {
    if (left === 0n) break;
    part.steps += 1n;
    left -= 1n;
  }
  return parts.map((part) => ({ nanos: part.steps * sign * step, currency: total.currency }));
}

/** Every digit that matters, and at least the currency's own number of decimals. */
export function formatAmount(value: Money): string {
  return formatScaled(value.nanos, NANOS_SCALE, exponentOf(value.currency));
}

export function moneyToJson(value: Money): MoneyJson {
  return { amount: formatAmount(value), currency: value.currency };
}
