import { concat, decodeUtf8, isEqualRange } from './bytes.ts';

/**
 * Where the members of a JSON object stand in its bytes, so that one of them can be read, replaced or taken out while
 * every other byte stays as it was. It skips, it does not validate: callers have parsed the text or can live without.
 */
export interface Member {
  /** With its quotes. */
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const BOM = [0xef, 0xbb, 0xbf];

/** The members of the object that begins at or after `start` (blanks and a byte order mark apart). Undefined when there is no whole one. */
export function membersOf(bytes: Uint8Array, start = 0, end = bytes.length): Member[] | undefined {
  let at = skipBlanks(bytes, BOM.every((byte, i) => bytes[start + i] === byte) ? start + 3 : start, end);
  if (bytes[at] !== OPEN_BRACE) return undefined;
  const members: Member[] = [];
  at = skipBlanks(bytes, at + 1, end);
  if (bytes[at] === CLOSE_BRACE) return members;
  while (at < end) {
    const keyStart = at;
    if (bytes[at] !== QUOTE) return undefined;
    const keyEnd = stringEnd(bytes, at, end);
    at = skipBlanks(bytes, keyEnd, end);
    if (bytes[at] !== COLON) return undefined;
    const valueStart = skipBlanks(bytes, at + 1, end);
    const valueEnd = skipValue(bytes, valueStart, end);
    if (valueEnd < 0) return undefined;
    members.push({ keyStart, keyEnd, valueStart, valueEnd });
    at = skipBlanks(bytes, valueEnd, end);
    if (bytes[at] === CLOSE_BRACE) return members;
    if (bytes[at] !== COMMA) return undefined;
    at = skipBlanks(bytes, at + 1, end);
  }
  return undefined;
}

/** Where each element stands of the list that the bytes are. Undefined when they are no whole one. */
export function elementsOf(bytes: Uint8Array): { start: number; end: number }[] | undefined {
  const elements: { start: number; end: number }[] = [];
  let at = skipBlanks(bytes, BOM.every((byte, i) => bytes[i] === byte) ? BOM.length : 0, bytes.length);
  if (bytes[at] !== OPEN_BRACKET) return undefined;
  at = skipBlanks(bytes, at + 1, bytes.length);
  if (bytes[at] === CLOSE_BRACKET) return elements;
  while (at < bytes.length) {
    const end = skipValue(bytes, at, bytes.length);
    if (end < 0) return undefined;
    elements.push({ start: at, end });
    at = skipBlanks(bytes, end, bytes.length);
    if (bytes[at] === CLOSE_BRACKET) return elements;
    if (bytes[at] !== COMMA) return undefined;
    at = skipBlanks(bytes, at + 1, bytes.length);
  }
  return undefined;
}

/** The JSON text of a member's value. */
export function valueText(bytes: Uint8Array, member: Member): string {
  return decodeUtf8(bytes.subarray(member.valueStart, member.valueEnd));
}

export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly insert: Uint8Array;
}

/** The bytes with some ranges replaced; edits in ascending order, without overlap. */
export function edited(bytes: Uint8Array, edits: readonly Edit[]): Uint8Array {
  if (edits.length === 0) return bytes;
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const { start, end, insert } of edits) {
    parts.push(bytes.subarray(from, start), insert);
    from = end;
  }
  parts.push(bytes.subarray(from));
  return concat(parts);
}

/** The range to cut so that the i-th member is gone, with exactly one comma, as if it had never been written. */
export function cutOf(bytes: Uint8Array, members: readonly Member[], i: number): { start: number; end: number } {
  const member = members[i] as Member;
  const before = members[i - 1];
  const after = members[i + 1];
  if (before) return { start: skipBlanks(bytes, before.valueEnd, bytes.length), end: member.valueEnd };
  return { start: member.keyStart, end: after ? after.keyStart : member.valueEnd };
}

export function skipBlanks(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    at++;
  }
  return at;
}

/** One past the closing quote of the string that opens at `at`; `end` when it does not close. */
export function stringEnd(bytes: Uint8Array, at: number, end: number): number {
  const quote = closingQuote(bytes, at + 1, end);
  return quote < end ? quote + 1 : end;
}

/** Names and numbers are read byte by byte; beyond that the runtime's own search is many times faster. */
const SHORT_STRING_BYTES = 24;

/**
 * Where the string ends whose contents begin at `from`: at its closing quote, else at `end`, or one beyond when the last
 * byte is a backslash whose other half is still to come.
 */
export function closingQuote(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  const short = Math.min(end, from + SHORT_STRING_BYTES);
  while (at < short) {
    const byte = bytes[at];
    if (byte === QUOTE) return at;
    at += byte === BACKSLASH ? 2 : 1;
  }
  while (at < end) {
    const quote = bytes.indexOf(QUOTE, at);
    const stop = quote < 0 || quote > end ? end : quote;
    let backslashes = 0;
    while (stop - backslashes > at && bytes[stop - backslashes - 1] === BACKSLASH) backslashes++;
    const escapes = backslashes % 2 === 1;
    if (!escapes) return stop;
    at = stop + 1;
  }
  return at;
}

function skipValue(bytes: Uint8Array, start: number, end: number): number {
  let depth = 0;
  let at = start;
  while (at < end) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = stringEnd(bytes, at, end);
      if (depth === 0) return at;
      continue;
    }
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      if (depth === 0) return at;
      depth--;
      if (depth === 0) return at + 1;
    } else if (depth === 0 && (byte === COMMA || byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09)) {
      return at;
    }
    at++;
  }
  return -1;
}

/** The member's name, escapes resolved. */
export function keyOf(bytes: Uint8Array, { keyStart, keyEnd }: Member): string {
  const text = decodeUtf8(bytes.subarray(keyStart + 1, keyEnd - 1));
  return text.includes('\\') ? String(JSON.parse(`"${text}"`)) : text;
}

/** The last member of that name, as a parser would have it. */
export function findMember(bytes: Uint8Array, members: readonly Member[], name: string): Member | undefined {
  return members.findLast((member) => keyOf(bytes, member) === name);
}

/** True when the member's name stands there in exactly these bytes. Cheaper than `keyOf`, and blind to escapes. */
export function isNamed(bytes: Uint8Array, { keyStart, keyEnd }: Member, name: Uint8Array): boolean {
  return isEqualRange(bytes, keyStart + 1, keyEnd - 1, name);
}
