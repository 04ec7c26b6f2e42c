import { ingest } from '#billing/events/ingest.ts';
import { closePeriod, getInvoiceDetail, type InvoiceLine } from '#billing/invoices/invoice.ts';
import { CLOSE_GRACE_MS } from '#billing/jobs/close-periods.ts';
import type { Policies } from '#billing/rating/policies.ts';
import { getPeriod, openDuePeriods, type Period } from '#billing/subscriptions/period.ts';
import { endSubscription } from '#billing/subscriptions/subscription.ts';
import { SILENT } from '#core/log.ts';
import { formatAmount } from '#core/money.ts';
import type { BillingWorld, NewWorldCustomer } from '#test/support/billing-world.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { Unsupported } from './case.ts';

/** Any unit will do: prices know no difference. */
export const UNIT = 'characters';

export interface Story extends Omit<NewWorldCustomer, 'startMs'> {
  startMs: number;
  /** Events, in the order in which they are sent. */
  events?: readonly { id?: string; atMs: number; quantity: string }[];
  /** The subscription ends here. */
  endMs?: number;
}

export interface Billed {
  /** Null where the period closed without an invoice. */
  amount: string | null;
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
  for (const { id: eventId, atMs, quantity } of story.events ?? []) {
    const quantities = { calls: '1', [UNIT]: quantity };
    const event = usageEvent({ customer: id, atMs, quantities, ...(eventId === undefined ? {} : { id: eventId }) });
    const [result] = await ingest(db, [event], clock.nowMs);
    if (result?.status === 'parked') throw new Error(`the ingest parks ${event.id}: ${result.detail}`);
  }
  clock.nowMs = period.end_at + CLOSE_GRACE_MS;
  const closed = await closePeriod(db, key, clock.nowMs, CLOSE_GRACE_MS);
  if (closed.outcome !== 'invoiced') return { amount: null, lines: [], period };
  const { invoice, lines } = await getInvoiceDetail(db, closed.invoiceId);
  return { amount: formatAmount({ nanos: invoice.total_nanos, currency: invoice.currency }), lines, period };
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
