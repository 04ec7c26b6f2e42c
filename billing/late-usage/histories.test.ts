import { afterAll, beforeAll, expect, it } from 'vitest';
import { ingest } from '#billing/events/ingest.ts';
import { unbilledOf } from '#billing/invoices/adjustments.ts';
import { explainLine } from '#billing/invoices/explain.ts';
import { finalizeInvoice, getInvoiceDetail, listInvoices } from '#billing/invoices/invoice.ts';
import { CLOSE_GRACE_MS } from '#billing/jobs/close-periods.ts';
import { measureThePast } from '#billing/measurements/measure.ts';
import { createMeter } from '#billing/meters/meter.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { listPeriods } from '#billing/subscriptions/store.ts';
import { meterTerms } from '#config/meter-terms.ts';
import { billingWorld } from '#test/support/billing-world.ts';
import { type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';

const START = Date.UTC(2026, 0, 1);
const DAY = 86_400_000;
/** Each takes some seconds; WEIR_HISTORIES asks for more. */
const HISTORIES = Number.parseInt(process.env.WEIR_HISTORIES ?? '2', 10);
const STEPS = 25;

const METERS: Record<string, object> = {
  seats: {
    ...{ aggregation: 'unique', value: 'properties.seat', operation: 'properties.op' },
    ...{ recurring: true, proration: 'by_day' },
  },
  level: { aggregation: 'time_weighted', value: 'properties.size', recurring: true },
  stand: { aggregation: 'latest', value: 'properties.size', recurring: true },
  peak: { aggregation: 'max', value: 'properties.size' },
  run: { aggregation: 'sum', value: 'properties.delta', recurring: true, proration: 'by_second' },
};
const CHARGES = [
  ...Object.keys(METERS).map((meter) => ({ meter, price: { kind: 'unit', amount: '1.37' } })),
  {
    meter: 'output_tokens',
    price: { kind: 'graduated', tiers: [{ up_to: '10', amount: '1', flat: '3' }, { amount: '0.333' }] },
  },
  { meter: 'images', price: { kind: 'percentage', percent: '1.5', event_minimum: '2', free_events: '1' } },
];
const ZONES = ['UTC', 'Europe/Berlin', 'Asia/Kolkata'];

let test: TestDatabase;
beforeAll(async () => {
  test = await testDatabase('pglite');
  for (const [id, terms] of Object.entries(METERS)) {
    await test.db.transaction((tx) => createMeter(tx, { id, name: id, terms: meterTerms.parse(terms) }, START));
  }
  await measureThePast(test.db);
});
afterAll(() => test.drop());

it.each(Array.from({ length: HISTORIES }, (_, i) => i + 1))(
  'bills each period for what it comes to in the end, whatever comes late, is corrected, deleted or drafted: history %i',
  async (seed) => {
    const random = randomOf(seed * 7_919);
    const { db } = test;
    const world = billingWorld(db, START);
    const finalization = random(2) === 0 ? 'automatic' : 'manual';
    const { id: customer, subscription } = await world.customer({
      ...{ startMs: START, zone: ZONES[random(3)] ?? 'UTC', policies: { finalization } },
      plan: { fee: '10', charges: CHARGES },
    });
    const sent: { id: string; source: string }[] = [];
    const drafts = () => listInvoices(db, { customer, state: 'draft', count: 50 });
    const finalize = (id: string) => db.transaction((tx) => finalizeInvoice(tx, id, world.clock.nowMs));
    const close = async () => expect(await world.close()).toMatchObject({ failed: 0 });
    const backMs = () => Math.max(START - 5 * DAY, world.clock.nowMs - random(80 * DAY));
    const take = async (event: object) =>
      expect(await ingest(db, [event], world.clock.nowMs)).toMatchObject([{ status: 'accepted' }]);
    /** Every third is of two models. */
    const made = (id: string) => {
      const [output, images] = [`${random(7)}`, `${random(5)}`];
      const properties = {
        ...{ seat: `s${random(4)}`, op: random(3) > 0 ? 'add' : 'remove' },
        ...{ size: random(9), delta: random(5) - 1 },
      };
      const quantities = { output_tokens: output, images };
      const event = usageEvent({
        id,
        customer,
        atMs: backMs(),
        quantities,
        model: random(2) > 0 ? 'a' : 'b',
        properties,
      });
      if (random(3) > 0) return event;
      const parts = [
        { model: 'a', quantities: { output_tokens: output }, cost: null },
        { model: 'c', quantities: { images }, cost: null },
      ];
      return { ...event, data: { ...event.data, cost: null, parts } };
    };

    for (let step = 0; step < STEPS; step++) {
      const what = random(10);
      const target = sent[random(Math.max(1, sent.length))];
      if (what < 4) {
        const event = made(`${customer}-${step}`);
        sent.push(event);
        await take(event);
      } else if (what < 6 && target) {
        const { source, id } = target;
        await take({
          ...{ specversion: '1.0', id: `fix-${customer}-${step}`, source: '/fixes', type: 'weir.correction.v1' },
          time: new Date(world.clock.nowMs + step).toISOString(),
          data: { source, id, reason: 'it was wrong', event: random(3) === 0 ? null : made(id) },
        });
      } else if (what === 6) {
        const found = await drafts();
        const draft = found[random(Math.max(1, found.length))];
        if (draft) await finalize(draft.id);
      } else {
        world.clock.nowMs += random(20) * DAY;
        await close();
      }
    }
    // A month brings what the ones before lack, and the next what finalising its drafts brought.
    for (let month = 0; month < 3; month++) {
      world.clock.nowMs += 32 * DAY + CLOSE_GRACE_MS;
      await close();
      for (const draft of (await drafts()).reverse()) await finalize(draft.id);
    }

    const periods = await listPeriods(db, { subscription: subscription.id, before: 1_000, count: 100 });
    const closed = periods.filter((period) => period.closed_at !== null);
    expect(closed.length).toBeGreaterThan(2);
    for (const period of closed) expect(await unbilledOf(db, period)).toMatchObject({ nanos: 0n });
    for (const { id } of await listInvoices(db, { customer, count: 100 })) {
      for (const line of (await getInvoiceDetail(db, id)).lines) {
        expect((await explainLine(db, id, line.id)).recomputed).toMatchObject({ same: true });
      }
    }
    expect(await verifyRollups(db, { startMs: START - 5 * DAY, endMs: START - 4 * DAY }, { customer })).toEqual([]);
  },
  120_000,
);

/** A small generator with a seed, so that a failure can be run again. */
function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
