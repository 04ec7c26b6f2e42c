import { ByteBuffer, decodeUtf8, parseJson } from './bytes.ts';

/** A member that is longer is none of those that are watched for. */
const MEMBER_BYTES_MAX = 64 * 1024;
const KEY_BYTES_MAX = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;

/**
 * Watches a JSON object go by in chunks and keeps the values of a few top-level members, in constant memory however long
 * the answer is. It does not validate: what it does not understand gives no values.
 */
export class JsonWatch {
  readonly #wanted: ReadonlySet<string>;
  readonly #textOf: string | null;
  readonly #values = new Map<string, string>();
  readonly #key = new ByteBuffer();
  readonly #value = new ByteBuffer();
  #currentKey: string | undefined;
  #depth = 0;
  #inString = false;
  #escaped = false;
  #readingKey = false;
  #keyNext = false;
  #capturing = false;
  #closed = false;
  /** Bytes inside strings below the member `textOf`. */
  textBytes = 0;

  constructor(wanted: ReadonlySet<string>, textOf: string | null) {
    this.#wanted = wanted;
    this.#textOf = textOf;
  }

  /** The object has ended. */
  get complete(): boolean {
    return this.#closed;
  }

  /** The last value of the member; undefined when it has not gone by or is no JSON. */
  find(key: string): unknown {
    const text = this.#values.get(key);
    return text === undefined ? undefined : parseJson(text)?.value;
  }

  push(chunk: Uint8Array): void {
    let captureFrom = this.#capturing ? 0 : -1;
    let textFrom = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] as number;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) {
          this.#inString = false;
          if (this.#depth > 1 && this.#currentKey === this.#textOf) this.textBytes += at - textFrom;
          if (this.#readingKey) this.#endKey(chunk.subarray(textFrom, at));
        }
        continue;
      }
      switch (byte) {
        case QUOTE:
          this.#inString = true;
          textFrom = at + 1;
          if (this.#depth === 1 && this.#keyNext) {
            this.#readingKey = true;
            this.#keyNext = false;
            this.#key.clear();
          }
          break;
        case COLON:
          if (this.#depth === 1 && !this.#capturing && this.#currentKey !== undefined) {
            if (this.#wanted.has(this.#currentKey)) {
              this.#capturing = true;
              this.#value.clear();
              captureFrom = at + 1;
            }
          }
          break;
        case COMMA:
          if (this.#depth === 1) {
            this.#endValue(chunk, captureFrom, at);
            captureFrom = -1;
            this.#keyNext = true;
          }
          break;
        case 0x7b: // {
        case 0x5b: // [
          this.#depth++;
          if (this.#depth === 1) this.#keyNext = byte === 0x7b;
          break;
        case 0x7d: // }
        case 0x5d: // ]
          if (this.#depth === 1) {
            this.#endValue(chunk, captureFrom, at);
            captureFrom = -1;
            this.#closed = true;
          }
          this.#depth--;
          break;
      }
    }
    if (captureFrom >= 0) this.#keep(chunk.subarray(captureFrom));
    if (this.#inString) {
      const rest = chunk.length - textFrom;
      if (this.#readingKey) this.#keepKey(chunk.subarray(textFrom));
      if (this.#depth > 1 && this.#currentKey === this.#textOf) this.textBytes += rest;
    }
  }

  #keepKey(part: Uint8Array): void {
    if (this.#key.length <= KEY_BYTES_MAX) this.#key.append(part.subarray(0, KEY_BYTES_MAX + 1));
  }

  #endKey(part: Uint8Array): void {
    this.#keepKey(part);
    this.#currentKey = decodeUtf8(this.#key.view());
    this.#readingKey = false;
  }

  #keep(part: Uint8Array): void {
    if (this.#value.length <= MEMBER_BYTES_MAX) this.#value.append(part.subarray(0, MEMBER_BYTES_MAX + 1));
  }

  #endValue(chunk: Uint8Array, from: number, to: number): void {
    if (this.#capturing && this.#currentKey !== undefined) {
      if (from >= 0) this.#keep(chunk.subarray(from, to));
      if (this.#value.length <= MEMBER_BYTES_MAX) this.#values.set(this.#currentKey, decodeUtf8(this.#value.view()));
    }
    this.#capturing = false;
    this.#currentKey = undefined;
  }
}
