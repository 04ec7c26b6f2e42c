import { type Cursor, corrupt, type Segment } from './load.ts';
import { bodyOf, bodyTextOf, fieldBytesOf, fieldsOf, idOf, type RawRecord } from './record.ts';
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

/** Where they stand among the fields. */
const AT_FIELD = 1;
const EVENT_FIELD = 2;

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

/** Closings in files: all that it takes to read them, on another thread as well. */
export interface ClosingsRange {
  readonly segments: readonly Segment[];
  readonly from: Cursor;
  /** Not including the closing of this ordinal. All of them have to be written. */
  readonly untilOrdinal: number;
  readonly max: PageMax;
}

export async function readClosings(range: ClosingsRange): Promise<Page> {
  const entries: JournalEntry[] = [];
  const next = await visitClosings(range, (record) => void entries.push(entryOf(fieldsOf(record))));
  return { entries, next };
}

/** When each was written, its event as it stands there, and the place after them. Without those that have no event. */
export async function readEvents(
  range: ClosingsRange,
): Promise<{ events: Buffer[]; oldestAtMs: number; next: Cursor }> {
  const events: Buffer[] = [];
  let oldestAtMs = Number.POSITIVE_INFINITY;
  const next = await visitClosings(range, (record) => {
    if (oldestAtMs === Number.POSITIVE_INFINITY) oldestAtMs = Number(fieldBytesOf(record, AT_FIELD));
    const event = fieldBytesOf(record, EVENT_FIELD);
    if (event.length > 0) events.push(event);
  });
  return { events, oldestAtMs, next };
}

async function visitClosings(range: ClosingsRange, visit: (record: RawRecord) => void): Promise<Cursor> {
  const { segments, from, untilOrdinal, max } = range;
  let { segment: number, offset, ordinal } = from;
  let count = 0;
  let bytes = 0;
  const more = () => ordinal < untilOrdinal && count < max.count && bytes < max.bytes;
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
      count++;
      bytes += record.line.length;
      visit(record);
      return more();
    });
    if (!more()) break;
    if (stopped < end) throw corrupt(segment.path, stopped, 'a record is broken');
    number++;
    offset = 0;
  }
  return { segment: number, offset, ordinal };
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
