import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { add, compare, exact, getExact } from './exact.ts';
import { costOf, formatNanos, type ModelPrices, type Price, parsePrice, priceOf, worstCostNanos } from './price.ts';
import type { Counts, Unit } from './quantity.ts';

const MILLION = 1_000_000n;

/** A model with two tiers, as Gemini 2.5 Pro is priced: dearer above 200,000 input tokens. */
const tiered = prices(
  { input_tokens: '1.25', cache_read_tokens: '0.31', output_tokens: '10' },
  { above: 200_000n, prices: { input_tokens: '2.50', cache_read_tokens: '0.625', output_tokens: '15' } },
);
const flat = prices({ input_tokens: '0.15', cache_read_tokens: '0.075', output_tokens: '0.60' });

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

describe('the cost of a call', () => {
  it('adds each unit at its own price', () => {
    // 1,000 x 0.15 + 500 x 0.075 + 200 x 0.60 dollars a million
    expect(cost({ input_tokens: 1000n, cache_read_tokens: 500n, output_tokens: 200n }, flat)).toBe('0.0003075');
  });

  it('is zero for a call that used nothing, and for calls and tool calls that no list prices', () => {
    expect(cost({}, flat)).toBe('0');
    expect(cost({ calls: 1n, tool_calls: 3n, input_tokens: 0n }, flat)).toBe('0');
    expect(cost({ calls: 2n }, prices({ calls: '10000' }))).toBe('0.02');
  });

  it('takes the dearer tier for the whole request once its input, cached included, exceeds the bound', () => {
    const output_tokens = 1000n;
    expect(cost({ input_tokens: 200_000n, output_tokens }, tiered)).toBe('0.26');
    expect(cost({ input_tokens: 200_001n, output_tokens }, tiered)).toBe('0.5150025');
    expect(cost({ input_tokens: 100_000n, cache_read_tokens: 100_001n, output_tokens }, tiered)).toBe('0.327500625');
  });

  it('keeps the base price of a unit that a tier does not name', () => {
    const partly = prices({ input_tokens: '1', output_tokens: '4' }, { above: 10n, prices: { input_tokens: '2' } });
    expect(cost({ input_tokens: 11n, output_tokens: 1n }, partly)).toBe('0.000026');
  });

  it('takes the last tier that applies', () => {
    const steps = prices(
      { input_tokens: '1' },
      { above: 10n, prices: { input_tokens: '2' } },
      { above: 100n, prices: { input_tokens: '3' } },
    );
    expect(cost({ input_tokens: 100n }, steps)).toBe('0.0002');
    expect(cost({ input_tokens: 101n }, steps)).toBe('0.000303');
  });

  it('is unknown, never free, where a unit has no price', () => {
    expect(costOf({ input_tokens: 1n, input_audio_tokens: 5n, images: 1n }, flat)).toEqual({
      unpriced: ['input_audio_tokens', 'images'],
    });
  });
});

describe('the worst that a call can cost', () => {
  it('is not below the cost of any split of its tokens', () => {
    const inputs: Unit[] = ['input_tokens', 'cache_read_tokens'];
    const tokens = fc.bigInt({ min: 0n, max: 400_000n });
    fc.assert(
      fc.property(fc.constantFrom(flat, tiered), tokens, tokens, tokens, (model, a, b, output) => {
        const [first = 'input_tokens', second = 'input_tokens'] = inputs;
        const real = costOf({ [first]: a, [second]: b, output_tokens: output }, model);
        const worst = worstCostNanos(a + b, output, model);
        if ('unpriced' in real || worst === undefined) throw new Error('both models are priced');
        expect(compare({ num: worst, den: 1n }, real.nanos)).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it('counts input and output at the dearest unit and tier, rounded up to a nano', () => {
    expect(worstCostNanos(1000n, 100n, tiered)).toBe(2_500_000n + 1_500_000n);
    expect(worstCostNanos(1n, 0n, prices({ input_tokens: '0.0375' }))).toBe(38n);
    const withWrites = prices({ input_tokens: '3', cache_write_1h_tokens: '6', output_tokens: '15' });
    expect(worstCostNanos(1n, 0n, withWrites)).toBe(6000n);
  });

  it('counts output at the price of speech and images where the model can answer with them', () => {
    const speaking = prices({ input_tokens: '2.5', output_tokens: '10', output_audio_tokens: '80' });
    expect(worstCostNanos(0n, 10n, speaking)).toBe(800_000n);
  });

  it('is unknown where input or output has no price at all, unless there is none of it', () => {
    const embedding = prices({ input_tokens: '0.02' });
    expect(worstCostNanos(10n, 0n, embedding)).toBe(200n);
    expect(worstCostNanos(10n, 1n, embedding)).toBeUndefined();
    expect(worstCostNanos(1n, 0n, prices({ output_tokens: '1' }))).toBeUndefined();
  });
});

function price(amount: string, per = MILLION): Price {
  const parsed = parsePrice(amount, per);
  if (!parsed) throw new Error(`not a price: ${amount}`);
  return parsed;
}

type List = Partial<Record<Unit, string>>;

/** Prices per million units, in dollars. */
function prices(base: List, ...tiers: { above: bigint; prices: List }[]): ModelPrices {
  const read = (list: List): Partial<Record<Unit, Price>> =>
    Object.fromEntries(Object.entries(list).map(([unit, amount]) => [unit, price(amount)]));
  return {
    currency: 'USD',
    prices: read(base),
    tiers: tiers.map((tier) => ({ aboveInputTokens: tier.above, prices: read(tier.prices) })),
  };
}

function cost(counts: Counts, model: ModelPrices): string {
  const found = costOf(counts, model);
  if ('unpriced' in found) throw new Error(`unpriced: ${found.unpriced}`);
  return formatNanos(found.nanos);
}
