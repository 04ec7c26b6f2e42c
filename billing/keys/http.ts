import { z } from '@hono/zod-openapi';
import { Limit, LimitsIn, limitToJson } from '#billing/customers/limit.ts';
import { decodeCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { OPERATORS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, Instant, InstantIn, idParams, Name } from '#billing/http/schema.ts';
import { assertPriced } from '#billing/policies/limit-prices.ts';
import { refreshPolicies } from '#billing/policies/policy.ts';
import { formatInstant } from '#core/time.ts';
import { createKey, getKey, type Key, listKeys, revokeKey, rotateKey, updateKey } from './key.ts';

const GRACE_SECONDS_DEFAULT = 86_400;
const GRACE_SECONDS_MAX = 30 * 86_400;

const keyFields = {
  id: z.string().openapi({ description: 'Public, and the same for ever.' }),
  customer: z.string(),
  name: z.string(),
  mode: z.enum(['live', 'test']),
  state: z.enum(['active', 'revoked']),
  models: z.array(z.string()).openapi({ description: 'Patterns with `*`; empty for every model.' }),
  labels: z.record(z.string(), z.string()),
  limits: z.array(Limit).openapi({ description: 'Beside those of the customer.' }),
  expires_at: Instant.nullable(),
  secrets: z.array(z.object({ hint: z.string(), created_at: Instant, expires_at: Instant.nullable() })).openapi({
    description: 'Those that work: how each ends, and until when it is taken. Empty for the configuration.',
  }),
  managed_by: z.enum(['api', 'config']),
  created_at: Instant,
  updated_at: Instant,
  removed_at: Instant.nullable(),
};

export const KeyJson = z.object(keyFields).openapi('Key');
const KeyWithSecret = z
  .object({
    ...keyFields,
    secret: z.string().nullable().openapi({ description: 'Shown once; null when this answer is a repeat.' }),
  })
  .openapi('KeyWithSecret');
const KeyPage = pageSchema('Key', KeyJson);

const Models = z.array(z.string().min(1).max(200)).max(200);
const Labels = z
  .record(z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/), z.string().max(200))
  .refine((labels) => Object.keys(labels).length <= 32, 'Takes 32 labels at most.');

const NewKey = z
  .strictObject({
    id: Id.optional().openapi({ description: 'Made when it is not given.' }),
    customer: Id,
    name: Name,
    mode: z.enum(['live', 'test']).default('live'),
    models: Models.default([]),
    labels: Labels.default({}),
    limits: LimitsIn.default([]),
    expires_at: InstantIn.nullable().default(null),
  })
  .openapi('NewKey');

const KeyChange = z
  .strictObject({
    name: Name.optional(),
    models: Models.optional(),
    labels: Labels.optional(),
    limits: LimitsIn.optional(),
    expires_at: InstantIn.nullable().optional(),
  })
  .openapi('KeyChange');

const Rotation = z
  .strictObject({
    grace_seconds: z
      .int()
      .min(0)
      .max(GRACE_SECONDS_MAX)
      .default(GRACE_SECONDS_DEFAULT)
      .openapi({ description: 'How long the secret before still works.' }),
  })
  .openapi('KeyRotation');

const Revocation = z
  .strictObject({
    cut_open: z.boolean().default(false).openapi({ description: 'Its calls in flight end too.' }),
  })
  .openapi('KeyRevocation');

export function keyRoutes(api: Api, policiesChanged: () => void): void {
  api.route({
    method: 'post',
    path: '/v1/keys',
    noun: 'keys',
    summary: 'Create a key',
    description: 'The secret is in this answer and nowhere else: only its SHA-256 is stored.',
    roles: OPERATORS,
    body: NewKey,
    answer: KeyWithSecret,
    status: 201,
    storedAnswer: (answer) => ({ ...answer, secret: null }),
    run: async ({ db, body, nowMs, afterCommit }) => {
      const { key, secret } = await createKey(db, { ...body, expiresAtMs: body.expires_at }, nowMs);
      await assertPriced(db, key.customer_id, key.limits, nowMs);
      await refreshPolicies(db, [key.id], nowMs);
      afterCommit(policiesChanged);
      return { ...toJson(key), secret };
    },
  });

  api.route({
    method: 'get',
    path: '/v1/keys',
    noun: 'keys',
    summary: 'List keys, by id',
    roles: READERS,
    query: z.strictObject({ ...pageQuery, customer: Id.optional() }),
    answer: KeyPage,
    run: async ({ db, query }) => {
      const after = decodeCursor(query.cursor, 1)?.[0] ?? '';
      const keys = await listKeys(db, { customer: query.customer, after, count: query.limit + 1 });
      return pageOf(keys, query.limit, (key) => [key.id], toJson);
    },
  });

  api.route({
    method: 'get',
    path: '/v1/keys/{id}',
    noun: 'keys',
    summary: 'Get a key',
    roles: READERS,
    params: idParams,
    answer: KeyJson,
    run: async ({ db, params }) => toJson(await getKey(db, params.id)),
  });

  api.route({
    method: 'patch',
    path: '/v1/keys/{id}',
    noun: 'keys',
    summary: 'Change a key',
    description: 'What is not given stays; models, labels and limits are replaced as a whole.',
    roles: OPERATORS,
    params: idParams,
    body: KeyChange,
    answer: KeyJson,
    run: async ({ db, params, body, nowMs, afterCommit }) => {
      const key = await updateKey(db, params.id, { ...body, expiresAtMs: body.expires_at }, nowMs);
      if (body.limits) await assertPriced(db, key.customer_id, key.limits, nowMs);
      await refreshPolicies(db, [key.id], nowMs);
      afterCommit(policiesChanged);
      return toJson(key);
    },
  });

  api.route({
    method: 'post',
    path: '/v1/keys/{id}/rotate',
    noun: 'keys',
    summary: 'Give a key a new secret',
    description: 'The secret before works on for the grace period.',
    roles: OPERATORS,
    params: idParams,
    body: Rotation,
    answer: KeyWithSecret,
    storedAnswer: (answer) => ({ ...answer, secret: null }),
    run: async ({ db, params, body, nowMs, afterCommit }) => {
      const { key, secret } = await rotateKey(db, params.id, body.grace_seconds * 1000, nowMs);
      await refreshPolicies(db, [key.id], nowMs);
      afterCommit(policiesChanged);
      return { ...toJson(key), secret };
    },
  });

  api.route({
    method: 'post',
    path: '/v1/keys/{id}/revoke',
    noun: 'keys',
    summary: 'Revoke a key, for good',
    description: 'Every gateway knows it within a second. Calls in flight go on, unless `cut_open` says otherwise.',
    roles: OPERATORS,
    params: idParams,
    body: Revocation,
    answer: KeyJson,
    run: async ({ db, params, body, nowMs, afterCommit }) => {
      const key = await revokeKey(db, params.id, body.cut_open, nowMs);
      await refreshPolicies(db, [key.id], nowMs);
      afterCommit(policiesChanged);
      return toJson(key);
    },
  });
}

function toJson(key: Key): z.output<typeof KeyJson> {
  return {
    id: key.id,
    customer: key.customer_id,
    name: key.name,
    mode: key.mode,
    state: key.state,
    models: key.models,
    labels: key.labels,
    limits: key.limits.map(limitToJson),
    expires_at: instantOrNull(key.expires_at),
    secrets: key.secrets.map((secret) => ({
      hint: secret.hint,
      created_at: formatInstant(secret.created_at),
      expires_at: instantOrNull(secret.expires_at),
    })),
    managed_by: key.managed_by,
    created_at: formatInstant(key.created_at),
    updated_at: formatInstant(key.updated_at),
    removed_at: instantOrNull(key.removed_at),
  };
}

function instantOrNull(atMs: number | null): string | null {
  return atMs === null ? null : formatInstant(atMs);
}
