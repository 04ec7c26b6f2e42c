import { type Cursor, corrupt, type Segment } from './load.ts';
import { bodyOf, bodyTextOf, fieldsOf, idOf } from './record.ts';
import { scanRecords } from './segment.ts';

/** A call as it stands in the journal; the parts are text as record.ts writes it. */
export interface JournalEntry {
  id: string;
  /** When it was written. */
  atMs: number;
  /** Empty where holds are given back and no event comes of the call. */
  event: string;
  /** Both empty where the gateway keeps its counters itself. */
  reservation: string;
  used: string;
}

/** The record of an opening or a closing; `entryOf` reads it back. */
export function bodyOfCall(kind: 'O' | 'C', { id, atMs, event, reservation, used }: JournalEntry): string {
  return bodyOf(kind, `${id}\t${atMs}\t${event}\t${reservation}\t${used}`);
}

export interface Backlog {
  /** Closings that have not been shipped, and what of the journal is still to be read for them. */
  count: number;
  bytes: number;
}

/** Closings in their order, and the place after them. */
export interface Page {
  entries: JournalEntry[];
  next: Cursor;
}

/** At most so many entries and, but for the last one, so many bytes of them. */
export interface PageMax {
  count: number;
  bytes: number;
}

/** The closings from a place up to, not including, the one of this ordinal. All of them have to be written. */
export async function readClosings(
  segments: readonly Segment[],
  from: Cursor,
  untilOrdinal: number,
  max: PageMax,
): Promise<Page> {
  const entries: JournalEntry[] = [];
  let { segment: number, offset, ordinal } = from;
  let bytes = 0;
  const more = () => ordinal < untilOrdinal && entries.length < max.count && bytes < max.bytes;
  while (more()) {
    // The newest that can hold it: an older one may be deleted at any moment.
    const segment = segments.findLast((candidate) => candidate.firstOrdinal <= ordinal);
    if (!segment || segment.number < number) {
      throw corrupt(segments.at(-1)?.path ?? 'the journal', offset, 'closings are missing after it');
    }
    if (segment.number > number) offset = 0;
    number = segment.number;
    const end = segment.bytes;
    const stopped = await scanRecords(segment.path, offset, end, (record, endOffset) => {
      offset = endOffset;
      if (record.kind !== 'C') return true;
      ordinal++;
      bytes += record.line.length;
      entries.push(entryOf(fieldsOf(record)));
      return more();
    });
    if (!more()) break;
    if (stopped < end) throw corrupt(segment.path, stopped, 'a record is broken');
    number++;
    offset = 0;
  }
  return { entries, next: { segment: number, offset, ordinal } };
}

/** The openings of these calls; each stands in the segment that it is mapped to. */
export async function readOpenings(
  segments: readonly Segment[],
  live: ReadonlyMap<string, Segment>,
): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = [];
  for (const segment of [...segments]) {
    if (segment.live === 0) continue;
    await scanRecords(segment.path, 0, segment.bytes, (record) => {
      if (record.kind === 'O' && live.get(idOf(record)) === segment) entries.push(entryOf(fieldsOf(record)));
      return true;
    });
  }
  return entries;
}

function entryOf(fields: string[]): JournalEntry {
  const [id = '', at = '', event = '', reservation = '', used = ''] = fields;
  return { id, atMs: Number(at), event, reservation, used };
}

/** Every opening of a segment, with its record as it stands there. */
export async function visitOpenings(segment: Segment, visit: (id: string, body: string) => void): Promise<void> {
  await scanRecords(segment.path, 0, segment.bytes, (record) => {
    if (record.kind === 'O') visit(idOf(record), bodyTextOf(record));
    return true;
  });
}
