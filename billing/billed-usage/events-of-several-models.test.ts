import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CORRECTION_TYPE } from '#billing/events/event-schema.ts';
import { ingest } from '#billing/events/ingest.ts';
import { ratePeriod } from '#billing/invoices/period-rating.ts';
import { measureThePast } from '#billing/measurements/measure.ts';
import { createMeter } from '#billing/meters/meter.ts';
import { getPeriod } from '#billing/subscriptions/period.ts';
import { meterTerms } from '#config/meter-terms.ts';
import { newId } from '#core/id.ts';
import { formatAmount } from '#core/money.ts';
import { type BillingWorld, billingWorld } from '#test/support/billing-world.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { AS_INVOICED, billedEventsOf } from './billed-usage.ts';

const START = Date.UTC(2026, 0, 1);
const HOUR_MS = 3_600_000;

describe.each(DATABASE_KINDS)('an event of several models on %s', (kind) => {
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

  const on = async (...charges: object[]) => {
    const { id, subscription } = await world.customer({ plan: { charges }, startMs: START });
    world.clock.nowMs = START + 20 * 24 * HOUR_MS;
    return { customer: id, subscription: subscription.id };
  };
  const eventOf = (customer: string, atMs: number, parts: readonly (readonly [string, string])[]) => {
    const total = parts.reduce((sum, [, images]) => sum + BigInt(images), 0n);
    const event = usageEvent({ customer, atMs, quantities: { images: `${total}` }, model: 'asked' });
    const of = parts.map(([model, images]) => ({ model, quantities: { images }, cost: null }));
    return { ...event, data: { ...event.data, cost: null, parts: of } };
  };
  const use = async (customer: string, atMs: number, ...parts: (readonly [string, string])[]) => {
    const event = eventOf(customer, atMs, parts);
    expect(await ingest(test.db, [event], world.clock.nowMs)).toMatchObject([{ status: 'accepted' }]);
    return event;
  };
  const correct = async (event: { id: string; source: string }, by: unknown) => {
    world.clock.nowMs++;
    const correction = {
      ...{ specversion: '1.0', id: newId('req', world.clock.nowMs), source: '/app', type: CORRECTION_TYPE },
      time: new Date(world.clock.nowMs).toISOString(),
      data: { source: event.source, id: event.id, reason: 'it was wrong', event: by },
    };
    expect(await ingest(test.db, [correction], world.clock.nowMs)).toMatchObject([{ status: 'accepted' }]);
  };
  const rated = async (subscription: string) =>
    ratePeriod(test.db, await getPeriod(test.db, { subscription_id: subscription, period_index: 0 }));
  const amountsOf = async (subscription: string) =>
    (await rated(subscription)).lines.map((line) => formatAmount(line.rounded));
  const percentage = (more: object) => ({ meter: 'images', price: { kind: 'percentage', percent: '1', ...more } });

  it('pays the fixed part once, whichever of its parts were used and corrected', async () => {
    const { customer, subscription } = await on(percentage({ fixed: '1' }));
    const first = await use(customer, START + 1, ['big', '100'], ['small', '100'], ['big', '100']);
    await use(customer, START + 2, ['small', '100']);
    expect(await amountsOf(subscription)).toEqual(['6.00']);
    await correct(first, { ...eventOf(customer, START + 1, [['small', '200']]), id: first.id, source: first.source });
    expect(await amountsOf(subscription)).toEqual(['5.00']);
    await correct(first, null);
    expect(await amountsOf(subscription)).toEqual(['2.00']);
  });

  it('has one minimum and one maximum', async () => {
    const { customer, subscription } = await on(percentage({ event_minimum: '5', event_maximum: '6' }));
    await use(customer, START + 1, ['big', '100'], ['small', '200']);
    await use(customer, START + 1, ['big', '500'], ['small', '500']);
    expect(await amountsOf(subscription)).toEqual(['11.00']);
  });

  it('is one of the free events, and one that crosses the free volume', async () => {
    const { customer, subscription } = await on(percentage({ fixed: '1', free_events: '1' }));
    await use(customer, START + 1, ['big', '100'], ['small', '200']);
    expect(await amountsOf(subscription)).toEqual(['0.00']);
    await use(customer, START + 2, ['big', '100'], ['small', '200']);
    expect(await amountsOf(subscription)).toEqual(['4.00']);

    const other = await on(percentage({ fixed: '1', free_volume: '150' }));
    await use(other.customer, START + 1, ['big', '100'], ['small', '100']);
    expect(await amountsOf(other.subscription)).toEqual(['1.50']);
  });

  it('is one event of each charge that one of its parts is for', async () => {
    const fixed = (model: string) => ({ ...percentage({ fixed: '1' }), model });
    const { customer, subscription } = await on(fixed('big'), fixed('*'));
    await use(customer, START + 1, ['big', '100'], ['small', '100'], ['other', '100']);
    expect(await amountsOf(subscription)).toEqual(['2.00', '3.00']);
  });

  it('stays one event where the price changes between events', async () => {
    const price = { kind: 'percentage', percent: '1', fixed: '2', event_minimum: '1' };
    const change = { effective_at: new Date(START + HOUR_MS).toISOString(), price };
    const { customer, subscription } = await on({ ...percentage({ fixed: '1' }), changes: [change] });
    await use(customer, START + 1, ['big', '100'], ['small', '100']);
    await use(customer, START + HOUR_MS, ['big', '100'], ['small', '100']);
    expect(await amountsOf(subscription)).toEqual(['7.00']);
  });

  it('is the largest of its window with all of its parts', async () => {
    const price = { kind: 'windowed', window: 'hour', aggregation: 'max', price: { kind: 'unit', amount: '1' } };
    const { customer, subscription } = await on({ meter: 'images', price });
    await use(customer, START + 1, ['big', '6'], ['small', '6']);
    const largest = await use(customer, START + 2, ['big', '5'], ['small', '5'], ['big', '5']);
    await use(customer, START + 3, ['big', '8']);
    await use(customer, START + HOUR_MS, ['big', '2']);
    expect(await amountsOf(subscription)).toEqual(['17.00']);
    expect((await rated(subscription)).lines).toMatchObject([{ quantity: { num: 17n, den: 1n } }]);
    await correct(largest, null);
    expect(await amountsOf(subscription)).toEqual(['14.00']);
  });

  it('is one row of what a line consists of, so that a page never ends within it', async () => {
    const id = newId('plan', START);
    const terms = meterTerms.parse({ aggregation: 'sum', value: 'quantities.images', dimensions: ['model'] });
    await test.db.transaction((tx) => createMeter(tx, { id, name: id, terms }, START));
    await measureThePast(test.db);
    const { customer, subscription } = await on({ meter: id, price: { kind: 'unit', amount: '1' } });
    for (const at of [1, 2, 3]) await use(customer, START + at, ['big', '2'], ['small', '3']);
    const period = await getPeriod(test.db, { subscription_id: subscription, period_index: 0 });
    const line = { unit: `${id}@1`, models: ['big', 'small'] };
    const found: string[] = [];
    let after: { time: string; source: string; id: string; revision: number } | undefined;
    for (;;) {
      const [row] = await billedEventsOf(test.db, period, AS_INVOICED, line, { after, count: 1 });
      if (!row) break;
      found.push(row.quantity);
      after = { time: new Date(row.time).toISOString(), source: row.source, id: row.id, revision: row.revision };
    }
    expect(found).toEqual(['5', '5', '5']);
  });

  it('is one event to meters, with all that it used where they do not tell its parts apart', async () => {
    const ids: string[] = [];
    for (const terms of [
      { aggregation: 'count' },
      { aggregation: 'count', dimensions: ['model'] },
      { aggregation: 'average', value: 'quantities.images' },
      { aggregation: 'max', value: 'quantities.images' },
      { aggregation: 'max', value: 'quantities.images', filter: 'model != "small"' },
      { aggregation: 'average', value: 'quantities.images', dimensions: ['model'] },
      { aggregation: 'max', value: 'properties.size', dimensions: ['model'] },
      { aggregation: 'latest', value: 'quantities.images' },
      { aggregation: 'unique', value: 'model' },
    ]) {
      const id = newId('plan', START);
      await test.db.transaction((tx) => createMeter(tx, { id, name: id, terms: meterTerms.parse(terms) }, START));
      await measureThePast(test.db);
      ids.push(id);
    }
    const unit = { kind: 'unit', amount: '1' };
    const { customer, subscription } = await on(...ids.map((meter) => ({ meter, price: unit })));
    const event = eventOf(customer, START + 1, [
      ['big', '6'],
      ['small', '6'],
      ['big', '6'],
    ]);
    const sized = { ...event, data: { ...event.data, properties: { size: 7 } } };
    await ingest(test.db, [sized], world.clock.nowMs);
    await use(customer, START + 2, ['small', '4']);
    const wanted = ['2.00', '2.00', '11.00', '18.00', '12.00', '17.00', '14.00', '4.00', '2.00'];
    expect(await amountsOf(subscription)).toEqual(wanted);
    await correct(event, { ...sized, data: { ...sized.data, labels: { fixed: 'yes' } } });
    expect(await amountsOf(subscription)).toEqual(wanted);
    await correct(event, null);
    expect(await amountsOf(subscription)).toEqual(['1.00', '1.00', '4.00', '4.00', '4.00', '4.00', '1.00']);
  });
});
