import { ingest } from '#billing/events/ingest.ts';
import { closePeriod, getInvoiceDetail, type InvoiceLine } from '#billing/invoices/invoice.ts';
import { CLOSE_GRACE_MS } from '#billing/jobs/close-periods.ts';
import type { Policies } from '#billing/rating/policies.ts';
import { getPeriod, openDuePeriods, type Period, type PeriodKey } from '#billing/subscriptions/period.ts';
import { endSubscription } from '#billing/subscriptions/subscription.ts';
import { SILENT } from '#core/log.ts';
import { formatAmount, type MoneyJson } from '#core/money.ts';
import type { BillingWorld, NewWorldCustomer } from '#test/support/billing-world.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { Unsupported } from './case.ts';

/** Any unit will do: prices know no difference. */
export const UNIT = 'characters';

export interface StoryEvent {
  id?: string;
  atMs: number;
  quantity: string;
  /** What it carries. */
  price?: MoneyJson;
}

export interface Story extends Omit<NewWorldCustomer, 'startMs'> {
  startMs: number;
  /** Events, in the order in which they are sent. */
  events?: readonly StoryEvent[];
  /** The subscription ends here. */
  endMs?: number;
}

export interface Billed {
  /** Null where the period closed without an invoice. */
  amount: string | null;
  /** Of the amount. */
  tax: string;
  lines: InvoiceLine[];
  period: Period;
}

/**
 * The way of a case through the engine: a customer on a plan, events taken by the ingest, the clock moved past the end
 * of the first period, the period closed, the invoice read.
 */
export async function bill(world: BillingWorld, story: Story): Promise<Billed> {
  const { db, clock } = world;
  clock.nowMs = story.startMs;
  const { id, subscription } = await world.customer(story);
  if (story.endMs !== undefined) {
    const { endMs } = story;
    await db.transaction((tx) => endSubscription(tx, subscription.id, endMs, clock.nowMs));
  }
  const key = { subscription_id: subscription.id, period_index: 0 };
  const period = await getPeriod(db, key);
  clock.nowMs = period.end_at - 1;
  for (const event of story.events ?? []) await take(world, id, event);
  return close(world, key);
}

/**
 * The same period billed in several goes: the first events before it closes, each further batch after the invoice before,
 * so that it is on the customer's next one as an adjustment.
 */
export async function billInGoes(
  world: BillingWorld,
  story: Story,
  batches: readonly StoryEvent[][],
): Promise<Billed[]> {
  const { db, clock } = world;
  clock.nowMs = story.startMs;
  const { id, subscription } = await world.customer(story);
  const goes: Billed[] = [];
  for (const [index, batch] of batches.entries()) {
    const key = { subscription_id: subscription.id, period_index: index };
    await openDuePeriods(db, clock.nowMs, SILENT);
    clock.nowMs = (await getPeriod(db, key)).end_at - 1;
    for (const event of batch) await take(world, id, event);
    goes.push(await close(world, key));
  }
  return goes;
}

async function take({ db, clock }: BillingWorld, customer: string, given: StoryEvent): Promise<void> {
  const { id, atMs, quantity, price } = given;
  const quantities = { calls: '1', [UNIT]: quantity };
  const event = usageEvent({
    ...{ customer, atMs, quantities },
    ...(id === undefined ? {} : { id }),
    ...(price === undefined ? {} : { data: { price } }),
  });
  const [result] = await ingest(db, [event], clock.nowMs);
  if (result?.status === 'parked') throw new Error(`the ingest parks ${event.id}: ${result.detail}`);
}

async function close({ db, clock }: BillingWorld, key: PeriodKey): Promise<Billed> {
  const period = await getPeriod(db, key);
  clock.nowMs = period.end_at + CLOSE_GRACE_MS;
  const closed = await closePeriod(db, key, clock.nowMs, CLOSE_GRACE_MS);
  if (closed.outcome !== 'invoiced') return { amount: null, tax: '0', lines: [], period };
  const { invoice, lines } = await getInvoiceDetail(db, closed.invoiceId);
  const { currency, total_nanos, tax_nanos } = invoice;
  const tax = formatAmount({ nanos: tax_nanos, currency });
  return { amount: formatAmount({ nanos: total_nanos, currency }), tax, lines, period };
}

/** The first periods of a subscription that begins at an instant, as they open while the clock moves on. */
export async function periodsFrom(
  world: BillingWorld,
  startMs: number,
  zone: string,
  count: number,
): Promise<Period[]> {
  world.clock.nowMs = startMs;
  const { subscription } = await world.customer({ zone, startMs, plan: {} });
  const periods: Period[] = [];
  for (let index = 0; index < count; index++) {
    const period = await getPeriod(world.db, { subscription_id: subscription.id, period_index: index });
    periods.push(period);
    world.clock.nowMs = period.end_at;
    await openDuePeriods(world.db, world.clock.nowMs, SILENT);
  }
  return periods;
}

const POLICIES: Readonly<Record<string, Readonly<Record<string, Partial<Policies>>>>> = {
  zero_usage: { first_tier_flat_fee_is_billed: { zero_usage: 'bill' }, nothing_is_billed: { zero_usage: 'skip' } },
  proration: {
    by_day_inclusive_of_start_day: { proration: 'by_day' },
    by_local_day: { proration: 'by_day' },
    by_second: { proration: 'by_second' },
    none: { proration: 'none' },
  },
  in_advance_removal: { no_refund_within_period: {} },
  rounding: { per_line_half_up: {}, half_up: {} },
  termination_day: { billed: { proration: 'by_day' } },
  note: {},
};

/** The policies of a subscription under which a case holds. */
export function policiesOf(policy: Readonly<Record<string, string>>): Partial<Policies> {
  let policies: Partial<Policies> = {};
  for (const [name, value] of Object.entries(policy)) {
    if (name === 'note') continue;
    const known = POLICIES[name]?.[value] ?? POLICIES[name]?.[value.split(' ')[0] ?? ''];
    if (!known) throw new Unsupported(`the engine has no policy ${name}: ${value.slice(0, 60)}`);
    policies = { ...policies, ...known };
  }
  return policies;
}
