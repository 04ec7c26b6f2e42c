import { type Database, findRow, getRow, instant, json, sql } from '#billing/db/database.ts';
import type { Period } from '#billing/subscriptions/period.ts';
import { add, type Exact, exact, ZERO } from '#core/exact.ts';

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
  tax_nanos: bigint;
  /** The printed lines and the tax. */
  total_nanos: bigint;
  created_at: number;
  finalized_at: number | null;
  voided_at: number | null;
}

const INVOICE = sql`
  select id, subscription_id, period_index, kind, customer_id, state, number, currency, tax_nanos, total_nanos, created_at,
         finalized_at, voided_at
  from invoice`;

type RawInvoice = Omit<InvoiceRow, 'tax_nanos' | 'total_nanos'> & { tax_nanos: string; total_nanos: string };

export async function insertInvoice(
  db: Database,
  row: Pick<InvoiceRow, 'id' | 'currency' | 'tax_nanos' | 'total_nanos' | 'created_at'>,
  period: Pick<Period, 'subscription_id' | 'period_index' | 'customer_id'>,
): Promise<void> {
  await db.query(sql`
    insert into invoice
      (id, subscription_id, period_index, kind, customer_id, state, currency, tax_nanos, total_nanos, created_at)
    values (${row.id}, ${period.subscription_id}, ${period.period_index}, 'period', ${period.customer_id}, 'draft',
            ${row.currency}, ${row.tax_nanos}, ${row.total_nanos}, ${instant(row.created_at)})`);
}

export async function findInvoice(db: Database, id: string): Promise<InvoiceRow | undefined> {
  const row = await findRow<RawInvoice>(db, sql`${INVOICE} where id = ${id}`);
  return row && invoiceOf(row);
}

/** The invoice of a period; a period closes with one at most. */
export async function findInvoiceOfPeriod(
  db: Database,
  period: Pick<Period, 'subscription_id' | 'period_index'>,
): Promise<InvoiceRow | undefined> {
  const row = await findRow<RawInvoice>(
    db,
    sql`${INVOICE} where subscription_id = ${period.subscription_id} and period_index = ${period.period_index}`,
  );
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
  return { ...row, tax_nanos: BigInt(row.tax_nanos), total_nanos: BigInt(row.total_nanos) };
}

export async function updateInvoiceTotal(
  db: Database,
  id: string,
  totalNanos: bigint,
  taxNanos: bigint,
): Promise<void> {
  await db.query(sql`update invoice set total_nanos = ${totalNanos}, tax_nanos = ${taxNanos} where id = ${id}`);
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

/** Which period an adjustment is for, up to which late row it counts, and what had been billed. */
export interface AdjustsRow {
  subscription_id: string;
  period_index: number;
  late_seq: bigint;
  billed: Omit<BilledRow, 'price_id'>;
}

export interface LineRow {
  id: string;
  invoice_id: string;
  position: number;
  kind: 'fee' | 'usage' | 'adjustment';
  price_id: string | null;
  /** Of an adjustment. */
  adjusts: AdjustsRow | null;
  /** Of the price. */
  name: string | null;
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

export async function insertLine(db: Database, row: Omit<LineRow, 'name' | 'meter' | 'unit' | 'model'>): Promise<void> {
  const { adjusts } = row;
  await db.query(sql`
    insert into invoice_line
      (id, invoice_id, position, kind, price_id, quantity_num, quantity_den, exact_num, exact_den, amount_nanos, steps,
       models, adjusts_subscription, adjusts_period, late_seq, billed_quantity_num, billed_quantity_den, billed_num,
       billed_den, billed_nanos)
    values (${row.id}, ${row.invoice_id}, ${row.position}, ${row.kind}, ${row.price_id}, ${row.quantity.num},
            ${row.quantity.den}, ${row.exact.num}, ${row.exact.den}, ${row.amount_nanos}, ${json(row.steps)},
            ${json(row.models)}, ${adjusts?.subscription_id ?? null}, ${adjusts?.period_index ?? null},
            ${adjusts?.late_seq ?? null}, ${adjusts?.billed.quantity.num ?? null},
            ${adjusts?.billed.quantity.den ?? null}, ${adjusts?.billed.exact.num ?? null}, ${adjusts?.billed.exact.den ?? null},
            ${adjusts?.billed.nanos ?? null})`);
}

type RawLine = Omit<LineRow, 'quantity' | 'exact' | 'amount_nanos' | 'adjusts'> & {
  adjusts_subscription: string | null;
  adjusts_period: number | null;
  late_seq: bigint | null;
  billed_quantity_num: string | null;
  billed_quantity_den: string | null;
  billed_num: string | null;
  billed_den: string | null;
  billed_nanos: string | null;
  quantity_num: string;
  quantity_den: string;
  exact_num: string;
  exact_den: string;
  amount_nanos: string;
};

export async function listLines(db: Database, invoiceId: string): Promise<LineRow[]> {
  const rows = await db.query<RawLine>(sql`
    select invoice_line.id, invoice_id, invoice_line.position, kind, price_id, price.name, price.meter, price.unit, price.model,
           quantity_num, quantity_den, exact_num, exact_den, amount_nanos, steps, models, adjusts_subscription,
           adjusts_period, late_seq, billed_quantity_num, billed_quantity_den, billed_num, billed_den, billed_nanos
    from invoice_line left join price on price.id = price_id
    where invoice_id = ${invoiceId} order by invoice_line.position`);
  return rows.map(lineOf);
}

function lineOf(raw: RawLine): LineRow {
  const { quantity_num, quantity_den, exact_num, exact_den, amount_nanos, ...rest } = raw;
  const { adjusts_subscription, adjusts_period, late_seq, billed_nanos, ...more } = rest;
  const { billed_quantity_num, billed_quantity_den, billed_num, billed_den, ...row } = more;
  const billed = {
    quantity: exactOf(billed_quantity_num, billed_quantity_den),
    exact: exactOf(billed_num, billed_den),
    nanos: BigInt(billed_nanos ?? 0),
  };
  return {
    ...row,
    quantity: exactOf(quantity_num, quantity_den),
    exact: exactOf(exact_num, exact_den),
    amount_nanos: BigInt(amount_nanos),
    adjusts:
      adjusts_subscription === null
        ? null
        : {
            subscription_id: adjusts_subscription,
            period_index: adjusts_period ?? 0,
            late_seq: late_seq ?? 0n,
            billed,
          },
  };
}

function exactOf(num: string | null, den: string | null): Exact {
  return exact(BigInt(num ?? 0), BigInt(den ?? 1));
}

export interface BilledRow {
  price_id: string;
  quantity: Exact;
  /** Exact nanos. */
  exact: Exact;
  /** As it was printed. */
  nanos: bigint;
}

/** What was billed for the usage of a period by each price: on its own invoice, and by adjustments on others, but for one. */
export async function sumBilled(
  db: Database,
  period: Pick<Period, 'subscription_id' | 'period_index'>,
  exceptInvoice: string | null,
): Promise<BilledRow[]> {
  const rows = await db.query<
    Pick<RawLine, 'quantity_num' | 'quantity_den' | 'exact_num' | 'exact_den' | 'amount_nanos'> & { price_id: string }
  >(sql`
    select price_id, quantity_num, quantity_den, exact_num, exact_den, amount_nanos
    from invoice_line join invoice on invoice.id = invoice_id
    where subscription_id = ${period.subscription_id} and period_index = ${period.period_index}
      and invoice_line.kind = 'usage'
    union all
    select price_id, quantity_num, quantity_den, exact_num, exact_den, amount_nanos
    from invoice_line
    where adjusts_subscription = ${period.subscription_id} and adjusts_period = ${period.period_index}
      and invoice_id is distinct from ${exceptInvoice}`);
  const sums = new Map<string, BilledRow>();
  for (const row of rows) {
    const before = sums.get(row.price_id) ?? { price_id: row.price_id, quantity: ZERO, exact: ZERO, nanos: 0n };
    sums.set(row.price_id, {
      price_id: row.price_id,
      quantity: add(before.quantity, exactOf(row.quantity_num, row.quantity_den)),
      exact: add(before.exact, exactOf(row.exact_num, row.exact_den)),
      nanos: before.nanos + BigInt(row.amount_nanos),
    });
  }
  return [...sums.values()];
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
