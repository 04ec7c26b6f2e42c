import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { usageEventSchema } from '#billing/events/event-schema.ts';
import { ingest } from '#billing/events/ingest.ts';
import { CLOSE_GRACE_MS } from '#billing/jobs/close-periods.ts';
import { changePrice, getPlanVersion } from '#billing/plans/plan.ts';
import { getPeriod } from '#billing/subscriptions/period.ts';
import { priceChange } from '#config/charge-terms.ts';
import { exact, sum } from '#core/exact.ts';
import { newId } from '#core/id.ts';
import { formatAmount, roundToCurrency } from '#core/money.ts';
import { formatInstant } from '#core/time.ts';
import { type BillingWorld, billingWorld, type NewWorldCustomer } from '#test/support/billing-world.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { unbilledOf } from './adjustments.ts';
import { explainLine } from './explain.ts';
import { contentsOf, finalizeInvoice, getInvoiceDetail, listInvoices, voidInvoice } from './invoice.ts';

const START = Date.parse('2026-01-01T00:00:00Z');
const DAY = 86_400_000;
const FIRST_OF = [1, 2, 3, 4, 5, 6].map((month) => Date.UTC(2026, month));
const graduated = {
  meter: 'characters',
  price: {
    kind: 'graduated',
    tiers: [{ up_to: '10', amount: '1', flat: '5' }, { up_to: '20', amount: '0.333333' }, { amount: '0.01' }],
  },
};

describe.each(DATABASE_KINDS)('adjustments on %s', (kind) => {
  let test: TestDatabase;
  let world: BillingWorld;
  beforeAll(async () => {
    test = await testDatabase(kind);
    world = billingWorld(test.db, START);
  });
  afterAll(() => test.drop());

  const subscribe = async (wanted: NewWorldCustomer = { plan: { charges: [graduated] } }) => {
    world.clock.nowMs = START;
    const made = await world.customer(wanted);
    const period = (index: number) =>
      getPeriod(test.db, { subscription_id: made.subscription.id, period_index: index });
    const use = (atMs: number, quantity: string, more: object = {}) =>
      send(usageEvent({ customer: made.id, atMs, quantities: { characters: quantity }, ...more }));
    return { id: made.id, subscription: made.subscription, period, use };
  };
  const send = async (event: ReturnType<typeof usageEvent> | object) => {
    const [result] = await ingest(test.db, [event], world.clock.nowMs);
    expect(result).toEqual(expect.objectContaining({ status: 'accepted' }));
    return event;
  };
  const correct = (target: object, event: object | null) => {
    const { id, source } = idOf(target);
    const at = world.clock.nowMs;
    return send({
      ...{ specversion: '1.0', id: newId('evt', at), source: '/test', type: 'weir.correction.v1' },
      time: formatInstant(at),
      data: { source, id, reason: 'wrong', event },
    });
  };
  const close = async (month: number) => {
    world.clock.nowMs = (FIRST_OF[month] ?? 0) + CLOSE_GRACE_MS;
    await world.close();
  };
  const invoices = async (customer: string) => {
    const rows = (await listInvoices(test.db, { customer, count: 20 })).reverse();
    return Promise.all(rows.map(({ id }) => getInvoiceDetail(test.db, id)));
  };
  const totals = async (customer: string) =>
    (await invoices(customer)).map(({ invoice }) => formatAmount({ nanos: invoice.total_nanos, currency: 'USD' }));
  const expectExplained = async (customer: string) => {
    for (const { invoice, lines } of await invoices(customer)) {
      for (const line of lines) {
        expect(sum(line.steps.map((step) => exactOfText(step.amount_exact)))).toEqual(inUnits(line.exact));
        const { recomputed } = await explainLine(test.db, invoice.id, line.id);
        expect(recomputed.same, `${line.kind} ${line.id}`).toBe(true);
      }
    }
  };

  it('bill what came late as the difference that it makes across tiers, once', async () => {
    const { id, period, use } = await subscribe();
    await use(START + DAY, '8');
    await close(0);
    await use(START + 2 * DAY, '4');
    expect(formatAmount(await unbilledOf(test.db, await period(0)))).toBe('2.67');
    await close(1);
    expect(formatAmount(await unbilledOf(test.db, await period(0)))).toBe('0.00');
    await close(2);
    // 12 units are 15.666666; 8 were 13.00. The flat fee of the first tier is not asked twice.
    expect(await totals(id)).toEqual(['13.00', '2.67']);
    await expectExplained(id);
  });

  it('give back what was corrected or deleted after the invoice, and the invoice stays explained as it was', async () => {
    const { id, use } = await subscribe();
    const eight = await use(START + DAY, '8');
    const twelve = await use(START + DAY, '12');
    await close(0);
    await correct(
      twelve,
      usageEvent({ ...idOf(twelve), customer: id, atMs: START + DAY, quantities: { characters: '1' } }),
    );
    await close(1);
    await correct(eight, null);
    await close(2);
    // 20 units: 18.33333; then 9: 14.00; then 1: 6.00.
    expect(await totals(id)).toEqual(['18.33', '-4.33', '-8.00']);
    await expectExplained(id);
  });

  it('count each period that is late, on one invoice, with what that invoice itself bills', async () => {
    const { id, use } = await subscribe();
    await use(START + DAY, '1');
    await close(0);
    await use((FIRST_OF[0] ?? 0) + DAY, '1');
    await close(1);
    await use(START + DAY, '1');
    await use((FIRST_OF[0] ?? 0) + DAY, '2');
    await use((FIRST_OF[1] ?? 0) + DAY, '10');
    await close(2);
    const last = (await invoices(id)).at(-1);
    expect(last?.lines.map((line) => [line.kind, line.adjusts?.period_index ?? null, line.amount_nanos])).toEqual([
      ['usage', null, 15_000_000_000n],
      ['adjustment', 0, 1_000_000_000n],
      ['adjustment', 1, 2_000_000_000n],
    ]);
    await expectExplained(id);
  });

  it('stand on the preview before they stand on the invoice, and bill a period that had no invoice', async () => {
    const { id, period, use } = await subscribe();
    await close(0);
    await use(START + DAY, '3');
    expect(formatAmount((await contentsOf(test.db, await period(1))).total)).toBe('8.00');
    await close(1);
    expect(await totals(id)).toEqual(['8.00']);
  });

  it('are taxed with the invoice that they stand on, on the sum of its lines, once', async () => {
    const wanted = { plan: { fee: '10', charges: [graduated] }, policies: { tax_percent: '8.875' } };
    const { id, use } = await subscribe(wanted);
    await use(START + DAY, '1');
    await close(0);
    await use(START + DAY, '3');
    await close(1);
    const found = (await invoices(id)).map(({ invoice }) => [invoice.tax_nanos, invoice.total_nanos]);
    // 16.00 and 13.00: 1.42 and 1.15375, to the cent.
    expect(found).toEqual([
      [1_420_000_000n, 17_420_000_000n],
      [1_150_000_000n, 14_150_000_000n],
    ]);
  });

  it('are left to people where the policy says so, and where the invoice was taken back', async () => {
    const reporting = await subscribe({ plan: { charges: [graduated] }, policies: { late_usage: 'report' } });
    const voided = await subscribe();
    for (const { use } of [reporting, voided]) await use(START + DAY, '1');
    await close(0);
    const [invoice] = await invoices(voided.id);
    await test.db.transaction((tx) => voidInvoice(tx, invoice?.invoice.id ?? '', world.clock.nowMs));
    for (const { use } of [reporting, voided]) await use(START + DAY, '1');
    await close(1);
    expect(await totals(reporting.id)).toEqual(['6.00']);
    expect(await totals(voided.id)).toEqual(['6.00']);
    expect(formatAmount(await unbilledOf(test.db, await reporting.period(0)))).toBe('1.00');
  });

  it('on drafts are brought up to date when these are finalised, in any order', async () => {
    const { id, use } = await subscribe({ plan: { charges: [graduated] }, policies: { finalization: 'manual' } });
    const finalize = async (index: number) => {
      const rows = await invoices(id);
      await test.db.transaction((tx) => finalizeInvoice(tx, rows[index]?.invoice.id ?? '', world.clock.nowMs));
    };
    await use(START + DAY, '1');
    await close(0);
    await finalize(0);
    await use(START + DAY, '2');
    await close(1);
    await use(START + DAY, '3');
    await close(2);
    await use(START + DAY, '4');
    await finalize(2);
    await finalize(1);
    const all = (await invoices(id)).map(({ invoice }) => invoice.total_nanos);
    expect(all.reduce((a, b) => a + b, 0n)).toBe(15_000_000_000n);
  });

  it('of prices that look at events, bounds and dimensions are as exact', async () => {
    const charges = [
      {
        meter: 'characters',
        model: 'paid',
        price: {
          kind: 'percentage',
          percent: '1',
          fixed: '1',
          free_events: '1',
          event_minimum: '1.75',
          event_maximum: '12',
        },
      },
      {
        meter: 'characters',
        model: 'm-*',
        price: {
          kind: 'matrix',
          dimensions: ['region', 'labels.team'],
          cells: [{ of: ['eu', '*'], price: { kind: 'unit', amount: '3' } }],
          fallback: { kind: 'unit', amount: '2' },
        },
        cap: '100',
      },
      {
        meter: 'characters',
        model: 'w',
        price: { kind: 'windowed', window: 'day', aggregation: 'max', price: { kind: 'unit', amount: '1' } },
      },
      {
        meter: 'characters',
        model: 't',
        price: {
          kind: 'time_of_day',
          bands: [{ from: '00:00', to: '08:00', price: { kind: 'unit', amount: '1' } }],
          fallback: { kind: 'unit', amount: '10' },
        },
      },
      { meter: 'characters', model: 'c', price: { kind: 'dynamic', of: 'provider_cost', multiplier: '1.2' } },
      { meter: 'characters', model: 'p', price: { kind: 'dynamic', of: 'event_price' } },
      { meter: null, price: { kind: 'flat', amount: '7', billed: 'once' } },
      { meter: null, price: { kind: 'flat', amount: '1' } },
    ];
    const { id, period, use } = await subscribe({ plan: { charges }, zone: 'Europe/Paris', startMs: START });
    const at = START + DAY;
    world.clock.nowMs = START + 3 * DAY;
    await use(at, '500', { model: 'paid' });
    await use(at + 1, '100', { model: 'paid' });
    await use(at, '10', { model: 'm-1', data: { region: 'eu', labels: { team: 'a' } } });
    const dear = await use(at, '4', { model: 'w' });
    await use(at, '5', { model: 't' });
    await use(at + 12 * 3_600_000, '5', { model: 't' });
    await use(at, '1', { model: 'c', cost: { amount: '0.10', currency: 'USD' } });
    await use(at, '1', { model: 'c', cost: null });
    await use(at, '1', { model: 'p', data: { price: { amount: '0.125', currency: 'USD' } } });
    const { lines, unrated } = await contentsOf(test.db, await period(0));
    const figures = (found: typeof lines) => found.map((line) => formatAmount(line.rounded));
    expect(figures(lines)).toEqual(['2.00', '30.00', '4.00', '55.00', '0.12', '0.13', '7.00', '1.00']);
    // What has no cost has no price: reported, and not billed.
    expect(unrated.map(({ model, unit }) => `${model} ${unit}`)).toEqual(['c characters']);
    await close(0);
    // Late: an event before the free one makes that one billed; a larger one in the window; the cap is reached.
    await use(at - 1, '40000', { model: 'paid' });
    await use(at + 1, '9', { model: 'w' });
    await use(at, '40', { model: 'm-1', data: { region: 'us', labels: {} } });
    await close(1);
    const adjusted = (await invoices(id))[1]?.lines ?? [];
    expect(adjusted.map((line) => [line.kind, line.amount_nanos / 10_000_000n])).toEqual([
      ['fee', 100n],
      ['adjustment', 600n],
      ['adjustment', 7_000n],
      ['adjustment', 500n],
    ]);
    await correct(dear, null);
    await close(2);
    await expectExplained(id);
  });

  it('leave usage before a change of price at the price that it had', async () => {
    const { id, subscription, period, use } = await subscribe({
      plan: { charges: [{ meter: 'characters', price: { kind: 'unit', amount: '1' } }] },
    });
    world.clock.nowMs = START + DAY;
    await use(START + DAY, '10');
    const { plan_id, plan_version } = await period(0);
    const [charge] = (await getPlanVersion(test.db, plan_id, plan_version)).charges;
    const change = (effective_at: number, amount: string, kind = 'unit') =>
      test.db.transaction((tx) =>
        changePrice(
          tx,
          charge?.price_id ?? '',
          priceChange.parse({
            effective_at: formatInstant(effective_at),
            price: kind === 'unit' ? { kind, amount } : { kind, of: 'event_price' },
          }),
          world.clock.nowMs,
        ),
      );
    await expect(change(START, '2')).rejects.toMatchObject({ issues: [{ pointer: '#/effective_at' }] });
    await expect(change(START + 9 * DAY, '2', 'dynamic')).rejects.toMatchObject({ issues: [{ pointer: '#/price' }] });
    const changed = await change(START + 10 * DAY, '2');
    // The same again is the same; what was said is never changed.
    expect(await change(START + 10 * DAY, '2')).toEqual(changed);
    await expect(change(START + 10 * DAY, '3')).rejects.toMatchObject({ code: 'validation_failed' });
    world.clock.nowMs = START + 11 * DAY;
    await use(START + 11 * DAY, '10');
    await close(0);
    await use(START + 5 * DAY, '1');
    await use(START + 15 * DAY, '1');
    await close(1);
    expect(await totals(id)).toEqual(['30.00', '3.00']);
    await expectExplained(id);
    expect(subscription.customer_id).toBe(id);
  });

  it('never drift: over any history of late batches, what was billed is the whole, rounded once', async () => {
    const batch = fc.array(fc.bigInt({ min: 1n, max: 15_000n }), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(fc.array(batch, { minLength: 2, maxLength: 4 }), async (batches) => {
        const { id, period, use } = await subscribe();
        for (const [month, quantities] of batches.entries()) {
          if (month === 0) world.clock.nowMs = START + DAY;
          for (const thousandths of quantities) {
            const digits = thousandths.toString().padStart(4, '0');
            await use(START + DAY, `${digits.slice(0, -3)}.${digits.slice(-3)}`);
          }
          await close(month);
        }
        const found = await invoices(id);
        const billed = found.flatMap(({ lines }) => lines);
        const whole = sum(billed.map((line) => line.exact));
        const printed = billed.reduce((total, line) => total + line.amount_nanos, 0n);
        expect(printed).toBe(roundToCurrency(whole, 'USD', 'half_up').nanos);
        const once = await subscribe();
        world.clock.nowMs = START + DAY;
        for (const thousandths of batches.flat()) {
          const digits = thousandths.toString().padStart(4, '0');
          await once.use(START + DAY, `${digits.slice(0, -3)}.${digits.slice(-3)}`);
        }
        expect((await contentsOf(test.db, await once.period(0))).total.nanos).toBe(printed);
        expect((await unbilledOf(test.db, await period(0))).nanos).toBe(0n);
      }),
      { numRuns: 6 },
    );
  }, 60_000);
});

/** What a correction names. */
function idOf(event: object): { id: string; source: string } {
  const { id, source } = usageEventSchema.pick({ id: true, source: true }).loose().parse(event);
  return { id, source };
}

const inUnits = (nanos: { num: bigint; den: bigint }) => exact(nanos.num, nanos.den * 1_000_000_000n);

/** Exact text, a fraction or a decimal. */
function exactOfText(text: string) {
  const [num = '0', den = '1'] = text.split('/');
  const [whole = '0', fraction = ''] = num.split('.');
  return exact(BigInt(whole + fraction), BigInt(den) * 10n ** BigInt(fraction.length));
}
