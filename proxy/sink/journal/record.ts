import { crc32 } from 'node:zlib';
import type { Hold, Reservation } from '#proxy/limits/counters.ts';

/**
 * One record of the journal is one line: a CRC-32 in hex over everything after the first tab, the kind, and the fields
 * of that kind, with tabs between them. JSON has no raw tab or newline, so nothing is escaped and an event can be
 * shipped without parsing it.
 *
 *     H  version  ordinal  bytes                     first line of a segment: closings in all segments before it, and
 *                                                    how long the segment right before it is
 *     O  id  at  event  reservation  used            opened: the estimate, should nothing better become known
 *     C  id  at  event  reservation  used            closed: the event that counts
 *     D  id                                          done: closed, and the event is durable in another store
 *     A  id                                          abandoned: nothing was served
 *     S  segment  offset  ordinal                    shipped: every closing before this place has reached billing
 */
export type RecordKind = 'H' | 'O' | 'C' | 'D' | 'A' | 'S';

/** A journal of a higher version was written by a newer Weir and is not touched. */
export const JOURNAL_VERSION = 1;

/** Longer lines are never written, and what looks like one is no record. */
export const RECORD_BYTES_MAX = 16 * 1024 * 1024;

export const CRC_CHARS = 8;
const PREFIX_CHARS = CRC_CHARS + 1;
export const TAB = 9;

export function encodeRecord(kind: RecordKind, fields: string): string {
  const body = `${kind}\t${fields}`;
  return `${crc32(body).toString(16).padStart(CRC_CHARS, '0')}\t${body}\n`;
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

/** The first field alone: the id of a call. */
export function idOf(record: RawRecord): string {
  const from = PREFIX_CHARS + 2;
  const end = record.line.indexOf(TAB, from);
  return record.line.toString('latin1', from, end < 0 ? record.line.length : end);
}

/** A reservation as JSON; bigints as decimal text. */
export function encodeReservation(reservation: Reservation): string {
  const holds = new Array<HoldJson>(reservation.holds.length);
  for (let i = 0; i < holds.length; i++) holds[i] = encodeHold(reservation.holds[i] as Hold);
  return JSON.stringify({ ...reservation, holds });
}

export function parseReservation(text: string): Reservation {
  const value: Omit<Reservation, 'holds'> & { holds: HoldJson[] } = JSON.parse(text);
  return { ...value, holds: value.holds.map(parseHold) };
}

/** Amounts by hold: decimal integers with commas between. */
export function encodeUsed(used: readonly bigint[]): string {
  return used.join(',');
}

export function parseUsed(text: string): bigint[] {
  return text === '' ? [] : text.split(',').map(BigInt);
}

type TextFor<T> = { [K in keyof T]: T[K] extends bigint ? string : T[K] };
type HoldJson = TextFor<Hold>;

function encodeHold(hold: Hold): HoldJson {
  const { counter } = hold;
  const amount = hold.amount.toString();
  const limit = hold.limit.toString();
  switch (hold.kind) {
    case 'rate':
      return {
        kind: hold.kind,
        counter,
        amount,
        limit,
        burst: hold.burst.toString(),
        windowMs: hold.windowMs,
        counted: hold.counted,
      };
    case 'concurrency':
      return { kind: hold.kind, counter, amount, limit };
    case 'quota':
      return { kind: hold.kind, counter, amount, limit, expiresAtMs: hold.expiresAtMs };
  }
}

function parseHold(hold: HoldJson): Hold {
  switch (hold.kind) {
    case 'rate':
      return { ...hold, amount: BigInt(hold.amount), limit: BigInt(hold.limit), burst: BigInt(hold.burst) };
    case 'concurrency':
      return { ...hold, amount: 1n, limit: BigInt(hold.limit) };
    case 'quota':
      return { ...hold, amount: BigInt(hold.amount), limit: BigInt(hold.limit) };
  }
}
