import { z } from '@hono/zod-openapi';
import { decodeCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { EDITORS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Currency, Id, Instant, idParams, Name, TimeZone } from '#billing/http/schema.ts';
import { assertPriced } from '#billing/policies/limit-prices.ts';
import { refreshPoliciesOfCustomers } from '#billing/policies/policy.ts';
import { formatInstant } from '#core/time.ts';
import { type Customer, createCustomer, getCustomer, listCustomers, updateCustomer } from './customer.ts';
import { Limit, LimitsIn, limitToJson } from './limit.ts';

export const CustomerJson = z
  .object({
    id: z.string(),
    name: z.string(),
    timezone: z.string(),
    currency: z.string(),
    limits: z.array(Limit).openapi({ description: 'Over all keys of the customer together.' }),
    managed_by: z
      .enum(['api', 'config'])
      .openapi({ description: 'What the configuration file manages is read-only here.' }),
    created_at: Instant,
    updated_at: Instant,
    removed_at: Instant.nullable().openapi({
      description: 'When the configuration file dropped it; its keys are off.',
    }),
  })
  .openapi('Customer');
const CustomerPage = pageSchema('Customer', CustomerJson);

const NewCustomer = z
  .strictObject({
    id: Id.optional().openapi({ description: 'Made when it is not given.' }),
    name: Name,
    timezone: TimeZone.default('UTC'),
    currency: Currency.default('USD'),
    limits: LimitsIn.default([]),
  })
  .openapi('NewCustomer');

const CustomerChange = z
  .strictObject({ name: Name.optional(), timezone: TimeZone.optional(), limits: LimitsIn.optional() })
  .openapi('CustomerChange');

export function customerRoutes(api: Api, policiesChanged: () => void): void {
  api.route({
    method: 'post',
    path: '/v1/customers',
    noun: 'customers',
    summary: 'Create a customer',
    roles: EDITORS,
    body: NewCustomer,
    answer: CustomerJson,
    status: 201,
    run: async ({ db, body, nowMs }) => toJson(await createCustomer(db, body, nowMs)),
  });

  api.route({
    method: 'get',
    path: '/v1/customers',
    noun: 'customers',
    summary: 'List customers, by id',
    roles: READERS,
    query: z.strictObject(pageQuery),
    answer: CustomerPage,
    run: async ({ db, query }) => {
      const after = decodeCursor(query.cursor, 1)?.[0] ?? '';
      const rows = await listCustomers(db, { after, count: query.limit + 1 });
      return pageOf(rows, query.limit, (row) => [row.id], toJson);
    },
  });

  api.route({
    method: 'get',
    path: '/v1/customers/{id}',
    noun: 'customers',
    summary: 'Get a customer',
    roles: READERS,
    params: idParams,
    answer: CustomerJson,
    run: async ({ db, params }) => toJson(await getCustomer(db, params.id)),
  });

  api.route({
    method: 'patch',
    path: '/v1/customers/{id}',
    noun: 'customers',
    summary: 'Change a customer',
    description: 'What is not given stays; limits are replaced as a whole. The currency cannot change.',
    roles: EDITORS,
    params: idParams,
    body: CustomerChange,
    answer: CustomerJson,
    run: async ({ db, params, body, nowMs, afterCommit }) => {
      const customer = await updateCustomer(db, params.id, body, nowMs);
      if (body.limits) await assertPriced(db, customer.id, customer.limits, nowMs);
      await refreshPoliciesOfCustomers(db, [customer.id], nowMs);
      afterCommit(policiesChanged);
      return toJson(customer);
    },
  });
}

function toJson(customer: Customer): z.output<typeof CustomerJson> {
  return {
    id: customer.id,
    name: customer.name,
    timezone: customer.timezone,
    currency: customer.currency,
    limits: customer.limits.map(limitToJson),
    managed_by: customer.managed_by,
    created_at: formatInstant(customer.created_at),
    updated_at: formatInstant(customer.updated_at),
    removed_at: customer.removed_at === null ? null : formatInstant(customer.removed_at),
  };
}
