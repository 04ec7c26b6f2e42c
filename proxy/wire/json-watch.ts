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
  readonly kept: readonly string[];
  readonly textOf: string | null;
  readonly names: readonly { readonly name: string; readonly bytes: Uint8Array }[];
  readonly nameBytesMax: number;
}

export function watchList(kept: readonly string[], textOf: string | null): WatchList {
  const names = [...kept, ...(textOf === null ? [] : [textOf])].map((name) => ({ name, bytes: encodeUtf8(name) }));
  return { kept, textOf, names, nameBytesMax: Math.max(...names.map(({ bytes }) => bytes.length)) };
}

/**
 * Watches a JSON object go by in chunks and keeps the values of a few top-level members, in constant memory however long
 * the answer is. It does not validate: what it does not understand gives no values.
 */
export class JsonWatch {
  readonly #list: WatchList;
  readonly #values = new Map<string, string>();
  /** The member whose value goes by, when it is one of the watched. */
  #member: string | null = null;
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
    let at = 0;
    let valueStart = this.#value ? 0 : -1;
    while (at < end) {
      if (this.#inString) {
        at = this.#readString(chunk, at, depth);
        continue;
      }
      const byte = chunk[at] as number;
      if (byte === QUOTE) {
        this.#inString = true;
        if (depth === 1 && this.#keyNext) {
          this.#inKey = true;
          this.#keyNext = false;
        }
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
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
        if (byte === COLON && this.#member !== null && !this.#value && this.#list.kept.includes(this.#member)) {
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

  /** From inside a string to behind its closing quote, or to the end of the chunk. */
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
    if (depth > 1 && this.#member !== null && this.#member === this.#list.textOf) this.textBytes += at - from;
    const closed = at < end;
    if (this.#inKey) this.#readKey(chunk, from, at, closed);
    this.#inString = !closed;
    return closed ? at + 1 : end;
  }

  #readKey(chunk: Uint8Array, from: number, to: number, closed: boolean): void {
    if (closed && this.#key.length === 0) {
      this.#member = this.#nameOf(chunk, from, to);
    } else {
      // Longer than every name that is watched is as good as any other length.
      if (this.#key.length <= this.#list.nameBytesMax) this.#key.append(chunk.subarray(from, to));
      if (!closed) return;
      this.#member = this.#nameOf(this.#key.view(), 0, this.#key.length);
      this.#key.clear();
    }
    this.#inKey = false;
  }

  #nameOf(bytes: Uint8Array, from: number, to: number): string | null {
    for (const { name, bytes: wanted } of this.#list.names) if (isEqualRange(bytes, from, to, wanted)) return name;
    return null;
  }

  #keep(part: Uint8Array): void {
    this.#valueBytes += part.length;
    if (this.#valueBytes <= MEMBER_BYTES_MAX) this.#value?.push(part);
  }

  #endValue(chunk: Uint8Array, from: number, to: number): void {
    if (this.#value && this.#member !== null) {
      if (from >= 0) this.#keep(chunk.subarray(from, to));
      if (this.#valueBytes <= MEMBER_BYTES_MAX) this.#values.set(this.#member, decodeUtf8(concat(this.#value)));
    }
    this.#value = null;
    this.#member = null;
  }
}
