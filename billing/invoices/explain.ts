import { AS_INVOICED } from '#billing/billed-usage/billed-usage.ts';
import type { Database } from '#billing/db/database.ts';
import { findPriceById, type StoredPrice } from '#billing/plans/plan.ts';
import { formatFraction, formatNanosExact } from '#billing/rating/exact-amount.ts';
import type { DocumentLine } from '#billing/rating/rating.ts';
import { getPeriod, type Period } from '#billing/subscriptions/period.ts';
import { compare } from '#core/exact.ts';
import { Fault } from '#core/fault.ts';
import type { Money } from '#core/money.ts';
import { type Adjustment, recomputeAdjustment } from './adjustments.ts';
import { getInvoiceDetail, type InvoiceDetail, type InvoiceLine } from './invoice.ts';
import { ratePeriod } from './period-rating.ts';

/** A line with all that made it, and the same figure computed anew from what is stored below it. */
export interface Explanation extends InvoiceDetail {
  line: InvoiceLine;
  /** Null for the fee. */
  price: StoredPrice | null;
  recomputed: {
    quantity: string;
    amountExact: string;
    amount: Money;
    /** False for a draft when usage came since it was drafted; for anything else that would be a defect. */
    same: boolean;
  };
}

export async function explainLine(db: Database, invoiceId: string, lineId: string): Promise<Explanation> {
  const { line, ...detail } = await getLine(db, invoiceId, lineId);
  const again = await rateAgain(db, detail.period, line);
  if (!again) throw new Fault('internal', { story: `line ${lineId} is gone when its period is rated again` });
  return {
    ...detail,
    line,
    price: line.price_id === null ? null : ((await findPriceById(db, line.price_id)) ?? null),
    recomputed: {
      quantity: formatFraction(again.quantity),
      amountExact: formatNanosExact(again.amount),
      amount: again.rounded,
      same:
        compare(again.quantity, line.quantity) === 0 &&
        compare(again.amount, line.exact) === 0 &&
        again.rounded.nanos === line.amount_nanos,
    },
  };
}

async function rateAgain(
  db: Database,
  period: Period,
  line: InvoiceLine,
): Promise<DocumentLine | Adjustment | undefined> {
  const { adjusts, price_id } = line;
  if (adjusts && price_id !== null) {
    const earlier = await getPeriod(db, adjusts);
    return recomputeAdjustment(db, earlier, adjusts.late_seq, { price_id, ...adjusts.billed });
  }
  const rating = await ratePeriod(db, period);
  return rating.lines.find((candidate) => (candidate.charge?.price_id ?? null) === price_id);
}

/** A usage line with what selects the usage below it. */
export async function getUsageLine(
  db: Database,
  invoiceId: string,
  lineId: string,
): Promise<{ period: Period; lateSeq: bigint; usage: { unit: string; models: string[] } }> {
  const { line, period } = await getLine(db, invoiceId, lineId);
  if (line.unit === null) throw new Fault('not_found', { detail: 'A fee has no usage below it.' });
  const { adjusts } = line;
  return {
    period: adjusts ? await getPeriod(db, adjusts) : period,
    lateSeq: adjusts?.late_seq ?? AS_INVOICED,
    usage: { unit: line.unit, models: line.models.map(({ model }) => model) },
  };
}

async function getLine(
  db: Database,
  invoiceId: string,
  lineId: string,
): Promise<InvoiceDetail & { line: InvoiceLine }> {
  const detail = await getInvoiceDetail(db, invoiceId);
  const line = detail.lines.find((candidate) => candidate.id === lineId);
  if (!line) throw new Fault('not_found', { detail: `Invoice ${invoiceId} has no line ${lineId}.` });
  return { ...detail, line };
}
