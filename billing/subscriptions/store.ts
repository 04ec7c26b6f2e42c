import { type Database, findRow, instant, json, sql } from '#billing/db/database.ts';
import type { Policies } from '#billing/rating/policies.ts';
import type { BillingDay } from './periods.ts';

export interface SubscriptionRow {
  id: string;
  customer_id: string;
  /** The plan of the periods to come. */
  plan_id: string;
  billing_day: BillingDay;
  anchor_on: string;
  start_at: number;
  end_at: number | null;
  /** The end of the last period that was opened. */
  opened_until: number;
  policies: Policies;
  managed_by: 'api' | 'config';
  created_at: number;
}

const SUBSCRIPTION = sql`
  select id, customer_id, plan_id, billing_day, anchor_on, start_at, end_at, opened_until, policies, managed_by,
         created_at
  from subscription`;

export async function insertSubscription(db: Database, row: SubscriptionRow): Promise<void> {
  await db.query(sql`
    insert into subscription
      (id, customer_id, plan_id, billing_day, anchor_on, start_at, end_at, opened_until, policies, managed_by, created_at)
    values (${row.id}, ${row.customer_id}, ${row.plan_id}, ${row.billing_day}, ${row.anchor_on},
            ${instant(row.start_at)}, ${row.end_at === null ? null : instant(row.end_at)},
            ${instant(row.opened_until)}, ${json(row.policies)}, ${row.managed_by}, ${instant(row.created_at)})`);
}

export async function findSubscription(db: Database, id: string): Promise<SubscriptionRow | undefined> {
  return findRow<SubscriptionRow>(db, sql`${SUBSCRIPTION} where id = ${id}`);
}

/** Of those that have any part after an instant, the one that ends last; one that was ended before it began has none. */
export async function findSubscriptionAfter(
  db: Database,
  customer: string,
  atMs: number,
): Promise<SubscriptionRow | undefined> {
  return findRow<SubscriptionRow>(
    db,
    sql`${SUBSCRIPTION}
      where customer_id = ${customer} and (end_at is null or end_at > ${instant(atMs)} and end_at > start_at)
      order by end_at desc nulls first limit 1`,
  );
}

export async function findSubscriptionAt(
  db: Database,
  customer: string,
  atMs: number,
): Promise<SubscriptionRow | undefined> {
  const at = instant(atMs);
  return findRow<SubscriptionRow>(
    db,
    sql`${SUBSCRIPTION}
      where customer_id = ${customer} and start_at <= ${at} and (end_at is null or end_at > ${at}) limit 1`,
  );
}

export async function listSubscriptions(
  db: Database,
  page: { customer: string | undefined; after: string; count: number },
): Promise<SubscriptionRow[]> {
  const { customer = null, after, count } = page;
  return db.query<SubscriptionRow>(sql`
    ${SUBSCRIPTION}
    where id > ${after} and (${customer}::text is null or customer_id = ${customer}) order by id limit ${count}`);
}

/** Without an end, made by the configuration. */
export async function listSubscriptionsOfConfig(db: Database): Promise<SubscriptionRow[]> {
  return db.query<SubscriptionRow>(sql`${SUBSCRIPTION} where end_at is null and managed_by = 'config' order by id`);
}

export async function findSubscriptionGoingOn(db: Database, customer: string): Promise<SubscriptionRow | undefined> {
  return findRow<SubscriptionRow>(db, sql`${SUBSCRIPTION} where customer_id = ${customer} and end_at is null`);
}

export async function updateSubscription(
  db: Database,
  row: Pick<SubscriptionRow, 'id' | 'plan_id' | 'end_at' | 'managed_by'>,
): Promise<void> {
  await db.query(sql`
    update subscription
    set plan_id = ${row.plan_id}, end_at = ${row.end_at === null ? null : instant(row.end_at)},
        managed_by = ${row.managed_by}
    where id = ${row.id}`);
}

export type SubscriptionToOpen = Pick<SubscriptionRow, 'id' | 'customer_id' | 'opened_until'>;

/** Those whose last period has ended by an instant, and that go on after it; the longest ago first. */
export async function listSubscriptionsToOpen(
  db: Database,
  atMs: number,
  page: { after: SubscriptionToOpen | undefined; count: number },
): Promise<SubscriptionToOpen[]> {
  const { after } = page;
  return db.query<SubscriptionToOpen>(sql`
    select id, customer_id, opened_until from subscription
    where opened_until <= ${instant(atMs)} and (end_at is null or end_at > opened_until)
      and (opened_until, id) > (${after ? instant(after.opened_until) : '-infinity'}::timestamptz,
                                ${after?.id ?? ''}::text)
    order by opened_until, id limit ${page.count}`);
}

export async function updateAnchor(db: Database, id: string, anchorOn: string): Promise<void> {
  await db.query(sql`update subscription set anchor_on = ${anchorOn} where id = ${id} and anchor_on <> ${anchorOn}`);
}

export async function updateOpenedUntil(db: Database, id: string, untilMs: number): Promise<void> {
  await db.query(sql`update subscription set opened_until = ${instant(untilMs)} where id = ${id}`);
}

export interface PeriodRow {
  subscription_id: string;
  period_index: number;
  customer_id: string;
  plan_id: string;
  plan_version: number;
  policies: Policies;
  zone: string;
  start_at: number;
  end_at: number;
  whole_start_at: number;
  whole_end_at: number;
  closed_at: number | null;
}

const PERIOD = sql`
  select subscription_id, period_index, customer_id, plan_id, plan_version, policies, zone, start_at, end_at,
         whole_start_at, whole_end_at, closed_at
  from subscription_period`;

export async function insertPeriod(db: Database, row: PeriodRow): Promise<void> {
  await db.query(sql`
    insert into subscription_period
      (subscription_id, period_index, customer_id, plan_id, plan_version, policies, zone, start_at, end_at,
       whole_start_at, whole_end_at)
    values (${row.subscription_id}, ${row.period_index}, ${row.customer_id}, ${row.plan_id}, ${row.plan_version},
            ${json(row.policies)}, ${row.zone}, ${instant(row.start_at)}, ${instant(row.end_at)},
            ${instant(row.whole_start_at)}, ${instant(row.whole_end_at)})`);
}

export async function findPeriod(db: Database, subscription: string, index: number): Promise<PeriodRow | undefined> {
  return findRow<PeriodRow>(db, sql`${PERIOD} where subscription_id = ${subscription} and period_index = ${index}`);
}

export async function findLatestPeriod(db: Database, subscription: string): Promise<PeriodRow | undefined> {
  return findRow<PeriodRow>(
    db,
    sql`${PERIOD} where subscription_id = ${subscription} order by period_index desc limit 1`,
  );
}

/** The period of a customer that an instant falls into. */
export async function findPeriodAt(db: Database, customer: string, atMs: number): Promise<PeriodRow | undefined> {
  const at = instant(atMs);
  return findRow<PeriodRow>(
    db,
    sql`${PERIOD} where customer_id = ${customer} and start_at <= ${at} and end_at > ${at} limit 1`,
  );
}

/** The periods of a customer that begin in a span of time, in order. */
export async function listPeriodsBegunIn(
  db: Database,
  customer: string,
  fromMs: number,
  toMs: number,
): Promise<PeriodRow[]> {
  return db.query<PeriodRow>(sql`
    ${PERIOD}
    where customer_id = ${customer} and start_at >= ${instant(fromMs)} and start_at < ${instant(toMs)}
    order by start_at`);
}

/** Latest first. */
export async function listPeriods(
  db: Database,
  page: { subscription: string; before: number; count: number },
): Promise<PeriodRow[]> {
  return db.query<PeriodRow>(sql`
    ${PERIOD} where subscription_id = ${page.subscription} and period_index < ${page.before}
    order by period_index desc limit ${page.count}`);
}

export interface DuePeriod {
  subscription_id: string;
  period_index: number;
  end_at: number;
}

/** Periods that ended by an instant and are not closed, the earliest first. */
export async function listDuePeriods(
  db: Database,
  endedByMs: number,
  page: { after: DuePeriod | undefined; count: number },
): Promise<DuePeriod[]> {
  const { after } = page;
  return db.query<DuePeriod>(sql`
    select subscription_id, period_index, end_at from subscription_period
    where closed_at is null and end_at <= ${instant(endedByMs)}
      and (end_at, subscription_id) > (${after ? instant(after.end_at) : '-infinity'}::timestamptz,
                                       ${after?.subscription_id ?? ''}::text)
    order by end_at, subscription_id limit ${page.count}`);
}

export async function updatePeriodEnd(
  db: Database,
  row: Pick<PeriodRow, 'subscription_id' | 'period_index'>,
  endMs: number,
): Promise<void> {
  await db.query(sql`
    update subscription_period set end_at = ${instant(endMs)}
    where subscription_id = ${row.subscription_id} and period_index = ${row.period_index} and closed_at is null`);
}

export async function deletePeriod(
  db: Database,
  row: Pick<PeriodRow, 'subscription_id' | 'period_index'>,
): Promise<void> {
  await db.query(sql`
    delete from subscription_period
    where subscription_id = ${row.subscription_id} and period_index = ${row.period_index} and closed_at is null`);
}

/** The last late row of the period's customer. */
const LAST_SEQ = sql`coalesce((
  select max(seq) from late_event where late_event.customer_id = subscription_period.customer_id), 0)`;

export async function updatePeriodBilled(
  db: Database,
  row: Pick<PeriodRow, 'subscription_id' | 'period_index'>,
): Promise<void> {
  await db.query(sql`
    update subscription_period set closed_seq = ${LAST_SEQ}
    where subscription_id = ${row.subscription_id} and period_index = ${row.period_index}`);
}

export async function updatePeriodClosed(
  db: Database,
  row: Pick<PeriodRow, 'subscription_id' | 'period_index'>,
  nowMs: number,
): Promise<void> {
  await db.query(sql`
    update subscription_period set closed_at = ${instant(nowMs)}, closed_seq = ${LAST_SEQ}
    where subscription_id = ${row.subscription_id} and period_index = ${row.period_index} and closed_at is null`);
}

/**
 * Usage in [from, to), whole hours, that falls into no subscription: the roll-ups of hours that none touches, and the
 * events of hours in which one begins or ends. Quantities in plain decimal notation.
 */
export async function sumUnsubscribed(
  db: Database,
  fromMs: number,
  toMs: number,
  page: { after: { customer: string; unit: string } | undefined; count: number },
): Promise<{ customer: string; unit: string; quantity: string }[]> {
  const { customer = '', unit = '' } = page.after ?? {};
  return db.query(sql`
    with used as (
      select customer, hour, unit, quantity,
        exists (
          select 1 from subscription
          where customer_id = customer and start_at < hour + interval '1 hour' and (end_at is null or end_at > hour)
        ) as touched
      from usage_hour where hour >= ${instant(fromMs)} and hour < ${instant(toMs)}
    ), part (customer, unit, quantity) as (
      select customer, unit, quantity from used where not touched
      union all
      select event.customer, measured.unit, event.sign * measured.quantity
      from (
        select distinct used.customer, used.hour from used join subscription on customer_id = used.customer
        where touched and (start_at > used.hour and start_at < used.hour + interval '1 hour'
          or end_at > used.hour and end_at < used.hour + interval '1 hour')
      ) as edge
      join event on event.customer = edge.customer
        and event.time >= edge.hour and event.time < edge.hour + interval '1 hour',
        usage_quantity(event.model, event.body -> 'data') as measured
      where event.type = 'weir.usage.v1' and not exists (
        select 1 from subscription
        where customer_id = event.customer and start_at <= event.time and (end_at is null or end_at > event.time)
      )
    )
    select customer collate "C" as customer, unit collate "C" as unit, trim_scale(sum(quantity)) as quantity from part
    where (customer collate "C", unit collate "C") > (${customer}::text, ${unit}::text)
    group by 1, 2 having sum(quantity) > 0 order by 1, 2 limit ${page.count}`);
}
