import { ByteBuffer, concat, decodeUtf8, encodeUtf8, isEqualRange, parseJson } from './bytes.ts';
import { closingQuote } from './json-span.ts';

/** A member that is longer is none of those that are watched for. */
const MEMBER_BYTES_MAX = 64 * 1024;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** What to watch for, made once per format: members to keep, and the one whose text is measured. */
export interface WatchList {
  readonly watched: readonly Watched[];
  readonly nameBytesMax: number;
}

interface Watched {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly isKept: boolean;
  readonly isText: boolean;
}

export function watchList(kept: readonly string[], textOf: string | null): WatchList {
  const names = textOf === null || kept.includes(textOf) ? kept : [...kept, textOf];
  const watched = names.map((name) => ({
    name,
    bytes: encodeUtf8(name),
    isKept: kept.includes(name),
    isText: name === textOf,
  }));
  return { watched, nameBytesMax: Math.max(...watched.map(({ bytes }) => bytes.length)) };
}

/**
 * Watches a JSON object go by in chunks and keeps the values of a few top-level members, in constant memory however long
 * the answer is. It does not validate: what it does not understand gives no values.
 */
export class JsonWatch {
  readonly #list: WatchList;
  readonly #values = new Map<string, string>();
  /** The member whose value goes by, when it is one of the watched. */
  #member: Watched | null = null;
  #depth = 0;
  #inString = false;
  #escaped = false;
  #inKey = false;
  #keyNext = false;
  /** A key that the last chunk ended in. */
  readonly #key = new ByteBuffer();
  /** What the last chunks had of a value that is kept; null when none is. */
  #value: Uint8Array[] | null = null;
  #valueBytes = 0;
  /** The object has ended. */
  complete = false;
  /** Bytes inside strings below the member `textOf`, names included. */
  textBytes = 0;

  constructor(list: WatchList) {
    this.#list = list;
  }

  /** The last value of the member; undefined when it has not gone by or is no JSON. */
  find(name: string): unknown {
    const text = this.#values.get(name);
    return text === undefined ? undefined : parseJson(text)?.value;
  }

  push(chunk: Uint8Array): void {
    const end = chunk.length;
    let depth = this.#depth;
    let at = this.#inString ? this.#readString(chunk, 0, depth) : 0;
    let valueStart = this.#value ? 0 : -1;
    while (at < end) {
      const byte = chunk[at] as number;
      if (byte === QUOTE) {
        const close = closingQuote(chunk, at + 1, end);
        const isKey = depth === 1 && this.#keyNext;
        if (isKey) this.#keyNext = false;
        if (close < end) {
          // Nearly every string is whole, and most are neither watched nor measured.
          if (isKey) this.#member = this.#watchedAt(chunk, at + 1, close);
          else if (depth > 1 && this.#member?.isText) this.textBytes += close - at - 1;
          at = close + 1;
        } else {
          this.#inKey = isKey;
          at = this.#readString(chunk, at + 1, depth);
        }
        continue;
      }
      if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        depth++;
        if (depth === 1) this.#keyNext = byte === OPEN_BRACE;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        if (depth === 1) {
          this.#endValue(chunk, valueStart, at);
          valueStart = -1;
          this.complete = true;
        }
        depth--;
      } else if (depth === 1) {
        if (byte === COLON && this.#member?.isKept && !this.#value) {
          this.#value = [];
          this.#valueBytes = 0;
          valueStart = at + 1;
        } else if (byte === COMMA) {
          this.#endValue(chunk, valueStart, at);
          valueStart = -1;
          this.#keyNext = true;
        }
      }
      at++;
    }
    this.#depth = depth;
    if (valueStart >= 0) this.#keep(chunk.slice(valueStart));
  }

  /** From inside a string that a chunk ends in: to behind its closing quote, or to the end of this chunk. */
  #readString(chunk: Uint8Array, from: number, depth: number): number {
    const end = chunk.length;
    let at = from;
    if (this.#escaped) {
      this.#escaped = false;
      at++;
    }
    if (at < end) at = closingQuote(chunk, at, end);
    if (at > end) {
      this.#escaped = true;
      at = end;
    }
    if (depth > 1 && this.#member?.isText) this.textBytes += at - from;
    const closed = at < end;
    if (this.#inKey) this.#readKey(chunk, from, at, closed);
    this.#inString = !closed;
    return closed ? at + 1 : end;
  }

  #readKey(chunk: Uint8Array, from: number, to: number, closed: boolean): void {
    // Longer than every name that is watched, it is none of them, however it goes on.
    if (this.#key.length <= this.#list.nameBytesMax) this.#key.append(chunk.subarray(from, to));
    if (!closed) return;
    this.#member = this.#watchedAt(this.#key.view(), 0, this.#key.length);
    this.#key.clear();
    this.#inKey = false;
  }

  #watchedAt(bytes: Uint8Array, from: number, to: number): Watched | null {
    for (const watched of this.#list.watched) if (isEqualRange(bytes, from, to, watched.bytes)) return watched;
    return null;
  }

  #keep(part: Uint8Array): void {
    this.#valueBytes += part.length;
    if (this.#valueBytes <= MEMBER_BYTES_MAX) this.#value?.push(part);
  }

  #endValue(chunk: Uint8Array, from: number, to: number): void {
    if (this.#value && this.#member !== null) {
      if (from >= 0) this.#keep(chunk.subarray(from, to));
      if (this.#valueBytes <= MEMBER_BYTES_MAX) this.#values.set(this.#member.name, decodeUtf8(concat(this.#value)));
    }
    this.#value = null;
    this.#member = null;
  }
}
