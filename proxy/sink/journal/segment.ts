import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CRC_CHARS, NEWLINE, parseRecord, type RawRecord, RECORD_BYTES_MAX, TAB } from './record.ts';

/** Segments are numbered without gaps; the names sort like the numbers. */
const NAME = /^journal-(\d{12})\.log$/;
const READ_BYTES = 256 * 1024;

export function segmentPath(dir: string, number: number): string {
  return join(dir, `journal-${String(number).padStart(12, '0')}.log`);
}

export async function listSegments(dir: string): Promise<{ number: number; path: string; bytes: number }[]> {
  const found = [];
  for (const name of (await readdir(dir)).sort()) {
    const match = NAME.exec(name);
    if (!match) continue;
    const path = join(dir, name);
    found.push({ number: Number(match[1]), path, bytes: (await stat(path)).size });
  }
  return found;
}

/** Called for each record with the offset of the byte after it. Answer false to stop there. */
export type OnRecord = (record: RawRecord, endOffset: number) => boolean | undefined;

/**
 * Reads sound records from one offset up to another and answers the offset where it stopped: `to`, or the end of the
 * record at which `onRecord` said so, or the start of the first line that is no sound record.
 */
export async function scanRecords(path: string, from: number, to: number, onRecord: OnRecord): Promise<number> {
  let soundTo = from;
  await readLines(path, from, to, (line, endOffset) => {
    const record = line && parseRecord(line);
    if (!record) return false;
    soundTo = endOffset;
    return onRecord(record, endOffset);
  });
  return soundTo;
}

/** True when a whole sound record begins anywhere after this offset, even where the newline before it is gone. */
export async function anySoundAfter(path: string, from: number, to: number): Promise<boolean> {
  let found = false;
  await readLines(path, from, to, (line) => {
    found = line !== undefined && endsInRecord(line);
    return !found;
  });
  return found;
}

function endsInRecord(line: Buffer): boolean {
  for (let tab = line.indexOf(TAB); tab >= 0; tab = line.indexOf(TAB, tab + 1)) {
    if (tab >= CRC_CHARS && parseRecord(line.subarray(tab - CRC_CHARS))) return true;
  }
  return false;
}

/** Lines up to the last newline before `to`; undefined stands for one that is too long to be a record. */
async function readLines(
  path: string,
  from: number,
  to: number,
  onLine: (line: Buffer | undefined, endOffset: number) => boolean | undefined,
): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await readLinesOf(handle, from, to, onLine);
  } finally {
    await handle.close();
  }
}

async function readLinesOf(
  handle: FileHandle,
  from: number,
  to: number,
  onLine: (line: Buffer | undefined, endOffset: number) => boolean | undefined,
): Promise<void> {
  let buffer = Buffer.allocUnsafe(Math.max(1, Math.min(READ_BYTES, to - from)));
  /** Bytes of an unfinished line at the start of the buffer. */
  let held = 0;
  /** File offset of the buffer's start. */
  let offset = from;
  let tooLong = false;
  while (offset + held < to) {
    if (held === buffer.length) {
      if (held >= RECORD_BYTES_MAX) {
        tooLong = true;
        offset += held;
        held = 0;
        continue;
      }
      const larger = Buffer.allocUnsafe(buffer.length * 2);
      buffer.copy(larger, 0, 0, held);
      buffer = larger;
    }
    const want = Math.min(buffer.length - held, to - offset - held);
    const { bytesRead } = await handle.read(buffer, held, want, offset + held);
    if (bytesRead === 0) return;
    const filled = held + bytesRead;
    let start = 0;
    for (let end = buffer.indexOf(NEWLINE, held); end >= 0 && end < filled; end = buffer.indexOf(NEWLINE, start)) {
      const line = tooLong ? undefined : buffer.subarray(start, end);
      tooLong = false;
      start = end + 1;
      if (onLine(line, offset + start) === false) return;
    }
    buffer.copyWithin(0, start, filled);
    offset += start;
    held = filled - start;
  }
}
