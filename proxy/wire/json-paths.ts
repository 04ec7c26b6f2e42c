import { ByteBuffer, isEqualRange } from './bytes.ts';
import type { Node, Paths } from './json-path-tree.ts';
import { closingQuote } from './json-span.ts';
import type { ShownText } from './shown.ts';

/** `bytes[start, end)` is the JSON text of the value; good until the call returns. */
export type ValueVisitor = (kept: number, bytes: Uint8Array, start: number, end: number) => void;

/** A value that is longer is none of those that are watched for. */
const VALUE_BYTES_MAX = 64 * 1024;
/** And no name is. */
const NAME_BYTES_MAX = 64;

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COLON = 0x3a;
const BLANK_MAX = 0x20;

/**
 * Watches JSON values go by in chunks, one after the other, and tells of those that stand at a few paths, in constant
 * memory however long they are. It does not validate: what it does not understand tells nothing.
 */
export class JsonPaths {
  readonly #root: Node;
  readonly #visit: ValueVisitor;
  readonly #onObject: (() => void) | undefined;
  readonly #shown: ShownText | undefined;
  /** The containers around us that are watched, outermost first. */
  readonly #nodes: Node[] = [];
  #inObject = false;
  readonly #arrays: boolean[] = [];
  #keyNext = false;
  /** What the value after a key is to us. */
  #value: Node | null = null;
  /** How deep we are in a container of which nothing, or everything, is wanted. */
  #skipped = 0;
  #inString = false;
  /** The string at hand, or the last one of ours, is a name. */
  #afterKey = false;
  #escaped = false;
  readonly #key = new ByteBuffer();
  #counting = false;
  #kept = -1;
  #scalar = false;
  /** What the last chunks had of a value that is kept. */
  readonly #held = new ByteBuffer();
  /** How many values have gone by whole at the root. */
  values = 0;
  /** Bytes that went by at the paths that are counted. */
  textBytes = 0;

  /** `onObject`: an object at the root, or in a list there, has gone by whole. `shown` gets what is counted. */
  constructor({ root }: Paths, visit: ValueVisitor, onObject?: () => void, shown?: ShownText) {
    this.#root = root;
    this.#visit = visit;
    this.#onObject = onObject;
    this.#shown = shown;
  }

  /** No value has begun that has not ended. */
  get between(): boolean {
    return this.#nodes.length === 0 && this.#skipped === 0 && !this.#inString;
  }

  /** In a list at the root, and in none of its elements. */
  get inRootArray(): boolean {
    return (
      this.#nodes.length === 1 && this.#arrays[0] === true && this.#skipped === 0 && !this.#inString && !this.#scalar
    );
  }

  /** What has begun will not go on: something new comes. */
  reset(): void {
    this.#nodes.length = 0;
    this.#arrays.length = 0;
    this.#inObject = false;
    this.#skipped = 0;
    this.#inString = false;
    this.#afterKey = false;
    this.#keyNext = false;
    this.#escaped = false;
    this.#counting = false;
    this.#kept = -1;
    this.#scalar = false;
    this.#value = null;
    this.#key.clear();
    this.#held.clear();
  }

  push(bytes: Uint8Array, start = 0, end = bytes.length): void {
    let at = start;
    // Where the kept part of this chunk begins.
    let from = start;
    if (this.#inString) {
      at = this.#resumeString(bytes, at, end);
      if (!this.#inString && this.#skipped === 0 && this.#value !== null && !this.#afterKey)
        this.#endValue(bytes, from, at);
    }
    while (at < end) {
      if (this.#skipped > 0) {
        at = this.#skip(bytes, at, end);
        if (this.#skipped > 0) break;
        this.#endValue(bytes, from, at);
        if (this.#nodes.length === 0) this.values++;
        continue;
      }
      const byte = bytes[at] as number;
      if (byte === QUOTE) {
        const isKey = this.#keyNext;
        if (isKey) this.#keyNext = false;
        else if (this.#begin()) from = at;
        const close = closingQuote(bytes, at + 1, end);
        this.#afterKey = isKey;
        if (close >= end) {
          this.#inString = true;
          this.#escaped = close > end;
          if (isKey) this.#key.append(bytes.subarray(at + 1, end));
          else if (this.#counting) this.#count(bytes, at + 1, end, false);
          at = end;
          break;
        }
        if (isKey) this.#value = this.#named(bytes, at + 1, close);
        else if (this.#value !== null) {
          if (this.#counting) this.#count(bytes, at + 1, close, true);
          this.#endValue(bytes, from, close + 1);
        }
        at = close;
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (this.#open(byte === OPEN_BRACKET)) from = at;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        if (this.#scalar) this.#endValue(bytes, from, at);
        this.#close();
      } else if (byte === COMMA) {
        if (this.#scalar) this.#endValue(bytes, from, at);
        this.#keyNext = this.#inObject;
      } else if (byte <= BLANK_MAX) {
        if (this.#scalar) this.#endValue(bytes, from, at);
      } else if (byte !== COLON && !this.#scalar && this.#begin()) {
        from = at;
        this.#scalar = true;
      }
      at++;
    }
    if (this.#kept >= 0) this.#hold(bytes, from, end);
  }

  /** From inside a container to behind its end, or to the end of the chunk. */
  #skip(bytes: Uint8Array, start: number, end: number): number {
    let depth = this.#skipped;
    let at = start;
    while (at < end) {
      const byte = bytes[at++] as number;
      if (byte === QUOTE) {
        const close = closingQuote(bytes, at, end);
        if (this.#counting) this.#count(bytes, at, Math.min(close, end), close < end);
        if (close >= end) {
          this.#inString = true;
          this.#escaped = close > end;
          at = end;
        } else at = close + 1;
      } else if (byte >= OPEN_BRACKET) {
        if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
        else if ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --depth === 0) break;
      }
    }
    this.#skipped = depth;
    return at;
  }

  /** A value begins that is no container we look into. True when it is kept. */
  #begin(): boolean {
    const node = this.#nodeOfValue();
    this.#value = node;
    this.#counting = node?.text === true;
    if (node === null) return false;
    if (node.text && !node.plain) this.#shown?.forget();
    this.#kept = node.kept;
    return node.kept >= 0;
  }

  #nodeOfValue(): Node | null {
    const depth = this.#nodes.length;
    if (depth === 0) return this.#root;
    return this.#arrays[depth - 1] ? (this.#nodes[depth - 1] as Node).each : this.#value;
  }

  /** A container begins. True when it is kept. */
  #open(isArray: boolean): boolean {
    const node = this.#nodeOfValue();
    const isWatched =
      node !== null &&
      node.kept < 0 &&
      !node.text &&
      (isArray ? node.each !== null : node.names.length > 0 || node.others !== null);
    if (!isWatched) {
      this.#skipped = 1;
      return this.#begin();
    }
    this.#nodes.push(node);
    this.#arrays.push(isArray);
    this.#inObject = !isArray;
    this.#keyNext = !isArray;
    this.#value = null;
    return false;
  }

  #close(): void {
    if (this.#nodes.length === 0) return;
    const node = this.#nodes.pop();
    const isArray = this.#arrays.pop();
    this.#inObject = this.#arrays[this.#arrays.length - 1] === false;
    this.#keyNext = false;
    this.#value = null;
    if (this.#nodes.length === 0) this.values++;
    if (node === this.#root && !isArray) this.#onObject?.();
  }

  #count(bytes: Uint8Array, from: number, to: number, isEnd: boolean): void {
    this.textBytes += to - from;
    if (!this.#shown) return;
    this.#shown.bytes += to - from;
    this.#shown.add(bytes, from, to, isEnd);
  }

  #endValue(bytes: Uint8Array, from: number, to: number): void {
    const kept = this.#kept;
    this.#kept = -1;
    this.#counting = false;
    this.#scalar = false;
    this.#value = null;
    if (kept < 0) return;
    if (this.#held.length === 0) {
      if (to - from <= VALUE_BYTES_MAX) this.#visit(kept, bytes, from, to);
      return;
    }
    this.#hold(bytes, from, to);
    if (this.#held.length <= VALUE_BYTES_MAX) this.#visit(kept, this.#held.view(), 0, this.#held.length);
    this.#held.clear();
  }

  /** One byte beyond the bound says that it was passed. */
  #hold(bytes: Uint8Array, from: number, to: number): void {
    const room = VALUE_BYTES_MAX + 1 - this.#held.length;
    this.#held.append(bytes.subarray(from, Math.min(to, from + room)));
  }

  /** From inside a string of an earlier chunk to behind its closing quote, or to the end of this one. */
  #resumeString(bytes: Uint8Array, from: number, end: number): number {
    let at = from;
    if (this.#escaped && at < end) {
      this.#escaped = false;
      at++;
    }
    const close = closingQuote(bytes, at, end);
    const to = Math.min(close, end);
    this.#inString = close >= end;
    this.#escaped = close > end || (this.#escaped && from === end);
    if (this.#afterKey && this.#skipped === 0) {
      // Longer than every name is as good as any other length.
      if (this.#key.length <= NAME_BYTES_MAX) this.#key.append(bytes.subarray(from, to));
      if (this.#inString) return end;
      this.#value = this.#named(this.#key.view(), 0, this.#key.length);
      this.#key.clear();
    } else if (this.#counting) this.#count(bytes, from, to, !this.#inString);
    return this.#inString ? end : close + 1;
  }

  #named(bytes: Uint8Array, from: number, to: number): Node | null {
    const { names, others } = this.#nodes[this.#nodes.length - 1] as Node;
    for (let i = 0; i < names.length; i++) {
      const one = names[i] as Node['names'][number];
      if (isEqualRange(bytes, from, to, one.bytes)) return one.node;
    }
    return others;
  }
}
