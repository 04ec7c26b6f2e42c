import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { billedUsageOf } from '#billing/billed-usage/billed-usage.ts';
import { sql } from '#billing/db/database.ts';
import { ingest } from '#billing/events/ingest.ts';
import { CLOSE_GRACE_MS } from '#billing/jobs/close-periods.ts';
import { lateUsageOf } from '#billing/late-usage/late-usage.ts';
import { getPeriod, type PeriodKey } from '#billing/subscriptions/period.ts';
import { add, type Exact, exact, getExact, sum, ZERO } from '#core/exact.ts';
import { type BillingWorld, billingWorld } from '#test/support/billing-world.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { atEachStep, interceptedDatabase } from '#test/support/intercepted-database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { explainLine } from './explain.ts';
import { closePeriod, finalizeInvoice, getInvoiceDetail, listInvoices } from './invoice.ts';
import { ratePeriod } from './period-rating.ts';

const START = Date.parse('2026-01-01T00:00:00Z');
const END = Date.parse('2026-02-01T00:00:00Z');
const CLOSE = END + CLOSE_GRACE_MS;

describe.each(DATABASE_KINDS)('closing a period on %s', (kind) => {
  let test: TestDatabase;
  let world: BillingWorld;
  beforeAll(async () => {
    test = await testDatabase(kind);
    world = billingWorld(test.db, START);
  });
  afterAll(() => test.drop());

  const customer = async (wanted: Parameters<BillingWorld['customer']>[0] = {}) => {
    world.clock.nowMs = START;
    const made = await world.customer(wanted);
    world.clock.nowMs = CLOSE;
    const key: PeriodKey = { subscription_id: made.subscription.id, period_index: 0 };
    return { id: made.id, key };
  };
  const invoiceOf = async (id: string) => {
    const rows = await listInvoices(test.db, { customer: id, count: 10 });
    expect(rows.length).toBeLessThanOrEqual(1);
    return rows[0] && getInvoiceDetail(test.db, rows[0].id);
  };
  const billedOf = async (id: string): Promise<Exact> => {
    const invoice = await invoiceOf(id);
    return invoice?.lines.find((line) => line.unit === 'input_tokens')?.quantity ?? ZERO;
  };
  const lateOf = async (key: PeriodKey): Promise<Exact> => {
    const rows = await lateUsageOf(test.db, await getPeriod(test.db, key));
    return sum(rows.filter((row) => row.unit === 'input_tokens').map((row) => row.quantity));
  };

  it('comes to the same, whatever step of it fails before it is tried again', async () => {
    const steps = await atEachStep(async (fail, step) => {
      const { id, key } = await customer();
      await world.use(id, START + 5, { input_tokens: '1000001', images: '1' });
      const failed = await closePeriod(fail(test.db), key, CLOSE, CLOSE_GRACE_MS).catch(() => undefined);
      const early = await invoiceOf(id);
      const again = await closePeriod(test.db, key, CLOSE, CLOSE_GRACE_MS);
      if (failed || early) expect(again.outcome, `step ${step}`).toBe('closed_before');
      const invoice = await invoiceOf(id);
      expect(invoice, `step ${step}`).toMatchObject({
        invoice: { state: 'open', total_nanos: 22_500_000_000n },
        lines: [{ kind: 'fee' }, { kind: 'usage', amount_nanos: 2_500_000_000n }],
        unrated: [{ unit: 'images' }],
      });
      // Closed and nothing left half done: the same again is nothing.
      expect(await closePeriod(test.db, key, CLOSE, CLOSE_GRACE_MS)).toEqual({ outcome: 'closed_before' });
    });
    expect(steps).toBeGreaterThan(12);
    await expectNoGaps();
  });

  it('closes however much comes together', async () => {
    const charges = [{ meter: 'calls', price: { kind: 'unit', amount: '1000000000000000' } }];
    const { id, key } = await customer({ plan: { charges } });
    for (let i = 0; i < 3; i++) await world.use(id, START + i, { calls: '999999999999999999' });
    expect(await closePeriod(test.db, key, CLOSE, CLOSE_GRACE_MS)).toMatchObject({ outcome: 'invoiced' });
    const invoice = await invoiceOf(id);
    expect(invoice?.invoice.total_nanos).toBe(3n * 999_999_999_999_999_999n * 10n ** 24n);
    await expectNoGaps();
  });

  it('bills what several models did for one call once, each at the price of its own model', async () => {
    const charges = [
      { meter: 'output_tokens', model: 'adviser', price: { kind: 'unit', amount: '3' } },
      { meter: 'output_tokens', price: { kind: 'unit', amount: '1' } },
    ];
    const { id, key } = await customer({ plan: { charges } });
    const parts = [
      { model: 'main', quantities: { output_tokens: '10' }, cost: null },
      { model: 'adviser', quantities: { output_tokens: '5' }, cost: null },
    ];
    // In the middle of an hour's roll-up, and of an hour that the period's edge cuts.
    for (const atMs of [START + 5, START + 24 * 3_600_000]) {
      await ingest(
        test.db,
        [usageEvent({ customer: id, atMs, model: 'main', quantities: { output_tokens: '15' }, data: { parts } })],
        CLOSE,
      );
    }
    await closePeriod(test.db, key, CLOSE, CLOSE_GRACE_MS);
    const invoice = await invoiceOf(id);
    expect(invoice?.invoice.total_nanos).toBe((2n * 10n + 2n * 5n * 3n) * 1_000_000_000n);
  });

  it('finalises a draft to the same, whatever step of it fails before it is tried again', async () => {
    const steps = await atEachStep(async (fail, step) => {
      const { id, key } = await customer({ policies: { finalization: 'manual' } });
      await closePeriod(test.db, key, CLOSE, CLOSE_GRACE_MS);
      await world.use(id, START + 5, { input_tokens: '1000001' });
      const draft = await invoiceOf(id);
      const invoiceId = draft?.invoice.id ?? '';
      await fail(test.db)
        .transaction((tx) => finalizeInvoice(tx, invoiceId, CLOSE))
        .catch(() => undefined);
      await test.db.transaction((tx) => finalizeInvoice(tx, invoiceId, CLOSE));
      expect((await invoiceOf(id))?.invoice, `step ${step}`).toMatchObject({
        state: 'open',
        total_nanos: 22_500_000_000n,
      });
    });
    expect(steps).toBeGreaterThan(10);
    await expectNoGaps();
  });

  const expectNoGaps = async () => {
    const rows = await test.db.query<{ number: string }>(
      sql`select number from invoice where number is not null order by number`,
    );
    expect(rows.map(({ number }) => number)).toEqual(rows.map((_, i) => `INV-${String(i + 1).padStart(6, '0')}`));
  };

  it('puts each event onto the invoice or into late usage, never both and never neither, however they meet', async () => {
    for (let round = 0; round < 5; round++) {
      const { id, key } = await customer();
      const batches = Array.from({ length: 12 }, (_, batch) =>
        Array.from({ length: 5 }, (_, i) =>
          usageEvent({ customer: id, atMs: START + batch * 1_000 + i, quantities: { input_tokens: '7' } }),
        ),
      );
      await Promise.all([
        ...batches.slice(0, 6).map((batch) => ingest(test.db, batch, CLOSE)),
        closePeriod(test.db, key, CLOSE, CLOSE_GRACE_MS),
        ...batches.slice(6).map((batch) => ingest(test.db, batch, CLOSE)),
      ]);
      // A batch that is sent again changes nothing, late or not.
      await ingest(test.db, batches[11] ?? [], CLOSE);
      expect(add(await billedOf(id), await lateOf(key))).toEqual(exact(420n));
    }
  });

  it('rates what is used, whatever it is, so that preview, invoice and explanation agree to the last digit', async () => {
    const events = fc.array(
      fc.record({
        atMs: fc.integer({ min: START, max: END - 1 }),
        model: fc.constantFrom('gpt-4o', 'gpt-4o-mini', 'claude'),
        unit: fc.constantFrom('input_tokens', 'output_tokens', 'audio_seconds'),
        quantity: fc.bigInt({ min: 1n, max: 10n ** 12n }),
        scale: fc.constantFrom('', '.5', '.000000001'),
      }),
      { maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(events, async (used) => {
        const { id, key } = await customer();
        const batch = used.map(({ atMs, model, unit, quantity, scale }) =>
          usageEvent({ customer: id, atMs, model, quantities: { [unit]: `${quantity}${scale}` } }),
        );
        await ingest(test.db, batch, CLOSE);
        const preview = await ratePeriod(test.db, await getPeriod(test.db, key));
        await closePeriod(test.db, key, CLOSE, CLOSE_GRACE_MS);
        const invoice = await invoiceOf(id);
        if (!invoice) throw new Error('no invoice');
        expect(invoice.invoice.total_nanos).toBe(preview.total.nanos);
        expect(invoice.lines.reduce((total, line) => total + line.amount_nanos, 0n)).toBe(preview.total.nanos);
        for (const unit of ['input_tokens', 'output_tokens']) {
          const wanted = sum(
            used.filter((one) => one.unit === unit).map((one) => getExact(`${one.quantity}${one.scale}`)),
          );
          expect(invoice.lines.find((line) => line.unit === unit)?.quantity ?? ZERO).toEqual(wanted);
        }
        for (const line of invoice.lines) {
          expect((await explainLine(test.db, invoice.invoice.id, line.id)).recomputed.same).toBe(true);
        }
        const unrated = invoice.unrated.map((row) => getExact(row.quantity));
        const seconds = used.filter((one) => one.unit === 'audio_seconds');
        expect(sum(unrated)).toEqual(sum(seconds.map((one) => getExact(`${one.quantity}${one.scale}`))));
      }),
      { numRuns: 15 },
    );
  });
});

describe('an event and the close of its period, on a server', () => {
  let test: TestDatabase;
  let world: BillingWorld;
  beforeAll(async () => {
    test = await testDatabase('postgres');
    world = billingWorld(test.db, START);
  });
  afterAll(() => test.drop());

  const waiting = async () =>
    vi.waitFor(
      async () => {
        const rows = await test.db.query(sql`
          select 1 from pg_locks join pg_database on pg_database.oid = pg_locks.database
          where locktype = 'advisory' and not granted and datname = current_database()`);
        expect(rows).toHaveLength(1);
      },
      { timeout: 10_000, interval: 10 },
    );

  it('meet in the order of the lock: a batch that is half taken when the close begins is on the invoice', async () => {
    const { id, subscription } = await world.customer();
    const key = { subscription_id: subscription.id, period_index: 0 };
    let closing: Promise<unknown> = Promise.resolve();
    await test.db.transaction(async (tx) => {
      await ingest(tx, [usageEvent({ customer: id, atMs: START, quantities: { input_tokens: '5' } })], CLOSE);
      closing = closePeriod(test.db, key, CLOSE, CLOSE_GRACE_MS);
      await waiting();
    });
    await closing;
    const period = await getPeriod(test.db, key);
    expect(await billedUsageOf(test.db, period)).toMatchObject([{ quantity: exact(5n) }]);
    expect(await lateUsageOf(test.db, period)).toEqual([]);
  });

  it('meet in the order of the lock: a batch that begins when the close has read usage is late', async () => {
    world.clock.nowMs = START;
    const { id, subscription } = await world.customer();
    const key = { subscription_id: subscription.id, period_index: 0 };
    let taking: Promise<unknown> = Promise.resolve();
    const slow = interceptedDatabase(test.db, async (_, what) => {
      if (!what.includes('insert into invoice_line')) return;
      taking = ingest(test.db, [usageEvent({ customer: id, atMs: START, quantities: { input_tokens: '5' } })], CLOSE);
      await waiting();
    });
    await closePeriod(slow, key, CLOSE, CLOSE_GRACE_MS);
    await taking;
    const period = await getPeriod(test.db, key);
    expect(await billedUsageOf(test.db, period)).toEqual([]);
    expect(await lateUsageOf(test.db, period)).toMatchObject([{ quantity: exact(5n) }]);
  });
});
