import { type Database, findRow, instant, json, sql } from '#billing/db/database.ts';

export interface IdempotencyRow {
  request_hash: string;
  status: number;
  answer: unknown;
}

/** Resolves when the database takes statements. */
export async function pingDatabase(db: Database): Promise<void> {
  await db.query(sql`select 1 as one`);
}

/**
 * False when the key is taken. A concurrent holder of the same key is waited for: it commits or rolls back first. A key
 * whose time is over is taken anew.
 */
export async function insertIdempotencyKey(
  db: Database,
  row: { tokenId: string; key: string; requestHash: string; nowMs: number; expiresAtMs: number },
): Promise<boolean> {
  const rows = await db.query(sql`
    insert into idempotency (token_id, key, request_hash, created_at, expires_at)
    values (${row.tokenId}, ${row.key}, ${row.requestHash}, ${instant(row.nowMs)}, ${instant(row.expiresAtMs)})
    on conflict (token_id, key) do update
      set request_hash = excluded.request_hash, status = null, answer = null,
          created_at = excluded.created_at, expires_at = excluded.expires_at
      where idempotency.expires_at <= excluded.created_at
    returning key`);
  return rows.length === 1;
}

export async function findIdempotencyKey(
  db: Database,
  tokenId: string,
  key: string,
): Promise<IdempotencyRow | undefined> {
  return findRow<IdempotencyRow>(
    db,
    sql`
    select request_hash, status, answer from idempotency where token_id = ${tokenId} and key = ${key}`,
  );
}

export async function updateIdempotencyAnswer(
  db: Database,
  row: { tokenId: string; key: string; status: number; answer: unknown },
): Promise<void> {
  await db.query(sql`
    update idempotency set status = ${row.status}, answer = ${json(row.answer)}
    where token_id = ${row.tokenId} and key = ${row.key}`);
}

/** For the housekeeping job. */
export async function deleteExpiredIdempotencyKeys(db: Database, nowMs: number): Promise<void> {
  await db.query(sql`delete from idempotency where expires_at <= ${instant(nowMs)}`);
}
