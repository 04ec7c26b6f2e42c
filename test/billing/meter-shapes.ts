import { z } from 'zod';
import { AS_INVOICED, billedEventsOf } from '#billing/billed-usage/billed-usage.ts';
import type { Database } from '#billing/db/database.ts';
import { ingest } from '#billing/events/ingest.ts';
import { closePeriod, getInvoiceDetail } from '#billing/invoices/invoice.ts';
import { ratePeriod } from '#billing/invoices/period-rating.ts';
import { CLOSE_GRACE_MS } from '#billing/jobs/close-periods.ts';
import { measureThePast } from '#billing/measurements/measure.ts';
import { createMeter, gaugeOfMeter, type Meter } from '#billing/meters/meter.ts';
import { formatFraction } from '#billing/rating/exact-amount.ts';
import { type MeterReading, readMeter } from '#billing/readings/reading.ts';
import { getPeriod, type Period } from '#billing/subscriptions/period.ts';
import { meterTerms } from '#config/meter-terms.ts';
import { type Exact, sum, ZERO } from '#core/exact.ts';
import { newId } from '#core/id.ts';
import { exponentOf, formatAmount, type Money } from '#core/money.ts';
import type { BillingWorld } from '#test/support/billing-world.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { Unsupported } from './case.ts';
import { policiesOf } from './engine.ts';
import { currency, decimal, type Shape, shape, tier, tiersOf } from './shape.ts';

/** Cases about what meters make of events, each step of them read from a period that is rated live. */

const model = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('unit'), currency, unit_price: decimal, ...fieldsOfMeters() }),
  z.strictObject({ type: z.literal('graduated'), currency, tiers: z.array(tier), ...fieldsOfMeters() }),
  z.strictObject({ type: z.literal('volume'), currency, tiers: z.array(tier), ...fieldsOfMeters() }),
]);
type ModelOfCase = z.output<typeof model>;

function fieldsOfMeters() {
  return {
    aggregation: z
      .enum(['count', 'sum', 'max', 'min', 'average', 'unique_count', 'latest', 'weighted_sum'])
      .default('count'),
    group_by: z.array(z.string()).default([]),
    recurring: z.boolean().optional(),
    /** What is billed at the event or at the end is the same amount; when it is asked for is not what these cases are about. */
    in_advance: z.boolean().optional(),
    prorated: z.boolean().default(false),
    timezone: z.string().default('UTC'),
  };
}

const event = z
  .looseObject({
    id: z.string().optional(),
    time: z.iso.datetime().optional(),
    value: decimal.optional(),
    item: z.string().optional(),
    op: z.enum(['add', 'remove']).optional(),
    count: z.int().min(1).default(1),
  })
  .transform(({ id, time, value, item, op, count, ...dimensions }) => ({
    id,
    time,
    count,
    properties: { value, item, op, ...dimensions },
    names: Object.keys(dimensions),
  }));

const period = z.strictObject({
  start: z.iso.datetime(),
  end: z.iso.datetime(),
  end_exclusive: z.literal(true),
  subscription_start: z.iso.datetime().optional(),
});

const decimalOrCount = z.union([decimal, z.int().transform(String)]);

function meterOf(given: ModelOfCase) {
  const { aggregation, group_by, prorated } = given;
  const names = { unique_count: 'unique', weighted_sum: 'time_weighted' } as const;
  const of = aggregation === 'unique_count' || aggregation === 'weighted_sum' ? names[aggregation] : aggregation;
  const recurring = given.recurring ?? (prorated || of === 'time_weighted');
  return meterTerms.parse({
    aggregation: of,
    // Not a sum of calls, so that each event is one however it was reported.
    ...(of === 'count' ? { filter: 'true' } : {}),
    ...(of === 'unique' ? { value: 'properties.item' } : of === 'count' ? {} : { value: 'properties.value' }),
    ...(of === 'unique' && recurring ? { operation: 'properties.op ?? "add"' } : {}),
    ...(of === 'time_weighted' ? { values: 'changes' } : {}),
    dimensions: group_by.map((name) => `properties.${name}`),
    recurring,
    proration: prorated ? 'by_day' : 'none',
  });
}

function priceOf(given: ModelOfCase) {
  return given.type === 'unit'
    ? { kind: 'unit', amount: given.unit_price }
    : { kind: given.type, tiers: tiersOf(given.tiers) };
}

/** What stands after one more event. */
interface State {
  total: Money;
  readings: MeterReading[];
  sources: Set<string>;
}

async function stateOf(db: Database, of: Period, meter: Meter): Promise<State> {
  const { lines, total } = await ratePeriod(db, of);
  const whole = { startMs: of.whole_start_at, endMs: of.whole_end_at };
  const periods = [{ startMs: of.start_at, endMs: of.end_at }];
  const question = { customer: of.customer_id, periods, zone: of.zone, whole };
  const models = lines.flatMap((line) => line.models.map(({ model: name }) => name));
  const below = { unit: meter.unit, models };
  const events = await billedEventsOf(db, of, AS_INVOICED, below, { after: undefined, count: 1_000 });
  return {
    total,
    readings: await readMeter(db, gaugeOfMeter(meter), question),
    sources: new Set(events.map(({ id }) => id)),
  };
}

/** Makes the meter and the plan, sends the events, rates after each, closes the period: the invoice says what was shown last. */
async function play(
  world: BillingWorld,
  given: {
    pricing_model: ModelOfCase;
    usage: { events: z.output<typeof event>[] };
    period: z.output<typeof period>;
    policy: Record<string, string>;
  },
): Promise<State[]> {
  const { db, clock } = world;
  const { pricing_model, usage, period: span } = given;
  for (const { names } of usage.events) {
    const other = names.find((name) => !pricing_model.group_by.includes(name));
    if (other !== undefined) throw new Unsupported(`an event has ${other}, which nothing groups by`);
  }
  const startMs = Date.parse(span.subscription_start ?? span.start);
  clock.nowMs = startMs;
  const id = newId('plan', startMs);
  const meter = await db.transaction((tx) => createMeter(tx, { id, name: id, terms: meterOf(pricing_model) }, startMs));
  await measureThePast(db);
  const { id: customer, subscription } = await world.customer({
    plan: { currency: pricing_model.currency, charges: [{ meter: id, price: priceOf(pricing_model) }] },
    zone: pricing_model.timezone,
    startMs,
    billingDay: 'calendar',
    policies: policiesOf(given.policy),
  });
  const key = { subscription_id: subscription.id, period_index: 0 };
  const of = await getPeriod(db, key);
  if (of.end_at !== Date.parse(span.end)) throw new Unsupported('the period is no month');
  clock.nowMs = of.end_at - 1;
  const states: State[] = [];
  for (const [i, { id: eventId, time, count, properties }] of usage.events.entries()) {
    for (let n = 0; n < count; n++) {
      const atMs = time === undefined ? startMs + 1_000 * (i + 1) : Date.parse(time);
      const named = eventId === undefined ? {} : { id: eventId };
      const sent = usageEvent({ customer, atMs, quantities: {}, ...named, properties });
      const [result] = await ingest(db, [sent], clock.nowMs);
      if (result?.status === 'parked') throw new Error(`the ingest parks ${sent.id}: ${result.detail}`);
      states.push(await stateOf(db, of, meter));
    }
  }
  clock.nowMs = of.end_at + CLOSE_GRACE_MS;
  const closed = await closePeriod(db, key, clock.nowMs, CLOSE_GRACE_MS);
  const total = closed.outcome === 'invoiced' ? (await getInvoiceDetail(db, closed.invoiceId)).invoice.total_nanos : 0n;
  if (total !== (states.at(-1)?.total.nanos ?? 0n)) throw new Error('the invoice is not what was shown last');
  return states;
}

function minorUnits({ nanos, currency: of }: Money): string {
  return (nanos / 10n ** BigInt(9 - exponentOf(of))).toString();
}

const levelOf = (state: State): Exact => sum(state.readings.map(({ level }) => level ?? ZERO));
const unitsOf = (state: State | undefined): Exact => sum((state?.readings ?? []).map(({ quantity }) => quantity));

const events = z.strictObject({ events: z.array(event) });

const unitsByGroup = shape(
  {
    pricing_model: model,
    usage: events,
    period,
    expected: z.strictObject({ units_by_group: z.record(z.string(), decimalOrCount), amount_cents: decimalOrCount }),
  },
  async (given, world) => {
    const last = (await play(world, given)).at(-1);
    const groups = (last?.readings ?? []).map(({ dimensions, quantity }) => [
      dimensions.filter((value) => value !== null).join(' '),
      formatFraction(quantity),
    ]);
    return {
      got: { units_by_group: Object.fromEntries(groups), amount_cents: last && minorUnits(last.total) },
      wanted: given.expected,
    };
  },
);

const afterEachEvent = shape(
  {
    pricing_model: model,
    usage: events,
    period,
    expected: z.strictObject({
      amount_cents_after_each_event: z.array(decimalOrCount).optional(),
      active_units_after_each_event: z.array(decimalOrCount).optional(),
      level_after_each_event: z.array(decimalOrCount).optional(),
      units_after_each_event: z.array(decimalOrCount).optional(),
    }),
  },
  async (given, world) => {
    const states = await play(world, given);
    const amounts = states.map(({ total }) => minorUnits(total));
    const levels = states.map((state) => formatFraction(levelOf(state)));
    const figures = {
      amount_cents_after_each_event: amounts,
      active_units_after_each_event: levels,
      level_after_each_event: levels,
      units_after_each_event: states.map((state) => formatFraction(unitsOf(state))),
    };
    const asked = Object.entries(figures).filter(([name]) => name in given.expected);
    return { got: Object.fromEntries(asked), wanted: given.expected };
  },
);

/** Each event costs the difference that it makes, at its own place in the order. */
const feesOfEvents = shape(
  {
    pricing_model: model,
    usage: events,
    period,
    expected: z.strictObject({ fees_cents_sorted: z.array(decimalOrCount), distinct_source_events: decimalOrCount }),
  },
  async (given, world) => {
    const states = await play(world, given);
    const totals = states.map(({ total }) => BigInt(minorUnits(total)));
    const fees = totals.map((total, i) => total - (totals[i - 1] ?? 0n)).sort((a, b) => (a < b ? -1 : 1));
    return {
      got: { fees_cents_sorted: fees.map(String), distinct_source_events: String(states.at(-1)?.sources.size) },
      wanted: given.expected,
    };
  },
);

const unitsAndAmount = shape(
  {
    pricing_model: model,
    usage: events,
    period,
    expected: z.strictObject({
      units: decimalOrCount,
      amount: decimal.optional(),
      amount_cents: decimalOrCount.optional(),
      /** What a divisor of days would give: not ours. */
      wrong_units_if_divided_by_days: decimal.optional(),
    }),
  },
  async (given, world) => {
    const last = (await play(world, given)).at(-1);
    const { wrong_units_if_divided_by_days: wrong, ...wanted } = given.expected;
    const units = unitsOf(last);
    if (wrong === formatFraction(units)) throw new Error('the level is divided by days');
    const got = {
      units: formatFraction(units),
      ...(wanted.amount === undefined ? {} : { amount: last ? formatAmount(last.total) : '0' }),
      ...(wanted.amount_cents === undefined ? {} : { amount_cents: last ? minorUnits(last.total) : '0' }),
    };
    return { got, wanted };
  },
);

export const METER_SHAPES: readonly Shape[] = [unitsByGroup, afterEachEvent, feesOfEvents, unitsAndAmount];
