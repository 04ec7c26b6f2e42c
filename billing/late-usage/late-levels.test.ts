import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CORRECTION_TYPE } from '#billing/events/event-schema.ts';
import { ingest } from '#billing/events/ingest.ts';
import { unbilledOf } from '#billing/invoices/adjustments.ts';
import { explainLine } from '#billing/invoices/explain.ts';
import { finalizeInvoice, getInvoiceDetail, listInvoices } from '#billing/invoices/invoice.ts';
import { ratePeriod } from '#billing/invoices/period-rating.ts';
import { CLOSE_GRACE_MS } from '#billing/jobs/close-periods.ts';
import { measureThePast } from '#billing/measurements/measure.ts';
import { createMeter } from '#billing/meters/meter.ts';
import { policies } from '#billing/rating/policies.ts';
import { getPeriod } from '#billing/subscriptions/period.ts';
import { endSubscription, subscribe } from '#billing/subscriptions/subscription.ts';
import { meterTerms } from '#config/meter-terms.ts';
import { newId } from '#core/id.ts';
import { formatAmount } from '#core/money.ts';
import { type BillingWorld, billingWorld } from '#test/support/billing-world.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { listAdjustablePeriods, listLateEvents, listLatePeriods } from './late-usage.ts';

const at = (text: string) => Date.parse(`2026-${text}T00:00:00Z`);

describe.each(DATABASE_KINDS)('a level that is told late, into no period that is closed, on %s', (kind) => {
  let test: TestDatabase;
  let world: BillingWorld;
  beforeAll(async () => {
    test = await testDatabase(kind);
    world = billingWorld(test.db, at('01-01'));
  });
  afterAll(() => test.drop());
  beforeEach(() => {
    world.clock.nowMs = at('01-01');
  });

  const seats = async (finalization: 'automatic' | 'manual' = 'automatic') => {
    const meter = newId('plan', at('01-01'));
    const terms = { aggregation: 'unique', value: 'properties.seat', operation: 'properties.op', recurring: true };
    await test.db.transaction((tx) =>
      createMeter(tx, { id: meter, name: meter, terms: meterTerms.parse(terms) }, at('01-01')),
    );
    await measureThePast(test.db);
    const charges = [{ meter, price: { kind: 'unit', amount: '1' } }];
    const { id, subscription } = await world.customer({
      plan: { charges },
      startMs: at('01-01'),
      policies: { finalization },
    });
    return { customer: id, subscription };
  };
  const seat = async (customer: string, text: string, name: string, op: 'add' | 'remove' = 'add') => {
    const event = usageEvent({ customer, atMs: at(text), quantities: {}, properties: { seat: name, op } });
    expect(await ingest(test.db, [event], world.clock.nowMs)).toMatchObject([{ status: 'accepted' }]);
    return event;
  };
  const closeAfter = async (end: string) => {
    world.clock.nowMs = at(end) + CLOSE_GRACE_MS;
    expect(await world.close()).toMatchObject({ failed: 0 });
  };
  const periodOf = (subscription: { id: string }, index: number) =>
    getPeriod(test.db, { subscription_id: subscription.id, period_index: index });
  const amountsOf = async (subscription: { id: string }, index: number) =>
    (await ratePeriod(test.db, await periodOf(subscription, index))).lines.map((line) => formatAmount(line.rounded));
  const lines = async (customer: string) => {
    const invoices = (await listInvoices(test.db, { customer, count: 10 })).reverse();
    const found = [];
    for (const { id } of invoices) {
      const detail = await getInvoiceDetail(test.db, id);
      for (const line of detail.lines)
        expect((await explainLine(test.db, id, line.id)).recomputed.same, `${line.kind}`).toBe(true);
      found.push(
        detail.lines.map((line) => [line.adjusts?.period_index ?? null, formatAmount(money(line.amount_nanos))]),
      );
    }
    return found;
  };
  const money = (nanos: bigint) => ({ nanos, currency: 'USD' });

  it('before the first subscription, changes no closed period and is billed for each of them, once', async () => {
    const { customer, subscription } = await seats();
    world.clock.nowMs = at('01-10');
    await seat(customer, '01-10', 'a');
    await closeAfter('02-01');
    await closeAfter('03-01');
    const early = usageEvent({
      customer,
      atMs: Date.UTC(2025, 11, 5),
      quantities: {},
      properties: { seat: 'b', op: 'add' },
    });
    await ingest(test.db, [early], world.clock.nowMs);
    expect([await amountsOf(subscription, 0), await amountsOf(subscription, 1)]).toEqual([['1.00'], ['1.00']]);
    expect(formatAmount(await unbilledOf(test.db, await periodOf(subscription, 0)))).toBe('1.00');
    const page = { customer, after: undefined, count: 10 };
    expect(await listLatePeriods(test.db, page)).toMatchObject([
      { period_index: 0, events: 1n },
      { period_index: 1, events: 1n },
    ]);
    const key = { subscription_id: subscription.id, period_index: 1 };
    expect(await listLateEvents(test.db, key, { after: undefined, count: 10 })).toMatchObject([{ event_id: early.id }]);
    await closeAfter('04-01');
    await closeAfter('05-01');
    expect(await lines(customer)).toEqual([
      [[null, '1.00']],
      [[null, '1.00']],
      [
        [null, '2.00'],
        [0, '1.00'],
        [1, '1.00'],
      ],
      [[null, '2.00']],
    ]);
    expect(formatAmount(await unbilledOf(test.db, await periodOf(subscription, 0)))).toBe('0.00');
    // What stands on a final invoice is not looked at again, and a correction of it is.
    expect(await listAdjustablePeriods(test.db, await periodOf(subscription, 4))).toEqual([]);
    const correction = {
      ...{ specversion: '1.0', id: newId('req', world.clock.nowMs), source: '/app', type: CORRECTION_TYPE },
      time: new Date(world.clock.nowMs).toISOString(),
      data: { source: early.source, id: early.id, reason: 'there was none', event: null },
    };
    await ingest(test.db, [correction], world.clock.nowMs);
    await closeAfter('06-01');
    expect((await lines(customer)).at(-1)).toEqual([
      [null, '1.00'],
      [0, '-1.00'],
      [1, '-1.00'],
      [2, '-1.00'],
      [3, '-1.00'],
    ]);
  });

  it('between two subscriptions, is late for those of the second', async () => {
    const { customer, subscription } = await seats();
    world.clock.nowMs = at('01-10');
    await seat(customer, '01-10', 'a');
    await test.db.transaction((tx) => endSubscription(tx, subscription.id, at('01-20'), world.clock.nowMs));
    await closeAfter('01-20');
    const wanted = { customer, plan: subscription.plan_id, startMs: at('02-01'), policies: policies.parse({}) };
    world.clock.nowMs = at('01-31');
    const second = await test.db.transaction((tx) => subscribe(tx, wanted, world.clock.nowMs));
    await closeAfter('03-01');
    await seat(customer, '01-25', 'b');
    expect(await amountsOf(second, 0)).toEqual(['1.00']);
    expect(await amountsOf(subscription, 0)).toEqual(['1.00']);
    await closeAfter('04-01');
    expect(await lines(customer)).toEqual([
      [[null, '1.00']],
      [[null, '1.00']],
      [
        [null, '2.00'],
        [0, '1.00'],
      ],
    ]);
  });

  it('into a draft, is on the draft and late for the final periods after it', async () => {
    const { customer, subscription } = await seats('manual');
    world.clock.nowMs = at('01-10');
    await seat(customer, '01-10', 'a');
    await closeAfter('02-01');
    await closeAfter('03-01');
    const finalize = async (index: number) => {
      const invoice = (await listInvoices(test.db, { customer, count: 10 })).find((one) => one.period_index === index);
      await test.db.transaction((tx) => finalizeInvoice(tx, invoice?.id ?? '', world.clock.nowMs));
    };
    await finalize(1);
    await seat(customer, '01-11', 'b');
    expect([await amountsOf(subscription, 0), await amountsOf(subscription, 1)]).toEqual([['2.00'], ['1.00']]);
    await closeAfter('04-01');
    await finalize(0);
    await finalize(2);
    // The draft of March had it first; none has it twice.
    expect(await lines(customer)).toEqual([
      [[null, '2.00']],
      [[null, '1.00']],
      [
        [null, '2.00'],
        [1, '1.00'],
      ],
    ]);
  });
});
