import { type Database, findRow, instant, sql } from '#billing/db/database.ts';
import type { Role } from '#billing/http/role.ts';

export interface TokenRow {
  id: string;
  name: string;
  role: Role;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
}

export async function insertToken(
  db: Database,
  row: { id: string; name: string; role: Role; secretHash: string; nowMs: number; expiresAtMs: number | null },
): Promise<void> {
  const expiresAt = row.expiresAtMs === null ? null : instant(row.expiresAtMs);
  await db.query(sql`
    insert into token (id, name, role, secret_hash, created_at, expires_at)
    values (${row.id}, ${row.name}, ${row.role}, ${row.secretHash}, ${instant(row.nowMs)}, ${expiresAt})`);
}

export async function findTokenByHash(db: Database, secretHash: string): Promise<TokenRow | undefined> {
  return findRow<TokenRow>(
    db,
    sql`
    select id, name, role, created_at, expires_at, revoked_at from token where secret_hash = ${secretHash}`,
  );
}

export async function findToken(db: Database, id: string): Promise<TokenRow | undefined> {
  return findRow<TokenRow>(
    db,
    sql`
    select id, name, role, created_at, expires_at, revoked_at from token where id = ${id}`,
  );
}

export async function listTokens(db: Database, after: string | undefined, count: number): Promise<TokenRow[]> {
  return db.query<TokenRow>(sql`
    select id, name, role, created_at, expires_at, revoked_at from token
    where id > ${after ?? ''} order by id limit ${count}`);
}

export async function updateTokenRevoked(db: Database, id: string, nowMs: number): Promise<void> {
  await db.query(sql`
    update token set revoked_at = ${instant(nowMs)} where id = ${id} and revoked_at is null`);
}
