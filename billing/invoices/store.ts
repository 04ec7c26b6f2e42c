import { type Database, findRow, getRow, instant, json, sql } from '#billing/db/database.ts';
import type { Period } from '#billing/subscriptions/period.ts';
import { type Exact, exact } from '#core/exact.ts';

export type InvoiceState = 'draft' | 'open' | 'void';

export interface InvoiceRow {
  id: string;
  subscription_id: string;
  period_index: number;
  kind: 'period';
  customer_id: string;
  state: InvoiceState;
  number: string | null;
  currency: string;
  total_nanos: bigint;
  created_at: number;
  finalized_at: number | null;
  voided_at: number | null;
}

const INVOICE = sql`
  select id, subscription_id, period_index, kind, customer_id, state, number, currency, total_nanos, created_at,
         finalized_at, voided_at
  from invoice`;

type RawInvoice = Omit<InvoiceRow, 'total_nanos'> & { total_nanos: string };

export async function insertInvoice(
  db: Database,
  row: Pick<InvoiceRow, 'id' | 'currency' | 'total_nanos' | 'created_at'>,
  period: Pick<Period, 'subscription_id' | 'period_index' | 'customer_id'>,
): Promise<void> {
  await db.query(sql`
    insert into invoice
      (id, subscription_id, period_index, kind, customer_id, state, currency, total_nanos, created_at)
    values (${row.id}, ${period.subscription_id}, ${period.period_index}, 'period', ${period.customer_id}, 'draft',
            ${row.currency}, ${row.total_nanos}, ${instant(row.created_at)})`);
}

export async function findInvoice(db: Database, id: string): Promise<InvoiceRow | undefined> {
  const row = await findRow<RawInvoice>(db, sql`${INVOICE} where id = ${id}`);
  return row && invoiceOf(row);
}

/** Latest first. */
export async function listInvoiceRows(
  db: Database,
  page: {
    customer?: string | undefined;
    subscription?: string | undefined;
    state?: InvoiceState | undefined;
    before?: string | undefined;
    count: number;
  },
): Promise<InvoiceRow[]> {
  const { customer = null, subscription = null, state = null, before = null } = page;
  const rows = await db.query<RawInvoice>(sql`
    ${INVOICE}
    where (${before}::text is null or id < ${before}) and (${customer}::text is null or customer_id = ${customer})
      and (${subscription}::text is null or subscription_id = ${subscription})
      and (${state}::text is null or state = ${state})
    order by id desc limit ${page.count}`);
  return rows.map(invoiceOf);
}

function invoiceOf(row: RawInvoice): InvoiceRow {
  return { ...row, total_nanos: BigInt(row.total_nanos) };
}

export async function updateInvoiceTotal(db: Database, id: string, totalNanos: bigint): Promise<void> {
  await db.query(sql`update invoice set total_nanos = ${totalNanos} where id = ${id}`);
}

/** The next number of a series. The row stays locked to the end of the transaction: no number is lost or given twice. */
export async function nextNumber(db: Database, series: string): Promise<bigint> {
  const row = await getRow<{ last_number: bigint }>(
    db,
    sql`update document_series set last_number = last_number + 1 where series = ${series} returning last_number`,
  );
  return row.last_number;
}

export async function updateInvoiceFinalized(db: Database, id: string, number: string, nowMs: number): Promise<void> {
  await db.query(sql`
    update invoice set state = 'open', number = ${number}, finalized_at = ${instant(nowMs)}
    where id = ${id} and state = 'draft'`);
}

export async function updateInvoiceVoid(db: Database, id: string, nowMs: number): Promise<void> {
  await db.query(sql`
    update invoice set state = 'void', voided_at = ${instant(nowMs)} where id = ${id} and state <> 'void'`);
}

export interface LineRow {
  id: string;
  invoice_id: string;
  position: number;
  kind: 'fee' | 'usage';
  price_id: string | null;
  /** Of the price. */
  meter: string | null;
  unit: string | null;
  model: string | null;
  quantity: Exact;
  /** Nanos before rounding. */
  exact: Exact;
  amount_nanos: bigint;
  steps: { formula: string; quantity: string; amount_exact: string }[];
  models: { model: string; quantity: string; amount_exact: string }[];
}

export async function insertLine(db: Database, row: Omit<LineRow, 'meter' | 'unit' | 'model'>): Promise<void> {
  await db.query(sql`
    insert into invoice_line
      (id, invoice_id, position, kind, price_id, quantity_num, quantity_den, exact_num, exact_den, amount_nanos, steps,
       models)
    values (${row.id}, ${row.invoice_id}, ${row.position}, ${row.kind}, ${row.price_id}, ${row.quantity.num},
            ${row.quantity.den}, ${row.exact.num}, ${row.exact.den}, ${row.amount_nanos}, ${json(row.steps)},
            ${json(row.models)})`);
}

type RawLine = Omit<LineRow, 'quantity' | 'exact' | 'amount_nanos'> & {
  quantity_num: string;
  quantity_den: string;
  exact_num: string;
  exact_den: string;
  amount_nanos: string;
};

export async function listLines(db: Database, invoiceId: string): Promise<LineRow[]> {
  const rows = await db.query<RawLine>(sql`
    select invoice_line.id, invoice_id, invoice_line.position, kind, price_id, price.meter, price.unit, price.model,
           quantity_num, quantity_den, exact_num, exact_den, amount_nanos, steps, models
    from invoice_line left join price on price.id = price_id
    where invoice_id = ${invoiceId} order by invoice_line.position`);
  return rows.map(({ quantity_num, quantity_den, exact_num, exact_den, amount_nanos, ...row }) => ({
    ...row,
    quantity: exact(BigInt(quantity_num), BigInt(quantity_den)),
    exact: exact(BigInt(exact_num), BigInt(exact_den)),
    amount_nanos: BigInt(amount_nanos),
  }));
}

export interface UnratedRow {
  model: string;
  unit: string;
  quantity: string;
}

export async function insertUnrated(db: Database, invoiceId: string, row: UnratedRow): Promise<void> {
  await db.query(sql`
    insert into invoice_unrated (invoice_id, model, unit, quantity)
    values (${invoiceId}, ${row.model}, ${row.unit}, ${row.quantity})`);
}

export async function listUnrated(db: Database, invoiceId: string): Promise<UnratedRow[]> {
  return db.query<UnratedRow>(sql`
    select model, unit, trim_scale(quantity) as quantity from invoice_unrated
    where invoice_id = ${invoiceId} order by unit, model`);
}

export async function deleteContents(db: Database, invoiceId: string): Promise<void> {
  await db.query(sql`delete from invoice_line where invoice_id = ${invoiceId}`);
  await db.query(sql`delete from invoice_unrated where invoice_id = ${invoiceId}`);
}
