import { getCustomer } from '#billing/customers/customer.ts';
import type { Database } from '#billing/db/database.ts';
import { lockCustomer, lockCustomers } from '#billing/db/lock.ts';
import { getPlan } from '#billing/plans/plan.ts';
import { DEFAULT_POLICIES, type Policies } from '#billing/rating/policies.ts';
import type { CustomerConfig } from '#config/config.ts';
import { Fault } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import { formatInstant, localDate, startOfDate } from '#core/time.ts';
import { cutPeriod, openPeriodsUntil } from './period.ts';
import { anchorOf, type BillingDay } from './periods.ts';
import {
  findSubscription,
  findSubscriptionAfter,
  findSubscriptionGoingOn,
  insertSubscription,
  listSubscriptionsOfConfig,
  type SubscriptionRow,
  updateSubscription,
} from './store.ts';

export type Subscription = SubscriptionRow;

export interface NewSubscription {
  customer: string;
  plan: string;
  /** Now unless given. */
  startMs?: number | undefined;
  billingDay?: BillingDay | undefined;
  policies?: Policies | undefined;
  managedBy?: 'api' | 'config' | undefined;
}

/** How far from now a subscription may begin: a year that was forgotten, and no century of periods to close. */
const START_MS_MAX = 400 * 86_400_000;

/** Subscribes a customer to a plan and opens what has begun. A customer has at most one subscription at any instant. */
export async function subscribe(tx: Database, wanted: NewSubscription, nowMs: number): Promise<Subscription> {
  await lockCustomer(tx, wanted.customer);
  const customer = await getCustomer(tx, wanted.customer);
  if (customer.removed_at !== null)
    throw new Fault('state_conflict', { detail: `Customer ${customer.id} is removed.` });
  const plan = await getPlan(tx, wanted.plan);
  if (plan.removed_at !== null)
    throw new Fault('state_conflict', { detail: `Plan ${plan.id} takes no new subscriptions.` });
  if (plan.currency !== customer.currency) {
    throw new Fault('state_conflict', {
      detail: `Plan ${plan.id} is in ${plan.currency}, customer ${customer.id} in ${customer.currency}.`,
    });
  }
  const startMs = wanted.startMs ?? nowMs;
  if (Math.abs(startMs - nowMs) > START_MS_MAX) {
    throw new Fault('state_conflict', { detail: 'A subscription begins at most 400 days from now, before or after.' });
  }
  const other = await findSubscriptionAfter(tx, customer.id, startMs);
  if (other) {
    const until = other.end_at === null ? 'has no end' : `ends at ${formatInstant(other.end_at)}`;
    throw new Fault('state_conflict', {
      detail: `Customer ${customer.id} has subscription ${other.id}, which ${until}.`,
    });
  }
  const billingDay = wanted.billingDay ?? 'anniversary';
  const subscription: Subscription = {
    id: newId('sub', nowMs),
    customer_id: customer.id,
    plan_id: plan.id,
    billing_day: billingDay,
    anchor_on: anchorOf(startMs, billingDay, customer.timezone),
    start_at: startMs,
    end_at: null,
    opened_until: startMs,
    policies: wanted.policies ?? DEFAULT_POLICIES,
    managed_by: wanted.managedBy ?? 'api',
    created_at: nowMs,
  };
  await insertSubscription(tx, subscription);
  await openPeriodsUntil(tx, subscription, nowMs);
  return getSubscription(tx, subscription.id);
}

/** The plan of the periods that open from now on; the open one stays with its version of its plan. */
export async function changeSubscription(
  tx: Database,
  id: string,
  planId: string,
  nowMs: number,
): Promise<Subscription> {
  const subscription = await lockSubscription(tx, id);
  if (subscription.managed_by === 'config') throw new Fault('managed_by_config', { detail: `Subscription ${id}.` });
  return changeTo(tx, subscription, planId, nowMs);
}

async function changeTo(
  tx: Database,
  subscription: Subscription,
  planId: string,
  nowMs: number,
): Promise<Subscription> {
  const plan = await getPlan(tx, planId);
  const before = await getPlan(tx, subscription.plan_id);
  if (subscription.end_at !== null) throw new Fault('state_conflict', { detail: 'The subscription has an end.' });
  if (plan.removed_at !== null)
    throw new Fault('state_conflict', { detail: `Plan ${plan.id} takes no new subscriptions.` });
  if (plan.currency !== before.currency) {
    throw new Fault('state_conflict', {
      detail: `Plan ${plan.id} is in ${plan.currency}, this one in ${before.currency}.`,
    });
  }
  await openPeriodsUntil(tx, subscription, nowMs);
  const changed = { ...subscription, plan_id: plan.id };
  await updateSubscription(tx, changed);
  return changed;
}

/**
 * Ends a subscription: at an instant not in the past, or with the period that runs now. The last period closes as the
 * others do, its fee prorated; one that has not begun by then ends where it begins, and bills nothing. Ending again, to
 * the same effect, changes nothing.
 */
export async function endSubscription(
  tx: Database,
  id: string,
  at: number | 'period_end',
  nowMs: number,
): Promise<Subscription> {
  const subscription = await lockSubscription(tx, id);
  if (subscription.managed_by === 'config') throw new Fault('managed_by_config', { detail: `Subscription ${id}.` });
  return endAt(tx, subscription, at, nowMs);
}

async function endAt(
  tx: Database,
  subscription: Subscription,
  at: number | 'period_end',
  nowMs: number,
): Promise<Subscription> {
  const latest = await openPeriodsUntil(tx, subscription, nowMs);
  const { start_at } = subscription;
  const endMs = at === 'period_end' ? (latest?.end_at ?? start_at) : Math.max(at, start_at);
  if (subscription.end_at !== null) {
    if (subscription.end_at === endMs || (at === 'period_end' && subscription.end_at <= endMs)) return subscription;
    throw new Fault('state_conflict', { detail: `It ends at ${formatInstant(subscription.end_at)}.` });
  }
  if (endMs < nowMs) throw new Fault('state_conflict', { detail: 'A subscription cannot end in the past.' });
  const ended = { ...subscription, end_at: endMs };
  await updateSubscription(tx, ended);
  if (latest) await cutPeriod(tx, ended, latest);
  return ended;
}

/**
 * Brings the plans that the configuration gives its customers into subscriptions, after its customers and plans, in the
 * same transaction. A customer that gets a plan is subscribed from today; another plan counts from the next period; without
 * a plan, or gone from the configuration, the subscription ends with its period. Idempotent.
 */
export async function applySubscriptions(
  tx: Database,
  customers: readonly Pick<CustomerConfig, 'id' | 'plan'>[],
  nowMs: number,
): Promise<void> {
  const planned = new Map(customers.flatMap(({ id, plan }) => (plan === null ? [] : [[id, plan] as const])));
  const changing = new Set<string>();
  for (const { customer_id } of await listSubscriptionsOfConfig(tx)) {
    if (!planned.has(customer_id)) changing.add(customer_id);
  }
  for (const [customer, plan] of planned) {
    const current = await findSubscriptionGoingOn(tx, customer);
    if (current?.managed_by !== 'config' || current.plan_id !== plan) changing.add(customer);
  }
  // Only these: the lock of every customer would hold up all events at each start, and meet their batches in a circle.
  await lockCustomers(tx, [...changing]);
  for (const customer of changing) await applySubscription(tx, customer, planned.get(customer), nowMs);
}

async function applySubscription(
  tx: Database,
  customer: string,
  plan: string | undefined,
  nowMs: number,
): Promise<void> {
  const current = await findSubscriptionGoingOn(tx, customer);
  if (plan === undefined) {
    if (current?.managed_by === 'config') await endAt(tx, current, 'period_end', nowMs);
  } else if (current && (await sameCurrency(tx, current, plan))) await takeOver(tx, current, plan, nowMs);
  else {
    // Documents of one subscription are in one currency: the other goes on to the end of its period.
    if (current) await endAt(tx, current, 'period_end', nowMs);
    await subscribeFromConfig(tx, customer, plan, nowMs);
  }
}

async function takeOver(tx: Database, current: Subscription, plan: string, nowMs: number): Promise<void> {
  const taken: Subscription = { ...current, managed_by: 'config', end_at: null };
  if (current.managed_by !== 'config' || current.end_at !== null) await updateSubscription(tx, taken);
  if (current.plan_id !== plan) await changeTo(tx, taken, plan, nowMs);
}

async function sameCurrency(tx: Database, subscription: Subscription, plan: string): Promise<boolean> {
  return (await getPlan(tx, subscription.plan_id)).currency === (await getPlan(tx, plan)).currency;
}

/**
 * From the beginning of the customer's day: a gateway may have read the configuration before billing did, and what it
 * admitted until now is to be billed. Where another subscription ends later than that, the new one follows it; where that
 * is one that the configuration itself ended, with the period that still runs, it goes on instead and keeps its days.
 */
async function subscribeFromConfig(tx: Database, customer: string, plan: string, nowMs: number): Promise<void> {
  const { timezone } = await getCustomer(tx, customer);
  const dayStartMs = startOfDate(localDate(nowMs, timezone), timezone);
  const before = await findSubscriptionAfter(tx, customer, dayStartMs);
  const runs = before?.managed_by === 'config' && before.end_at !== null && before.end_at > nowMs;
  if (before && runs && (await sameCurrency(tx, before, plan))) await takeOver(tx, before, plan, nowMs);
  else await subscribe(tx, { customer, plan, startMs: before?.end_at ?? dayStartMs, managedBy: 'config' }, nowMs);
}

export async function getSubscription(db: Database, id: string): Promise<Subscription> {
  const subscription = await findSubscription(db, id);
  if (!subscription) throw new Fault('not_found', { detail: `There is no subscription ${id}.` });
  return subscription;
}

/** Under its customer's lock: nothing closes a period or changes a subscription of the customer meanwhile. */
async function lockSubscription(tx: Database, id: string): Promise<Subscription> {
  const { customer_id } = await getSubscription(tx, id);
  await lockCustomer(tx, customer_id);
  return getSubscription(tx, id);
}
