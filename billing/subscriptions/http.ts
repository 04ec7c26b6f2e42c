import { z } from '@hono/zod-openapi';
import { decodeCursor, pageOf, pageQuery, pageSchema, placeOfCursor } from '#billing/http/page.ts';
import { ACCOUNTANTS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, Instant, InstantIn, idParams } from '#billing/http/schema.ts';
import { refreshPrices } from '#billing/policies/policy.ts';
import { DEFAULT_POLICIES, policies } from '#billing/rating/policies.ts';
import { formatInstant, HOUR_MS } from '#core/time.ts';
import type { Period } from './period.ts';
import { listPeriods, listSubscriptions } from './store.ts';
import { changeSubscription, endSubscription, getSubscription, type Subscription, subscribe } from './subscription.ts';
import { listUnsubscribedUsage } from './unsubscribed.ts';

const SubscriptionJson = z
  .object({
    id: z.string(),
    customer: z.string(),
    plan: z.string().openapi({ description: 'The plan of the periods to come; each period has its own.' }),
    billing_day: z.enum(['anniversary', 'calendar']),
    anchor_on: z.string().openapi({ format: 'date' }),
    start_at: Instant,
    end_at: Instant.nullable(),
    policies,
    managed_by: z.enum(['api', 'config']),
    created_at: Instant,
  })
  .openapi('Subscription');

export const PeriodJson = z
  .object({
    subscription: z.string(),
    index: z.int(),
    plan: z.string(),
    plan_version: z.int(),
    zone: z.string(),
    start_at: Instant,
    end_at: Instant.openapi({ description: 'Exclusive.' }),
    closed_at: Instant.nullable(),
  })
  .openapi('Period');

const NewSubscription = z
  .strictObject({
    customer: Id,
    plan: Id,
    start_at: InstantIn.optional().openapi({ description: 'Now unless given.' }),
    billing_day: z.enum(['anniversary', 'calendar']).default('anniversary').openapi({
      description:
        'Periods end on the day of the month on which it began, or on the first; the fee of a part is prorated.',
    }),
    policies: policies.default(DEFAULT_POLICIES),
  })
  .openapi('NewSubscription');

const EndOfSubscription = z
  .strictObject({ at: z.union([z.literal('period_end'), z.literal('now'), InstantIn]).default('period_end') })
  .openapi('EndOfSubscription');

export function subscriptionRoutes(api: Api, policiesChanged: () => void): void {
  api.route({
    method: 'post',
    path: '/v1/subscriptions',
    noun: 'subscriptions',
    summary: 'Subscribe a customer to a plan',
    description: 'A customer has at most one subscription at any instant.',
    roles: ACCOUNTANTS,
    body: NewSubscription,
    answer: SubscriptionJson,
    status: 201,
    run: async ({ db, body, nowMs, afterCommit }) => {
      const { customer, plan, start_at: startMs, billing_day: billingDay, policies: wanted } = body;
      const subscription = await subscribe(db, { customer, plan, startMs, billingDay, policies: wanted }, nowMs);
      // Budgets that count what the customer pays wait for the prices.
      if (await refreshPrices(db, nowMs)) afterCommit(policiesChanged);
      return toJson(subscription);
    },
  });

  api.route({
    method: 'get',
    path: '/v1/subscriptions',
    noun: 'subscriptions',
    summary: 'List subscriptions',
    roles: READERS,
    query: z.strictObject({ ...pageQuery, customer: Id.optional() }),
    answer: pageSchema('Subscription', SubscriptionJson),
    run: async ({ db, query }) => {
      const after = decodeCursor(query.cursor, 1)?.[0] ?? '';
      const rows = await listSubscriptions(db, { customer: query.customer, after, count: query.limit + 1 });
      return pageOf(rows, query.limit, (row) => [row.id], toJson);
    },
  });

  api.route({
    method: 'get',
    path: '/v1/subscriptions/{id}',
    noun: 'subscriptions',
    summary: 'Get a subscription',
    roles: READERS,
    params: idParams,
    answer: SubscriptionJson,
    run: async ({ db, params }) => toJson(await getSubscription(db, params.id)),
  });

  api.route({
    method: 'get',
    path: '/v1/subscriptions/{id}/periods',
    noun: 'subscriptions',
    summary: 'List the periods of a subscription, latest first',
    roles: READERS,
    params: idParams,
    query: z.strictObject(pageQuery),
    answer: pageSchema('Period', PeriodJson),
    run: async ({ db, params, query }) => {
      await getSubscription(db, params.id);
      const cursor = decodeCursor(query.cursor, 1);
      const before = cursor ? placeOfCursor(cursor[0]) : INDEX_MAX;
      const rows = await listPeriods(db, { subscription: params.id, before, count: query.limit + 1 });
      return pageOf(rows, query.limit, (row) => [String(row.period_index)], periodToJson);
    },
  });

  api.route({
    method: 'post',
    path: '/v1/subscriptions/{id}/change',
    noun: 'subscriptions',
    summary: 'Change the plan of a subscription from its next period on',
    roles: ACCOUNTANTS,
    params: idParams,
    body: z.strictObject({ plan: Id }),
    answer: SubscriptionJson,
    run: async ({ db, params, body, nowMs }) => toJson(await changeSubscription(db, params.id, body.plan, nowMs)),
  });

  api.route({
    method: 'post',
    path: '/v1/subscriptions/{id}/end',
    noun: 'subscriptions',
    summary: 'End a subscription',
    description:
      'With the period that runs now, or at an instant from now on: the last fee is prorated then. One that has not ' +
      'begun ends where it begins, and bills nothing.',
    roles: ACCOUNTANTS,
    params: idParams,
    body: EndOfSubscription,
    answer: SubscriptionJson,
    run: async ({ db, params, body, nowMs }) =>
      toJson(await endSubscription(db, params.id, body.at === 'now' ? nowMs : body.at, nowMs)),
  });
}

const INDEX_MAX = 2 ** 31 - 1;
const DAY_MS = 24 * HOUR_MS;

const Unsubscribed = z
  .object({ customer: z.string(), unit: z.string(), quantity: z.string() })
  .openapi('UnsubscribedUsage');

export function unsubscribedRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/usage/unsubscribed',
    noun: 'usage',
    summary: 'Usage that no subscription covers, and so nobody is billed for',
    description: 'Of the last 30 days unless told otherwise.',
    roles: READERS,
    query: z.strictObject({ ...pageQuery, from: InstantIn.optional(), to: InstantIn.optional() }),
    answer: pageSchema('UnsubscribedUsage', Unsubscribed),
    run: async ({ db, query, nowMs }) => {
      const to = query.to ?? nowMs - (nowMs % HOUR_MS) + HOUR_MS;
      const from = query.from ?? to - 30 * DAY_MS;
      const cursor = decodeCursor(query.cursor, 2);
      const after = cursor && { customer: cursor[0] ?? '', unit: cursor[1] ?? '' };
      const rows = await listUnsubscribedUsage(db, from, to, { after, count: query.limit + 1 });
      return pageOf(
        rows,
        query.limit,
        (row) => [row.customer, row.unit],
        (row) => row,
      );
    },
  });
}

function toJson(row: Subscription): z.input<typeof SubscriptionJson> {
  return {
    id: row.id,
    customer: row.customer_id,
    plan: row.plan_id,
    billing_day: row.billing_day,
    anchor_on: row.anchor_on,
    start_at: formatInstant(row.start_at),
    end_at: row.end_at === null ? null : formatInstant(row.end_at),
    policies: row.policies,
    managed_by: row.managed_by,
    created_at: formatInstant(row.created_at),
  };
}

export function periodToJson(row: Period): z.input<typeof PeriodJson> {
  return {
    subscription: row.subscription_id,
    index: row.period_index,
    plan: row.plan_id,
    plan_version: row.plan_version,
    zone: row.zone,
    start_at: formatInstant(row.start_at),
    end_at: formatInstant(row.end_at),
    closed_at: row.closed_at === null ? null : formatInstant(row.closed_at),
  };
}
