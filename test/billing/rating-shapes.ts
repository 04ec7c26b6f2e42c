import { z } from 'zod';
import type { InvoiceLine } from '#billing/invoices/invoice.ts';
import type { Policies } from '#billing/rating/policies.ts';
import { add, compare, divide, type Exact, formatExact, getExact, multiply, subtract, sum, ZERO } from '#core/exact.ts';
import { HOUR_MS } from '#core/time.ts';
import type { BillingWorld } from '#test/support/billing-world.ts';
import { Unsupported } from './case.ts';
import { type Billed, bill, billInGoes, policiesOf, type StoryEvent, UNIT } from './engine.ts';
import { currency, decimal, month, type Shape, shape, tier, tiersOf } from './shape.ts';

/** Prices that look at more than a sum, and usage that is billed in several goes. */

type Month = z.output<typeof month>;

const planOf = (of: string, price: object, more: object = {}) => ({
  currency: of,
  charges: [{ meter: UNIT, price, ...more }],
});

function checkMonth(period: Month, { period: { end_at } }: Billed): void {
  if (end_at !== Date.parse(period.end)) throw new Unsupported('the period is no month');
}

/** What an invoice comes to after each of the events. */
async function afterEach(
  world: BillingWorld,
  given: { period: Month; policy: Record<string, string> },
  plan: ReturnType<typeof planOf>,
  events: readonly Omit<StoryEvent, 'atMs'>[],
  more: Partial<Policies> = {},
): Promise<Billed[]> {
  const startMs = Date.parse(given.period.start);
  const bills: Billed[] = [];
  for (const [last] of events.entries()) {
    const sent = events.slice(0, last + 1).map((event, i) => ({ ...event, atMs: startMs + 1_000 * (i + 1) }));
    const policies = { ...policiesOf(given.policy), ...more };
    const billed = await bill(world, { plan, startMs, events: sent, policies });
    checkMonth(given.period, billed);
    bills.push(billed);
  }
  return bills;
}

const cents = (amount: string | null) => multiply(getExact(amount ?? '0'), getExact('100')).num.toString();

const carriedPrices = shape(
  {
    pricing_model: z.strictObject({ type: z.literal('dynamic'), currency }),
    usage: z.strictObject({ events: z.array(z.strictObject({ units: decimal, amount_cents: decimal })) }),
    period: month,
    expected: z.strictObject({
      amount_cents_after_each_event: z.array(z.int()),
      units_after_each_event: z.array(decimal),
    }),
  },
  async (given, world) => {
    const of = given.pricing_model.currency;
    const events = given.usage.events.map(({ units, amount_cents }) => {
      const amount = formatExact(divide(getExact(amount_cents), getExact('100')));
      return { quantity: units, price: { amount, currency: of } };
    });
    const bills = await afterEach(world, given, planOf(of, { kind: 'dynamic', of: 'event_price' }), events);
    const got = {
      amount_cents_after_each_event: bills.map(({ amount }) => cents(amount)),
      units_after_each_event: bills.map(({ lines }) => lines[0]?.quantity),
    };
    const { amount_cents_after_each_event, units_after_each_event: units } = given.expected;
    return { got, wanted: { amount_cents_after_each_event, units_after_each_event: units.map(getExact) } };
  },
);

const markup = shape(
  {
    pricing_model: z.strictObject({ type: z.literal('dynamic'), currency, multiplier: decimal }),
    usage: z.strictObject({ quantities: z.array(decimal).length(1) }),
    period: month,
    expected: z.strictObject({ amount: decimal }),
  },
  async (given, world) => {
    const { currency: of, multiplier } = given.pricing_model;
    const events = given.usage.quantities.map((amount) => ({ quantity: '1', price: { amount, currency: of } }));
    const plan = planOf(of, { kind: 'dynamic', of: 'event_price', multiplier });
    return { got: (await afterEach(world, given, plan, events)).at(-1)?.amount, wanted: given.expected.amount };
  },
);

const variant = z.union([
  z.strictObject({ id: z.string(), unit_price: decimal }),
  z.strictObject({ id: z.string(), tiers: z.array(tier) }),
  z.strictObject({ id: z.string(), package_size: decimal, package_price: decimal }),
]);

function priceOf(given: z.output<typeof variant>) {
  if ('unit_price' in given) return { kind: 'unit', amount: given.unit_price };
  if ('package_size' in given) return { kind: 'package', size: given.package_size, amount: given.package_price };
  return { kind: given.id, tiers: tiersOf(given.tiers) };
}

const windows = shape(
  {
    pricing_model: z.strictObject({
      type: z.literal('windowed'),
      aggregation: z.literal('max'),
      window: z.literal('any'),
      currency,
      variants: z.array(variant),
    }),
    usage: z.strictObject({ window_maxima: z.record(z.string(), z.array(decimal)) }),
    period: month,
    expected: z.record(z.string(), decimal),
  },
  async (given, world) => {
    const startMs = Date.parse(given.period.start);
    const got: Record<string, string | null> = {};
    for (const one of given.pricing_model.variants) {
      const price = { kind: 'windowed', window: 'hour', aggregation: 'max', price: priceOf(one) };
      // Beside each maximum something smaller, before and after it.
      const events = (given.usage.window_maxima[one.id] ?? []).flatMap((quantity, i) =>
        ['1', quantity, '2'].map((part, j) => ({ quantity: part, atMs: startMs + i * HOUR_MS + j * 1_000 })),
      );
      const plan = planOf(given.pricing_model.currency, price);
      const billed = await bill(world, { plan, startMs, events, policies: policiesOf(given.policy) });
      checkMonth(given.period, billed);
      got[one.id] = billed.amount;
    }
    return { got, wanted: given.expected };
  },
);

/** By how much a step, found by how its formula begins, grew with each go. */
function growth(goes: readonly Billed[], what: (step: InvoiceLine['steps'][number]) => Exact, begins: RegExp): Exact[] {
  const totals = goes.map(({ lines }) =>
    sum(
      lines
        .filter(({ kind }) => kind !== 'fee')
        .flatMap(({ steps }) => steps)
        .filter(({ formula }) => begins.test(formula))
        .map(what),
    ),
  );
  return totals.map((total, i) => subtract(total, totals[i - 1] ?? ZERO));
}

const quantityOf = (step: { quantity: string }) => getExact(step.quantity);
const amountOf = (step: { amount_exact: string }) => getExact(step.amount_exact);

async function inGoes(
  world: BillingWorld,
  given: { period: Month; policy: Record<string, string> },
  plan: ReturnType<typeof planOf>,
  quantities: readonly string[],
): Promise<Billed[]> {
  const startMs = Date.parse(given.period.start);
  const batches = quantities.map((quantity, i) => [{ quantity, atMs: startMs + 1_000 * (i + 1) }]);
  const goes = await billInGoes(world, { plan, startMs, policies: policiesOf(given.policy) }, batches);
  if (goes[0]) checkMonth(given.period, goes[0]);
  return goes;
}

const graduatedInGoes = shape(
  {
    pricing_model: z.strictObject({ type: z.literal('graduated'), currency, tiers: z.array(tier) }),
    usage: z.strictObject({ already_billed_quantity: decimal, cumulative_quantity: decimal }),
    period: month,
    expected: z.strictObject({
      cumulative_amount: decimal,
      previously_billed: decimal,
      this_invoice: decimal,
      lines: z.array(z.strictObject({ tier: z.int(), quantity: decimal, amount: decimal })),
    }),
  },
  async (given, world) => {
    const { currency: of, tiers } = given.pricing_model;
    const { already_billed_quantity: before, cumulative_quantity: all } = given.usage;
    const later = formatExact(subtract(getExact(all), getExact(before)));
    const plan = planOf(of, { kind: 'graduated', tiers: tiersOf(tiers) });
    const goes = await inGoes(world, given, plan, [before, later]);
    const lines = tiers.flatMap((_, i) => {
      const of = new RegExp(`^tier ${i + 1} `);
      const [, amount = ZERO] = growth(goes, amountOf, of);
      const [, quantity = ZERO] = growth(goes, quantityOf, of);
      return quantity.num === 0n ? [] : [{ tier: i + 1, quantity, amount }];
    });
    const amounts = goes.map(({ amount }) => getExact(amount ?? '0'));
    const got = {
      cumulative_amount: sum(amounts),
      previously_billed: amounts[0],
      this_invoice: amounts[1],
      lines,
    };
    const { cumulative_amount, previously_billed, this_invoice } = given.expected;
    const wanted = {
      ...{ cumulative_amount, previously_billed, this_invoice },
      lines: given.expected.lines.map((line) => ({
        ...line,
        quantity: getExact(line.quantity),
        amount: getExact(line.amount),
      })),
    };
    return {
      got,
      wanted: {
        ...wanted,
        cumulative_amount: getExact(cumulative_amount),
        previously_billed: getExact(previously_billed),
        this_invoice: getExact(this_invoice),
      },
    };
  },
);

const discountAndCap = shape(
  {
    pricing_model: z.strictObject({
      type: z.literal('unit'),
      currency,
      unit_price: decimal,
      discount_percent: decimal,
      maximum_amount: decimal,
    }),
    usage: z.strictObject({ already_billed_amount: decimal, quantity: decimal }),
    period: month,
    expected: z.strictObject({ gross: decimal, discount: decimal, cap_discount: decimal, amount: decimal }),
  },
  async (given, world) => {
    const { currency: of, unit_price, discount_percent, maximum_amount } = given.pricing_model;
    const left = subtract(getExact('1'), divide(getExact(discount_percent), getExact('100')));
    const each = multiply(getExact(unit_price), left);
    const before = formatExact(divide(getExact(given.usage.already_billed_amount), each));
    const plan = planOf(of, { kind: 'unit', amount: unit_price }, { discount_percent, cap: maximum_amount });
    const goes = await inGoes(world, given, plan, [before, given.usage.quantity]);
    if (compare(getExact(goes[0]?.amount ?? '0'), getExact(given.usage.already_billed_amount)) !== 0) {
      throw new Error(`${before} units come to ${goes[0]?.amount}`);
    }
    const off = (begins: RegExp) => subtract(ZERO, growth(goes, amountOf, begins)[1] ?? ZERO);
    const got = {
      gross: growth(goes, amountOf, / x /)[1],
      discount: off(/^discount/),
      cap_discount: off(/^cap/),
      amount: getExact(goes[1]?.amount ?? '0'),
    };
    const { gross, discount, cap_discount, amount } = given.expected;
    const wanted = {
      gross: getExact(gross),
      discount: getExact(discount),
      cap_discount: getExact(cap_discount),
      amount: getExact(amount),
    };
    return { got, wanted };
  },
);

const freeUnitsInGoes = shape(
  {
    pricing_model: z.strictObject({ type: z.literal('unit'), currency, unit_price: decimal, free_units: decimal }),
    usage: z.strictObject({ interim_quantities: z.array(decimal) }),
    period: month,
    expected: z.strictObject({
      billable_quantities: z.array(decimal),
      free_applied: z.array(decimal),
      amounts: z.array(decimal),
    }),
  },
  async (given, world) => {
    const { currency: of, unit_price, free_units: allowance } = given.pricing_model;
    const plan = planOf(of, { kind: 'unit', amount: unit_price }, { allowance });
    const goes = await inGoes(world, given, plan, given.usage.interim_quantities);
    const { billable_quantities, free_applied, amounts } = given.expected;
    return {
      got: {
        billable_quantities: growth(goes, quantityOf, / x /),
        free_applied: growth(goes, quantityOf, /^allowance/),
        amounts: goes.map(({ amount }) => add(getExact(amount ?? '0'), ZERO)),
      },
      wanted: {
        billable_quantities: billable_quantities.map(getExact),
        free_applied: free_applied.map(getExact),
        amounts: amounts.map(getExact),
      },
    };
  },
);

const net = ({ amount, tax }: Billed) => subtract(getExact(amount ?? '0'), getExact(tax));

const taxedGraduation = shape(
  {
    pricing_model: z.strictObject({
      type: z.literal('graduated'),
      currency,
      tiers: z.array(tier),
      tax_rate_percent: decimal,
    }),
    usage: z.strictObject({ quantities: z.tuple([z.literal('0')]) }),
    period: month,
    expected: z.strictObject({
      points: z.tuple([z.strictObject({ quantity: z.literal('0'), amount: decimal })]),
      tax: decimal,
      total: decimal,
    }),
  },
  async (given, world) => {
    const { currency: of, tiers, tax_rate_percent: tax_percent } = given.pricing_model;
    const plan = planOf(of, { kind: 'graduated', tiers: tiersOf(tiers) });
    const startMs = Date.parse(given.period.start);
    const billed = await bill(world, { plan, startMs, policies: { ...policiesOf(given.policy), tax_percent } });
    checkMonth(given.period, billed);
    const got = { points: [{ quantity: '0', amount: net(billed) }], tax: billed.tax, total: billed.amount };
    const [{ quantity, amount }] = given.expected.points;
    return { got, wanted: { ...given.expected, points: [{ quantity, amount: getExact(amount) }] } };
  },
);

const percentage = {
  type: z.literal('percentage'),
  currency,
  rate_percent: decimal,
  fixed_per_event: decimal,
  free_events: z.int().optional(),
  per_event_min: decimal.optional(),
  per_event_max: decimal.optional(),
  tax_rate_percent: decimal,
};

const percentages = shape(
  {
    pricing_model: z.strictObject(percentage),
    usage: z.strictObject({ events: z.array(decimal) }),
    period: month,
    expected: z.strictObject({
      amount_after_each_event: z.array(decimal),
      tax: decimal.optional(),
      total: decimal.optional(),
      total_with_tax_after_each_event: z.array(decimal).optional(),
    }),
  },
  async (given, world) => {
    const { currency: of, tax_rate_percent: tax_percent, ...model } = given.pricing_model;
    const price = {
      ...{ kind: 'percentage', percent: model.rate_percent, fixed: model.fixed_per_event },
      free_events: model.free_events === undefined ? null : String(model.free_events),
      event_minimum: model.per_event_min ?? null,
      event_maximum: model.per_event_max ?? null,
    };
    const { expected } = given;
    const events = given.usage.events.map((quantity) => ({ quantity }));
    const bills = await afterEach(world, given, planOf(of, price), events, { tax_percent });
    const sums = bills.map(net);
    const totals = bills.map(({ amount }) => getExact(amount ?? '0'));
    const got = {
      ...(expected.total_with_tax_after_each_event
        ? { total_with_tax_after_each_event: totals, amount_after_each_event: sums }
        : { amount_after_each_event: sums }),
      ...(expected.tax === undefined ? {} : { tax: getExact(bills.at(-1)?.tax ?? '0') }),
      ...(expected.total === undefined ? {} : { total: totals.at(-1) }),
    };
    const each = (list: string[]) => list.map(getExact);
    const { amount_after_each_event: amounts, total_with_tax_after_each_event: taxed, tax, total } = expected;
    const wanted = {
      ...(taxed ? { total_with_tax_after_each_event: each(taxed) } : {}),
      amount_after_each_event: each(amounts),
      ...(tax === undefined ? {} : { tax: getExact(tax) }),
      ...(total === undefined ? {} : { total: getExact(total) }),
    };
    return { got, wanted };
  },
);

const taxes = shape(
  {
    pricing_model: z.strictObject({ type: z.literal('tax') }),
    usage: z.strictObject({ rows: z.array(z.tuple([currency, decimal, decimal])) }),
    period: z.strictObject({}),
    expected: z.strictObject({ tax: z.array(decimal) }),
  },
  async (given, world) => {
    const startMs = Date.UTC(2024, 2);
    const got: string[] = [];
    for (const [of, fee, tax_percent] of given.usage.rows) {
      const billed = await bill(world, { plan: { currency: of, fee }, startMs, policies: { tax_percent } });
      got.push(billed.tax);
    }
    return { got, wanted: given.expected.tax };
  },
);

export const RATING_SHAPES: readonly Shape[] = [
  carriedPrices,
  markup,
  windows,
  graduatedInGoes,
  discountAndCap,
  freeUnitsInGoes,
  taxedGraduation,
  percentages,
  taxes,
];
