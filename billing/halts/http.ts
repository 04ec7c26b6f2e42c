import { z } from '@hono/zod-openapi';
import { decodeCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { OPERATORS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, Instant, idParams } from '#billing/http/schema.ts';
import { movePolicies } from '#billing/policies/policy.ts';
import { formatInstant } from '#core/time.ts';
import { createHalt, getHalt, type Halt, liftHalt, listHalts, pauseCustomer, resumeCustomer } from './halt.ts';

const HaltJson = z
  .object({
    id: z.string(),
    customer: z.string().nullable(),
    key: z.string().nullable(),
    upstream: z.string().nullable(),
    model: z.string().nullable().openapi({ description: 'A pattern with `*`.' }),
    cut_open: z.boolean(),
    reason: z.string(),
    created_at: Instant,
    created_by: z.string().openapi({ description: 'Id of the token.' }),
    lifted_at: Instant.nullable(),
    lifted_by: z.string().nullable(),
  })
  .openapi('Halt');
const HaltPage = pageSchema('Halt', HaltJson);

const how = {
  cut_open: z.boolean().default(false).openapi({ description: 'Calls in flight end too.' }),
  reason: z.string().trim().max(500).default('').openapi({ description: 'For the record.' }),
};

const NewHalt = z
  .strictObject({
    customer: Id.nullable().default(null),
    key: Id.nullable().default(null),
    upstream: Id.nullable().default(null).openapi({ description: "As it is named in the gateways' configuration." }),
    model: z.string().min(1).max(200).nullable().default(null).openapi({ description: 'A pattern with `*`.' }),
    ...how,
  })
  .refine(({ customer, key, upstream, model }) => (customer ?? key ?? upstream ?? model) !== null, {
    message: 'Wants a customer, a key, an upstream or a model.',
  })
  .openapi('NewHalt');
const Pause = z.strictObject(how).openapi('Pause');

/** The kill switch: what it names is not served any more, on every gateway, within a second. */
export function haltRoutes(api: Api, policiesChanged: () => void): void {
  api.route({
    method: 'post',
    path: '/v1/halts',
    noun: 'halts',
    summary: 'Switch off a customer, a key, an upstream, a model, or what matches several of them',
    description: 'Every gateway knows it within a second. Calls in flight go on, unless `cut_open` says otherwise.',
    roles: OPERATORS,
    body: NewHalt,
    answer: HaltJson,
    status: 201,
    run: async ({ db, body, caller, nowMs, afterCommit }) => {
      const { customer, key, upstream, model, cut_open, reason } = body;
      const wanted = { customerId: customer, keyId: key, upstream, model, cutOpen: cut_open, reason };
      const halt = await createHalt(db, wanted, caller.token, nowMs);
      await movePolicies(db);
      afterCommit(policiesChanged);
      return toJson(halt);
    },
  });

  api.route({
    method: 'get',
    path: '/v1/halts',
    noun: 'halts',
    summary: 'List halts, the newest first',
    roles: READERS,
    query: z.strictObject({
      ...pageQuery,
      state: z.enum(['in_force', 'all']).default('in_force').openapi({ description: '`all` has the lifted ones too.' }),
    }),
    answer: HaltPage,
    run: async ({ db, query }) => {
      const before = decodeCursor(query.cursor, 1)?.[0] ?? '';
      const rows = await listHalts(db, { inForce: query.state === 'in_force', before, count: query.limit + 1 });
      return pageOf(rows, query.limit, (row) => [row.id], toJson);
    },
  });

  api.route({
    method: 'get',
    path: '/v1/halts/{id}',
    noun: 'halts',
    summary: 'Get a halt',
    roles: READERS,
    params: idParams,
    answer: HaltJson,
    run: async ({ db, params }) => toJson(await getHalt(db, params.id)),
  });

  api.route({
    method: 'post',
    path: '/v1/halts/{id}/lift',
    noun: 'halts',
    summary: 'Lift a halt',
    roles: OPERATORS,
    params: idParams,
    answer: HaltJson,
    run: async ({ db, params, caller, nowMs, afterCommit }) => {
      const halt = await liftHalt(db, params.id, caller.token, nowMs);
      await movePolicies(db);
      afterCommit(policiesChanged);
      return toJson(halt);
    },
  });

  api.route({
    method: 'post',
    path: '/v1/customers/{id}/pause',
    noun: 'customers',
    summary: 'Refuse all calls of a customer until it is resumed',
    description: 'A halt of the whole customer, wherever it is managed.',
    roles: OPERATORS,
    params: idParams,
    body: Pause,
    answer: HaltJson,
    run: async ({ db, params, body, caller, nowMs, afterCommit }) => {
      const { cut_open, reason } = body;
      const halt = await pauseCustomer(db, params.id, { cutOpen: cut_open, reason }, caller.token, nowMs);
      await movePolicies(db);
      afterCommit(policiesChanged);
      return toJson(halt);
    },
  });

  api.route({
    method: 'post',
    path: '/v1/customers/{id}/resume',
    noun: 'customers',
    summary: 'Serve a paused customer again',
    roles: OPERATORS,
    params: idParams,
    answer: z.object({ data: z.array(HaltJson) }).openapi('LiftedHalts'),
    run: async ({ db, params, caller, nowMs, afterCommit }) => {
      const lifted = await resumeCustomer(db, params.id, caller.token, nowMs);
      await movePolicies(db);
      afterCommit(policiesChanged);
      return { data: lifted.map(toJson) };
    },
  });
}

function toJson(halt: Halt): z.output<typeof HaltJson> {
  return {
    id: halt.id,
    customer: halt.customer_id,
    key: halt.key_id,
    upstream: halt.upstream,
    model: halt.model,
    cut_open: halt.cut_open,
    reason: halt.reason,
    created_at: formatInstant(halt.created_at),
    created_by: halt.created_by,
    lifted_at: halt.lifted_at === null ? null : formatInstant(halt.lifted_at),
    lifted_by: halt.lifted_by,
  };
}
