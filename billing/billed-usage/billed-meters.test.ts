import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CORRECTION_TYPE } from '#billing/events/event-schema.ts';
import { ingest } from '#billing/events/ingest.ts';
import { explainLine, getUsageLine } from '#billing/invoices/explain.ts';
import { getInvoiceDetail, listInvoices } from '#billing/invoices/invoice.ts';
import { ratePeriod } from '#billing/invoices/period-rating.ts';
import { CLOSE_GRACE_MS } from '#billing/jobs/close-periods.ts';
import { measureThePast } from '#billing/measurements/measure.ts';
import { applyMeters, changeMeter, createMeter } from '#billing/meters/meter.ts';
import { changePlan, planTerms } from '#billing/plans/plan.ts';
import { getPeriod, openDuePeriods } from '#billing/subscriptions/period.ts';
import { meterTerms } from '#config/meter-terms.ts';
import { newId } from '#core/id.ts';
import { SILENT } from '#core/log.ts';
import { formatAmount } from '#core/money.ts';
import { type BillingWorld, billingWorld } from '#test/support/billing-world.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { AS_INVOICED, AS_OF_NOW, billedEventsOf, billedHoursOf } from './billed-usage.ts';

const at = (text: string) => Date.parse(`2026-${text}Z`);
const START = at('01-01T00:00');
const END = at('02-01T00:00');
const CLOSE = END + CLOSE_GRACE_MS;

describe.each(DATABASE_KINDS)('periods that meters are billed for on %s', (kind) => {
  let test: TestDatabase;
  let world: BillingWorld;
  beforeAll(async () => {
    test = await testDatabase(kind);
    world = billingWorld(test.db, START);
  });
  afterAll(() => test.drop());
  beforeEach(() => {
    world.clock.nowMs = START;
  });

  const meter = async (terms: object) => {
    const id = newId('plan', START);
    await test.db.transaction((tx) => createMeter(tx, { id, name: id, terms: meterTerms.parse(terms) }, START));
    await measureThePast(test.db);
    return id;
  };
  const charge = (id: string, more: object = {}) => ({ meter: id, price: { kind: 'unit', amount: '1' }, ...more });
  const use = async (
    customer: string,
    text: string,
    properties: Record<string, unknown>,
    id = newId('req', at(text)),
  ) => {
    const event = usageEvent({ customer, atMs: at(text), id, quantities: {}, properties });
    expect(await ingest(test.db, [event], world.clock.nowMs)).toMatchObject([{ status: 'accepted' }]);
    return event;
  };
  const correct = async (target: { source: string; id: string }, event: unknown) => {
    const correction = {
      ...{ specversion: '1.0', id: newId('req', world.clock.nowMs), source: '/app', type: CORRECTION_TYPE },
      time: new Date(world.clock.nowMs).toISOString(),
      data: { source: target.source, id: target.id, reason: 'it was wrong', event },
    };
    expect(await ingest(test.db, [correction], world.clock.nowMs)).toMatchObject([{ status: 'accepted' }]);
  };
  const periodOf = (subscription: string, index = 0) =>
    getPeriod(test.db, { subscription_id: subscription, period_index: index });
  const amountsOf = async (subscription: string, index = 0, lateSeq = AS_INVOICED) =>
    (await ratePeriod(test.db, await periodOf(subscription, index), lateSeq)).lines.map((line) =>
      formatAmount(line.rounded),
    );

  it('bill what meters read, and stay the same to the last digit whatever comes late', async () => {
    const peak = await meter({ aggregation: 'max', value: 'properties.size', dimensions: ['model'] });
    const items = await meter({ aggregation: 'unique', value: 'properties.item' });
    const seats = await meter({ aggregation: 'sum', value: 'properties.change', recurring: true, proration: 'by_day' });
    const gauge = await meter({ aggregation: 'time_weighted', value: 'properties.level', recurring: true });
    const { id, subscription } = await world.customer({
      plan: { charges: [charge(peak), charge(items), charge(seats), charge(gauge)] },
      startMs: START,
    });
    world.clock.nowMs = END;
    const biggest = await use(id, '01-03T10:07', { size: '2.5', item: 'a', change: 31, level: 10 });
    await use(id, '01-03T10:20', { size: '1.25', item: 'b' });
    const twice = await use(id, '01-16T10:08', { item: 'a', level: 20 });
    const wanted = await amountsOf(subscription.id);
    expect(wanted.slice(0, 3)).toEqual(['2.50', '2.00', '29.00']);
    world.clock.nowMs = CLOSE;
    expect(await world.close()).toMatchObject({ failed: 0 });
    const [invoice] = await listInvoices(test.db, { customer: id, count: 1 });
    if (!invoice) throw new Error('there is no invoice');

    // Late: another peak and item in a slot that was billed, less of the old peak, and of the level nothing.
    await use(id, '01-03T10:09', { size: '9', item: 'c', change: 100, level: 50 });
    await correct(biggest, {
      ...biggest,
      data: { ...biggest.data, properties: { size: '0.5', item: 'a', change: 31 } },
    });
    await correct(twice, null);
    expect(await amountsOf(subscription.id)).toEqual(wanted);
    expect((await amountsOf(subscription.id, 0, AS_OF_NOW)).slice(0, 2)).toEqual(['9.00', '3.00']);

    const { lines } = await getInvoiceDetail(test.db, invoice.id);
    const usage = lines.filter((line) => line.kind === 'usage');
    expect(usage).toHaveLength(4);
    for (const line of usage) {
      const { recomputed } = await explainLine(test.db, invoice.id, line.id);
      expect(recomputed.same, line.unit ?? '').toBe(true);
      const below = await getUsageLine(test.db, invoice.id, line.id);
      const page = { after: undefined, count: 1_000 };
      const events = await billedEventsOf(test.db, below.period, below.lateSeq, below.usage, page);
      expect(events.map((row) => row.id)).toContain(biggest.id);
      const hours = await billedHoursOf(test.db, below.period, below.lateSeq, below.usage, page);
      expect(hours[0]).toMatchObject({ hour: at('01-03T10:00') });
    }
    // A page at a time it is the same list.
    const [line] = usage;
    if (!line) throw new Error('there is no line');
    const below = await getUsageLine(test.db, invoice.id, line.id);
    const all = await billedEventsOf(test.db, below.period, below.lateSeq, below.usage, { after: undefined, count: 9 });
    const [first] = all;
    if (!first) throw new Error('there is no event');
    const after = {
      time: new Date(first.time).toISOString(),
      source: first.source,
      id: first.id,
      revision: first.revision,
    };
    expect(await billedEventsOf(test.db, below.period, below.lateSeq, below.usage, { after, count: 9 })).toEqual(
      all.slice(1),
    );
  });

  it('carry a level over, and bill each period for its own part', async () => {
    const gauge = await meter({ aggregation: 'time_weighted', value: 'properties.level', recurring: true });
    const seats = await meter({
      ...{ aggregation: 'unique', value: 'properties.seat', operation: 'properties.op', recurring: true },
    });
    const { id, subscription } = await world.customer({
      plan: { charges: [charge(gauge), charge(seats)] },
      startMs: START,
    });
    world.clock.nowMs = at('03-01T00:00');
    await openDuePeriods(test.db, world.clock.nowMs, SILENT);
    await use(id, '01-16T12:00', { level: '2' });
    await use(id, '01-10T00:00', { seat: 'a', op: 'add' });
    await use(id, '01-11T00:00', { seat: 'b', op: 'add' });
    await use(id, '01-12T00:00', { seat: 'a', op: 'remove' });
    await use(id, '02-12T00:00', { seat: 'b', op: 'remove' });
    await use(id, '02-12T00:00', { seat: 'c', op: 'add' });
    expect(await amountsOf(subscription.id, 0)).toEqual(['1.00', '2.00']);
    expect(await amountsOf(subscription.id, 1)).toEqual(['2.00', '2.00']);
    expect(await amountsOf(subscription.id, 2)).toEqual(['2.00', '1.00']);
  });

  it('bill a seat that comes late for its own period and for those after it that are closed', async () => {
    const seats = await meter({
      ...{ aggregation: 'unique', value: 'properties.seat', operation: 'properties.op', recurring: true },
    });
    const { id, subscription } = await world.customer({ plan: { charges: [charge(seats)] }, startMs: START });
    const closeAfter = async (end: string) => {
      world.clock.nowMs = at(end) + CLOSE_GRACE_MS;
      expect(await world.close()).toMatchObject({ failed: 0 });
    };
    world.clock.nowMs = at('01-10T00:00');
    await use(id, '01-10T00:00', { seat: 'a', op: 'add' });
    await closeAfter('02-01T00:00');
    await closeAfter('03-01T00:00');
    // At the same instant by the clock, as from a gateway that waited for the close.
    await use(id, '01-11T00:00', { seat: 'b', op: 'add' });
    await closeAfter('04-01T00:00');
    await closeAfter('05-01T00:00');
    const invoices = (await listInvoices(test.db, { customer: id, count: 10 })).reverse();
    const billed = [];
    for (const invoice of invoices) {
      const { lines } = await getInvoiceDetail(test.db, invoice.id);
      billed.push(lines.map((line) => [line.adjusts?.period_index ?? null, line.quantity.num]));
      for (const line of lines)
        expect((await explainLine(test.db, invoice.id, line.id)).recomputed.same, `${line.kind}`).toBe(true);
    }
    // Two seats from January to April, each once: 1 + 1, then 2 and what January and February lacked, then 2.
    expect(billed).toEqual([
      [[null, 1n]],
      [[null, 1n]],
      [
        [null, 2n],
        [0, 1n],
        [1, 1n],
      ],
      [[null, 2n]],
    ]);
    expect(await amountsOf(subscription.id, 1)).toEqual(['1.00']);
  });

  it('keep the version of the meter that their plan was made with', async () => {
    const id = await meter({ aggregation: 'max', value: 'properties.size' });
    const plan = { charges: [charge(id)] };
    const { id: customer, subscription } = await world.customer({ plan, startMs: START });
    await test.db.transaction((tx) =>
      changeMeter(
        tx,
        { id, name: id, terms: meterTerms.parse({ aggregation: 'sum', value: 'properties.size' }) },
        START + 1,
      ),
    );
    await measureThePast(test.db);
    world.clock.nowMs = END - 1;
    await use(customer, '01-03T10:07', { size: 3 });
    await use(customer, '01-03T10:08', { size: 4 });
    expect(await amountsOf(subscription.id)).toEqual(['4.00']);
    // The same terms are a new version now, since the meter is: for the periods that begin after it.
    const terms = planTerms.parse({ name: 'Plan', currency: 'USD', charges: plan.charges });
    const changed = await test.db.transaction((tx) => changePlan(tx, subscription.plan_id, terms, world.clock.nowMs));
    expect(changed).toMatchObject({ version: 2, charges: [{ unit: `${id}@2` }] });
    expect(await test.db.transaction((tx) => changePlan(tx, subscription.plan_id, terms, END))).toMatchObject({
      version: 2,
    });
    world.clock.nowMs = CLOSE;
    await openDuePeriods(test.db, world.clock.nowMs, SILENT);
    await use(customer, '02-01T00:00', { size: 3 });
    await use(customer, '02-01T00:01', { size: 4 });
    expect(await amountsOf(subscription.id, 0)).toEqual(['4.00']);
    expect(await amountsOf(subscription.id, 1)).toEqual(['7.00']);
  });

  it('are billed by no meter that was removed and has missed events since', async () => {
    const id = newId('plan', START);
    const config = { id, name: id, terms: meterTerms.parse({ aggregation: 'max', value: 'properties.size' }) };
    const apply = (configs: (typeof config)[]) => test.db.transaction((tx) => applyMeters(tx, configs, START));
    await apply([config]);
    await apply([]);
    const priced = () => world.customer({ plan: { charges: [charge(id)] }, startMs: START });
    await expect(priced()).rejects.toMatchObject({ issues: [{ pointer: '#/charges/0/meter' }] });
    // Back again, it is a new version, and holds what it missed once that is measured.
    await apply([config]);
    await measureThePast(test.db);
    expect((await priced()).subscription).toMatchObject({ start_at: START });
  });

  it('leave no unit over that a meter of the plan reads', async () => {
    const id = await meter({ aggregation: 'max', unit: 'gpu_seconds' });
    const { id: customer, subscription } = await world.customer({ plan: { charges: [charge(id)] }, startMs: START });
    world.clock.nowMs = END - 1;
    await world.use(customer, START + 5, { gpu_seconds: '7', images: '2' });
    const { lines, unrated } = await ratePeriod(test.db, await periodOf(subscription.id));
    expect(lines).toMatchObject([{ quantity: { num: 7n, den: 1n } }]);
    expect(unrated).toMatchObject([{ unit: 'images' }]);
  });

  it('leave over what the filters of their meters do not let through', async () => {
    const team = (name: string, more: object = {}) =>
      meter({ aggregation: 'sum', unit: 'images', filter: `labels.team == "${name}"`, ...more });
    const leftOf = async (meters: readonly string[]) => {
      const plan = { charges: meters.map((id) => charge(id)) };
      world.clock.nowMs = START;
      const { id: customer, subscription } = await world.customer({ plan, startMs: START });
      world.clock.nowMs = END - 1;
      for (const [name, images, model] of [
        ['a', '5', 'm1'],
        ['b', '7', 'm1'],
        ['c', '11', 'm2'],
      ] as const) {
        const event = usageEvent({ customer, atMs: START + 5, quantities: { images }, model });
        await ingest(test.db, [{ ...event, data: { ...event.data, labels: { team: name } } }], world.clock.nowMs);
      }
      const { unrated } = await ratePeriod(test.db, await periodOf(subscription.id));
      return unrated.map(({ model, unit, quantity }) => [model, unit, quantity.num]);
    };
    expect(await leftOf([await team('a')])).toEqual([['', 'images', 18n]]);
    expect(await leftOf([await team('a'), await team('b')])).toEqual([['', 'images', 11n]]);
    expect(await leftOf([await team('a', { dimensions: ['model'] })])).toEqual([
      ['m1', 'images', 7n],
      ['m2', 'images', 11n],
    ]);
    // Nobody knows whether these two let the same through: nothing is hidden.
    const small = await meter({ aggregation: 'sum', unit: 'images', filter: 'quantities.images < 8' });
    expect(await leftOf([await team('a'), small])).toEqual([['', 'images', 11n]]);
    const peak = await meter({ aggregation: 'max', unit: 'images', filter: 'labels.team == "a"' });
    expect(await leftOf([peak])).toHaveLength(2);
    expect(await leftOf([await team('d')])).toEqual([
      ['m1', 'images', 12n],
      ['m2', 'images', 11n],
    ]);
    // All of a unit is read, and in units of its own.
    expect(await leftOf([await meter({ aggregation: 'sum', value: 'quantities.images / 2' })])).toEqual([]);
    // Events of another type have no units of ours.
    const other = await meter({ aggregation: 'sum', value: 'quantities.images', event_type: 'render.done' });
    expect(await leftOf([other])).toHaveLength(2);
  });

  it('refuse charges that ask of a meter what it does not give', async () => {
    const id = await meter({ aggregation: 'max', value: 'properties.size', dimensions: ['region'] });
    const matrix = (dimensions: string[]) => {
      const price = { kind: 'unit', amount: '1' };
      return { kind: 'matrix', dimensions, cells: [{ of: dimensions.map(() => 'eu'), price }], fallback: price };
    };
    const refused = (more: object) => world.customer({ plan: { charges: [charge(id, more)] }, startMs: START });
    await expect(refused({ model: 'gpt-*' })).rejects.toMatchObject({ issues: [{ pointer: '#/charges/0/model' }] });
    await expect(refused({ price: matrix(['user']) })).rejects.toMatchObject({
      issues: [{ pointer: '#/charges/0/price' }],
    });
    const windowed = { kind: 'windowed', window: 'hour', price: { kind: 'unit', amount: '1' } };
    await expect(refused({ price: windowed })).rejects.toMatchObject({ issues: [{ pointer: '#/charges/0/price' }] });
    const { id: customer, subscription } = await refused({
      price: { ...matrix(['region']), fallback: { kind: 'unit', amount: '10' } },
    });
    world.clock.nowMs = END - 1;
    await use(customer, '01-03T10:07', { size: 3 });
    const event = usageEvent({ customer, atMs: START + 9, quantities: {}, properties: { size: 2 } });
    await ingest(test.db, [{ ...event, data: { ...event.data, region: 'eu' } }], world.clock.nowMs);
    expect(await amountsOf(subscription.id)).toEqual(['32.00']);
  });
});
