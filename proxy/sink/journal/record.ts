import { crc32 } from 'node:zlib';

/**
 * One record of the journal is one line: a CRC-32 in hex over everything after the first tab, the kind, and the fields
 * of that kind, with tabs between them. JSON has no raw tab or newline, so nothing is escaped and an event can be
 * shipped without parsing it.
 *
 *     H  version  ordinal  bytes                     first line of a segment: closings in all segments before it, and
 *                                                    how long the segment right before it is
 *     O  id  at  event  reservation  used            opened: the estimate, should nothing better become known
 *     C  id  at  event  reservation  used            closed: the event that counts
 *     U  id  at  event  reservation  used            closed likewise, and its limits are unsettled: their store was away
 *     K  id  at  event  counts                       closed and settled; the event is in the store as well, and kept
 *                                                    here until billing has it
 *     D  id                                          closed; the event is nowhere but in another store (version 1)
 *     A  id                                          abandoned: nothing was served
 *     S  segment  offset  ordinal                    shipped: every closing before this place has reached billing
 *     R  ordinal                                     every unsettled closing before this one has been settled since
 */
export type RecordKind = 'H' | 'O' | 'C' | 'U' | 'K' | 'D' | 'A' | 'S' | 'R';

/** A journal of a higher version was written by a newer Weir and is not touched. */
export const JOURNAL_VERSION = 2;

export type ClosingKind = 'C' | 'U' | 'K';

export function isClosing(kind: RecordKind): kind is ClosingKind {
  return kind === 'C' || kind === 'K' || kind === 'U';
}

/** Longer lines are never written, and what looks like one is no record. */
export const RECORD_BYTES_MAX = 16 * 1024 * 1024;

export const CRC_CHARS = 8;
const PREFIX_CHARS = CRC_CHARS + 1;
export const TAB = 9;
export const NEWLINE = 10;

/** A record but for its CRC and its newline, in pieces: joined, its event would be copied once more. */
export type RecordBody = readonly string[];

export function bodyOf(kind: RecordKind, fields: string): RecordBody {
  return [`${kind}\t${fields}`];
}

export function charsOf(body: RecordBody): number {
  let chars = 0;
  for (const piece of body) chars += piece.length;
  return chars;
}

const BUFFER_BYTES = 64 * 1024;
/** More than this is given back after a burst. */
const BUFFER_BYTES_KEPT = 1024 * 1024;
/** Of one UTF-16 unit in UTF-8. */
const UNIT_BYTES_MAX = 3;
const HEX = Buffer.from('0123456789abcdef');

/** Makes bytes of records, in one piece of memory that it uses again and again. */
export class RecordEncoder {
  #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);

  /** One behind the other. The bytes are only lent: they are overwritten by the next call. */
  encode(bodies: readonly RecordBody[]): Buffer {
    if (this.#buffer.length > BUFFER_BYTES_KEPT) this.#buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
    let end = 0;
    for (const body of bodies) end = this.#put(body, end);
    return this.#buffer.subarray(0, end);
  }

  #put(body: RecordBody, start: number): number {
    this.#makeRoom(start, PREFIX_CHARS + charsOf(body) * UNIT_BYTES_MAX + 1);
    const buffer = this.#buffer;
    const from = start + PREFIX_CHARS;
    let end = from;
    for (const piece of body) end += buffer.write(piece, end);
    const crc = crc32(buffer.subarray(from, end));
    for (let i = 0; i < CRC_CHARS; i++) {
      buffer[start + i] = HEX[(crc >>> (4 * (CRC_CHARS - 1 - i))) & 15] as number;
    }
    buffer[start + CRC_CHARS] = TAB;
    buffer[end] = NEWLINE;
    return end + 1;
  }

  #makeRoom(used: number, bytes: number): void {
    if (used + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(used + bytes, this.#buffer.length * 2));
    this.#buffer.copy(larger, 0, 0, used);
    this.#buffer = larger;
  }
}

/** A whole and sound record, still as bytes. Its buffer is only lent: it is overwritten by the next read. */
export interface RawRecord {
  kind: RecordKind;
  /** The line without its newline. */
  line: Buffer;
}

/** A line without its newline; undefined when it is no sound record. */
export function parseRecord(line: Buffer): RawRecord | undefined {
  if (line.length < PREFIX_CHARS + 2 || line[CRC_CHARS] !== TAB || line[PREFIX_CHARS + 1] !== TAB) return undefined;
  const stated = Number.parseInt(line.toString('latin1', 0, CRC_CHARS), 16);
  if (crc32(line.subarray(PREFIX_CHARS)) !== stated) return undefined;
  return { kind: String.fromCharCode(line[PREFIX_CHARS] as number) as RecordKind, line };
}

export function fieldsOf(record: RawRecord): string[] {
  return record.line.toString('utf8', PREFIX_CHARS + 2).split('\t');
}

/** What it was made of. */
export function bodyIn(record: RawRecord): RecordBody {
  return [record.line.toString('utf8', PREFIX_CHARS)];
}

/** The bytes of one field, copied. */
export function fieldBytesOf({ line }: RawRecord, index: number): Buffer {
  let from = PREFIX_CHARS + 2;
  for (let before = 0; before < index; before++) from = line.indexOf(TAB, from) + 1;
  const end = line.indexOf(TAB, from);
  return Buffer.from(line.subarray(from, end < 0 ? line.length : end));
}

/** The first field alone: the id of a call. */
export function idOf(record: RawRecord): string {
  const from = PREFIX_CHARS + 2;
  const end = record.line.indexOf(TAB, from);
  return record.line.toString('latin1', from, end < 0 ? record.line.length : end);
}
