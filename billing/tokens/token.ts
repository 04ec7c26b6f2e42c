import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Database } from '#billing/db/database.ts';
import type { Caller, Role } from '#billing/http/role.ts';
import { Fault } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import type { Clock } from '#core/time.ts';
import { findToken, findTokenByHash, insertToken, type TokenRow, updateTokenRevoked } from './store.ts';

/** A bearer token of the billing API. `wr_api_` keeps it apart from the keys, which open the gateway and nothing here. */
const PREFIX = 'wr_api_';
const SECRET_BYTES = 32;

/** The id under which the token of the environment acts. */
export const BOOTSTRAP_TOKEN_ID = 'tok_bootstrap';

export function newTokenSecret(): string {
  return PREFIX + randomBytes(SECRET_BYTES).toString('base64url');
}

function hashTokenSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/**
 * Who a bearer token belongs to. The token of the environment (`WEIR_ADMIN_TOKEN`) is the first admin and works
 * without a row; all others are looked up by hash each time, so that revoking one works at once.
 */
export function tokenAuthenticator(options: { db: Database; clock: Clock; adminToken: string }) {
  const adminHash = Buffer.from(hashTokenSecret(options.adminToken));
  return async (bearer: string): Promise<Caller> => {
    const hash = hashTokenSecret(bearer);
    if (timingSafeEqual(Buffer.from(hash), adminHash)) return { token: BOOTSTRAP_TOKEN_ID, role: 'admin' };
    const token = await findTokenByHash(options.db, hash);
    if (!token || token.revoked_at !== null) throw new Fault('unauthenticated');
    if (token.expires_at !== null && token.expires_at <= options.clock()) {
      throw new Fault('unauthenticated', { detail: 'The token has expired.' });
    }
    return { token: token.id, role: token.role };
  };
}

/** Makes a token; its secret is in this answer and nowhere else. */
export async function createToken(
  db: Database,
  wanted: { name: string; role: Role; expiresAtMs: number | null },
  nowMs: number,
): Promise<{ token: TokenRow; secret: string }> {
  const secret = newTokenSecret();
  const id = newId('tok', nowMs);
  await insertToken(db, { ...wanted, id, secretHash: hashTokenSecret(secret), nowMs });
  return { token: await getToken(db, id), secret };
}

/** Revoking twice is revoking once. */
export async function revokeToken(db: Database, id: string, nowMs: number): Promise<TokenRow> {
  await getToken(db, id);
  await updateTokenRevoked(db, id, nowMs);
  return getToken(db, id);
}

async function getToken(db: Database, id: string): Promise<TokenRow> {
  const token = await findToken(db, id);
  if (!token) throw new Fault('not_found', { detail: `There is no token ${id}.` });
  return token;
}
