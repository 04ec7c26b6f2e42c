import { getCustomer } from '#billing/customers/customer.ts';
import type { Database } from '#billing/db/database.ts';
import { lockCustomer } from '#billing/db/lock.ts';
import { getPlanAt } from '#billing/plans/plan.ts';
import { Fault } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import { anchorOf, type BillingPeriod, cutAt, firstPeriod, nextPeriod, type Schedule } from './periods.ts';
import {
  type DuePeriod,
  deletePeriod,
  findLatestPeriod,
  findPeriod,
  findPeriodAt,
  findSubscription,
  findSubscriptionAt,
  insertPeriod,
  listDuePeriods,
  listPeriodsBegunIn,
  listSubscriptionsToOpen,
  type PeriodRow,
  type SubscriptionRow,
  type SubscriptionToOpen,
  updateAnchor,
  updateOpenedUntil,
  updatePeriodBilled,
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
  const latest = await findLatestPeriod(db, subscription.id);
  let period = latest && periodOf(latest);
  while (!period || period.endMs <= atMs) {
    period = following(subscription, period, timezone);
    if (!period) return undefined;
  }
  return toOpen(db, subscription, period);
}

/** The period after another, or the first one: counted from the day on which it begins where the customer is by then. */
function following(
  subscription: SubscriptionRow,
  previous: BillingPeriod | undefined,
  zone: string,
): BillingPeriod | undefined {
  const schedule = scheduleOf(subscription);
  if (previous) return nextPeriod(schedule, previous, zone);
  return firstPeriod({ ...schedule, anchorOn: anchorOf(schedule.startMs, schedule.billingDay, zone) }, zone);
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

/** Those of a customer that begin in a span of time, in order. */
export async function periodsBegunIn(db: Database, customer: string, fromMs: number, toMs: number): Promise<Period[]> {
  return listPeriodsBegunIn(db, customer, fromMs, toMs);
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

/** Opens what has begun by an instant. Gives the latest period; none where the first is yet to begin. Under the customer's lock. */
export async function openPeriodsUntil(
  tx: Database,
  subscription: SubscriptionRow,
  atMs: number,
): Promise<Period | undefined> {
  let latest = await findLatestPeriod(tx, subscription.id);
  while ((latest?.end_at ?? subscription.start_at) <= atMs) {
    const { timezone } = await getCustomer(tx, subscription.customer_id);
    const next = following(subscription, latest && periodOf(latest), timezone);
    if (!next) break;
    if (!latest) await updateAnchor(tx, subscription.id, anchorOf(next.startMs, subscription.billing_day, timezone));
    latest = await toOpen(tx, subscription, next);
    await insertPeriod(tx, latest);
    await updateOpenedUntil(tx, subscription.id, next.endMs);
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

/** Its draft was rated with all that came until now, and is final. */
export async function markPeriodBilled(tx: Database, period: Period): Promise<void> {
  await updatePeriodBilled(tx, period);
}

/** Lets an open period end with its subscription, should that end within it; one that would be empty goes. */
export async function cutPeriod(tx: Database, subscription: SubscriptionRow, period: Period): Promise<void> {
  if (period.closed_at !== null) return;
  const { endMs } = cutAt(scheduleOf(subscription), periodOf(period));
  if (endMs > period.start_at) await updatePeriodEnd(tx, period, endMs);
  else await deletePeriod(tx, period);
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
