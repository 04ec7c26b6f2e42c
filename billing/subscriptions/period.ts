import { getCustomer } from '#billing/customers/customer.ts';
import type { Database } from '#billing/db/database.ts';
import { lockCustomer } from '#billing/db/lock.ts';
import { getPlanAt } from '#billing/plans/plan.ts';
import { Fault } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import { type BillingPeriod, cutAt, nextPeriod, type Schedule } from './periods.ts';
import {
  type DuePeriod,
  findLatestPeriod,
  findPeriod,
  findPeriodAt,
  findSubscription,
  findSubscriptionAt,
  insertPeriod,
  listDuePeriods,
  listSubscriptionsToOpen,
  type PeriodRow,
  type SubscriptionRow,
  type SubscriptionToOpen,
  updateOpenedUntil,
  updatePeriodClosed,
  updatePeriodEnd,
} from './store.ts';

/**
 * A period of a subscription. It opens when the one before it ends, and zone, plan version and policies are frozen then;
 * it closes some time after its own end, when the usage that was under way has arrived.
 */
export type Period = PeriodRow;
export type PeriodKey = Pick<PeriodRow, 'subscription_id' | 'period_index'>;

const PAGE = 200;

export async function getPeriod(db: Database, key: PeriodKey): Promise<Period> {
  const period = await findPeriod(db, key.subscription_id, key.period_index);
  if (!period)
    throw new Fault('not_found', { detail: `Subscription ${key.subscription_id} has no period ${key.period_index}.` });
  return period;
}

export async function getLatestPeriod(db: Database, subscriptionId: string): Promise<Period> {
  const period = await findLatestPeriod(db, subscriptionId);
  if (!period) throw new Fault('internal', { story: `subscription ${subscriptionId} has no period` });
  return period;
}

/**
 * The period of a customer that an instant falls into; a customer without a subscription has none. One that has begun
 * and is not opened yet (the job that opens looks once a minute) is given as it will be.
 */
export async function findPeriodOfCustomer(db: Database, customer: string, atMs: number): Promise<Period | undefined> {
  const opened = await findPeriodAt(db, customer, atMs);
  if (opened) return opened;
  const subscription = await findSubscriptionAt(db, customer, atMs);
  if (!subscription) return undefined;
  const { timezone } = await getCustomer(db, customer);
  let period = periodOf(await getLatestPeriod(db, subscription.id));
  while (period.endMs <= atMs) {
    const next = nextPeriod(scheduleOf(subscription), period, timezone);
    if (!next) return undefined;
    period = next;
  }
  return toOpen(db, subscription, period);
}

/** Every period that is not closed and ended by an instant, the earliest first, read a page at a time. */
export async function* periodsEndedBy(db: Database, atMs: number): AsyncGenerator<PeriodKey> {
  let after: DuePeriod | undefined;
  do {
    const page = await listDuePeriods(db, atMs, { after, count: PAGE });
    yield* page;
    after = page.length < PAGE ? undefined : page.at(-1);
  } while (after);
}

export async function openPeriod(tx: Database, subscription: SubscriptionRow, period: BillingPeriod): Promise<Period> {
  const row = await toOpen(tx, subscription, period);
  await insertPeriod(tx, row);
  await updateOpenedUntil(tx, subscription.id, period.endMs);
  return row;
}

/** With the plan's version of the period's own start, however much later it is opened. */
async function toOpen(db: Database, subscription: SubscriptionRow, period: BillingPeriod): Promise<Period> {
  const plan = await getPlanAt(db, subscription.plan_id, Math.max(period.startMs, subscription.created_at));
  return {
    subscription_id: subscription.id,
    period_index: period.index,
    customer_id: subscription.customer_id,
    plan_id: plan.id,
    plan_version: plan.version,
    policies: subscription.policies,
    zone: period.zone,
    start_at: period.startMs,
    end_at: period.endMs,
    whole_start_at: period.whole.startMs,
    whole_end_at: period.whole.endMs,
    closed_at: null,
  };
}

/** Opens what has begun by an instant. Gives the latest period. Under the customer's lock. */
export async function openPeriodsUntil(tx: Database, subscription: SubscriptionRow, atMs: number): Promise<Period> {
  let latest = await getLatestPeriod(tx, subscription.id);
  while (latest.end_at <= atMs) {
    const { timezone } = await getCustomer(tx, subscription.customer_id);
    const next = nextPeriod(scheduleOf(subscription), periodOf(latest), timezone);
    if (!next) break;
    latest = await openPeriod(tx, subscription, next);
  }
  return latest;
}

/** The same for all subscriptions, each in its own transaction. One that fails is logged and never holds up the others. */
export async function openDuePeriods(db: Database, nowMs: number, log: Log): Promise<void> {
  let after: SubscriptionToOpen | undefined;
  do {
    const page = await listSubscriptionsToOpen(db, nowMs, { after, count: PAGE });
    for (const { id, customer_id } of page) {
      try {
        await db.transaction(async (tx) => {
          await lockCustomer(tx, customer_id);
          const subscription = await findSubscription(tx, id);
          if (subscription) await openPeriodsUntil(tx, subscription, nowMs);
        });
      } catch (thrown) {
        log.error({ subscription: id, err: thrown }, 'a period could not be opened');
      }
    }
    after = page.length < PAGE ? undefined : page.at(-1);
  } while (after);
}

export async function markPeriodClosed(tx: Database, period: Period, nowMs: number): Promise<void> {
  await updatePeriodClosed(tx, period, nowMs);
}

/** Lets an open period end with its subscription, should that end within it. */
export async function cutPeriod(tx: Database, subscription: SubscriptionRow, period: Period): Promise<void> {
  if (period.closed_at !== null) return;
  const { endMs } = cutAt(scheduleOf(subscription), periodOf(period));
  await updatePeriodEnd(tx, period, endMs);
  await updateOpenedUntil(tx, subscription.id, endMs);
}

export function scheduleOf(subscription: SubscriptionRow): Schedule {
  return {
    startMs: subscription.start_at,
    anchorOn: subscription.anchor_on,
    billingDay: subscription.billing_day,
    endMs: subscription.end_at,
  };
}

export function periodOf(row: Period): BillingPeriod {
  return {
    index: row.period_index,
    zone: row.zone,
    startMs: row.start_at,
    endMs: row.end_at,
    whole: { startMs: row.whole_start_at, endMs: row.whole_end_at },
  };
}
