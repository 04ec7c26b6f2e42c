import type { Database } from '#billing/db/database.ts';
import { parseJson } from '#billing/event-formats/read-rows.ts';
import { type ParsedEvent, parseEvent } from '#billing/events/event.ts';
import { take } from '#billing/events/ingest.ts';
import { readersOf } from '#billing/templates/template.ts';
import type { PriceBook } from '#core/price.ts';
import { deleteParked, lockParked } from './store.ts';

/**
 * Tries everything that is parked again, or what one template left: what this version, or the template by now,
 * understands is counted. Gives how many left the list.
 */
export async function retryParked(
  db: Database,
  nowMs: number,
  options: { template?: string | undefined; book?: PriceBook; rowsMax?: number } = {},
): Promise<number> {
  const { template, book, rowsMax = 500 } = options;
  let left = 0;
  for (let afterSeq = 0n; ; ) {
    const page = await db.transaction(async (tx) => {
      const rows = await lockParked(tx, { afterSeq, template, limit: rowsMax });
      const templates = rows.flatMap((row) => (row.template === null ? [] : [row.template]));
      const readerOf = await readersOf(tx, new Set(templates));
      const read = (row: (typeof rows)[number]): ParsedEvent | undefined => {
        const value = parseJson(row.body);
        if (row.template === null) return parseEvent(value, nowMs, row.received_at);
        return readerOf(row.template)?.(value, nowMs, row.received_at);
      };
      const ready = rows.flatMap((row) => {
        const event = read(row);
        return event && event.kind !== 'parked' ? [{ seq: row.seq, event }] : [];
      });
      const results = await take(
        tx,
        ready.map(({ event }) => event),
        nowMs,
        book,
      );
      // What is parked once more keeps its place.
      const gone = ready.filter((_, i) => results[i]?.status !== 'parked').map(({ seq }) => seq);
      if (gone.length > 0) await deleteParked(tx, gone);
      return { last: rows.at(-1)?.seq, left: gone.length };
    });
    left += page.left;
    if (page.last === undefined) return left;
    afterSeq = page.last;
  }
}
