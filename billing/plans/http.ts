import { z } from '@hono/zod-openapi';
import { decodeCursor, pageOf, pageQuery, pageSchema, placeOfCursor } from '#billing/http/page.ts';
import { ACCOUNTANTS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, Instant, idParams, MoneyJson } from '#billing/http/schema.ts';
import { PriceFields, priceToJson } from '#billing/prices/price-json.ts';
import { newId } from '#core/id.ts';
import { formatInstant } from '#core/time.ts';
import { changePlan, createPlan, feeOf, getPlan, getPlanVersion, type Plan } from './plan.ts';
import { PlanTermsJson } from './plan-json.ts';
import { listPlans, listPlanVersions, listPrices } from './store.ts';

const PlanSchema = z
  .object({
    id: z.string(),
    version: z.int(),
    name: z.string(),
    currency: z.string(),
    interval: z.enum(['month']),
    fee: MoneyJson.nullable(),
    charges: z.array(z.object(PriceFields)),
    managed_by: z.enum(['api', 'config']),
    created_at: Instant,
    changed_at: Instant,
    removed_at: Instant.nullable(),
  })
  .openapi('Plan');
const NewPlan = PlanTermsJson.extend({ id: Id.optional() }).openapi('NewPlan');
const versionParams = z.strictObject({
  id: Id,
  version: z.coerce
    .number()
    .int()
    .min(1)
    .max(2 ** 31 - 1),
});

export function planRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/plans',
    noun: 'plans',
    summary: 'List plans, each at its latest version',
    roles: READERS,
    query: z.strictObject(pageQuery),
    answer: pageSchema('Plan', PlanSchema),
    run: async ({ db, query }) => {
      const after = decodeCursor(query.cursor, 1);
      const rows = await listPlans(db, after?.[0], query.limit + 1);
      const plans: Plan[] = [];
      for (const row of rows) plans.push({ ...row, charges: await listPrices(db, row.id, row.version) });
      return pageOf(plans, query.limit, (plan) => [plan.id], toJson);
    },
  });

  api.route({
    method: 'post',
    path: '/v1/plans',
    noun: 'plans',
    summary: 'Create a plan',
    roles: ACCOUNTANTS,
    body: NewPlan,
    answer: PlanSchema,
    status: 201,
    run: async ({ db, body: { id, ...terms }, nowMs }) =>
      toJson(await createPlan(db, id ?? newId('plan', nowMs), terms, nowMs)),
  });

  api.route({
    method: 'get',
    path: '/v1/plans/{id}',
    noun: 'plans',
    summary: 'Get a plan at its latest version',
    roles: READERS,
    params: idParams,
    answer: PlanSchema,
    run: async ({ db, params }) => toJson(await getPlan(db, params.id)),
  });

  api.route({
    method: 'put',
    path: '/v1/plans/{id}',
    noun: 'plans',
    summary: 'Change a plan: make a new version of it',
    description: 'Periods that open from now on are billed by it. The same terms again make no new version.',
    roles: ACCOUNTANTS,
    params: idParams,
    body: PlanTermsJson,
    answer: PlanSchema,
    run: async ({ db, params, body, nowMs }) => toJson(await changePlan(db, params.id, body, nowMs)),
  });

  api.route({
    method: 'get',
    path: '/v1/plans/{id}/versions',
    noun: 'plans',
    summary: 'List the versions of a plan',
    roles: READERS,
    params: idParams,
    query: z.strictObject(pageQuery),
    answer: pageSchema('PlanVersion', PlanSchema),
    run: async ({ db, params, query }) => {
      await getPlan(db, params.id);
      const cursor = decodeCursor(query.cursor, 1);
      const after = cursor ? placeOfCursor(cursor[0]) : 0;
      const rows = await listPlanVersions(db, params.id, after, query.limit + 1);
      const plans: Plan[] = [];
      for (const row of rows) plans.push({ ...row, charges: await listPrices(db, row.id, row.version) });
      return pageOf(plans, query.limit, (plan) => [String(plan.version)], toJson);
    },
  });

  api.route({
    method: 'get',
    path: '/v1/plans/{id}/versions/{version}',
    noun: 'plans',
    summary: 'Get one version of a plan',
    roles: READERS,
    params: versionParams,
    answer: PlanSchema,
    run: async ({ db, params }) => toJson(await getPlanVersion(db, params.id, params.version)),
  });
}

function toJson(plan: Plan): z.input<typeof PlanSchema> {
  return {
    id: plan.id,
    version: plan.version,
    name: plan.name,
    currency: plan.currency,
    interval: plan.billing_interval,
    fee: feeOf(plan),
    charges: plan.charges.map(priceToJson),
    managed_by: plan.managed_by,
    created_at: formatInstant(plan.created_at),
    changed_at: formatInstant(plan.changed_at),
    removed_at: plan.removed_at === null ? null : formatInstant(plan.removed_at),
  };
}
