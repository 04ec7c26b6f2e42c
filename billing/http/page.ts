import { z } from '@hono/zod-openapi';
import { Fault } from '#core/fault.ts';
import { parseInstant } from '#core/time.ts';

/**
 * Cursor paging by key set: a page says `where key > (cursor) order by key limit n + 1`. Inserts while somebody pages
 * neither repeat nor drop a row that was there before. The cursor is opaque to clients.
 */
export const PAGE_LIMIT_DEFAULT = 50;
export const PAGE_LIMIT_MAX = 200;

/** Spread into the query schema of a list route: z.strictObject({ ...pageQuery, customer: … }). */
export const pageQuery = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(PAGE_LIMIT_MAX)
    .default(PAGE_LIMIT_DEFAULT)
    .openapi({ description: 'How many at most.' }),
  cursor: z.string().max(2000).optional().openapi({ description: 'The `next_cursor` of the page before.' }),
};

export interface Page<T> {
  data: T[];
  next_cursor: string | null;
}

/** The answer schema of a list route. */
export function pageSchema<T extends z.ZodType>(name: string, item: T) {
  return z.object({ data: z.array(item), next_cursor: z.string().nullable() }).openapi(`${name}Page`);
}

/** What follows the cursor: the key columns of the last row that was sent. Undefined on the first page. */
export function decodeCursor(cursor: string | undefined, columns: number): string[] | undefined {
  if (cursor === undefined) return undefined;
  const parts = parseCursor(cursor);
  if (!parts || parts.length !== columns) throw wrongCursor();
  return parts;
}

/** A column of a cursor that is an instant, for lists whose rows stand in the order of their time. */
export function instantOfCursor(column: string | undefined): string {
  if (column === undefined || parseInstant(column) === undefined) throw wrongCursor();
  return column;
}

/** A column of a cursor that is a place in a list. */
export function placeOfCursor(column: string | undefined): number {
  if (column === undefined || !/^\d{1,9}$/.test(column)) throw wrongCursor();
  return Number.parseInt(column, 10);
}

/** The number in the cursor of a list that is ordered by it. */
export function seqOfCursor(cursor: string | undefined): bigint | undefined {
  const [seq] = decodeCursor(cursor, 1) ?? [];
  if (seq === undefined) return undefined;
  if (!/^\d{1,18}$/.test(seq)) throw wrongCursor();
  return BigInt(seq);
}

/** The place of a row of an event, in lists of them by time. */
export interface EventPlace {
  time: string;
  source: string;
  id: string;
  revision: number;
}

export function eventOfCursor(cursor: string | undefined): EventPlace | undefined {
  const columns = decodeCursor(cursor, 4);
  if (!columns) return undefined;
  const [time, source = '', id = '', revision] = columns;
  return { time: instantOfCursor(time), source, id, revision: placeOfCursor(revision) };
}

function wrongCursor(): Fault {
  return new Fault('validation_failed', {
    issues: [{ parameter: 'cursor', detail: 'This is no cursor of this list.' }],
  });
}

/** Takes up to `limit + 1` rows; the row too many only says that there is more. */
export function pageOf<Row, T>(
  rows: readonly Row[],
  limit: number,
  keyOf: (row: Row) => readonly string[],
  toJson: (row: Row) => T,
): Page<T> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const more = rows.length > limit && last !== undefined;
  return { data: shown.map(toJson), next_cursor: more ? encodeCursor(keyOf(last)) : null };
}

/** What follows the row with these key columns. */
export function encodeCursor(key: readonly string[]): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url');
}

function parseCursor(cursor: string): string[] | undefined {
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    return Array.isArray(parts) && parts.every((part) => typeof part === 'string') ? parts : undefined;
  } catch {
    return undefined;
  }
}
