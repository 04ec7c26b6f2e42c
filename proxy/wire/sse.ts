import { ByteBuffer } from './bytes.ts';

/**
 * Cuts a server-sent event stream into its events as bytes, whatever the chunks: LF, CR and CRLF, comments, several data
 * lines, chunks that end inside a character or inside a line end. Every byte is handed on exactly once and in order.
 *
 * event: from the first byte of an event to the end of the blank line that closes it. rest: a line feed that still
 * belongs to the event before (its CR ended the chunk). piece: part of an event beyond the bound.
 */
export type SseVisitor = (kind: 'event' | 'rest' | 'piece', bytes: Uint8Array, start: number, end: number) => void;

/** Nobody's usage event comes near this; what is larger is passed on as it comes, unread. */
export const EVENT_BYTES_MAX = 1 << 20;

const LF = 0x0a;
const CR = 0x0d;

export class SseSplitter {
  readonly #held = new ByteBuffer();
  #lineEmpty = true;
  #afterCr = false;
  #oversize = false;

  push(chunk: Uint8Array, visit: SseVisitor): void {
    let at = 0;
    if (this.#afterCr && chunk.length > 0) {
      this.#afterCr = false;
      if (chunk[0] === LF) {
        at = 1;
        if (this.#held.length > 0) this.#held.append(chunk.subarray(0, 1));
        else visit(this.#oversize ? 'piece' : 'rest', chunk, 0, 1);
      }
    }
    if (this.#held.length > 0) {
      const scanFrom = this.#held.length;
      this.#held.append(at === 0 ? chunk : chunk.subarray(at));
      const kept = this.#split(this.#held.view(), 0, scanFrom, visit);
      this.#held.dropTo(kept);
    } else {
      const kept = this.#split(chunk, at, at, visit);
      if (kept < chunk.length) this.#held.append(kept === 0 ? chunk : chunk.subarray(kept));
    }
    if (this.#oversize || this.#held.length > EVENT_BYTES_MAX) {
      if (this.#held.length > 0) visit('piece', this.#held.view(), 0, this.#held.length);
      this.#held.clear();
      this.#oversize = true;
    }
  }

  /** The bytes of the event that has not ended; for the end of the stream. */
  rest(): Uint8Array {
    return this.#held.view();
  }

  /** True between two events. */
  get between(): boolean {
    return this.#held.length === 0 && !this.#oversize;
  }

  /** Visits what is whole in `[start, length)` and returns where the unfinished event begins. */
  #split(bytes: Uint8Array, start: number, scanFrom: number, visit: SseVisitor): number {
    const length = bytes.length;
    let eventStart = start;
    let lineEmpty = this.#lineEmpty;
    let at = scanFrom;
    // Few streams have carriage returns, and one search says so for the whole chunk.
    let cr = orEnd(bytes.indexOf(CR, at), length);
    while (at < length) {
      const byte = bytes[at];
      if (byte !== LF && byte !== CR) {
        lineEmpty = false;
        if (cr < at) cr = orEnd(bytes.indexOf(CR, at), length);
        at = Math.min(cr, orEnd(bytes.indexOf(LF, at), length));
        if (at === length) break;
      }
      if (bytes[at] === CR) {
        if (at + 1 === length) this.#afterCr = true;
        else if (bytes[at + 1] === LF) at++;
      }
      at++;
      if (lineEmpty) {
        visit(this.#oversize ? 'piece' : 'event', bytes, eventStart, at);
        this.#oversize = false;
        eventStart = at;
      }
      lineEmpty = true;
    }
    this.#lineEmpty = lineEmpty;
    return eventStart;
  }
}

function orEnd(found: number, end: number): number {
  return found < 0 ? end : found;
}

const DATA = [0x64, 0x61, 0x74, 0x61];
const COLON = 0x3a;
const SPACE = 0x20;

/**
 * The data of an event at its own offsets: a copy in which everything else (field names, comments, line ends) is blank.
 * JSON takes blanks between its tokens, so the copy parses, and a position in it is a position in the event. Undefined
 * when the event has no data.
 */
export function dataOf(bytes: Uint8Array, start: number, end: number): Uint8Array | undefined {
  let data: Uint8Array | undefined;
  let at = start;
  // A byte order mark may precede the first event.
  if (bytes[at] === 0xef && bytes[at + 1] === 0xbb && bytes[at + 2] === 0xbf) at += 3;
  while (at < end) {
    let lineEnd = at;
    while (lineEnd < end && bytes[lineEnd] !== LF && bytes[lineEnd] !== CR) lineEnd++;
    if (bytes[at + 4] === COLON && DATA.every((byte, i) => bytes[at + i] === byte)) {
      data ??= new Uint8Array(end - start).fill(SPACE);
      data.set(bytes.subarray(at + 5, lineEnd), at + 5 - start);
    }
    at = lineEnd + 1;
  }
  return data;
}

/** The places in a chunk behind its blank lines, where events end. */
export function eventEnds(chunk: Uint8Array): number[] {
  const ends: number[] = [];
  for (let at = 1; at < chunk.length; at++) {
    const byte = chunk[at];
    if (byte !== LF && byte !== CR) continue;
    if (chunk[at - 1] === byte || (byte === LF && chunk[at - 1] === CR && chunk[at - 2] === LF)) ends.push(at + 1);
  }
  return ends;
}
