import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ingest } from '#billing/events/ingest.ts';
import { explainLine } from '#billing/invoices/explain.ts';
import { contentsOf, getInvoiceDetail, listInvoices } from '#billing/invoices/invoice.ts';
import { CLOSE_GRACE_MS } from '#billing/jobs/close-periods.ts';
import { listLatePeriods } from '#billing/late-usage/late-usage.ts';
import { createMeter } from '#billing/meters/meter.ts';
import { getPeriod } from '#billing/subscriptions/period.ts';
import { meterTerms } from '#config/meter-terms.ts';
import { formatAmount } from '#core/money.ts';
import { type BillingWorld, billingWorld } from '#test/support/billing-world.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { getOutcome, type NewOutcome, recordOutcome, reverseOutcome } from './outcome.ts';

const START = Date.parse('2026-01-01T00:00:00Z');
const FEBRUARY = Date.parse('2026-02-01T00:00:00Z');
const MARCH = Date.parse('2026-03-01T00:00:00Z');
const DAY = 86_400_000;
const EVIDENCE = [{ kind: 'ticket', reference: 'https://desk.example.com/tickets/4711' }];
const charges = [
  {
    meter: 'ticket_resolved',
    price: {
      kind: 'graduated',
      tiers: [
        { up_to: '2', amount: '0.99' },
        { up_to: null, amount: '0.333333' },
      ],
    },
  },
  { meter: 'output_tokens', price: { kind: 'unit', amount: '1', per: '1000' } },
];

describe.each(DATABASE_KINDS)('outcomes on %s', (kind) => {
  let test: TestDatabase;
  let world: BillingWorld;
  beforeAll(async () => {
    test = await testDatabase(kind);
    world = billingWorld(test.db, START);
    const terms = meterTerms.parse({ aggregation: 'sum', unit: 'ticket_resolved' });
    await test.db.transaction((tx) =>
      createMeter(tx, { id: 'ticket_resolved', name: 'Resolved tickets', terms }, START),
    );
  });
  afterAll(() => test.drop());

  const subscribe = async () => {
    world.clock.nowMs = START;
    const { id, subscription } = await world.customer({ plan: { charges } });
    world.clock.nowMs = START + 10 * DAY;
    return {
      id,
      period: (index: number) => getPeriod(test.db, { subscription_id: subscription.id, period_index: index }),
    };
  };
  const record = (customer: string, more: Partial<NewOutcome> = {}) => {
    const wanted = { customer, kind: 'ticket_resolved', quantity: '1', workflow: null, evidence: EVIDENCE };
    return test.db.transaction((tx) =>
      recordOutcome(tx, { ...wanted, reversibleDays: 60, ...more }, world.clock.nowMs),
    );
  };
  const reverse = (id: string) =>
    test.db.transaction((tx) => reverseOutcome(tx, id, { reason: 'Reopened', evidence: [] }, world.clock.nowMs));
  const call = async (customer: string, atMs: number, workflow: string) => {
    const event = usageEvent({ customer, atMs, quantities: { output_tokens: '5000' }, data: { labels: { workflow } } });
    expect(await ingest(test.db, [event], world.clock.nowMs)).toMatchObject([{ status: 'accepted' }]);
  };
  const close = async (atMs: number) => {
    world.clock.nowMs = atMs + CLOSE_GRACE_MS;
    await world.close();
  };
  const invoices = async (customer: string) => {
    const rows = (await listInvoices(test.db, { customer, count: 10 })).reverse();
    return Promise.all(rows.map(({ id }) => getInvoiceDetail(test.db, id)));
  };
  const totals = async (customer: string) =>
    (await invoices(customer)).map(({ invoice }) => formatAmount({ nanos: invoice.total_nanos, currency: 'USD' }));

  it('are charged like usage, keep their evidence, and are the same when they are recorded again', async () => {
    const { id, period } = await subscribe();
    const first = await record(id, { id: 'out_a', atMs: START + DAY });
    expect(await record(id, { id: 'out_a', atMs: START + DAY })).toEqual(first);
    expect(first.evidence).toEqual(EVIDENCE);
    await expect(record(id, { id: 'out_a', quantity: '2' })).rejects.toMatchObject({ code: 'already_exists' });
    await expect(record(id, { kind: 'never_made' })).rejects.toMatchObject({
      code: 'validation_failed',
      issues: [{ pointer: '#/kind' }],
    });
    expect(formatAmount((await contentsOf(test.db, await period(0))).total)).toBe('0.99');
  });

  it('reversed before the invoice were never charged; after it, the next one gives back what they changed', async () => {
    const { id, period } = await subscribe();
    const made = [];
    for (let i = 0; i < 4; i++) made.push(await record(id, { atMs: START + DAY + i }));
    expect(formatAmount((await contentsOf(test.db, await period(0))).total)).toBe('2.65');
    await reverse(made[3]?.id ?? '');
    await close(FEBRUARY);
    await reverse(made[0]?.id ?? '');
    // Again is once.
    await reverse(made[0]?.id ?? '');
    await close(MARCH);
    // Three come to 2.313333, two to 1.98: the difference is the third tier's, and each total is rounded as a whole.
    expect(await totals(id)).toEqual(['2.31', '-0.33']);
    const [, second] = await invoices(id);
    const [line] = second?.lines ?? [];
    expect(line).toMatchObject({ kind: 'adjustment', amount_nanos: -330_000_000n, meter: 'ticket_resolved' });
    const explained = await explainLine(test.db, second?.invoice.id ?? '', line?.id ?? '');
    expect(explained.recomputed).toMatchObject({ same: true, amountExact: '-0.333333', quantity: '-1' });
    expect(await getOutcome(test.db, made[0]?.id ?? '')).toMatchObject({ reversal: { reason: 'Reopened' } });
  });

  it('cannot be reversed after their window', async () => {
    const { id } = await subscribe();
    const { id: outcome } = await record(id, { reversibleDays: 7 });
    world.clock.nowMs += 7 * DAY + 1;
    await expect(reverse(outcome)).rejects.toMatchObject({ code: 'state_conflict' });
  });

  it('that end a workflow are charged instead of its calls, whatever comes first', async () => {
    const { id, period } = await subscribe();
    await call(id, START + DAY, 'wf_1');
    await call(id, START + DAY, 'wf_other');
    const amount = async () => formatAmount((await contentsOf(test.db, await period(0))).total);
    expect(await amount()).toBe('10.00');
    const { id: outcome } = await record(id, { workflow: 'wf_1', atMs: START + 2 * DAY });
    expect(await amount()).toBe('5.99');
    await call(id, START + 3 * DAY, 'wf_1');
    expect(await amount()).toBe('5.99');
    await expect(record(id, { workflow: 'wf_1' })).rejects.toMatchObject({ code: 'already_exists' });
    await reverse(outcome);
    expect(await amount()).toBe('5.00');
  });

  it('that end a workflow after its calls were invoiced give the calls back on the next invoice', async () => {
    const { id, period } = await subscribe();
    await call(id, START + DAY, 'wf_2');
    await close(FEBRUARY);
    await record(id, { workflow: 'wf_2', atMs: FEBRUARY + 60_000 });
    const page = { customer: id, after: undefined, count: 10 };
    expect(await listLatePeriods(test.db, page)).toMatchObject([{ period_index: 0, events: 0n }]);
    // One more call of it, late and covered: it changes nothing.
    await call(id, START + 2 * DAY, 'wf_2');
    await close(MARCH);
    expect(await totals(id)).toEqual(['5.00', '-4.01']);
    for (const { invoice, lines } of await invoices(id)) {
      for (const line of lines) {
        expect((await explainLine(test.db, invoice.id, line.id)).recomputed.same, line.kind).toBe(true);
      }
    }
    expect((await period(0)).closed_at).not.toBeNull();
  });
});
