import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compare, type Exact, exact, getExact, multiply, round, sum } from './exact.ts';
import { addMoney, formatAmount, type Money, money, roundToCurrency } from './money.ts';
import { anchoredBoundary, anchoredPeriod, formatInstant } from './time.ts';

/** Neutral cases from public test suites, where they are at hand: what of them core alone decides. */
const FILE = new URL('../../shared/data/billing-cases.json', import.meta.url);

interface Case {
  id: string;
  pricing_model: { anchor?: string; package?: { size: string; price: string }; tiers?: Tier[] };
  usage: {
    probe?: { anchor: string; on: string }[];
    sets?: { currency: string; amounts: string[]; repeat?: number }[];
    rows?: [string, string][];
    package_units?: string;
    round?: string;
    tier_events?: string[];
  };
  expected: {
    billing_dates?: string[];
    periods?: [string, string][];
    period_start?: string[];
    subtotals?: string[];
    rounded?: string | string[];
    packages?: number;
    package_amount?: string;
    tier_amount?: string;
  };
}

interface Tier {
  up_to: string | null;
  unit_price: string;
  flat_fee: string;
}

const cases: Case[] = existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : [];

describe.skipIf(cases.length === 0)('neutral cases of rounding and calendar', () => {
  it('CAL-001: monthly dates from the 31st', () => {
    const { pricing_model, expected } = get('CAL-001');
    const anchor = midnight(pricing_model.anchor);
    const dates = expected.billing_dates?.map((_, i) => dateOf(anchoredBoundary(anchor, 1, i + 1, 'UTC')));
    expect(dates).toEqual(expected.billing_dates);
  });

  it('CAL-003: periods from 31 January, 01:00', () => {
    const { pricing_model, expected } = get('CAL-003');
    const anchor = Date.parse(pricing_model.anchor ?? '');
    let startMs = anchor;
    for (const [first, last] of expected.periods ?? []) {
      const period = anchoredPeriod(anchor, 1, startMs, 'UTC');
      expect([dateOf(period.startMs), dateOf(period.endMs - 1)]).toEqual([first, last]);
      expect(period.startMs).toBe(startMs);
      startMs = period.endMs;
    }
  });

  it('CAL-005: quarters from the ends of months', () => {
    const { usage, expected } = get('CAL-005');
    const starts = usage.probe?.map(
      ({ anchor, on }) => anchoredPeriod(midnight(anchor), 3, midnight(on), 'UTC').startMs,
    );
    expect(starts?.map(dateOf)).toEqual(expected.period_start);
  });

  it('RND-001: lines are rounded, then added', () => {
    const { usage, expected } = get('RND-001');
    const subtotals = usage.sets?.map(({ currency, amounts, repeat = 1 }) =>
      Array.from({ length: repeat }, () => amounts.map((amount) => printed(amount, currency)))
        .flat()
        .reduce(addMoney, money(0n, currency)),
    );
    expect(subtotals?.map(formatAmount)).toEqual(expected.subtotals);
  });

  it('RND-002: single amounts to the precision of their currency', () => {
    const { usage, expected } = get('RND-002');
    expect(usage.rows?.map(([currency, amount]) => formatAmount(printed(amount, currency)))).toEqual(expected.rounded);
  });

  it('RND-003: decimals stay decimals', () => {
    const { pricing_model, usage, expected } = get('RND-003');
    const { size = '', price = '' } = pricing_model.package ?? {};
    const units = getExact(usage.package_units ?? '');
    const sizeOf = getExact(size);
    const packages = round(exact(units.num * sizeOf.den, units.den * sizeOf.num), 'up');
    expect(packages).toBe(BigInt(expected.packages ?? -1));
    expect(amountOf(multiply({ num: packages, den: 1n }, getExact(price)))).toBe(expected.package_amount);
    expect(formatAmount(printed(usage.round ?? '', 'USD'))).toBe(expected.rounded);

    const quantity = sum((usage.tier_events ?? []).map(getExact));
    const tier = pricing_model.tiers?.find(({ up_to }) => up_to === null || compare(quantity, getExact(up_to)) <= 0);
    expect(amountOf(multiply(quantity, getExact(tier?.unit_price ?? '')))).toBe(expected.tier_amount);
  });
});

function get(id: string): Case {
  const found = cases.find((one) => one.id === id);
  if (!found) throw new Error(`no case ${id}`);
  return found;
}

function printed(amount: string, currency: string): Money {
  return roundToCurrency(multiply(getExact(amount), { num: 1_000_000_000n, den: 1n }), currency, 'half_up');
}

function amountOf(value: Exact): string {
  return formatAmount(roundToCurrency(multiply(value, { num: 1_000_000_000n, den: 1n }), 'USD', 'half_up'));
}

function midnight(date = ''): number {
  return Date.parse(`${date}T00:00:00Z`);
}

function dateOf(atMs: number): string {
  return formatInstant(atMs).slice(0, 10);
}
