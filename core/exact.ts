/**
 * Exact rational arithmetic: the number type of prices, quantities and amounts before they are rounded.
 *
 * Every value is `num / den` in lowest terms with `den > 0`, so that 17/31 of a fee or a price of
 * 0.0000000375 a token survives until the one place where a document line is rounded.
 */
export interface Exact {
  readonly num: bigint;
  readonly den: bigint;
}

export type Rounding = 'half_up' | 'up' | 'down';

/** Longest decimal that is parsed: bounds the cost of arithmetic on hostile input. */
export const DECIMAL_DIGITS_MAX = 60;

export const ZERO: Exact = { num: 0n, den: 1n };
export const ONE: Exact = { num: 1n, den: 1n };

const DECIMAL = /^([+-]?)(\d+)(?:\.(\d+))?$/;

function gcd(a: bigint, b: bigint): bigint {
  let x = a < 0n ? -a : a;
  let y = b;
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

/** `num / den` in lowest terms. Asserts `den != 0`. */
export function exact(num: bigint, den = 1n): Exact {
  if (den === 0n) throw new RangeError('division by zero');
  if (den === 1n) return { num, den };
  const sign = den < 0n ? -1n : 1n;
  const divisor = gcd(num, den * sign) || 1n;
  return { num: (sign * num) / divisor, den: (sign * den) / divisor };
}

/** Parses plain decimal notation (`-12.345`); no exponent, no blanks. Undefined when it is something else or too long. */
export function parseExact(text: string): Exact | undefined {
  if (text.length > DECIMAL_DIGITS_MAX) return undefined;
  const match = DECIMAL.exec(text);
  return match ? decimal(match) : undefined;
}

function decimal([, sign, whole = '0', fraction = '']: RegExpExecArray): Exact {
  const digits = BigInt(whole + fraction);
  return exact(sign === '-' ? -digits : digits, 10n ** BigInt(fraction.length));
}

/** As `parseExact`, for text that we wrote ourselves. Throws on anything else. */
export function getExact(text: string): Exact {
  const value = parseExact(text);
  if (!value) throw new RangeError(`not a decimal: ${text.slice(0, 80)}`);
  return value;
}

/** A decimal that a database computed from bounded ones: a sum has more digits than its parts, so there is no bound. */
export function exactOfNumeric(text: string): Exact {
  const match = DECIMAL.exec(text);
  if (!match) throw new RangeError(`not a decimal: ${text.slice(0, 80)}`);
  return decimal(match);
}

export function add(a: Exact, b: Exact): Exact {
  if (a.num === 0n) return b;
  if (b.num === 0n) return a;
  if (a.den === b.den) return exact(a.num + b.num, a.den);
  return exact(a.num * b.den + b.num * a.den, a.den * b.den);
}

export function subtract(a: Exact, b: Exact): Exact {
  return add(a, { num: -b.num, den: b.den });
}

export function multiply(a: Exact, b: Exact): Exact {
  return exact(a.num * b.num, a.den * b.den);
}

export function divide(a: Exact, b: Exact): Exact {
  return exact(a.num * b.den, a.den * b.num);
}

export function compare(a: Exact, b: Exact): -1 | 0 | 1 {
  const left = a.num * b.den;
  const right = b.num * a.den;
  return left < right ? -1 : left > right ? 1 : 0;
}

export function sum(values: Iterable<Exact>): Exact {
  let total = ZERO;
  for (const value of values) total = add(total, value);
  return total;
}

/** To an integer. `half_up` goes away from zero on ties, `up` away from zero, `down` towards zero. */
export function round(value: Exact, mode: Rounding): bigint {
  const negative = value.num < 0n;
  const num = negative ? -value.num : value.num;
  const quotient = num / value.den;
  const rest = num % value.den;
  const carry = mode === 'up' ? rest > 0n : mode === 'half_up' ? rest * 2n >= value.den : false;
  const magnitude = carry ? quotient + 1n : quotient;
  return negative ? -magnitude : magnitude;
}

/** Smallest integer not below the value. */
export function ceil(value: Exact): bigint {
  return round(value, value.num < 0n ? 'down' : 'up');
}

/** Plain decimal notation, every digit; throws where the value has none that ends (1/3). */
export function formatExact(value: Exact): string {
  let den = value.den;
  let scale = 0;
  let twos = 0;
  let fives = 0;
  while (den % 2n === 0n) {
    den /= 2n;
    twos++;
  }
  while (den % 5n === 0n) {
    den /= 5n;
    fives++;
  }
  if (den !== 1n) throw new RangeError(`${value.num}/${value.den} has no finite decimal form`);
  scale = Math.max(twos, fives);
  return formatScaled((value.num * 10n ** BigInt(scale)) / value.den, scale);
}

const ZERO_DIGIT = 0x30;

/** `digits * 10^-scale` in plain notation, without trailing zeros beyond `fractionMin`. */
export function formatScaled(digits: bigint, scale: number, fractionMin = 0): string {
  const negative = digits < 0n;
  const text = (negative ? -digits : digits).toString().padStart(scale + 1, '0');
  const whole = text.slice(0, text.length - scale);
  let end = text.length;
  while (end > whole.length + fractionMin && text.charCodeAt(end - 1) === ZERO_DIGIT) end--;
  const fraction = end === whole.length ? '' : `.${text.slice(whole.length, end)}`;
  return `${negative ? '-' : ''}${whole}${fraction}`;
}
