import { z } from '@hono/zod-openapi';
import { GATEWAYS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { KEY_POLICY_VERSION, LIMIT_KINDS, LIMIT_PERIODS } from '#core/key-policy.ts';
import { UNITS } from '#core/quantity.ts';
import type { PolicyFeed } from './feed.ts';

/** Below the half minute after which many proxies cut a connection that says nothing. */
const WAIT_SECONDS_MAX = 25;

const LimitPolicyJson = z
  .object({
    id: z.string(),
    scope: z.enum(['customer', 'key']),
    kind: z.enum(LIMIT_KINDS),
    amount: z.string(),
    currency: z.string().nullable(),
    per: z.enum(LIMIT_PERIODS).nullable(),
    burst: z.string().nullable(),
    timezone: z.string(),
    unit: z.enum(UNITS).optional(),
    mode: z.enum(['soft', 'shadow']).optional(),
    warnAt: z.array(z.int()).optional(),
    models: z.array(z.string()).optional(),
    labels: z.record(z.string(), z.string()).optional(),
    by: z.string().optional(),
    override: z.object({ amount: z.string(), untilMs: z.int() }).optional(),
    basis: z.literal('price').optional(),
    prices: z
      .array(z.object({ unit: z.enum(UNITS), model: z.string(), amount: z.string(), per: z.string() }))
      .optional(),
    onStoreDown: z.enum(['closed', 'open', 'local']).optional(),
    localAmount: z.string().optional(),
  })
  .openapi('LimitPolicy');

const KeyPolicyJson = z
  .object({
    version: z.union([z.literal(1), z.literal(KEY_POLICY_VERSION)]),
    key: z.string(),
    customer: z.string(),
    secretHashes: z.array(z.string()).openapi({ description: 'SHA-256 of each secret that works, hex.' }),
    state: z.enum(['active', 'revoked']),
    cutOpen: z.literal(true).optional().openapi({ description: 'Of a revoked key: its calls in flight end too.' }),
    expiresAtMs: z.int().nullable(),
    models: z.array(z.string()),
    labels: z.record(z.string(), z.string()),
    limits: z.array(LimitPolicyJson),
  })
  .openapi('KeyPolicy');

const HaltPolicyJson = z
  .object({
    id: z.string(),
    customer: z.string().nullable(),
    key: z.string().nullable(),
    upstream: z.string().nullable(),
    model: z.string().nullable(),
    cutOpen: z.boolean(),
  })
  .openapi('HaltPolicy');

const PolicyChangesJson = z
  .object({
    version: z.string().openapi({ description: 'Give it back as `after`.' }),
    reset: z.boolean().openapi({ description: 'True when these are all policies there are.' }),
    policies: z.array(KeyPolicyJson),
    removed: z.array(z.string()).openapi({ description: 'Ids of keys that are no longer managed here.' }),
    halts: z.array(HaltPolicyJson).openapi({ description: 'All that is switched off, whatever `after` is.' }),
  })
  .openapi('PolicyChanges');

export function policyRoutes(api: Api, feed: PolicyFeed): void {
  api.route({
    method: 'get',
    path: '/v1/policies',
    noun: 'policies',
    summary: 'Follow the key policies',
    description: 'For gateways. Without `after`, all at once; with it, what changed since, as soon as something does.',
    roles: GATEWAYS,
    query: z.strictObject({
      after: z.string().max(100).optional(),
      wait_seconds: z.coerce.number().int().min(0).max(WAIT_SECONDS_MAX).default(WAIT_SECONDS_MAX),
    }),
    answer: PolicyChangesJson,
    run: ({ query, signal }) => feed.changesAfter(query.after, query.wait_seconds * 1000, signal),
  });
}
