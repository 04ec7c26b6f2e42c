import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { chargeTerms } from '#config/charge-terms.ts';
import { compare, type Exact, exact, getExact, ONE, sum } from '#core/exact.ts';
import { addMoney, formatAmount, money, toNanos } from '#core/money.ts';
import type { Charge } from './charge.ts';
import { DEFAULT_POLICIES, type Policies } from './policies.ts';
import { assign, documentOf, type Rating, rate as rateAssigned, type Terms, type UsageQuantity } from './rating.ts';

/** A price as it is written; terms that are left out have their defaults. */
type PriceText = z.input<typeof chargeTerms>['price'];

function charge(unit: string, model: string, price: PriceText, allowance = '0'): Charge {
  return { ...chargeTerms.parse({ meter: unit, model, price, allowance }), price_id: `prc_${unit}_${model}`, unit };
}

function rate(plan: Terms, rows: readonly UsageQuantity[], share: Exact, policies: Policies): Rating {
  const span = { startMs: 0, endMs: 1, zone: 'UTC', share, first: true };
  return rateAssigned(plan, assign(plan.charges, rows), span, policies);
}

function usage(model: string, unit: string, quantity: string): UsageQuantity {
  return { model, unit, quantity: getExact(quantity) };
}

const perMillion = (amount: string): PriceText => ({ kind: 'unit', amount, per: '1000000' });
const terms = (charges: Charge[], fee: bigint | null = null): Terms => ({
  currency: 'USD',
  feeNanos: fee,
  charges,
});

describe('rate', () => {
  it('keeps apart what no charge covers, whatever models and units are called', () => {
    const { unrated } = rate(terms([]), [usage('b c', 'a', '1'), usage('c', 'a b', '2')], ONE, DEFAULT_POLICIES);
    expect(unrated.map((row) => row.quantity.num)).toEqual([1n, 2n]);
  });

  it('pools all models of a charge into one line, and says what each had in it', () => {
    const { lines } = rate(
      terms([charge('input_tokens', 'gpt-*', perMillion('2.5'))]),
      [
        usage('gpt-a', 'input_tokens', '1000'),
        usage('gpt-b', 'input_tokens', '3000'),
        usage('gpt-a', 'input_tokens', '1'),
      ],
      ONE,
      DEFAULT_POLICIES,
    );
    expect(lines).toHaveLength(1);
    expect(lines[0]?.quantity).toEqual(getExact('4001'));
    expect(lines[0]?.models.map((part) => [part.model, part.quantity.num])).toEqual([
      ['gpt-a', 1001n],
      ['gpt-b', 3000n],
    ]);
  });

  it('gives usage to the first charge that matches and to no other', () => {
    const { lines, unrated } = rate(
      terms([charge('output_tokens', 'gpt-4o*', perMillion('10')), charge('output_tokens', '*', perMillion('1'))]),
      [usage('gpt-4o-mini', 'output_tokens', '5'), usage('claude', 'output_tokens', '7')],
      ONE,
      DEFAULT_POLICIES,
    );
    expect(lines.map((line) => line.quantity.num)).toEqual([5n, 7n]);
    expect(unrated).toEqual([]);
  });

  it('reports usage that no charge covers, calls as such excepted', () => {
    const { lines, unrated } = rate(
      terms([charge('input_tokens', 'gpt-*', perMillion('1'))]),
      [usage('claude', 'input_tokens', '9'), usage('gpt-a', 'images', '2'), usage('gpt-a', 'calls', '3')],
      ONE,
      DEFAULT_POLICIES,
    );
    expect(lines).toEqual([]);
    expect(unrated.map((row) => `${row.model} ${row.unit} ${row.quantity.num}`)).toEqual([
      'claude input_tokens 9',
      'gpt-a images 2',
    ]);
  });

  it('takes the allowance off before the price applies', () => {
    const packages = charge('calls', '*', { kind: 'package', size: '10', amount: '100' }, '10');
    const { lines } = rate(terms([packages]), [usage('m', 'calls', '121')], ONE, DEFAULT_POLICIES);
    expect(lines[0]?.amount).toEqual(getExact('1200000000000'));
  });

  it('bills a charge without usage only where the policy says so', () => {
    const tiered: PriceText = { kind: 'volume', tiers: [{ up_to: null, amount: '1', per: '1', flat: '10' }] };
    const plan = terms([charge('calls', '*', tiered)]);
    expect(rate(plan, [], ONE, DEFAULT_POLICIES).lines).toEqual([]);
    const [line] = rate(plan, [], ONE, { ...DEFAULT_POLICIES, zero_usage: 'bill' }).lines;
    expect(line?.amount).toEqual(getExact('10000000000'));
  });

  it('bills the exact share of a fee', () => {
    const [line] = rate(terms([], 10_000_000_000n), [], exact(17n, 31n), DEFAULT_POLICIES).lines;
    expect(line?.amount).toEqual(exact(170_000_000_000n, 31n));
    expect(line?.steps[0]?.formula).toBe('10.00 x 17/31');
  });
});

describe('documentOf', () => {
  it('rounds each line once, half up, and adds what is printed', () => {
    const charges = ['a', 'b', 'c'].map((unit) => charge(unit, '*', { kind: 'unit', amount: '10.333333' }));
    const rating = rate(
      terms(charges),
      charges.map(({ unit }) => usage('m', unit ?? '', '1')),
      ONE,
      DEFAULT_POLICIES,
    );
    const { lines, total } = documentOf(rating, 'USD', DEFAULT_POLICIES);
    expect(lines.map((line) => formatAmount(line.rounded))).toEqual(['10.33', '10.33', '10.33']);
    expect(formatAmount(total)).toBe('30.99');
  });

  it('prints no fee that rounds to nothing, and every usage', () => {
    const rating = rate(
      terms([charge('calls', '*', { kind: 'unit', amount: '0.0001', per: '1' })], 5_000_000_000n),
      [usage('m', 'calls', '1')],
      exact(40n, 2_678_400n),
      DEFAULT_POLICIES,
    );
    const { lines, total } = documentOf(rating, 'USD', DEFAULT_POLICIES);
    expect(lines.map((line) => line.kind)).toEqual(['usage']);
    expect(total).toEqual(money(0n, 'USD'));
  });
});

const quantities = fc.bigInt({ min: 0n, max: 10n ** 15n });
const prices: fc.Arbitrary<PriceText> = fc.oneof(
  fc.record({ kind: fc.constant('unit' as const), amount: decimals(), per: fc.constantFrom('1', '1000', '1000000') }),
  fc
    .record({ amount: decimals(), next: decimals(), flat: decimals(), kind: fc.constantFrom('graduated', 'volume') })
    .map(({ amount, next, flat, kind }): PriceText => {
      const tiers = [
        { up_to: '1000', amount, per: '1', flat },
        { up_to: null, amount: next, per: '7', flat: '0' },
      ];
      return kind === 'volume' ? { kind: 'volume', tiers } : { kind: 'graduated', tiers };
    }),
  fc.record({ kind: fc.constant('package' as const), size: fc.constantFrom('0.3', '7', '1000'), amount: decimals() }),
);

function decimals(): fc.Arbitrary<string> {
  return fc
    .bigInt({ min: 0n, max: 10n ** 10n })
    .map((n) => `${n / 10n ** 7n}.${(n % 10n ** 7n).toString().padStart(7, '0')}`);
}

describe('rating, for any usage and any price,', () => {
  it('gives the same for usage in any number of pieces as for the whole', () => {
    fc.assert(
      fc.property(prices, fc.array(quantities, { minLength: 1, maxLength: 8 }), (price, parts) => {
        const plan = terms([charge('input_tokens', '*', price)]);
        const whole = parts.reduce((a, b) => a + b, 0n);
        const split = rate(
          plan,
          parts.map((n) => usage('m', 'input_tokens', n.toString())),
          ONE,
          DEFAULT_POLICIES,
        );
        const once = rate(plan, [usage('m', 'input_tokens', whole.toString())], ONE, DEFAULT_POLICIES);
        expect(split).toEqual(once);
      }),
    );
  });

  it('splits a line over its models so that the parts add up to it exactly', () => {
    fc.assert(
      fc.property(prices, fc.array(quantities, { minLength: 1, maxLength: 6 }), (price, parts) => {
        const plan = terms([charge('input_tokens', '*', price)]);
        const rows = parts.map((n, i) => usage(`m${i}`, 'input_tokens', n.toString()));
        for (const line of rate(plan, rows, ONE, DEFAULT_POLICIES).lines) {
          expectEqual(sum(line.models.map((part) => part.amount)), line.amount);
          expectEqual(sum(line.models.map((part) => part.quantity)), line.quantity);
          expectEqual(sum(line.steps.map((step) => step.amount)), line.amount);
        }
      }),
    );
  });

  it('totals what is printed, within half a cent of the exact sum per line', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(prices, quantities), { maxLength: 6 }), (priced) => {
        const plan = terms(
          priced.map(([price], i) => charge(`unit_${i}`, '*', price)),
          19_990_000_000n,
        );
        const rows = priced.map(([, n], i) => usage('m', `unit_${i}`, n.toString()));
        const rating = rate(plan, rows, exact(17n, 31n), DEFAULT_POLICIES);
        const { lines, total } = documentOf(rating, 'USD', DEFAULT_POLICIES);
        const printed = lines.reduce((left, line) => addMoney(left, line.rounded), money(0n, 'USD'));
        expect(total).toEqual(printed);
        const difference = total.nanos - toNanos(sum(rating.lines.map((line) => line.amount)), 'USD', 'half_up').nanos;
        const bound = 5_000_000n * BigInt(rating.lines.length) + 1n;
        expect(difference <= bound && difference >= -bound).toBe(true);
      }),
    );
  });
});

function expectEqual(a: Exact, b: Exact): void {
  expect(compare(a, b)).toBe(0);
}
