import { type Cursor, corrupt, type Segment } from './load.ts';
import {
  bodyIn,
  type ClosingKind,
  fieldBytesOf,
  fieldsOf,
  idOf,
  isClosing,
  type RawRecord,
  type RecordBody,
} from './record.ts';
import { scanRecords } from './segment.ts';

/** A call as it stands in the journal; the parts are text as record.ts writes it. */
export interface JournalEntry {
  id: string;
  /** When it was written. */
  atMs: number;
  /** Empty where holds are given back and no event comes of the call. */
  event: string;
  /** Both empty where the gateway keeps its counters itself; of a closing that is settled, what of it is counted in periods. */
  reservation: string;
  used: string;
}

/** Where they stand among the fields. */
const AT_FIELD = 1;
const EVENT_FIELD = 2;
const RESERVATION_FIELD = 3;

/** The record of an opening or a closing; `entryOf` reads it back. */
export function bodyOfCall(kind: 'O' | ClosingKind, { id, atMs, event, reservation, used }: JournalEntry): RecordBody {
  return [`${kind}\t${id}\t${atMs}\t`, event, `\t${reservation}\t${used}`];
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
  /** Only those that are to be settled; without it all. */
  readonly unsettled?: true;
}

export async function readClosings(range: ClosingsRange): Promise<Page> {
  const entries: JournalEntry[] = [];
  const next = await visitClosings(range, (record) => void entries.push(entryOf(fieldsOf(record))));
  return { entries, next };
}

/** A closing whose event goes as it stands there. */
export interface ClosedEvent {
  /** Of its call, as the limits know it. */
  id: string;
  /** Another where the call was let through while their store was away. */
  eventId: string;
  atMs: number;
  event: Buffer;
  kind: ClosingKind;
  /** As `JournalEntry` has it. */
  reservation: string;
}

/** Those that have an event, when the oldest was written, and the place after them. */
export async function readEvents(
  range: ClosingsRange,
): Promise<{ events: ClosedEvent[]; oldestAtMs: number; next: Cursor }> {
  const events: ClosedEvent[] = [];
  let oldestAtMs = Number.POSITIVE_INFINITY;
  const next = await visitClosings(range, (record) => {
    const atMs = Number(fieldBytesOf(record, AT_FIELD));
    if (oldestAtMs === Number.POSITIVE_INFINITY) oldestAtMs = atMs;
    const event = fieldBytesOf(record, EVENT_FIELD);
    if (event.length === 0) return;
    const reservation = fieldBytesOf(record, RESERVATION_FIELD).toString('utf8');
    events.push({ id: idOf(record), eventId: idOfEvent(event), atMs, event, kind: record.kind, reservation });
  });
  return { events, oldestAtMs, next };
}

const ID = Buffer.from('"id":"');
const QUOTE = 34;

/** Events are written with their own id before any other: it is found in them without parsing them. */
function idOfEvent(event: Buffer): string {
  const from = event.indexOf(ID) + ID.length;
  return event.toString('latin1', from, event.indexOf(QUOTE, from));
}

async function visitClosings(
  range: ClosingsRange,
  visit: (record: RawRecord & { kind: ClosingKind }) => void,
): Promise<Cursor> {
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
      const { kind } = record;
      if (!isClosing(kind)) return true;
      ordinal++;
      if (range.unsettled && kind !== 'U') return more();
      count++;
      bytes += record.line.length;
      visit({ kind, line: record.line });
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
export async function visitOpenings(segment: Segment, visit: (id: string, body: RecordBody) => void): Promise<void> {
  await scanRecords(segment.path, 0, segment.bytes, (record) => {
    if (record.kind === 'O') visit(idOf(record), bodyIn(record));
    return true;
  });
}
