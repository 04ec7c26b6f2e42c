import type { Database } from '#billing/db/database.ts';
import { lockCustomer } from '#billing/db/lock.ts';
import { CLOSE_GRACE_MS_MIN, markAdjusted } from '#billing/late-usage/late-usage.ts';
import { modelsInText, stepsInText } from '#billing/rating/exact-amount.ts';
import { type DocumentLine, taxOn, type UsageQuantity } from '#billing/rating/rating.ts';
import {
  getPeriod,
  markPeriodBilled,
  markPeriodClosed,
  type Period,
  type PeriodKey,
} from '#billing/subscriptions/period.ts';
import { formatExact } from '#core/exact.ts';
import { Fault } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import { addMoney, type Money } from '#core/money.ts';
import { type Adjustment, type Adjustments, adjustmentsOn } from './adjustments.ts';
import { ratePeriod } from './period-rating.ts';
import {
  type AdjustsRow,
  deleteContents,
  findInvoice,
  type InvoiceRow,
  type InvoiceState,
  insertInvoice,
  insertLine,
  insertUnrated,
  type LineRow,
  listInvoiceRows,
  listLines,
  listUnrated,
  nextNumber,
  type UnratedRow,
  updateInvoiceFinalized,
  updateInvoiceTotal,
  updateInvoiceVoid,
} from './store.ts';

/** draft: rated again when it is finalised. open: has its number and never changes. void: was taken back, number and all. */
export type Invoice = InvoiceRow;
export type InvoiceLine = LineRow;

export interface InvoiceDetail {
  invoice: Invoice;
  period: Period;
  lines: InvoiceLine[];
  unrated: UnratedRow[];
}

/** One series for all invoices of this Weir. */
const SERIES = 'invoice';

/** empty: there was nothing to bill and nothing unrated, so the period closed without an invoice. */
export type CloseOutcome =
  | { outcome: 'invoiced'; invoiceId: string }
  | { outcome: 'empty' | 'closed_before' | 'not_due' };

/**
 * Closes a period: its invoice, and by policy the invoice's number, all in one transaction under the customer's lock.
 * Closing again, at the same time or after any failure, finds it closed or does it then; the unique
 * index on invoice stands behind that.
 */
export async function closePeriod(db: Database, key: PeriodKey, nowMs: number, graceMs: number): Promise<CloseOutcome> {
  if (graceMs < CLOSE_GRACE_MS_MIN) throw new RangeError('the grace is shorter than what the ingest relies on');
  return db.transaction(async (tx): Promise<CloseOutcome> => {
    await lockCustomer(tx, (await getPeriod(tx, key)).customer_id);
    // Read again: only now does nobody else close it, and no batch of events is half taken.
    const period = await getPeriod(tx, key);
    if (period.closed_at !== null) return { outcome: 'closed_before' };
    if (period.end_at + graceMs > nowMs) return { outcome: 'not_due' };
    const contents = await contentsOf(tx, period);
    await markPeriodClosed(tx, period, nowMs);
    if (contents.lines.length === 0 && contents.unrated.length === 0) {
      await markAdjusted(tx, contents.adjusted);
      return { outcome: 'empty' };
    }
    const id = newId('inv', nowMs);
    const { currency, nanos } = contents.total;
    const sums = { total_nanos: nanos, tax_nanos: contents.tax.nanos };
    await insertInvoice(tx, { id, currency, ...sums, created_at: nowMs }, period);
    await insertContents(tx, id, contents, nowMs);
    if (period.policies.finalization === 'automatic') {
      await giveNumber(tx, id, nowMs);
      await markAdjusted(tx, contents.adjusted);
    }
    return { outcome: 'invoiced', invoiceId: id };
  });
}

/**
 * Makes a draft final: rates it once more, with what came since it was drafted, and gives it its number. Finalising
 * again is finalising once.
 */
export async function finalizeInvoice(tx: Database, id: string, nowMs: number): Promise<Invoice> {
  const invoice = await lockInvoice(tx, id);
  if (invoice.state === 'open') return invoice;
  if (invoice.state === 'void') throw new Fault('state_conflict', { detail: `Invoice ${id} is void.` });
  const period = await getPeriod(tx, invoice);
  const contents = await contentsOf(tx, period);
  await deleteContents(tx, id);
  await insertContents(tx, id, contents, nowMs);
  await updateInvoiceTotal(tx, id, contents.total.nanos, contents.tax.nanos);
  await giveNumber(tx, id, nowMs);
  await markAdjusted(tx, contents.adjusted);
  await markPeriodBilled(tx, period);
  return getInvoice(tx, id);
}

/** Takes an invoice back. It stays in sight, and its period is not billed again. Voiding again is voiding once. */
export async function voidInvoice(tx: Database, id: string, nowMs: number): Promise<Invoice> {
  await lockInvoice(tx, id);
  await updateInvoiceVoid(tx, id, nowMs);
  return getInvoice(tx, id);
}

async function giveNumber(tx: Database, id: string, nowMs: number): Promise<void> {
  const number = await nextNumber(tx, SERIES);
  await updateInvoiceFinalized(tx, id, `INV-${number.toString().padStart(6, '0')}`, nowMs);
}

/** All that stands on the invoice of a period: what it comes to, and what earlier periods still lack. */
export interface InvoiceContents {
  lines: readonly (DocumentLine | Adjustment)[];
  tax: Money;
  /** The printed lines and the tax. */
  total: Money;
  unrated: readonly UsageQuantity[];
  adjusted: Adjustments['adjusted'];
}

export async function contentsOf(db: Database, period: Period): Promise<InvoiceContents> {
  const { lines, total, unrated } = await ratePeriod(db, period);
  const { lines: adjustments, adjusted } = await adjustmentsOn(db, period, total.currency);
  const net = adjustments.reduce((sum, { rounded }) => addMoney(sum, rounded), total);
  const tax = taxOn(net, period.policies);
  return { lines: [...lines, ...adjustments], tax, total: addMoney(net, tax), unrated, adjusted };
}

async function insertContents(tx: Database, invoiceId: string, rating: InvoiceContents, nowMs: number): Promise<void> {
  for (const [position, line] of rating.lines.entries()) {
    await insertLine(tx, {
      id: newId('line', nowMs),
      invoice_id: invoiceId,
      position,
      kind: line.kind,
      price_id: line.charge?.price_id ?? null,
      quantity: line.quantity,
      exact: line.amount,
      amount_nanos: line.rounded.nanos,
      steps: stepsInText(line),
      models: modelsInText(line),
      adjusts: line.kind === 'adjustment' ? adjustsOf(line) : null,
    });
  }
  for (const { model, unit, quantity } of rating.unrated) {
    await insertUnrated(tx, invoiceId, { model, unit, quantity: formatExact(quantity) });
  }
}

function adjustsOf({ period, lateSeq, billed }: Adjustment): AdjustsRow {
  const { subscription_id, period_index } = period;
  return { subscription_id, period_index, late_seq: lateSeq, billed };
}

export async function getInvoice(db: Database, id: string): Promise<Invoice> {
  const invoice = await findInvoice(db, id);
  if (!invoice) throw new Fault('not_found', { detail: `There is no invoice ${id}.` });
  return invoice;
}

/** Latest first. */
export async function listInvoices(
  db: Database,
  page: {
    customer?: string | undefined;
    subscription?: string | undefined;
    state?: InvoiceState | undefined;
    before?: string | undefined;
    count: number;
  },
): Promise<Invoice[]> {
  return listInvoiceRows(db, page);
}

export async function getInvoiceDetail(db: Database, id: string): Promise<InvoiceDetail> {
  const invoice = await getInvoice(db, id);
  return {
    invoice,
    period: await getPeriod(db, invoice),
    lines: await listLines(db, id),
    unrated: await listUnrated(db, id),
  };
}

async function lockInvoice(tx: Database, id: string): Promise<Invoice> {
  await lockCustomer(tx, (await getInvoice(tx, id)).customer_id);
  return getInvoice(tx, id);
}
