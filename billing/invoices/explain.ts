import type { Database } from '#billing/db/database.ts';
import { findPriceById, type StoredPrice } from '#billing/plans/plan.ts';
import { formatFraction, formatNanosExact } from '#billing/rating/exact-amount.ts';
import type { Period } from '#billing/subscriptions/period.ts';
import { compare } from '#core/exact.ts';
import { Fault } from '#core/fault.ts';
import type { Money } from '#core/money.ts';
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
  const rating = await ratePeriod(db, detail.period);
  const again = rating.lines.find((candidate) => (candidate.charge?.price_id ?? null) === line.price_id);
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

/** A usage line with what selects the usage below it. */
export async function getUsageLine(
  db: Database,
  invoiceId: string,
  lineId: string,
): Promise<{ period: Period; usage: { unit: string; models: string[] } }> {
  const { line, period } = await getLine(db, invoiceId, lineId);
  if (line.unit === null) throw new Fault('not_found', { detail: 'A fee has no usage below it.' });
  return { period, usage: { unit: line.unit, models: line.models.map(({ model }) => model) } };
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
