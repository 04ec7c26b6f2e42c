import { z } from '@hono/zod-openapi';
import { decodeCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { ADMINS, ROLES } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Instant, InstantIn, idParams, Name } from '#billing/http/schema.ts';
import { formatInstant } from '#core/time.ts';
import { listTokens, type TokenRow } from './store.ts';
import { createToken, revokeToken } from './token.ts';

const tokenFields = {
  id: z.string(),
  name: z.string(),
  role: z.enum(ROLES),
  created_at: Instant,
  expires_at: Instant.nullable(),
  revoked_at: Instant.nullable(),
};

const Token = z.object(tokenFields).openapi('Token');
const CreatedToken = z
  .object({
    ...tokenFields,
    secret: z.string().nullable().openapi({ description: 'Shown once; null when this answer is a repeat.' }),
  })
  .openapi('CreatedToken');
const TokenPage = pageSchema('Token', Token);
const NewToken = z
  .strictObject({ name: Name, role: z.enum(ROLES), expires_at: InstantIn.nullable().default(null) })
  .openapi('NewToken');

export function tokenRoutes(api: Api): void {
  api.route({
    method: 'post',
    path: '/v1/tokens',
    noun: 'tokens',
    summary: 'Create a token of this API',
    description: 'The secret is in this answer and nowhere else. `ingest` is the role of a gateway.',
    roles: ADMINS,
    body: NewToken,
    answer: CreatedToken,
    status: 201,
    storedAnswer: (answer) => ({ ...answer, secret: null }),
    run: async ({ db, body, nowMs }) => {
      const wanted = { name: body.name, role: body.role, expiresAtMs: body.expires_at };
      const { token, secret } = await createToken(db, wanted, nowMs);
      return { ...toJson(token), secret };
    },
  });

  api.route({
    method: 'get',
    path: '/v1/tokens',
    noun: 'tokens',
    summary: 'List tokens',
    roles: ADMINS,
    query: z.strictObject(pageQuery),
    answer: TokenPage,
    run: async ({ db, query }) => {
      const after = decodeCursor(query.cursor, 1);
      const rows = await listTokens(db, after?.[0], query.limit + 1);
      return pageOf(rows, query.limit, (row) => [row.id], toJson);
    },
  });

  api.route({
    method: 'post',
    path: '/v1/tokens/{id}/revoke',
    noun: 'tokens',
    summary: 'Revoke a token',
    roles: ADMINS,
    params: idParams,
    answer: Token,
    run: async ({ db, params, nowMs }) => toJson(await revokeToken(db, params.id, nowMs)),
  });
}

function toJson(row: TokenRow): z.output<typeof Token> {
  return {
    id: row.id,
    name: row.name,
    role: row.role,
    created_at: formatInstant(row.created_at),
    expires_at: row.expires_at === null ? null : formatInstant(row.expires_at),
    revoked_at: row.revoked_at === null ? null : formatInstant(row.revoked_at),
  };
}
