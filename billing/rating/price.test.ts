import { describe, expect, it } from 'vitest';
import { chargePrice } from '#config/charge-terms.ts';
import { exact, formatExact, getExact, sum, ZERO } from '#core/exact.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';
import { priceSteps } from './price.ts';
import { pooledPart } from './usage-part.ts';

const LOOKING = { free: ZERO, names: [], zone: 'UTC' };

function stepsOf(price: unknown, quantity: string) {
  return priceSteps(chargePrice.parse(price), [pooledPart('m', getExact(quantity))], LOOKING);
}

/** The amount in the currency's unit. */
function amountOf(price: unknown, quantity: string): string {
  const nanos = sum(stepsOf(price, quantity).map((step) => step.amount));
  return formatExact(exact(nanos.num, nanos.den * NANOS_PER_UNIT));
}

describe('a price by unit', () => {
  it('keeps every digit of a price per million', () => {
    expect(amountOf({ kind: 'unit', amount: '0.0375', per: '1000000' }, '1')).toBe('0.0000000375');
  });

  it('says how the amount came about', () => {
    const [step] = stepsOf({ kind: 'unit', amount: '2.50', per: '1000000' }, '1200000');
    expect(step?.formula).toBe('1200000 x 2.5 / 1000000');
  });
});

describe('a graduated price', () => {
  const price = {
    kind: 'graduated',
    tiers: [
      { up_to: '10', amount: '10', flat: '2' },
      { up_to: '20', amount: '5', flat: '3' },
      { up_to: null, amount: '5', flat: '3' },
    ],
  };

  it.each([
    ['0', '2'],
    ['10', '102'],
    ['10.001', '105.005'],
    ['11', '110'],
    ['21', '163'],
  ])('prices %s units at %s: each unit in its tier, the upper bound included', (quantity, amount) => {
    expect(amountOf(price, quantity)).toBe(amount);
  });
});

describe('a volume price', () => {
  const price = {
    kind: 'volume',
    tiers: [
      { up_to: '10', amount: '5', flat: '100' },
      { up_to: null, amount: '2', flat: '50' },
    ],
  };

  it('prices all units at the tier that the whole quantity reaches, and so may fall as usage grows', () => {
    expect(amountOf(price, '5')).toBe('125');
    expect(amountOf(price, '15')).toBe('80');
  });
});

describe('a package price', () => {
  it('counts started packages in decimals, where binary floats count one too many', () => {
    expect(amountOf({ kind: 'package', size: '0.01', amount: '1' }, '0.07')).toBe('7');
    expect(amountOf({ kind: 'package', size: '10', amount: '100' }, '121')).toBe('1300');
  });
});

describe('terms of a price', () => {
  it.each([
    [
      'tiers that do not ascend',
      {
        kind: 'volume',
        tiers: [
          { up_to: '5', amount: '1' },
          { up_to: '5', amount: '1' },
        ],
      },
    ],
    ['a last tier with a bound', { kind: 'graduated', tiers: [{ up_to: '5', amount: '1' }] }],
    ['no tiers', { kind: 'graduated', tiers: [] }],
    ['a negative amount', { kind: 'unit', amount: '-1' }],
    ['an amount in scientific notation', { kind: 'unit', amount: '1e-6' }],
    ['a price per nothing', { kind: 'unit', amount: '1', per: '0' }],
    ['a package of nothing', { kind: 'package', size: '0', amount: '1' }],
    ['a field that is not known', { kind: 'unit', amount: '1', currency: 'USD' }],
  ])('are refused with %s', (_, price) => {
    expect(chargePrice.safeParse(price).success).toBe(false);
  });

  it('come out in one shortest form, so that equal terms are equal text', () => {
    expect(chargePrice.parse({ kind: 'unit', amount: '02.500', per: '01000' })).toEqual({
      kind: 'unit',
      amount: '2.5',
      per: '1000',
    });
  });
});
