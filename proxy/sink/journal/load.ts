import { open, unlink } from 'node:fs/promises';
import { Fault } from '#core/fault.ts';
import { fieldsOf, idOf, isClosing, JOURNAL_VERSION, type RawRecord } from './record.ts';
import { anySoundAfter, listSegments, scanRecords } from './segment.ts';

export interface Segment {
  number: number;
  path: string;
  /** How much of it is whole. */
  bytes: number;
  /** Calls whose opening is here and that are not closed. */
  live: number;
  /** How many closings all segments before it held. */
  firstOrdinal: number;
  /** Closings in it whose event is nowhere else. Those that are to be settled are elsewhere once they have been. */
  onlyHere: number;
}

/** A place in the journal, and how many closings there were before it since the journal began. */
export interface Cursor {
  segment: number;
  offset: number;
  ordinal: number;
}

/** The end of the newest segment that was cut off because a crash had left it unfinished. */
export interface Cut {
  path: string;
  offset: number;
  bytes: number;
}

export interface Loaded {
  segments: Segment[];
  /** Opened and not closed, with the segment that holds the opening. */
  live: Map<string, Segment>;
  /** Up to where closings have been shipped. */
  cursor: Cursor;
  /** How many closings there are, shipped or not, since the journal began. */
  ordinal: number;
  /** Ordinals of closings that are to be settled, and before which all have been. */
  unsettled: number[];
  settledTo: number;
  cut: Cut | undefined;
}

/** Reads a journal whole, checks every byte of it, and cuts a torn end off the newest segment. */
export async function loadJournal(dir: string): Promise<Loaded> {
  const files = await listSegments(dir);
  const loaded: Loaded = {
    segments: [],
    live: new Map(),
    cursor: { segment: 0, offset: 0, ordinal: 0 },
    ordinal: 0,
    unsettled: [],
    settledTo: 0,
    cut: undefined,
  };
  for (const [index, file] of files.entries()) {
    const before = files[index - 1];
    if (before && file.number !== before.number + 1) {
      throw corrupt(before.path, before.bytes, `segment ${before.number + 1} is missing`);
    }
    const segment: Segment = { ...file, live: 0, firstOrdinal: loaded.ordinal, onlyHere: 0 };
    let first = true;
    const soundTo = await scanRecords(file.path, 0, file.bytes, (record) => {
      if (first) readHeader(loaded, segment, record);
      else apply(loaded, segment, record);
      first = false;
      return undefined;
    });
    if (soundTo < file.bytes || soundTo === 0) {
      if (await anySoundAfter(file.path, soundTo, file.bytes)) throw corrupt(file.path, soundTo, 'a record is broken');
      if (!(await nothingSoundIn(files.slice(index + 1)))) throw corrupt(file.path, soundTo, 'the end is broken off');
      for (const unborn of files.slice(index + 1)) await unlink(unborn.path);
      await cutAt(file.path, soundTo);
      loaded.cut = { path: file.path, offset: soundTo, bytes: file.bytes - soundTo };
      segment.bytes = soundTo;
      if (soundTo > 0) loaded.segments.push(segment);
      break;
    }
    loaded.segments.push(segment);
  }
  loaded.unsettled = loaded.unsettled.filter((ordinal) => ordinal >= loaded.settledTo);
  const oldest = loaded.segments[0];
  if (oldest && loaded.cursor.segment < oldest.number) {
    loaded.cursor = { segment: oldest.number, offset: 0, ordinal: oldest.firstOrdinal };
  }
  return loaded;
}

function readHeader(loaded: Loaded, segment: Segment, record: RawRecord): void {
  const [version = 0, ordinal = 0, bytes = 0] = fieldsOf(record).map(Number);
  if (record.kind !== 'H') throw corrupt(segment.path, 0, 'the first record is no header');
  if (version > JOURNAL_VERSION) throw corrupt(segment.path, 0, `it was written by a newer Weir (format ${version})`);
  const before = loaded.segments.at(-1);
  if (before && bytes !== before.bytes) throw corrupt(before.path, before.bytes, `it should be ${bytes} bytes long`);
  if (before && ordinal !== loaded.ordinal) {
    throw corrupt(segment.path, 0, `${ordinal} closings should come before it, there are ${loaded.ordinal}`);
  }
  segment.firstOrdinal = ordinal;
  loaded.ordinal = ordinal;
}

function apply(loaded: Loaded, segment: Segment, record: RawRecord): void {
  if (isClosing(record.kind)) {
    if (record.kind === 'C') segment.onlyHere++;
    if (record.kind === 'U') loaded.unsettled.push(loaded.ordinal);
    loaded.ordinal++;
    end(loaded, idOf(record));
    return;
  }
  switch (record.kind) {
    case 'O': {
      const id = idOf(record);
      // A call that outlives its segment has its opening copied forward: the newest copy is the one that counts.
      end(loaded, id);
      loaded.live.set(id, segment);
      segment.live++;
      return;
    }
    case 'D':
    case 'A':
      end(loaded, idOf(record));
      return;
    case 'S': {
      const [number = 0, offset = 0, ordinal = 0] = fieldsOf(record).map(Number);
      loaded.cursor = { segment: number, offset, ordinal };
      return;
    }
    case 'R': {
      const [ordinal = 0] = fieldsOf(record).map(Number);
      loaded.settledTo = ordinal;
      return;
    }
    case 'H':
      throw corrupt(segment.path, 0, 'it has two headers');
  }
}

function end(loaded: Loaded, id: string): void {
  const opened = loaded.live.get(id);
  if (!opened) return;
  opened.live--;
  loaded.live.delete(id);
}

async function nothingSoundIn(files: readonly { path: string; bytes: number }[]): Promise<boolean> {
  for (const file of files) if (await anySoundAfter(file.path, 0, file.bytes)) return false;
  return true;
}

async function cutAt(path: string, offset: number): Promise<void> {
  if (offset === 0) return unlink(path);
  const file = await open(path, 'r+');
  try {
    await file.truncate(offset);
    await file.sync();
  } finally {
    await file.close();
  }
}

export function corrupt(path: string, offset: number, what: string): Fault {
  return new Fault('journal_corrupt', { detail: `${path} at byte ${offset}: ${what}.` });
}

/** What of these segments is still to be read for so many closings. */
export function backlogOf(segments: readonly Segment[], from: Cursor, count: number): { count: number; bytes: number } {
  if (count === 0) return { count, bytes: 0 };
  let bytes = -from.offset;
  for (const segment of segments) if (segment.number >= from.segment) bytes += segment.bytes;
  return { count, bytes };
}
