import { AS_OF_NOW } from '#billing/billed-usage/billed-usage.ts';
import type { Database } from '#billing/db/database.ts';
import { listAdjustablePeriods } from '#billing/late-usage/late-usage.ts';
import { getPlanVersion } from '#billing/plans/plan.ts';
import type { Charge } from '#billing/rating/charge.ts';
import type { Step } from '#billing/rating/step.ts';
import { getPeriod, type Period, type PeriodKey } from '#billing/subscriptions/period.ts';
import { type Exact, subtract, ZERO } from '#core/exact.ts';
import { addMoney, type Money, money, subtractMoney } from '#core/money.ts';
import { formatInstant } from '#core/time.ts';
import { type PeriodRating, ratePeriod } from './period-rating.ts';
import { type BilledRow, findInvoiceOfPeriod, sumBilled } from './store.ts';

/**
 * What a charge of a closed period comes to by now, with all that came late, was corrected or deleted, less what was
 * billed for it, on whichever invoices. The difference is of the whole, never a rating of the late part alone: tiers,
 * packages and allowances come out as if all had been there at once. The exact amounts and the rounded ones are each
 * brought to those of the whole, so that what is printed over the months never drifts from it.
 */
export interface Adjustment {
  readonly kind: 'adjustment';
  readonly charge: Charge;
  readonly period: Period;
  readonly lateSeq: bigint;
  readonly billed: BilledRow;
  readonly quantity: Exact;
  readonly amount: Exact;
  readonly rounded: Money;
  readonly steps: readonly Step[];
  /** What the period comes to by now, by model. */
  readonly models: PeriodRating['lines'][number]['models'];
}

const NOTHING: Omit<BilledRow, 'price_id'> = { quantity: ZERO, exact: ZERO, nanos: 0n };

/** What earlier periods lack, and which of them were looked at, up to which late row. */
export interface Adjustments {
  readonly lines: readonly Adjustment[];
  readonly adjusted: readonly (PeriodKey & { lateSeq: bigint })[];
}

/** For the invoice of a period: what the customer's earlier periods still lack, by their own policy. */
export async function adjustmentsOn(tx: Database, period: Period, currency: string): Promise<Adjustments> {
  const lines: Adjustment[] = [];
  const adjusted: (PeriodKey & { lateSeq: bigint })[] = [];
  const own = (await findInvoiceOfPeriod(tx, period))?.id ?? null;
  for (const { lateSeq, ...key } of await listAdjustablePeriods(tx, period)) {
    const earlier = await getPeriod(tx, key);
    if (earlier.policies.late_usage !== 'next_invoice') continue;
    // What a void invoice billed is billed by nothing else.
    if ((await findInvoiceOfPeriod(tx, earlier))?.state === 'void') continue;
    if ((await getPlanVersion(tx, earlier.plan_id, earlier.plan_version)).currency !== currency) continue;
    const rating = await ratePeriod(tx, earlier, lateSeq);
    lines.push(...(await differences(tx, earlier, rating, lateSeq, own)));
    adjusted.push({ ...key, lateSeq });
  }
  return { lines, adjusted };
}

/** What is not billed for a closed period as of now, on all invoices together. */
export async function unbilledOf(db: Database, period: Period): Promise<Money> {
  const rating = await ratePeriod(db, period, AS_OF_NOW);
  const lines = await differences(db, period, rating, AS_OF_NOW, null);
  return lines.reduce((total, line) => addMoney(total, line.rounded), money(0n, rating.total.currency));
}

async function differences(
  db: Database,
  period: Period,
  rating: PeriodRating,
  lateSeq: bigint,
  ownInvoice: string | null,
): Promise<Adjustment[]> {
  const billed = new Map((await sumBilled(db, period, ownInvoice)).map((row) => [row.price_id, row]));
  const found: Adjustment[] = [];
  for (const charge of rating.plan.charges) {
    if (charge.meter === null) continue;
    const line = rating.lines.find((candidate) => candidate.charge?.price_id === charge.price_id);
    const before = billed.get(charge.price_id) ?? { price_id: charge.price_id, ...NOTHING };
    const adjustment = adjust(charge, period, lateSeq, line, before, rating.total.currency);
    if (adjustment.amount.num !== 0n || adjustment.rounded.nanos !== 0n) found.push(adjustment);
  }
  return found;
}

function adjust(
  charge: Charge,
  period: Period,
  lateSeq: bigint,
  line: PeriodRating['lines'][number] | undefined,
  billed: BilledRow,
  currency: string,
): Adjustment {
  const rounded = line?.rounded ?? money(0n, currency);
  const step = {
    formula: `less what was billed for ${formatInstant(period.start_at)} to ${formatInstant(period.end_at)}`,
    quantity: subtract(ZERO, billed.quantity),
    amount: subtract(ZERO, billed.exact),
  };
  return {
    kind: 'adjustment',
    charge,
    period,
    lateSeq,
    billed,
    quantity: subtract(line?.quantity ?? ZERO, billed.quantity),
    amount: subtract(line?.amount ?? ZERO, billed.exact),
    rounded: subtractMoney(rounded, money(billed.nanos, currency)),
    steps: [...(line?.steps ?? []), step],
    models: line?.models ?? [],
  };
}

/** The same adjustment computed again from what is stored: up to the same late row, less the same sum. */
export async function recomputeAdjustment(
  db: Database,
  period: Period,
  lateSeq: bigint,
  billed: BilledRow,
): Promise<Adjustment | undefined> {
  const rating = await ratePeriod(db, period, lateSeq);
  const charge = rating.plan.charges.find(({ price_id }) => price_id === billed.price_id);
  const line = rating.lines.find((candidate) => candidate.charge?.price_id === billed.price_id);
  return charge && adjust(charge, period, lateSeq, line, billed, rating.total.currency);
}
