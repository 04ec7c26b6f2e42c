import { createHash } from 'node:crypto';
import type { Database } from '#billing/db/database.ts';
import { canonicalJson } from '#core/canonical-json.ts';
import { Fault } from '#core/fault.ts';
import {
  deleteExpiredIdempotencyKeys,
  findIdempotencyKey,
  insertIdempotencyKey,
  updateIdempotencyAnswer,
} from './store.ts';

export const IDEMPOTENCY_DAYS = 30;
const IDEMPOTENCY_MS = IDEMPOTENCY_DAYS * 86_400_000;
/** Visible ASCII, as the header's own draft has it. */
const KEY = /^[\x21-\x7e]{1,255}$/;

export interface IdempotentRequest {
  tokenId: string;
  key: string;
  /** Over method, path and body: the same key elsewhere is another request. */
  requestHash: string;
  nowMs: number;
}

export interface StoredAnswer {
  status: number;
  answer: unknown;
  /** True when nothing was done now: this is what was answered before. */
  replayed: boolean;
}

export function parseIdempotencyKey(header: string): string {
  if (KEY.test(header)) return header;
  throw new Fault('validation_failed', {
    issues: [{ header: 'Idempotency-Key', detail: 'Wants 1 to 255 visible ASCII characters.' }],
  });
}

export function requestHash(method: string, path: string, body: unknown): string {
  return createHash('sha256')
    .update(`${method}\n${path}\n${canonicalJson(body)}`)
    .digest('hex');
}

/**
 * Runs the work once per key, inside the caller's transaction: the key's row and what the work wrote are committed
 * together or not at all. Two at the same time meet at the row's primary key, where the second waits for the first.
 * Work that throws leaves no row behind, so a request that failed can be repeated with the same key.
 */
export async function once(
  tx: Database,
  request: IdempotentRequest,
  work: () => Promise<{ status: number; answer: unknown; stored: unknown }>,
): Promise<StoredAnswer> {
  const { tokenId, key, nowMs } = request;
  const isFirst = await insertIdempotencyKey(tx, { ...request, expiresAtMs: nowMs + IDEMPOTENCY_MS });
  if (!isFirst) {
    const row = await findIdempotencyKey(tx, tokenId, key);
    if (!row) throw new Fault('internal', { story: 'an idempotency key is taken and cannot be read' });
    if (row.request_hash !== request.requestHash) throw new Fault('idempotency_conflict');
    return { status: row.status, answer: row.answer, replayed: true };
  }
  const { status, answer, stored } = await work();
  await updateIdempotencyAnswer(tx, { tokenId, key, status, answer: stored });
  return { status, answer, replayed: false };
}

/** Keys whose time is over: the same key is a new request then. */
export async function forgetIdempotencyKeys(db: Database, nowMs: number): Promise<void> {
  await deleteExpiredIdempotencyKeys(db, nowMs);
}
