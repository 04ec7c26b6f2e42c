import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  add,
  ceil,
  compare,
  DECIMAL_DIGITS_MAX,
  divide,
  type Exact,
  exact,
  formatExact,
  formatScaled,
  getExact,
  multiply,
  ONE,
  parseExact,
  type Rounding,
  round,
  subtract,
  sum,
  ZERO,
} from './exact.ts';

const integer = fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n });
const positive = fc.bigInt({ min: 1n, max: 10n ** 20n });
const fraction = fc.tuple(integer, positive).map(([num, den]) => exact(num, den));
const decimal = fc
  .tuple(integer, fc.integer({ min: 0, max: 20 }))
  .map(([digits, scale]) => exact(digits, 10n ** BigInt(scale)));

describe('exact arithmetic', () => {
  it('keeps every value in lowest terms with a positive denominator', () => {
    expect(exact(6n, -4n)).toEqual({ num: -3n, den: 2n });
    expect(exact(0n, 7n)).toEqual({ num: 0n, den: 1n });
    expect(exact(-5n)).toEqual({ num: -5n, den: 1n });
    fc.assert(
      fc.property(fraction, fraction, positive, (a, b, k) => {
        for (const value of [add(a, b), subtract(a, b), multiply(a, b), exact(a.num * k, a.den * k)]) {
          expect(value.den > 0n).toBe(true);
          expect(exact(value.num, value.den)).toEqual(value);
        }
        expect(exact(a.num * k, a.den * k)).toEqual(a);
      }),
    );
  });

  it('obeys the laws of a field', () => {
    fc.assert(
      fc.property(fraction, fraction, fraction, (a, b, c) => {
        expect(add(a, b)).toEqual(add(b, a));
        expect(add(add(a, b), c)).toEqual(add(a, add(b, c)));
        expect(multiply(a, add(b, c))).toEqual(add(multiply(a, b), multiply(a, c)));
        expect(subtract(a, a)).toEqual(ZERO);
        expect(multiply(a, ONE)).toEqual(a);
        if (b.num !== 0n) expect(multiply(divide(a, b), b)).toEqual(a);
      }),
    );
  });

  it('keeps a share of 17/31 until the end: 31 shares of a 31st are the whole', () => {
    const share = divide(getExact('5'), getExact('31'));
    expect(sum(Array.from({ length: 31 }, () => share))).toEqual(getExact('5'));
  });

  it('refuses to divide by zero', () => {
    expect(() => divide(ONE, ZERO)).toThrow('division by zero');
    expect(() => exact(1n, 0n)).toThrow('division by zero');
  });

  it('orders values as their difference does', () => {
    fc.assert(
      fc.property(fraction, fraction, (a, b) => {
        const difference = subtract(a, b).num;
        expect(compare(a, b)).toBe(difference < 0n ? -1 : difference > 0n ? 1 : 0);
      }),
    );
  });
});

describe('decimal text', () => {
  it.each([
    ['0', 0n, 1n],
    ['-12.345', -2469n, 200n],
    ['+1.50', 3n, 2n],
    ['007', 7n, 1n],
    ['0.0000000375', 3n, 80_000_000n],
    ['-0', 0n, 1n],
  ])('reads %s', (text, num, den) => {
    expect(parseExact(text)).toEqual({ num, den });
  });

  it.each([
    '',
    ' ',
    '1 ',
    ' 1',
    '1e3',
    '.5',
    '5.',
    '1,5',
    '0x10',
    '--1',
    '1.2.3',
    'NaN',
    'Infinity',
    '٣',
    '1_000',
    '\n1',
  ])('refuses %j, which is no plain decimal', (text) => {
    expect(parseExact(text)).toBeUndefined();
    expect(() => getExact(text)).toThrow('not a decimal');
  });

  it('refuses a number longer than its bound instead of computing with it', () => {
    expect(parseExact('9'.repeat(DECIMAL_DIGITS_MAX))).toBeDefined();
    expect(parseExact('9'.repeat(DECIMAL_DIGITS_MAX + 1))).toBeUndefined();
    expect(parseExact(`0.${'0'.repeat(1_000_000)}`)).toBeUndefined();
  });

  it('writes what it read, to the last digit', () => {
    fc.assert(
      fc.property(decimal, (value) => {
        expect(getExact(formatExact(value))).toEqual(value);
      }),
    );
    expect(formatExact(getExact('-0.2500'))).toBe('-0.25');
    expect(formatExact(getExact('100'))).toBe('100');
  });

  it('refuses to write a value that has no last digit', () => {
    expect(() => formatExact(exact(1n, 3n))).toThrow('no finite decimal form');
  });

  it('keeps the decimals that it is asked to keep', () => {
    expect(formatScaled(1_500_000_000n, 9, 2)).toBe('1.50');
    expect(formatScaled(0n, 9, 2)).toBe('0.00');
    expect(formatScaled(-5n, 3)).toBe('-0.005');
    expect(formatScaled(42n, 0)).toBe('42');
  });
});

describe('rounding', () => {
  it.each<[string, Rounding, bigint]>([
    ['2.5', 'half_up', 3n],
    ['-2.5', 'half_up', -3n],
    ['2.4999999999', 'half_up', 2n],
    ['-2.4', 'half_up', -2n],
    ['2.1', 'up', 3n],
    ['-2.1', 'up', -3n],
    ['2.9', 'down', 2n],
    ['-2.9', 'down', -2n],
    ['7', 'up', 7n],
    ['-7', 'half_up', -7n],
  ])('rounds %s %s to %s', (text, mode, expected) => {
    expect(round(getExact(text), mode)).toBe(expected);
  });

  it('moves a value by less than one, and by no more than a half when half up', () => {
    fc.assert(
      fc.property(fraction, fc.constantFrom<Rounding>('half_up', 'up', 'down'), (value, mode) => {
        const moved = magnitude(subtract({ num: round(value, mode), den: 1n }, value));
        expect(compare(moved, mode === 'half_up' ? exact(1n, 2n) : ONE)).toBeLessThan(mode === 'half_up' ? 1 : 0);
      }),
    );
  });

  it('mirrors at zero, so that a credit rounds as its charge did', () => {
    fc.assert(
      fc.property(fraction, fc.constantFrom<Rounding>('half_up', 'up', 'down'), (value, mode) => {
        expect(round({ num: -value.num, den: value.den }, mode)).toBe(-round(value, mode));
      }),
    );
  });

  it('gives as ceiling the smallest whole number that is not below', () => {
    fc.assert(
      fc.property(fraction, (value) => {
        const ceiling = ceil(value);
        expect(compare({ num: ceiling, den: 1n }, value)).toBeGreaterThanOrEqual(0);
        expect(compare({ num: ceiling - 1n, den: 1n }, value)).toBe(-1);
      }),
    );
  });
});

function magnitude(value: Exact): Exact {
  return value.num < 0n ? { num: -value.num, den: value.den } : value;
}
