import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from '#billing/db/database.ts';
import { CLOSE_GRACE_MS } from '#billing/jobs/close-periods.ts';
import { listLateEvents } from '#billing/late-usage/late-usage.ts';
import { endSubscription } from '#billing/subscriptions/subscription.ts';
import { formatAmount } from '#core/money.ts';
import { type BillingWorld, billingWorld, TOKEN_PLAN } from '#test/support/billing-world.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import {
  closePeriod,
  finalizeInvoice,
  getInvoiceDetail,
  type InvoiceDetail,
  listInvoices,
  voidInvoice,
} from './invoice.ts';

const at = (text: string) => Date.parse(text);

describe.each(DATABASE_KINDS)('an invoice on %s', (kind) => {
  let test: TestDatabase;
  let world: BillingWorld;
  beforeAll(async () => {
    test = await testDatabase(kind);
    world = billingWorld(test.db, at('2026-01-01T00:00:00Z'));
  });
  afterAll(() => test.drop());

  const invoicesOf = async (customer: string): Promise<InvoiceDetail[]> => {
    const rows = await listInvoices(test.db, { customer, count: 100 });
    rows.sort((a, b) => a.period_index - b.period_index);
    return Promise.all(rows.map((row) => getInvoiceDetail(test.db, row.id)));
  };
  const amountsOf = ({ invoice, lines }: InvoiceDetail) =>
    lines.map((line) => formatAmount({ nanos: line.amount_nanos, currency: invoice.currency }));
  const totalOf = ({ invoice }: InvoiceDetail) =>
    formatAmount({ nanos: invoice.total_nanos, currency: invoice.currency });

  it('bills the fee and the usage of its period, each line rounded once, and sums what is printed', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const { id } = await world.customer();
    world.clock.nowMs = at('2026-01-31T23:59:59.999Z');
    await world.use(id, at('2026-01-15T10:00:00Z'), { calls: '1', input_tokens: '1234567', output_tokens: '1001' });
    await world.use(id, at('2026-01-31T23:59:59.999Z'), { calls: '1', input_tokens: '1' }, 'claude');
    await world.use(id, at('2026-02-01T00:00:00Z') - 12 * 86_400_000, { calls: '1', output_tokens: '500' });
    world.clock.nowMs = at('2026-02-01T00:30:00Z');
    await world.use(id, at('2026-02-01T00:00:00Z'), { calls: '1', input_tokens: '9000000' });
    expect(await invoicesOf(id)).toEqual([]);
    world.clock.nowMs = at('2026-02-01T01:00:00Z');
    await world.close();
    const [invoice, ...others] = await invoicesOf(id);
    expect(others).toEqual([]);
    if (!invoice) throw new Error('no invoice');
    // 1,234,568 x 2.5 / million = 3.08642; 1,501 x 10 / million = 0.01501
    expect(amountsOf(invoice)).toEqual(['20.00', '3.09', '0.02']);
    expect(totalOf(invoice)).toBe('23.11');
    expect(invoice.invoice).toMatchObject({ state: 'open', finalized_at: world.clock.nowMs });
    expect(invoice.lines[1]).toMatchObject({
      unit: 'input_tokens',
      quantity: { num: 1_234_568n, den: 1n },
      exact: { num: 3_086_420_000n, den: 1n },
      models: [
        { model: 'claude', quantity: '1', amount_exact: '0.0000025' },
        { model: 'gpt-4o', quantity: '1234567', amount_exact: '3.0864175' },
      ],
    });
  });

  it('cuts hours where its period begins and ends in the middle of one', async () => {
    world.clock.nowMs = at('2026-03-05T10:17:30.500Z');
    const { id } = await world.customer({ zone: 'Asia/Kolkata', plan: { ...TOKEN_PLAN, fee: null } });
    world.clock.nowMs = at('2026-04-04T18:00:00Z');
    const tokens = { input_tokens: '1000000' };
    await world.use(id, at('2026-03-05T10:17:30.499Z'), tokens);
    await world.use(id, at('2026-03-05T10:17:30.500Z'), tokens);
    await world.use(id, at('2026-03-05T10:59:59.999Z'), tokens);
    await world.use(id, at('2026-03-05T11:00:00.000Z'), tokens);
    await world.use(id, at('2026-04-04T17:59:59.999Z'), tokens);
    await world.use(id, at('2026-04-04T18:00:00.000Z'), tokens);
    await world.use(id, at('2026-04-04T18:29:59.999Z'), tokens);
    await world.use(id, at('2026-04-04T18:30:00.000Z'), tokens);
    world.clock.nowMs = at('2026-04-05T00:00:00Z');
    await world.close();
    const [invoice] = await invoicesOf(id);
    expect(invoice?.lines.map((line) => line.quantity.num)).toEqual([6_000_000n]);
    world.clock.nowMs = at('2026-05-05T00:00:00Z');
    await world.close();
    expect((await invoicesOf(id))[1]?.lines.map((line) => line.quantity.num)).toEqual([1_000_000n]);
  });

  it('lists usage without a price beside its lines, and exists for it alone', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const { id } = await world.customer({
      plan: { charges: [{ meter: 'input_tokens', model: 'gpt-*', price: { kind: 'unit', amount: '1' } }] },
    });
    world.clock.nowMs = at('2026-01-10T00:00:00Z');
    await world.use(id, at('2026-01-05T00:00:00Z'), { calls: '1', input_tokens: '5', images: '1.5' }, 'claude');
    world.clock.nowMs = at('2026-02-02T00:00:00Z');
    await world.close();
    const [invoice] = await invoicesOf(id);
    expect(invoice?.lines).toEqual([]);
    expect(invoice?.unrated).toEqual([
      { model: 'claude', unit: 'images', quantity: '1.5' },
      { model: 'claude', unit: 'input_tokens', quantity: '5' },
    ]);
  });

  it('is not made for a period with nothing to bill', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const { id } = await world.customer({ plan: {} });
    world.clock.nowMs = at('2026-02-02T00:00:00Z');
    await world.close();
    expect(await invoicesOf(id)).toEqual([]);
  });

  it('is made once for each of several periods that are due, in their order', async () => {
    world.clock.nowMs = at('2025-10-31T09:00:00Z');
    const { id } = await world.customer({ zone: 'Europe/Paris' });
    world.clock.nowMs = at('2026-02-28T02:00:00Z');
    await world.close();
    await world.close();
    const invoices = await invoicesOf(id);
    expect(invoices.map(({ period }) => new Date(period.end_at).toISOString())).toEqual([
      '2025-11-29T23:00:00.000Z',
      '2025-12-30T23:00:00.000Z',
      '2026-01-30T23:00:00.000Z',
      '2026-02-27T23:00:00.000Z',
    ]);
    expect(new Set(invoices.map(({ invoice }) => invoice.number)).size).toBe(4);
  });

  it('prorates the fee of a first part of a month, exactly, and of a last one', async () => {
    world.clock.nowMs = at('2026-03-15T00:00:00Z');
    const { id, subscription } = await world.customer({ plan: { fee: '10' }, billingDay: 'calendar' });
    world.clock.nowMs = at('2026-04-12T06:00:00Z');
    await world.close();
    await test.db.transaction((tx) => endSubscription(tx, subscription.id, world.clock.nowMs, world.clock.nowMs));
    world.clock.nowMs = at('2026-06-01T00:00:00Z');
    await world.close();
    const invoices = await invoicesOf(id);
    expect(invoices.map((invoice) => [amountsOf(invoice), invoice.lines[0]?.exact])).toEqual([
      [['5.48'], { num: 170_000_000_000n, den: 31n }],
      [['4.00'], { num: 4_000_000_000n, den: 1n }],
    ]);
    expect(invoices[0]?.lines[0]?.steps[0]?.formula).toBe('10.00 x 17/31');
  });

  it('is one, however many workers close its period at the same time', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const { id, subscription } = await world.customer();
    world.clock.nowMs = at('2026-02-03T00:00:00Z');
    const key = { subscription_id: subscription.id, period_index: 0 };
    const outcomes = await Promise.all(
      Array.from({ length: 6 }, () => closePeriod(test.db, key, world.clock.nowMs, CLOSE_GRACE_MS)),
    );
    expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual([
      'closed_before',
      'closed_before',
      'closed_before',
      'closed_before',
      'closed_before',
      'invoiced',
    ]);
    expect(await invoicesOf(id)).toHaveLength(1);
  });

  it('has a number of a series without gaps, also where many are finalised at once', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const customers = [];
    for (let i = 0; i < 8; i++) customers.push(await world.customer());
    world.clock.nowMs = at('2026-02-03T00:00:00Z');
    await Promise.all(
      customers.map(({ subscription }) =>
        closePeriod(test.db, { subscription_id: subscription.id, period_index: 0 }, world.clock.nowMs, CLOSE_GRACE_MS),
      ),
    );
    const numbers = await test.db.query<{ number: string }>(
      sql`select number from invoice where number is not null order by number`,
    );
    expect(numbers.map(({ number }) => number)).toEqual(numbers.map((_, i) => `INV-${String(i + 1).padStart(6, '0')}`));
  });

  it('stays a draft where the policy wants a person, takes in what comes meanwhile, and is final after that', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const { id } = await world.customer({ policies: { finalization: 'manual' } });
    world.clock.nowMs = at('2026-02-01T02:00:00Z');
    await world.close();
    const [draft] = await invoicesOf(id);
    if (!draft) throw new Error('no draft');
    expect(draft.invoice).toMatchObject({ state: 'draft', number: null });
    await world.use(id, at('2026-01-20T00:00:00Z'), { input_tokens: '2000000' });
    const finalize = () => test.db.transaction((tx) => finalizeInvoice(tx, draft.invoice.id, world.clock.nowMs));
    await finalize();
    await finalize();
    const [invoice] = await invoicesOf(id);
    if (!invoice) throw new Error('no invoice');
    expect(totalOf(invoice)).toBe('25.00');
    expect(invoice.invoice.state).toBe('open');
    await world.use(id, at('2026-01-20T00:00:00Z'), { input_tokens: '2000000' });
    await finalize();
    expect((await invoicesOf(id)).map(totalOf)).toEqual(['25.00']);
    const late = await listLateEvents(test.db, invoice.period, { after: undefined, count: 10 });
    expect(late.map((event) => event.quantities)).toEqual([{ input_tokens: '2000000' }]);
  });

  it('is void once taken back, keeps its number, and its period is not billed again', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const { id } = await world.customer();
    world.clock.nowMs = at('2026-02-01T02:00:00Z');
    await world.close();
    const [open] = await invoicesOf(id);
    if (!open) throw new Error('no invoice');
    const taken = () => test.db.transaction((tx) => voidInvoice(tx, open.invoice.id, world.clock.nowMs));
    expect(await taken()).toEqual(await taken());
    await world.close();
    const invoices = await invoicesOf(id);
    expect(invoices.map(({ invoice }) => [invoice.state, invoice.number])).toEqual([['void', open.invoice.number]]);
    await expect(
      test.db.transaction((tx) => finalizeInvoice(tx, open.invoice.id, world.clock.nowMs)),
    ).rejects.toMatchObject({ code: 'state_conflict' });
  });

  it('cannot be changed by any statement once it is final', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const { id } = await world.customer();
    world.clock.nowMs = at('2026-02-01T02:00:00Z');
    await world.close();
    const [open] = await invoicesOf(id);
    const invoiceId = open?.invoice.id ?? '';
    for (const statement of [
      sql`update invoice set total_nanos = 0 where id = ${invoiceId}`,
      sql`update invoice set state = 'draft', number = null, finalized_at = null where id = ${invoiceId}`,
      sql`delete from invoice where id = ${invoiceId}`,
      sql`update invoice_line set amount_nanos = 0 where invoice_id = ${invoiceId}`,
      sql`delete from invoice_line where invoice_id = ${invoiceId}`,
      sql`insert into invoice_unrated values (${invoiceId}, 'm', 'u', 1)`,
    ]) {
      await expect(test.db.query(statement)).rejects.toThrow();
    }
    expect((await invoicesOf(id)).map(totalOf)).toEqual(['20.00']);
  });
});
