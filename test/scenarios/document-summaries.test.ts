import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyConfig } from '#billing/apply-config.ts';
import { ingest } from '#billing/events/ingest.ts';
import { explainLine } from '#billing/invoices/explain.ts';
import { getInvoiceDetail, type InvoiceDetail, listInvoices } from '#billing/invoices/invoice.ts';
import { CLOSE_GRACE_MS, closeDuePeriods } from '#billing/jobs/close-periods.ts';
import { createSimulation, runSimulations } from '#billing/simulations/simulation.ts';
import { listSimulationCustomers } from '#billing/simulations/store.ts';
import { getConfig } from '#config/load.ts';
import { SILENT } from '#core/log.ts';
import { formatAmount } from '#core/money.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';

const FILE = new URL('../../examples/document-summaries.yaml', import.meta.url);
const at = (text: string) => Date.parse(text);
const MARCH = at('2026-03-01T00:00:00Z');
/** When the last of the three months of March has ended, in New York. */
const APRIL = at('2026-04-01T04:00:00Z') + CLOSE_GRACE_MS;

interface Batch {
  customer: string;
  model: string;
  documents: number;
  fromMs: number;
  outputTokens: string;
  /** Of each document. */
  cost: string;
}

/** docs/examples/document-summaries.md computes what these come to, by hand. */
const USAGE: readonly Batch[] = [
  {
    customer: 'law-firm',
    model: 'summary-fast',
    documents: 900,
    fromMs: MARCH + 6e7,
    outputTokens: '700',
    cost: '0.0011',
  },
  {
    customer: 'law-firm',
    model: 'summary-thorough',
    documents: 600,
    fromMs: at('2026-03-20T00:00:00Z'),
    outputTokens: '900',
    cost: '0.0214',
  },
  {
    customer: 'publisher',
    model: 'summary-fast',
    documents: 1_310,
    fromMs: MARCH + 6e7,
    outputTokens: '900',
    cost: '0.0011',
  },
  {
    customer: 'publisher',
    model: 'summary-thorough',
    documents: 401,
    fromMs: at('2026-03-09T00:00:00Z'),
    outputTokens: '14000',
    cost: '0.0987654',
  },
  {
    customer: 'archive',
    model: 'summary-thorough',
    documents: 1_000,
    fromMs: at('2026-03-02T00:00:00Z'),
    outputTokens: '800',
    cost: '0.2013',
  },
  {
    customer: 'archive',
    model: 'summary-fast',
    documents: 777,
    fromMs: at('2026-03-17T00:00:00Z'),
    outputTokens: '800',
    cost: '0.3333333',
  },
];

describe.each(DATABASE_KINDS)(
  'three customers of a product that summarises documents, on %s',
  { timeout: 120_000 },
  (kind) => {
    let test: TestDatabase;
    beforeAll(async () => {
      test = await testDatabase(kind);
      const config = await getConfig(readFileSync(FILE, 'utf8'), {
        env: { OPENAI_API_KEY: 'sk-none' },
        file: 'document-summaries.yaml',
      });
      await applyConfig(test.db, config, MARCH + 6 * 3_600_000);
      for (const batch of USAGE) await send(batch, APRIL - 5 * 86_400_000);
      await closeDuePeriods(test.db, { nowMs: APRIL, log: SILENT });
    });
    afterAll(() => test.drop());

    const send = async (batch: Batch, nowMs: number) => {
      const events = Array.from({ length: batch.documents }, (_, i) =>
        usageEvent({
          customer: batch.customer,
          model: batch.model,
          atMs: batch.fromMs + i * 1_000,
          quantities: { calls: '1', output_tokens: batch.outputTokens },
          cost: { amount: batch.cost, currency: 'USD' },
        }),
      );
      for (let i = 0; i < events.length; i += 500) {
        const results = await ingest(test.db, events.slice(i, i + 500), nowMs);
        expect(results.filter(({ status }) => status !== 'accepted')).toEqual([]);
      }
    };
    const invoicesOf = async (customer: string): Promise<InvoiceDetail[]> => {
      const rows = (await listInvoices(test.db, { customer, count: 10 })).reverse();
      return Promise.all(rows.map(({ id }) => getInvoiceDetail(test.db, id)));
    };
    const printed = ({ invoice, lines }: InvoiceDetail) => ({
      lines: lines.map((line) => formatAmount({ nanos: line.amount_nanos, currency: 'USD' })),
      total: formatAmount({ nanos: invoice.total_nanos, currency: 'USD' }),
    });

    it.each([
      ['law-firm', ['199.00', '2175.00'], '2374.00'],
      ['publisher', ['999.00', '150.00', '99.00', '600.00', '250.00'], '2098.00'],
      ['archive', ['608.45'], '608.45'],
    ])('bills %s %j: %s', async (customer, lines, total) => {
      expect((await invoicesOf(customer)).map(printed)).toEqual([{ lines, total }]);
    });

    it('explains every line to the same figure', async () => {
      for (const { customer } of USAGE) {
        for (const { invoice, lines } of await invoicesOf(customer)) {
          for (const line of lines) {
            expect((await explainLine(test.db, invoice.id, line.id)).recomputed.same).toBe(true);
          }
        }
      }
    });

    it('says what the month would have been on another plan', async () => {
      const question = {
        fromMs: MARCH - 86_400_000,
        toMs: APRIL,
        plans: { '*': { plan: 'pay-as-you-go' } },
        models: [],
        costs: [],
      };
      const { id } = await test.db.transaction((tx) => createSimulation(tx, question, APRIL));
      await runSimulations(test.db, APRIL);
      const rows = await listSimulationCustomers(test.db, id, { after: '', count: 10 });
      const march = rows.map(({ customer_id, revenue_before_nanos, revenue_after_nanos }) => [
        customer_id,
        formatAmount({ nanos: revenue_before_nanos, currency: 'USD' }),
        formatAmount({ nanos: revenue_after_nanos, currency: 'USD' }),
      ]);
      // Each has begun a second period by then, with its fee or minimum and nothing used.
      expect(march).toEqual([
        ['archive', '1008.45', '2946.95'],
        ['law-firm', '2573.00', '2573.00'],
        ['publisher', '3097.00', '2857.85'],
      ]);
    });

    it('adds what comes late to the next invoice, at the tier that it reaches', async () => {
      await send(
        {
          customer: 'law-firm',
          model: 'summary-fast',
          documents: 10,
          fromMs: at('2026-03-25T00:00:00Z'),
          outputTokens: '1',
          cost: '0',
        },
        APRIL,
      );
      await closeDuePeriods(test.db, { nowMs: at('2026-05-01T04:00:00Z') + CLOSE_GRACE_MS, log: SILENT });
      expect((await invoicesOf('law-firm')).map(printed)[1]).toEqual({ lines: ['199.00', '13.50'], total: '212.50' });
    });
  },
);
