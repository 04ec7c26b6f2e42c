import { z } from 'zod';
import { DEFAULT_POLICIES } from '#billing/rating/policies.ts';
import { documentOf, type RatedLine } from '#billing/rating/rating.ts';
import { type Exact, getExact, sum } from '#core/exact.ts';
import { formatAmount, roundToCurrency } from '#core/money.ts';
import { anchoredBoundary, anchoredPeriod, daysIn, localDate, parseInstant, startOfDate } from '#core/time.ts';
import type { BillingWorld } from '#test/support/billing-world.ts';
import { Unsupported } from './case.ts';
import { bill, periodsFrom, policiesOf } from './engine.ts';
import { METER_SHAPES } from './meter-shapes.ts';
import { RATING_SHAPES } from './rating-shapes.ts';
import { currency, decimal, model, month, none, planOf, type Shape, shape, tier } from './shape.ts';

async function amountOf(
  world: BillingWorld,
  given: { period: z.output<typeof month>; policy: Record<string, string> },
  plan: ReturnType<typeof planOf>,
  quantities: readonly string[],
): Promise<string> {
  const startMs = Date.parse(given.period.start);
  const events = quantities
    .filter((quantity) => getExact(quantity).num > 0n)
    .map((quantity, i) => ({ atMs: startMs + 1_000 * (i + 1), quantity }));
  const billed = await bill(world, { plan, startMs, events, policies: policiesOf(given.policy) });
  if (billed.period.end_at !== Date.parse(given.period.end)) throw new Unsupported('the period is no month');
  return billed.amount ?? '0';
}

const points = z.array(z.strictObject({ quantity: decimal, amount: decimal }));

const pointsOfQuantities = shape(
  {
    pricing_model: model,
    usage: z.strictObject({ quantities: z.array(decimal) }),
    period: month,
    expected: z.strictObject({ points }),
  },
  async (given, world) => {
    const got = [];
    for (const { quantity } of given.expected.points) {
      got.push({ quantity, amount: await amountOf(world, given, planOf(given.pricing_model), [quantity]) });
    }
    return { got, wanted: given.expected.points };
  },
);

const oneQuantity = shape(
  {
    pricing_model: model,
    usage: z.strictObject({ quantities: z.array(decimal).length(1) }),
    period: month,
    expected: z.strictObject({ amount: decimal }),
  },
  async (given, world) => ({
    got: await amountOf(world, given, planOf(given.pricing_model), given.usage.quantities),
    wanted: given.expected.amount,
  }),
);

const variantsOfFreeUnits = shape(
  {
    pricing_model: model,
    usage: z.strictObject({ quantities: z.array(decimal).length(1), free_units_variants: z.array(decimal) }),
    period: month,
    expected: z.strictObject({ variants: z.array(z.strictObject({ free_units: decimal, amount: decimal })) }),
  },
  async (given, world) => {
    const got = [];
    for (const { free_units } of given.expected.variants) {
      const plan = planOf(given.pricing_model, free_units);
      got.push({ free_units, amount: await amountOf(world, given, plan, given.usage.quantities) });
    }
    return { got, wanted: given.expected.variants };
  },
);

const variantsOfPoints = shape(
  {
    pricing_model: model,
    usage: z.strictObject({
      variants: z.array(z.strictObject({ free_units: decimal, quantities: z.array(decimal) })),
    }),
    period: month,
    expected: z.strictObject({ variants: z.array(z.strictObject({ free_units: decimal, points })) }),
  },
  async (given, world) => {
    const got = [];
    for (const { free_units, points: wanted } of given.expected.variants) {
      const plan = planOf(given.pricing_model, free_units);
      const found = [];
      for (const { quantity } of wanted) {
        found.push({ quantity, amount: await amountOf(world, given, plan, [quantity]) });
      }
      got.push({ free_units, points: found });
    }
    return { got, wanted: given.expected.variants };
  },
);

const repeatedEvents = shape(
  {
    pricing_model: z.strictObject({
      type: z.literal('unit'),
      currency,
      unit_price: decimal,
      aggregation: z.literal('sum'),
    }),
    usage: z.strictObject({
      events: z.array(z.strictObject({ id: z.string(), time: z.iso.datetime(), value: decimal })).min(1),
    }),
    period: z.strictObject({}),
    expected: z.strictObject({ units: decimal }),
  },
  async ({ pricing_model, usage, expected, policy }, world) => {
    const events = usage.events.map(({ id, time, value }) => ({ id, atMs: Date.parse(time), quantity: value }));
    const { type, unit_price } = pricing_model;
    const plan = planOf({ type, currency: pricing_model.currency, unit_price });
    const startMs = Math.min(...events.map(({ atMs }) => atMs));
    const { lines } = await bill(world, { plan, startMs, events, policies: policiesOf(policy) });
    return { got: lines.map((line) => line.quantity), wanted: [getExact(expected.units)] };
  },
);

const fee = z.strictObject({ amount: decimal, from: z.iso.datetime(), to: z.iso.datetime() });

const partsOfAFee = shape(
  {
    pricing_model: z.strictObject({
      type: z.literal('proration'),
      currency,
      basis: z.enum(['day', 'second']),
    }),
    usage: z.strictObject({ variants: z.array(fee) }),
    period: month,
    expected: z.strictObject({ amount: z.array(decimal), zero_amount_line_emitted: z.literal(false).optional() }),
  },
  async ({ pricing_model, usage, period, expected, policy }, world) => {
    const basis = pricing_model.basis === 'day' ? 'by_day' : 'by_second';
    const policies = { ...policiesOf(policy), proration: basis } as const;
    const got = [];
    for (const { amount, from, to } of usage.variants) {
      const endMs = Date.parse(to);
      const billed = await bill(world, {
        plan: { currency: pricing_model.currency, fee: amount },
        startMs: Date.parse(from),
        billingDay: 'calendar',
        policies,
        ...(endMs < Date.parse(period.end) ? { endMs } : {}),
      });
      if (billed.amount !== null && getExact(billed.amount).num === 0n)
        throw new Error('a line of nothing was printed');
      got.push(billed.amount ?? '0');
    }
    return { got, wanted: expected.amount };
  },
);

const INTERVALS = { month: 1, quarter: 3, year: 12 } as const;
const interval = z.enum(['month', 'quarter', 'year']);

const billingDates = shape(
  {
    pricing_model: z.strictObject({ type: z.literal('calendar'), interval, anchor: z.iso.date() }),
    usage: none,
    period: none,
    expected: z.strictObject({ billing_dates: z.array(z.iso.date()) }),
  },
  async ({ pricing_model, expected }, world) => {
    const { interval: kind, anchor } = pricing_model;
    const wanted = expected.billing_dates;
    const startMs = startOfDate(anchor, 'UTC');
    if (kind !== 'month') {
      const boundary = (n: number) => anchoredBoundary(startMs, INTERVALS[kind], n, 'UTC');
      return { got: wanted.map((_, i) => localDate(boundary(i + 1), 'UTC')), wanted };
    }
    const periods = await periodsFrom(world, startMs, 'UTC', wanted.length);
    return { got: periods.map((period) => localDate(period.end_at, 'UTC')), wanted };
  },
);

const dayBefore = (day: string, zone: string) => localDate(startOfDate(day, zone) - 1, zone);

const periodsOfAnchor = shape(
  {
    pricing_model: z.strictObject({
      type: z.literal('calendar'),
      interval: z.literal('month'),
      anchor: z.iso.datetime(),
      timezone: z.string(),
    }),
    usage: none,
    period: none,
    expected: z.strictObject({
      periods: z.array(z.tuple([z.iso.date(), z.iso.date()])),
      invoice_dates: z.array(z.iso.date()),
    }),
  },
  async ({ pricing_model, expected }, world) => {
    const { anchor, timezone } = pricing_model;
    const startMs = parseInstant(anchor) ?? 0;
    const periods = await periodsFrom(world, startMs, timezone, expected.periods.length);
    if (periods[0]?.start_at !== startMs) throw new Error('the first period does not begin at the start');
    const days = periods.map(({ start_at, end_at }) => [localDate(start_at, timezone), localDate(end_at, timezone)]);
    const got = {
      periods: days.map(([start, end = '']) => [start, dayBefore(end, timezone)]),
      invoice_dates: days.map(([, end]) => end),
    };
    return { got, wanted: expected };
  },
);

const probesOfAnchors = shape(
  {
    pricing_model: z.strictObject({ type: z.literal('calendar'), interval }),
    usage: z.strictObject({ probe: z.array(z.strictObject({ anchor: z.iso.date(), on: z.iso.date() })) }),
    period: none,
    expected: z.strictObject({ period_start: z.array(z.iso.date()) }),
  },
  async ({ pricing_model, usage, expected }) => {
    const months = INTERVALS[pricing_model.interval];
    const got = usage.probe.map(({ anchor, on }) => {
      const period = anchoredPeriod(startOfDate(anchor, 'UTC'), months, startOfDate(on, 'UTC'), 'UTC');
      return localDate(period.startMs, 'UTC');
    });
    return { got, wanted: expected.period_start };
  },
);

const localDays = shape(
  {
    pricing_model: z.strictObject({ type: z.literal('calendar') }),
    usage: z.strictObject({
      rows: z.array(z.strictObject({ tz: z.string(), from: z.iso.date(), to: z.iso.date() })),
    }),
    period: none,
    expected: z.strictObject({ days: z.array(z.int()) }),
  },
  async ({ usage, expected }) => ({
    got: usage.rows.map(({ tz, from, to }) =>
      daysIn({ startMs: startOfDate(from, tz), endMs: startOfDate(to, tz) }, tz),
    ),
    wanted: expected.days,
  }),
);

const NANOS = 10n ** 9n;
const nanosOf = (amount: string): Exact => ({ ...getExact(amount), num: getExact(amount).num * NANOS });

const documents = shape(
  {
    pricing_model: z.strictObject({ type: z.literal('rounding'), policy: z.literal('per_line_half_up') }),
    usage: z.strictObject({
      sets: z.array(z.strictObject({ currency, amounts: z.array(decimal), repeat: z.int().min(1).default(1) })),
    }),
    period: none,
    expected: z.strictObject({ subtotals: z.array(decimal) }),
  },
  async ({ usage, expected }) => {
    const got = usage.sets.map((set) => {
      const line = (amount: string): RatedLine => {
        return { kind: 'usage', charge: null, quantity: getExact('1'), models: [], amount: nanosOf(amount), steps: [] };
      };
      const lines = Array.from({ length: set.repeat }, () => set.amounts.map(line)).flat();
      return formatAmount(documentOf({ lines }, set.currency, DEFAULT_POLICIES).total);
    });
    return { got, wanted: expected.subtotals };
  },
);

const amounts = shape(
  {
    pricing_model: z.strictObject({ type: z.literal('rounding'), policy: z.literal('half_up') }),
    usage: z.strictObject({ rows: z.array(z.tuple([currency, decimal])) }),
    period: none,
    expected: z.strictObject({ rounded: z.array(decimal) }),
  },
  async ({ usage, expected }) => ({
    got: usage.rows.map(([of, amount]) => formatAmount(roundToCurrency(nanosOf(amount), of, 'half_up'))),
    wanted: expected.rounded,
  }),
);

const exactness = shape(
  {
    pricing_model: z.strictObject({
      type: z.literal('exactness'),
      currency,
      package: z.strictObject({ size: decimal, price: decimal }),
      tiers: z.array(tier),
    }),
    usage: z.strictObject({ package_units: decimal, round: decimal, tier_events: z.array(decimal) }),
    period: none,
    expected: z.strictObject({ packages: z.int(), package_amount: decimal, rounded: decimal, tier_amount: decimal }),
  },
  async ({ pricing_model, usage, expected, policy }, world) => {
    const { currency: of, tiers } = pricing_model;
    const { size, price } = pricing_model.package;
    const period = { start: '2024-03-01T00:00:00Z', end: '2024-04-01T00:00:00Z', end_exclusive: true } as const;
    const packages = planOf({ type: 'package', currency: of, package_size: size, package_price: price });
    const packageAmount = await amountOf(world, { period, policy }, packages, [usage.package_units]);
    const graduated = planOf({ type: 'graduated', currency: of, tiers });
    const count = sum([getExact(packageAmount)]).num / getExact(price).num;
    return {
      got: {
        packages: Number(count),
        package_amount: packageAmount,
        rounded: formatAmount(roundToCurrency(nanosOf(usage.round), of, 'half_up')),
        tier_amount: await amountOf(world, { period, policy }, graduated, usage.tier_events),
      },
      wanted: expected,
    };
  },
);

export const SHAPES: readonly Shape[] = [
  ...RATING_SHAPES,
  ...METER_SHAPES,
  pointsOfQuantities,
  oneQuantity,
  variantsOfFreeUnits,
  variantsOfPoints,
  repeatedEvents,
  partsOfAFee,
  billingDates,
  periodsOfAnchor,
  probesOfAnchors,
  localDays,
  documents,
  amounts,
  exactness,
];
