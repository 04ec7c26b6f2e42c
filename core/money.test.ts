import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compare, exact, getExact, subtract } from './exact.ts';
import {
  addMoney,
  allocate,
  exponentOf,
  formatAmount,
  isCurrency,
  type Money,
  money,
  moneyToJson,
  parseMoney,
  roundToCurrency,
  subtractMoney,
  toNanos,
} from './money.ts';

const currency = fc.constantFrom('USD', 'EUR', 'JPY', 'KWD', 'CLF');
const nanos = fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n });
const printable = fc
  .tuple(currency, fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n }))
  .map(([code, steps]) => money(steps * stepOf(code), code));
const weights = fc
  .array(fc.bigInt({ min: 0n, max: 10n ** 18n }), { minLength: 1, maxLength: 40 })
  .filter((list) => list.some((weight) => weight > 0n));

describe('amounts as text', () => {
  it('reads back what it wrote, in every currency', () => {
    fc.assert(
      fc.property(nanos, currency, (value, code) => {
        expect(parseMoney(formatAmount(money(value, code)), code)).toEqual({ nanos: value, currency: code });
      }),
    );
  });

  it('writes at least the decimals of the currency, and every further digit that matters', () => {
    expect(moneyToJson(money(12_345_678_000n, 'USD'))).toEqual({ amount: '12.345678', currency: 'USD' });
    expect(formatAmount(money(5_000_000_000n, 'USD'))).toBe('5.00');
    expect(formatAmount(money(5_000_000_000n, 'JPY'))).toBe('5');
    expect(formatAmount(money(-5_100_000_000n, 'KWD'))).toBe('-5.100');
    expect(formatAmount(money(1n, 'USD'))).toBe('0.000000001');
  });

  it('refuses what is finer than a nano, no decimal, or no currency', () => {
    expect(parseMoney('0.0000000001', 'USD')).toBeUndefined();
    expect(parseMoney('1e3', 'USD')).toBeUndefined();
    expect(parseMoney('1', 'usd')).toBeUndefined();
    expect(() => money(1n, 'US')).toThrow('not a currency code');
    expect(isCurrency('USDC')).toBe(false);
  });

  it('knows how many decimals a document has in each currency', () => {
    expect(['USD', 'EUR', 'JPY', 'KRW', 'KWD', 'BHD', 'CLF', 'INR'].map(exponentOf)).toEqual([2, 2, 0, 0, 3, 3, 4, 2]);
  });
});

describe('sums', () => {
  it('adds and subtracts without loss, and never across currencies', () => {
    fc.assert(
      fc.property(nanos, nanos, currency, (a, b, code) => {
        const [left, right] = [money(a, code), money(b, code)];
        expect(subtractMoney(addMoney(left, right), right)).toEqual(left);
      }),
    );
    expect(() => addMoney(money(1n, 'USD'), money(1n, 'EUR'))).toThrow('cannot combine USD with EUR');
    expect(() => subtractMoney(money(1n, 'USD'), money(1n, 'EUR'))).toThrow('cannot combine USD with EUR');
  });
});

describe('rounding to what a document prints', () => {
  it.each([
    ['USD', '1.005', '1.01'],
    ['USD', '1.004999999', '1.00'],
    ['USD', '-1.005', '-1.01'],
    ['JPY', '1023.5', '1024'],
    ['KWD', '0.0005', '0.001'],
    ['GBP', '0.005', '0.01'],
  ])('prints %s %s as %s', (code, amount, printed) => {
    const value = getExact(amount);
    const rounded = roundToCurrency(exact(value.num * 1_000_000_000n, value.den), code, 'half_up');
    expect(formatAmount(rounded)).toBe(printed);
  });

  it('moves an amount by at most half a step, and leaves a printable amount alone', () => {
    fc.assert(
      fc.property(nanos, fc.bigInt({ min: 1n, max: 10n ** 12n }), currency, (num, den, code) => {
        const value = exact(num, den);
        const rounded = roundToCurrency(value, code, 'half_up');
        const step = stepOf(code);
        const distance = subtract({ num: rounded.nanos, den: 1n }, value);
        const moved = distance.num < 0n ? { num: -distance.num, den: distance.den } : distance;
        expect(rounded.nanos % step).toBe(0n);
        expect(compare(moved, exact(step, 2n))).toBeLessThanOrEqual(0);
        expect(roundToCurrency({ num: rounded.nanos, den: 1n }, code, 'half_up')).toEqual(rounded);
      }),
    );
  });

  it('rounds once: the nano in between is not rounded first', () => {
    // 0.0049999999996 is 0.005 at a nano, which would print as 0.01.
    const value = getExact('4999999.9996');
    expect(formatAmount(roundToCurrency(value, 'USD', 'half_up'))).toBe('0.00');
    expect(toNanos(value, 'USD', 'half_up').nanos).toBe(5_000_000n);
  });
});

describe('splitting', () => {
  it('gives parts that always add up to the whole, in whole steps of the currency', () => {
    fc.assert(
      fc.property(printable, weights, (total, list) => {
        const parts = allocate(total, list);
        expect(parts).toHaveLength(list.length);
        expect(parts.reduce((a, b) => a + b.nanos, 0n)).toBe(total.nanos);
        for (const part of parts) expect(part.nanos % stepOf(total.currency)).toBe(0n);
      }),
    );
  });

  it('gives each part its exact share, up to less than one step', () => {
    fc.assert(
      fc.property(printable, weights, (total, list) => {
        const weightSum = list.reduce((a, b) => a + b, 0n);
        allocate(total, list).forEach((part, i) => {
          const share = exact(total.nanos * (list[i] ?? 0n), weightSum);
          const distance = subtract({ num: part.nanos, den: 1n }, share);
          const moved = distance.num < 0n ? { num: -distance.num, den: distance.den } : distance;
          expect(compare(moved, { num: stepOf(total.currency), den: 1n })).toBe(-1);
          if (list[i] === 0n) expect(part.nanos).toBe(0n);
        });
      }),
    );
  });

  it('gives the odd cents to the largest remainders, and ties to the earlier part', () => {
    expect(amounts(allocate(dollars('100.00'), [1n, 1n, 1n]))).toEqual(['33.34', '33.33', '33.33']);
    expect(amounts(allocate(dollars('0.05'), [3n, 7n]))).toEqual(['0.02', '0.03']);
    expect(amounts(allocate(dollars('-0.05'), [3n, 7n]))).toEqual(['-0.02', '-0.03']);
    expect(amounts(allocate(dollars('10.00'), [0n, 2n, 5n]))).toEqual(['0.00', '2.86', '7.14']);
  });

  it('refuses weights that say nothing, and an amount that cannot be printed', () => {
    expect(() => allocate(dollars('1.00'), [])).toThrow('weights');
    expect(() => allocate(dollars('1.00'), [0n, 0n])).toThrow('weights');
    expect(() => allocate(dollars('1.00'), [2n, -1n])).toThrow('weights');
    expect(() => allocate(dollars('1.001'), [1n])).toThrow('rounded');
  });
});

function stepOf(code: string): bigint {
  return 10n ** BigInt(9 - exponentOf(code));
}

function dollars(amount: string): Money {
  const value = parseMoney(amount, 'USD');
  if (!value) throw new Error(`not an amount: ${amount}`);
  return value;
}

function amounts(parts: readonly Money[]): string[] {
  return parts.map(formatAmount);
}
