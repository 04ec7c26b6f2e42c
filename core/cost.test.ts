import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Bounds, costOf, type Service, STANDARD_SERVICE, worstCostNanos } from './cost.ts';
import { add, type Exact, exact, multiply, round, ZERO } from './exact.ts';
import {
  FREE_UNLESS_PRICED,
  formatNanos,
  type ModelPrices,
  type Price,
  type PriceSheet,
  type Prices,
  parsePrice,
  plainPrices,
} from './price.ts';
import { type Counts, INPUT_TOKEN_UNITS, OUTPUT_TOKEN_UNITS, TOKEN_UNITS, type Unit } from './quantity.ts';

const MILLION = 1_000_000n;
type List = Partial<Record<Unit, string>>;

function price(amount: string, per = MILLION): Price {
  const parsed = parsePrice(amount, per);
  if (!parsed) throw new Error(`not a price: ${amount}`);
  return parsed;
}

/** Per million units, in dollars. */
function list(amounts: List): Prices {
  return Object.fromEntries(Object.entries(amounts).map(([unit, amount]) => [unit, price(amount)]));
}

function sheet(amounts: List, more: Partial<PriceSheet> = {}): PriceSheet {
  return { prices: list(amounts), tiers: [], inputTokensMax: null, variants: {}, ...more };
}

function prices(base: List, ...tiers: { above: bigint; prices: List }[]): ModelPrices {
  return plainPrices(
    'USD',
    list(base),
    tiers.map((tier) => ({ aboveInputTokens: tier.above, prices: list(tier.prices) })),
  );
}

function served(service: Partial<Service>): Service {
  return { ...STANDARD_SERVICE, ...service };
}

function cost(counts: Counts, model: ModelPrices, service?: Partial<Service>): string {
  const found = costOf(counts, model, served(service ?? {}));
  if ('unpriced' in found) throw new Error(`unpriced: ${found.unpriced}`);
  return formatNanos(found.nanos);
}

function atMost(bounds: Partial<Bounds>): Bounds {
  return { inputTokens: 0n, outputTokens: 0n, inputUnits: null, outputUnits: null, others: {}, ...bounds };
}

const tiered = prices(
  { input_tokens: '1.25', cache_read_tokens: '0.31', output_tokens: '10' },
  { above: 200_000n, prices: { input_tokens: '2.50', cache_read_tokens: '0.625', output_tokens: '15' } },
);
const flat = prices({ input_tokens: '0.15', cache_read_tokens: '0.075', output_tokens: '0.60' });

/** Every kind of price at once. */
const rich: ModelPrices = {
  currency: 'USD',
  standard: sheet(
    {
      input_tokens: '4',
      cache_read_tokens: '0.4',
      input_audio_tokens: '32',
      output_tokens: '16',
      web_searches: '10000',
    },
    {
      tiers: [{ aboveInputTokens: 1_000n, prices: list({ input_tokens: '8', output_tokens: '24' }) }],
      variants: { hd: list({ images: '80000' }), low: list({ images: '20000' }) },
    },
  ),
  services: {
    batch: sheet({ input_tokens: '2', output_tokens: '8', web_searches: '10000' }),
    priority: sheet({ input_tokens: '7', output_tokens: '28' }, { inputTokensMax: 1_000n }),
  },
  regions: { eu: exact(11n, 10n), moon: exact(1n, 3n) },
};

describe('the cost of a call', () => {
  it('sums every unit at its own price', () => {
    expect(cost({ calls: 1n, input_tokens: 1_000n, cache_read_tokens: 2_000n, output_tokens: 500n }, flat)).toBe(
      '0.0006',
    );
  });

  it('is zero for a call that used nothing, and for calls and tool calls that no list prices', () => {
    expect(cost({}, flat)).toBe('0');
    expect(cost({ calls: 1n, tool_calls: 3n, input_tokens: 0n }, flat)).toBe('0');
    expect(cost({ calls: 2n }, prices({ calls: '10000' }))).toBe('0.02');
  });

  it('takes the dearer tier for the whole request once all its input passes the border', () => {
    expect(cost({ input_tokens: 100_000n, cache_read_tokens: 100_000n, output_tokens: 10n }, tiered)).toBe('0.1561');
    expect(cost({ input_tokens: 100_001n, cache_read_tokens: 100_000n, output_tokens: 10n }, tiered)).toBe('0.3126525');
  });

  it('keeps the prices of the tier below for units that a tier does not name', () => {
    expect(cost({ cache_read_tokens: 2_000n, output_tokens: 1n }, rich)).toBe('0.000824');
  });

  it('is by the service tier that served it, which pays what it has no price for', () => {
    const counts = { input_tokens: 10n, output_tokens: 1n };
    expect(cost(counts, rich, { tier: 'batch' })).toBe('0.000028');
    for (const tier of [null, '', 'default', 'standard', 'auto']) expect(cost(counts, rich, { tier })).toBe('0.000056');
    expect(costOf(counts, rich, served({ tier: 'flex' }))).toEqual({ unpriced: ['input_tokens', 'output_tokens'] });
    expect(costOf(counts, rich, served({ tier: 'constructor' }))).toMatchObject({ unpriced: expect.anything() });
    expect(costOf({ ...counts, cache_read_tokens: 1n }, rich, served({ tier: 'batch' }))).toEqual({
      unpriced: ['cache_read_tokens'],
    });
  });

  it('is that of priority service where a provider calls it fast, and unknown above the border that it ends at', () => {
    expect(cost({ input_tokens: 1_000n }, rich, { tier: 'fast' })).toBe('0.007');
    expect(costOf({ input_tokens: 1_001n }, rich, served({ tier: 'priority' }))).toEqual({
      unpriced: ['input_tokens'],
    });
  });

  it('multiplies tokens by the factor of the region, and nothing else', () => {
    expect(cost({ input_tokens: 10n, web_searches: 1n }, rich, { region: 'eu' })).toBe('0.010044');
    expect(cost({ input_tokens: 10n, web_searches: 1n }, rich, { region: 'mars' })).toBe('0.01004');
    expect(cost({ input_tokens: 3n }, rich, { region: 'moon' })).toBe('0.000004');
    expect(cost({ input_tokens: 10n }, rich, { tier: 'batch', region: 'eu' })).toBe('0.000022');
  });

  it('is by the variant where the price hangs on one, and unknown for a variant that is not listed', () => {
    expect(cost({ images: 2n, input_tokens: 1n }, rich, { variant: 'hd' })).toBe('0.160004');
    expect(cost({ images: 2n }, rich, { variant: 'low' })).toBe('0.04');
    expect(costOf({ images: 1n }, rich, served({ variant: 'huge' }))).toEqual({ unpriced: ['images'] });
    expect(cost({ input_tokens: 1n }, rich, { variant: 'huge' })).toBe('0.000004');
  });

  it('is unknown, never free, where a unit has no price', () => {
    expect(costOf({ input_tokens: 1n, input_audio_tokens: 5n, images: 1n }, flat)).toEqual({
      unpriced: ['input_audio_tokens', 'images'],
    });
  });
});

describe('the worst that a call can cost', () => {
  it('counts input and output at the dearest unit and tier within reach, rounded up to a nano', () => {
    expect(worstCostNanos(atMost({ inputTokens: 200_001n, outputTokens: 100n }), tiered)).toBe(
      500_002_500n + 1_500_000n,
    );
    expect(worstCostNanos(atMost({ inputTokens: 1_000n, outputTokens: 100n }), tiered)).toBe(1_250_000n + 1_000_000n);
    expect(worstCostNanos(atMost({ inputTokens: 1n }), prices({ input_tokens: '0.0375' }))).toBe(38n);
    const withWrites = prices({ input_tokens: '3', cache_write_1h_tokens: '6', output_tokens: '15' });
    expect(worstCostNanos(atMost({ inputTokens: 1n }), withWrites)).toBe(6000n);
    const inputUnits: Unit[] = ['input_tokens', 'cache_read_tokens'];
    expect(worstCostNanos(atMost({ inputTokens: 1n, inputUnits }), withWrites)).toBe(3000n);
    expect(worstCostNanos(atMost({ inputTokens: 1n }), withWrites)).toBe(6000n);
  });

  it('counts output at the price of speech and images where the model can answer with them', () => {
    const speaking = prices({ input_tokens: '2.5', output_tokens: '10', output_audio_tokens: '80' });
    expect(worstCostNanos(atMost({ outputTokens: 10n }), speaking)).toBe(800_000n);
  });

  it('counts every other unit at its price, at the dearest variant where none is named', () => {
    expect(worstCostNanos(atMost({ others: { web_searches: 2n, images: 1n } }), rich)).toBe(100_000_000n);
    expect(worstCostNanos(atMost({ others: { images: 1n } }), rich, served({ variant: 'low' }))).toBe(20_000_000n);
  });

  it('is unknown where something has no price at all, unless there is none of it', () => {
    const embedding = prices({ input_tokens: '0.02' });
    expect(worstCostNanos(atMost({ inputTokens: 10n }), embedding)).toBe(200n);
    expect(worstCostNanos(atMost({ inputTokens: 10n, outputTokens: 1n }), embedding)).toBeUndefined();
    expect(worstCostNanos(atMost({ inputTokens: 1n }), prices({ output_tokens: '1' }))).toBeUndefined();
    expect(worstCostNanos(atMost({ others: { images: 1n } }), embedding)).toBeUndefined();
    expect(worstCostNanos(atMost({ others: { images: 0n, tool_calls: 7n } }), embedding)).toBe(0n);
  });

  it('is of the dearest region where none is named, and of the standard service where that is dearer', () => {
    const bounds = atMost({ inputTokens: 100n });
    expect(worstCostNanos(bounds, rich)).toBe(35_200n * 100n);
    expect(worstCostNanos(bounds, rich, served({ region: 'us' }))).toBe(32_000n * 100n);
    const narrow = { ...bounds, inputUnits: ['input_tokens'] as const };
    expect(worstCostNanos(narrow, rich, served({ tier: 'batch', region: 'us' }))).toBe(400_000n);
    expect(worstCostNanos(narrow, rich, served({ tier: 'priority', region: 'us' }))).toBe(700_000n);
    expect(worstCostNanos(narrow, rich, served({ tier: 'flex', region: 'us' }))).toBe(400_000n);
    expect(worstCostNanos(narrow, rich, served({ tier: 'ultrafast', region: 'us' }))).toBeUndefined();
  });
});

/** Random books and calls, against sums that are done the slow way: one rational after another, from the prices as given. */
describe('against a naive sum', () => {
  const UNITS_HERE: readonly Unit[] = [
    ...INPUT_TOKEN_UNITS.slice(0, 6),
    ...OUTPUT_TOKEN_UNITS.slice(0, 3),
    'web_searches',
    'images',
    'tool_calls',
  ];
  const anyPrice = fc
    .tuple(fc.bigInt({ min: 0n, max: 10n ** 9n }), fc.constantFrom(1n, 60n, 1_000n, MILLION, 3_600_000_000n))
    .map(([micros, per]): Price => ({ amount: exact(micros * 1_000n, 7n), per }));
  const anyPrices = fc.dictionary(fc.constantFrom(...UNITS_HERE), anyPrice, {
    noNullPrototype: true,
  }) as fc.Arbitrary<Prices>;
  const borders = fc.uniqueArray(fc.bigInt({ min: 1n, max: 300n }), { maxLength: 2 });
  const anySheet = fc.record({
    prices: anyPrices,
    tiers: borders.chain((found) =>
      fc.tuple(
        ...[...found]
          .sort((a, b) => (a < b ? -1 : 1))
          .map((aboveInputTokens) => anyPrices.map((own) => ({ aboveInputTokens, prices: own }))),
      ),
    ),
    inputTokensMax: fc.constant(null),
    variants: fc.dictionary(fc.constantFrom('hd', 'low'), anyPrices, { noNullPrototype: true }),
  });
  const anyModel: fc.Arbitrary<ModelPrices> = fc.record({
    currency: fc.constant('USD'),
    standard: anySheet,
    services: fc.dictionary(fc.constantFrom('batch', 'priority'), anySheet, { noNullPrototype: true }),
    regions: fc.dictionary(
      fc.constantFrom('eu', 'us'),
      fc.constantFrom(exact(11n, 10n), exact(9n, 10n), exact(1n, 3n)),
      {
        noNullPrototype: true,
      },
    ),
  });
  const anyService: fc.Arbitrary<Service> = fc.record({
    tier: fc.constantFrom(null, 'default', 'batch', 'priority', 'flex'),
    region: fc.constantFrom(null, 'eu', 'us', 'mars'),
    variant: fc.constantFrom(null, 'hd', 'huge'),
  });
  const anyCounts = fc.dictionary(fc.constantFrom(...UNITS_HERE), fc.bigInt({ min: 0n, max: 200n }), {
    noNullPrototype: true,
  }) as fc.Arbitrary<Counts>;

  function naive(counts: Counts, model: ModelPrices, service: Service): Exact | undefined {
    const standard = service.tier === null || service.tier === 'default';
    const found = standard ? model.standard : model.services[service.tier ?? ''];
    let total: Exact = ZERO;
    let input = 0n;
    for (const unit of INPUT_TOKEN_UNITS) input += counts[unit] ?? 0n;
    for (const [unit, count] of Object.entries(counts) as [Unit, bigint][]) {
      if (count === 0n) continue;
      let price = found?.prices[unit];
      for (const tier of found?.tiers ?? []) if (input > tier.aboveInputTokens) price = tier.prices[unit] ?? price;
      if (service.variant !== null) price = found?.variants[service.variant]?.[unit] ?? price;
      if (!price && !FREE_UNLESS_PRICED.has(unit)) return undefined;
      if (!price) continue;
      const factor = (TOKEN_UNITS.has(unit) && model.regions[service.region ?? '']) || exact(1n);
      const each = multiply(exact(price.amount.num, price.amount.den * price.per), factor);
      total = add(total, multiply(exact(count), each));
    }
    return total;
  }

  it('gives the same cost, to the last digit, or says the same units have none', () => {
    fc.assert(
      fc.property(anyCounts, anyModel, anyService, (counts, model, service) => {
        const wanted = naive(counts, model, service);
        const got = costOf(counts, model, service);
        if (wanted) expect(got).toEqual({ nanos: wanted });
        else expect(got).toHaveProperty('unpriced');
      }),
      { numRuns: 500 },
    );
  });

  it('never costs more than its worst case, whatever within the bounds is used and however it is served', () => {
    fc.assert(
      fc.property(
        anyCounts,
        anyModel,
        anyService,
        fc.boolean(),
        fc.bigInt({ min: 0n, max: 50n }),
        (counts, model, asked, standard, more) => {
          const sumOf = (units: readonly Unit[]) => units.reduce((total, unit) => total + (counts[unit] ?? 0n), 0n);
          const others = Object.fromEntries(Object.entries(counts).filter(([unit]) => !TOKEN_UNITS.has(unit)));
          const bounds = atMost({
            inputTokens: sumOf(INPUT_TOKEN_UNITS) + more,
            outputTokens: sumOf(OUTPUT_TOKEN_UNITS),
            others,
          });
          const worst = worstCostNanos(bounds, model, asked);
          for (const region of asked.region === null ? [null, 'eu', 'us'] : [asked.region]) {
            const real = costOf(counts, model, { ...asked, region, tier: standard ? null : asked.tier });
            if (worst === undefined || 'unpriced' in real) continue;
            expect(worst).toBeGreaterThanOrEqual(round(real.nanos, 'up'));
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
