import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { type ChargePrice, chargePrice, chargeTerms } from '#config/charge-terms.ts';
import type { quantityPrice } from '#config/price-terms.ts';
import { compare, type Exact, exact, formatExact, getExact, ONE, sum } from '#core/exact.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';
import { amountOf, chargeSteps, type Span } from './charge.ts';
import { priceSteps } from './price.ts';
import { rate } from './rating.ts';
import { pooledPart, type UsagePart } from './usage-part.ts';

type PriceText = z.input<typeof chargePrice>;
type QuantityPriceText = z.input<typeof quantityPrice>;
type Term = z.input<typeof chargeTerms>;
const SPAN: Span = { startMs: 0, endMs: 1_000, zone: 'UTC', share: ONE, first: true };

function inUnits(nanos: Exact): string {
  return formatExact(exact(nanos.num, nanos.den * NANOS_PER_UNIT));
}

function part(quantity: string, more: Partial<UsagePart> = {}): UsagePart {
  return { ...pooledPart('m', getExact(quantity)), events: 1n, ...more };
}

/** The amount in the currency's unit. */
function comesTo(price: PriceText, parts: readonly UsagePart[], names: string[] = [], zone = 'UTC'): string {
  return inUnits(amountOf(priceSteps(chargePrice.parse(price), parts, { free: getExact('0'), names, zone })));
}

function charges(terms: Omit<Term, 'meter'>, parts: readonly UsagePart[], span = SPAN) {
  const charge = { ...chargeTerms.parse({ meter: 'calls', ...terms }), price_id: 'prc', unit: 'calls' };
  const steps = chargeSteps(charge, parts, span, false);
  return { amount: inUnits(amountOf(steps)), formulas: steps.map(({ formula }) => formula) };
}

describe('a stairstep price', () => {
  it.each([
    ['1', '100'],
    ['10', '100'],
    ['10.5', '180'],
    ['1000', '250'],
  ])('asks one amount for %s: %s', (quantity, amount) => {
    const tiers = [{ up_to: '10', amount: '100' }, { up_to: '20', amount: '180' }, { amount: '250' }];
    expect(comesTo({ kind: 'stairstep', tiers }, [part(quantity)])).toBe(amount);
  });
});

describe('a package price', () => {
  it('counts full packages only where it rounds down', () => {
    const price = { kind: 'package', size: '10', amount: '1', round: 'down' } as const;
    expect(['9', '10', '25'].map((quantity) => comesTo(price, [part(quantity)]))).toEqual(['0', '1', '2']);
  });
});

describe('a percentage price', () => {
  const events = (...amounts: string[]) => amounts.map((amount) => part(amount));

  it('asks a percentage of the volume and a fixed part for each event', () => {
    expect(comesTo({ kind: 'percentage', percent: '2.9', fixed: '0.30' }, events('10', '90'))).toBe('3.5');
  });

  it('is free for the first events: 1 % + 5.00, three free, four events of 10', () => {
    const price = { kind: 'percentage', percent: '1', fixed: '5', free_events: '3' } as const;
    const after = [1, 2, 3, 4].map((n) => comesTo(price, events('10', '10', '10', '10').slice(0, n)));
    expect(after).toEqual(['0', '0', '0', '5.1']);
  });

  it('asks an event that crosses the free volume for the excess and the fixed part', () => {
    const price = { kind: 'percentage', percent: '10', fixed: '1', free_volume: '25' } as const;
    expect(['20', '30', '40'].map((_, n) => comesTo(price, events('20', '30', '40').slice(0, n + 1)))).toEqual([
      '0',
      '3.5',
      '8.5',
    ]);
  });

  it('ends being free with whichever allowance ends first', () => {
    const price = { kind: 'percentage', percent: '10', free_events: '2', free_volume: '1000' } as const;
    expect(comesTo(price, events('10', '10', '10'))).toBe('1');
    expect(comesTo({ ...price, free_volume: '15' }, events('10', '10', '10'))).toBe('1.5');
  });

  it('holds each event between its bounds: 1 % + 1.00, at least 1.75, at most 12.00', () => {
    const price = { kind: 'percentage', percent: '1', fixed: '1', event_minimum: '1.75', event_maximum: '12' } as const;
    const after = [1, 2, 3].map((n) => comesTo(price, events('100', '1000', '10000').slice(0, n)));
    expect(after).toEqual(['2', '13', '25']);
    expect(comesTo(price, events('1'))).toBe('1.75');
  });

  it('graduated, asks each part of the volume its own percentage', () => {
    const tiers = [
      { up_to: '100', percent: '5' },
      { percent: '2', flat: '10' },
    ];
    const price = { kind: 'graduated_percentage', tiers } as const;
    expect(['100', '150'].map((volume) => comesTo(price, [part(volume)]))).toEqual(['5', '16']);
  });
});

describe('a dynamic price', () => {
  it('adds up what events carry, to the last digit, before the factor', () => {
    const carried = (amount: string) =>
      part('10', { carried: exact(getExact(amount).num * NANOS_PER_UNIT, getExact(amount).den) });
    expect(comesTo({ kind: 'dynamic', of: 'event_price' }, [carried('0.101'), carried('9.019')])).toBe('9.12');
    expect(comesTo({ kind: 'dynamic', of: 'provider_cost', multiplier: '1.33333' }, [carried('10')])).toBe('13.3333');
  });
});

describe('a matrix price', () => {
  const price = {
    kind: 'matrix',
    dimensions: ['model', 'region'],
    cells: [
      { of: ['big', 'eu'], price: { kind: 'unit', amount: '3' } },
      { of: ['big', '*'], price: { kind: 'unit', amount: '2' } },
      { of: ['small', 'eu'], price: { kind: 'package', size: '10', amount: '5' } },
    ],
    fallback: { kind: 'unit', amount: '1' },
  } as const satisfies PriceText;

  it('prices each cell on its own, by the first that fits, and the rest by the fallback', () => {
    const at = (model: string, region: string, quantity: string) => part(quantity, { dimensions: [region, model] });
    const parts = [
      at('big', 'eu', '2'),
      at('big', 'us', '4'),
      at('small', 'eu', '3'),
      at('small', 'eu', '8'),
      at('x', 'y', '7'),
    ];
    expect(comesTo(price, parts, ['region', 'model'])).toBe('31');
  });

  it('tells cells apart whose values read the same', () => {
    const unit = (amount: string) => ({ kind: 'unit', amount }) as const;
    const cells = [
      { of: ['a, b', 'c'], price: unit('1') },
      { of: ['a', 'b, c'], price: unit('10') },
      { of: ['any other', ''], price: unit('100') },
    ];
    const names = ['model', 'region'];
    const parts = [
      part('1', { dimensions: ['a, b', 'c'] }),
      part('1', { dimensions: ['a', 'b, c'] }),
      part('1', { dimensions: ['x', 'y'] }),
    ];
    expect(comesTo({ kind: 'matrix', dimensions: names, cells, fallback: unit('1000') }, parts, names)).toBe('1011');
  });

  it('bills what was used of a cell while there was one, whatever the price becomes', () => {
    const cells = [{ of: ['old', '*'], price: { kind: 'unit', amount: '4' } as const }];
    const before = { ...price, cells: [...price.cells, ...cells], fallback: null };
    const changes = [{ effective_at: new Date(500).toISOString(), price: { ...price, fallback: null } }];
    const at = (model: string, quantity: string, segment: number) =>
      part(quantity, { model, segment, dimensions: [model, 'us'] });
    const parts = [at('old', '2', 0), at('big', '3', 0), at('big', '5', 1), at('old', '7', 1)];
    const terms = chargeTerms.parse({ meter: 'calls', price: before, changes });
    const charge = { ...terms, price_id: 'prc', unit: 'calls' };
    const assigned = { byCharge: new Map([[charge, new Map()]]), unrated: [] };
    const plan = { currency: 'USD', feeNanos: null, charges: [charge] };
    const { lines, unrated } = rate(plan, assigned, SPAN, { zero_usage: 'skip' }, new Map([[charge, parts]]));
    expect(lines.map((line) => inUnits(line.amount))).toEqual(['24']);
    expect(unrated).toMatchObject([{ model: 'old', quantity: getExact('7') }]);
  });

  it('refuses cells that do not have a value for each dimension', () => {
    const wrong = { ...price, cells: [{ of: ['big'], price: { kind: 'unit', amount: '3' } }] };
    expect(chargePrice.safeParse(wrong).error?.issues).toMatchObject([{ path: ['cells', 0, 'of'] }]);
  });
});

describe('a price by time of day', () => {
  const price = {
    kind: 'time_of_day',
    bands: [
      { from: '08:00', to: '18:00', days: ['mon', 'tue', 'wed', 'thu', 'fri'], price: { kind: 'unit', amount: '3' } },
      { from: '22:00', to: '06:00', days: ['fri'], price: { kind: 'unit', amount: '1' } },
    ],
    fallback: { kind: 'unit', amount: '2' },
  } as const satisfies PriceText;
  const at = (instant: string) => part('1', { windowMs: Date.parse(instant) });

  it('goes by the clock on the wall of the customer', () => {
    // 08:30 on a Friday in Kolkata, which is five and a half hours ahead.
    expect(comesTo(price, [at('2026-01-02T03:00:00Z')], [], 'Asia/Kolkata')).toBe('3');
    expect(comesTo(price, [at('2026-01-02T03:00:00Z')], [], 'UTC')).toBe('2');
  });

  it('lets a band that goes over midnight belong to the day on which it begins', () => {
    expect(comesTo(price, [at('2026-01-02T23:00:00Z'), at('2026-01-03T05:45:00Z')])).toBe('2');
    expect(comesTo(price, [at('2026-01-03T23:00:00Z'), at('2026-01-03T06:00:00Z')])).toBe('4');
  });

  it('pools a band over the period, and prices both hours that a change of clocks repeats', () => {
    const tiers = [{ up_to: '1', amount: '10' }, { amount: '1' }];
    const night = {
      kind: 'time_of_day',
      bands: [{ from: '02:00', to: '03:00', price: { kind: 'graduated', tiers } }],
      fallback: { kind: 'unit', amount: '0' },
    } as const satisfies PriceText;
    const repeated = [at('2026-10-25T00:30:00Z'), at('2026-10-25T01:30:00Z')];
    expect(comesTo(night, repeated, [], 'Europe/Paris')).toBe('11');
  });
});

describe('a windowed price', () => {
  const at = (windowMs: number, quantity: string) => part(quantity, { windowMs });
  const parts = [at(0, '5'), at(0, '9'), at(3_600_000, '15'), at(3_600_000, '1')];
  const graduated: QuantityPriceText = {
    kind: 'graduated',
    tiers: [{ up_to: '10', amount: '0.10' }, { up_to: '20', amount: '0.05' }, { amount: '0.02' }],
  };

  it('prices the largest of each window, and adds the prices', () => {
    expect(comesTo({ kind: 'windowed', window: 'hour', aggregation: 'max', price: graduated }, parts)).toBe('2.15');
  });

  it('prices the sum of each window', () => {
    expect(
      comesTo({ kind: 'windowed', window: 'hour', price: { kind: 'package', size: '10', amount: '1' } }, parts),
    ).toBe('4');
  });
});

describe('credits', () => {
  it('burn by the unit and cost an amount each', () => {
    const price = { kind: 'credits', credits: '3', per: '1000', credit_amount: '0.02' } as const;
    expect(comesTo(price, [part('2500')])).toBe('0.15');
  });
});

describe('a charge', () => {
  const price = { kind: 'unit', amount: '10' } as const;

  it('takes allowance, price, discount, cap and minimum in this order', () => {
    const all = { price, allowance: '5', discount_percent: '50', cap: '100', minimum: '20' };
    const figures = ['5', '6', '10', '25', '45'].map((quantity) => charges(all, [part(quantity)]).amount);
    // Nothing left after the allowance is the minimum; 20 units are 200, half of it the cap.
    expect(figures).toEqual(['20', '20', '25', '100', '100']);
    expect(charges(all, [part('45')]).formulas).toEqual([
      'allowance: 5 free',
      '40 x 10',
      'discount of 50 %',
      'cap of 100',
    ]);
  });

  it('comes to its minimum without usage, for the share of the interval: 10.00 x 25/28', () => {
    const span = { ...SPAN, share: exact(25n, 28n) };
    const charge = { ...chargeTerms.parse({ meter: 'calls', price, minimum: '10' }), price_id: 'prc', unit: 'calls' };
    expect(amountOf(chargeSteps(charge, [], span, false))).toEqual(exact(250n * NANOS_PER_UNIT, 28n));
  });

  it('prices usage before and after a change apart, and goes on in its tiers', () => {
    const graduated = (first: string, then: string): QuantityPriceText => {
      return { kind: 'graduated', tiers: [{ up_to: '10', amount: first, flat: '1' }, { amount: then }] };
    };
    const changes = [{ effective_at: new Date(500).toISOString(), price: graduated('4', '3') }];
    const terms = { price: graduated('2', '1'), changes };
    const parts = [part('8', { segment: 0 }), part('5', { segment: 1 })];
    // 8 x 2 + 1 before; after it 2 x 4 + 3 x 3, and no second flat fee.
    expect(charges(terms, parts).amount).toBe('34');
    expect(charges(terms, parts.slice(1)).amount).toBe('21');
    // Before the period it is the only price; after it, none.
    expect(charges(terms, [part('8')], { ...SPAN, startMs: 600 }).amount).toBe('33');
    expect(charges(terms, [part('8')], { ...SPAN, endMs: 500 }).amount).toBe('17');
  });

  it.each([
    ['a flat price with a meter', { price: { kind: 'flat', amount: '1' } }, 'meter'],
    ['a price without one', { meter: null, price }, 'meter'],
    [
      'an allowance that nothing takes off',
      { price: { kind: 'dynamic', of: 'event_price' }, allowance: '1' },
      'allowance',
    ],
    ['a minimum above the cap', { price, minimum: '2', cap: '1' }, 'minimum'],
    ['a discount of more than all', { price, discount_percent: '101' }, 'discount_percent'],
    [
      'changes that are not in order',
      {
        price,
        changes: ['2026-02-01T00:00:00Z', '2026-01-01T00:00:00Z'].map((effective_at) => ({ effective_at, price })),
      },
      'changes',
    ],
    [
      'a change to what reads other usage',
      {
        price,
        changes: [{ effective_at: '2026-01-01T00:00:00Z', price: { kind: 'windowed', window: 'hour', price } }],
      },
      'changes',
    ],
  ])('is refused with %s', (_, terms, field) => {
    const { error } = chargeTerms.safeParse({ meter: 'calls', ...terms });
    expect(error?.issues.map(({ path }) => path[0])).toEqual([field]);
  });
});

/** Decimals as whole millionths, and prices by the definition, unit by unit where that is how they are defined. */
const millionths = fc.bigInt({ min: 0n, max: 30_000_000n });
const text = (value: bigint) => formatExact(exact(value, 1_000_000n));
const wholes = fc.bigInt({ min: 0n, max: 60n });

interface Case {
  price: ChargePrice;
  /** In millionths of the unit of the currency, for a whole quantity. */
  oracle: (quantity: bigint) => bigint;
}

const bounds = fc
  .uniqueArray(fc.bigInt({ min: 1n, max: 40n }), { minLength: 1, maxLength: 4 })
  .map((list) => [...list].sort((a, b) => (a < b ? -1 : 1)));
const tiered = bounds.chain((list) =>
  fc
    .array(fc.tuple(millionths, millionths), { minLength: list.length + 1, maxLength: list.length + 1 })
    .map((rows) => rows.map(([amount, flat], i) => ({ upTo: list[i] ?? null, amount, flat }))),
);
type Row = { upTo: bigint | null; amount: bigint; flat: bigint };
const terms = (rows: readonly Row[]) =>
  rows.map(({ upTo, amount, flat }) => ({
    up_to: upTo === null ? null : `${upTo}`,
    amount: text(amount),
    flat: text(flat),
  }));

/** A walk over the units one by one: each pays its tier, and the first in a tier its flat fee. */
function graduatedOracle(rows: readonly Row[], quantity: bigint): bigint {
  let total = rows[0]?.flat ?? 0n;
  let tier = 0;
  for (let unit = 1n; unit <= quantity; unit++) {
    for (let bound = rows[tier]?.upTo ?? null; bound !== null && unit > bound; bound = rows[tier]?.upTo ?? null) {
      tier++;
      total += rows[tier]?.flat ?? 0n;
    }
    total += rows[tier]?.amount ?? 0n;
  }
  return total;
}

function volumeOracle(rows: readonly Row[], quantity: bigint): bigint {
  const row = rows.findLast((_, i) => i === 0 || quantity > (rows[i - 1]?.upTo ?? 0n));
  return quantity * (row?.amount ?? 0n) + (row?.flat ?? 0n);
}

const cases: fc.Arbitrary<Case> = fc.oneof(
  millionths.map((amount) => ({
    price: chargePrice.parse({ kind: 'unit', amount: text(amount) }),
    oracle: (quantity: bigint) =>
      Array.from({ length: Number.parseInt(`${quantity}`, 10) }, () => amount).reduce((a, b) => a + b, 0n),
  })),
  tiered.map((rows) => ({
    price: chargePrice.parse({ kind: 'graduated', tiers: terms(rows) }),
    oracle: (quantity: bigint) => graduatedOracle(rows, quantity),
  })),
  tiered.map((rows) => ({
    price: chargePrice.parse({ kind: 'volume', tiers: terms(rows) }),
    oracle: (quantity: bigint) => volumeOracle(rows, quantity),
  })),
  tiered.map((rows) => ({
    price: chargePrice.parse({ kind: 'stairstep', tiers: terms(rows).map(({ flat: _, ...row }) => row) }),
    oracle: (quantity: bigint) =>
      volumeOracle(
        rows.map((row) => ({ ...row, amount: 0n, flat: row.amount })),
        quantity,
      ),
  })),
  fc
    .record({ size: fc.bigInt({ min: 1n, max: 20n }), amount: millionths, round: fc.constantFrom('up', 'down') })
    .map(({ size, amount, round }) => ({
      price: chargePrice.parse({ kind: 'package', size: `${size}`, amount: text(amount), round }),
      oracle: (quantity: bigint) => {
        let count = 0n;
        for (let left = quantity; left >= (round === 'up' ? 1n : size); left -= size) count++;
        return count * amount;
      },
    })),
  fc.record({ credits: fc.bigInt({ min: 0n, max: 50n }), each: millionths }).map(({ credits, each }) => ({
    price: chargePrice.parse({ kind: 'credits', credits: `${credits}`, credit_amount: text(each) }),
    oracle: (quantity: bigint) => quantity * credits * each,
  })),
);

describe('prices by quantity, against prices computed otherwise,', () => {
  it('come to the same for any terms and any quantity', () => {
    fc.assert(
      fc.property(cases, wholes, ({ price, oracle }, quantity) => {
        expect(comesTo(price, [part(`${quantity}`)])).toBe(text(oracle(quantity)));
      }),
      { numRuns: 500 },
    );
  });

  it('graduated, never fall as usage grows', () => {
    fc.assert(
      fc.property(tiered, millionths, millionths, (rows, a, more) => {
        const price = chargePrice.parse({ kind: 'graduated', tiers: terms(rows) });
        const at = (quantity: bigint) =>
          amountOf(priceSteps(price, [part(text(quantity))], { free: getExact('0'), names: [], zone: 'UTC' }));
        expect(compare(at(a), at(a + more))).toBeLessThanOrEqual(0);
      }),
    );
  });

  it('come to the same whatever parts usage came in, cut at a change of price or not', () => {
    fc.assert(
      fc.property(cases, fc.array(wholes, { minLength: 1, maxLength: 6 }), fc.nat(6), ({ price }, list, cutAt) => {
        const changes = [{ effective_at: new Date(500).toISOString(), price }];
        if (!['unit', 'graduated', 'volume', 'stairstep', 'package', 'credits'].includes(price.kind)) return;
        const charge = { ...chargeTerms.parse({ meter: 'calls', price }), price_id: 'prc', unit: 'calls' };
        const parts = list.map((quantity, i) => part(`${quantity}`, { segment: i < cutAt ? 0 : 1 }));
        const whole = sum(list.map((quantity) => exact(quantity)));
        const changed = amountOf(chargeSteps({ ...charge, changes }, parts, SPAN, false));
        const once = amountOf(chargeSteps(charge, [part(formatExact(whole))], SPAN, false));
        expect(inUnits(changed)).toBe(inUnits(once));
      }),
    );
  });

  it('with a percentage, come to what each event on its own comes to, one after the other', () => {
    const events = fc.array(fc.bigInt({ min: 1n, max: 1_000n }), { minLength: 1, maxLength: 12 });
    const free = fc.option(fc.bigInt({ min: 0n, max: 5n }), { nil: null });
    const volume = fc.option(fc.bigInt({ min: 0n, max: 2_000n }), { nil: null });
    fc.assert(
      fc.property(events, free, volume, fc.bigInt({ min: 0n, max: 20n }), (list, freeEvents, freeVolume, least) => {
        const price = {
          kind: 'percentage',
          percent: '3',
          fixed: '2',
          free_events: freeEvents === null ? null : `${freeEvents}`,
          free_volume: freeVolume === null ? null : `${freeVolume}`,
          event_minimum: `${least}`,
        } as const;
        // In hundredths.
        let total = 0n;
        let seen = 0n;
        let used = 0n;
        let isFree = freeEvents !== null || freeVolume !== null;
        for (const amount of list) {
          const eventsEnd = freeEvents !== null && seen + 1n > freeEvents;
          const volumeEnds = freeVolume !== null && used + amount > freeVolume;
          let billed = amount;
          if (isFree && !eventsEnd && !volumeEnds) billed = 0n;
          else if (isFree && !eventsEnd && freeVolume !== null && used < freeVolume)
            billed = used + amount - freeVolume;
          const charged = !(isFree && !eventsEnd && !volumeEnds);
          isFree = isFree && !eventsEnd && !volumeEnds;
          seen++;
          used += amount;
          const own = billed * 3n + 200n;
          if (charged) total += own < least * 100n ? least * 100n : own;
        }
        expect(
          comesTo(
            price,
            list.map((amount) => part(`${amount}`)),
          ),
        ).toBe(formatExact(exact(total, 100n)));
      }),
      { numRuns: 300 },
    );
  });
});
