import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { add, exact, getExact } from './exact.ts';
import { formatNanos, type Price, parsePrice, priceOf } from './price.ts';

const MILLION = 1_000_000n;

describe('a price', () => {
  it('keeps 0.0000000375 a token exact, however it is written', () => {
    const each = price('0.0000000375', 1n);
    const perMillion = price('0.0375');
    expect(priceOf(getExact('1'), each)).toEqual(priceOf(getExact('1'), perMillion));
    expect(formatNanos(priceOf(getExact('1'), each))).toBe('0.0000000375');
    expect(formatNanos(priceOf(getExact('26666667'), each))).toBe('1.0000000125');
  });

  it('divides once: a thousand calls of a third of a cent are 3.333 dollars and a third of a cent', () => {
    const third = price('0.01', 3n);
    expect(priceOf(getExact('1000'), third)).toEqual(exact(10_000_000_000n, 3n));
    expect(formatNanos(priceOf(getExact('1000'), third))).toBe(`3.${'3'.repeat(30)}`);
  });

  it('gives a cost of at most as many decimals as an event may have', () => {
    const minute = price('0.007', 60n);
    expect(formatNanos(priceOf(getExact('1'), minute))).toBe(`0.00011${'6'.repeat(24)}7`);
    const odd = formatNanos(priceOf(getExact('1'), price('0.000000000000000001', 2n ** 39n)));
    expect(odd.split('.')[1]?.length ?? 0).toBeLessThanOrEqual(30);
    expect(formatNanos(priceOf(getExact('120'), minute))).toBe('0.014');
  });

  it('takes decimal amounts for a positive number of units, and nothing else', () => {
    expect(parsePrice('1e-6', 1n)).toBeUndefined();
    expect(parsePrice('', 1n)).toBeUndefined();
    expect(parsePrice('1', 0n)).toBeUndefined();
    expect(parsePrice('1', -1n)).toBeUndefined();
    expect(parsePrice('0', 1n)).toEqual({ amount: { num: 0n, den: 1n }, per: 1n });
  });

  it('costs the same whether quantities are priced together or one by one', () => {
    const quantity = fc.bigInt({ min: 0n, max: 10n ** 15n }).map((n) => exact(n, 1000n));
    const anyPrice = fc
      .tuple(fc.bigInt({ min: 0n, max: 10n ** 12n }), fc.constantFrom(1n, 1000n, MILLION, 7n))
      .map(([nanos, per]): Price => ({ amount: exact(nanos, 10n ** 6n), per }));
    fc.assert(
      fc.property(quantity, quantity, anyPrice, (a, b, at) => {
        expect(priceOf(add(a, b), at)).toEqual(add(priceOf(a, at), priceOf(b, at)));
      }),
    );
  });
});

function price(amount: string, per = MILLION): Price {
  const parsed = parsePrice(amount, per);
  if (!parsed) throw new Error(`not a price: ${amount}`);
  return parsed;
}
