/**
 * Takes the data out of a server-sent event stream as it goes by, whatever the chunks, without keeping any of it: for
 * those who only watch. LF, CR and CRLF, comments, several data lines, a byte order mark.
 */
export interface DataSink {
  /** Bytes of a data line, without its name and its end; one line may come in several pieces. */
  data(bytes: Uint8Array, start: number, end: number): void;
  /** The blank line after an event. */
  endEvent(): void;
}

const LF = 0x0a;
const CR = 0x0d;
const NAME = [0x64, 0x61, 0x74, 0x61, 0x3a] as const;
const NAME_LENGTH = 5;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const;

export class SseData {
  readonly #sink: DataSink;
  /** How much of a byte order mark has gone by; beyond it once there can be none. */
  #mark = 0;
  /** How much of `data:` the line has; -1 when it is another line. */
  #named = 0;
  #lineEmpty = true;
  #eventEmpty = true;
  #afterCr = false;

  constructor(sink: DataSink) {
    this.#sink = sink;
  }

  /** True between two events; not behind a carriage return, whose line feed may be on its way. */
  get between(): boolean {
    return this.#eventEmpty && this.#lineEmpty && !this.#afterCr;
  }

  push(bytes: Uint8Array): void {
    const end = bytes.length;
    let at = this.#mark < BYTE_ORDER_MARK.length ? this.#skipMark(bytes) : 0;
    if (at < end && this.#afterCr) {
      this.#afterCr = false;
      if (bytes[at] === LF) at++;
    }
    // Few streams have carriage returns, and one search says so for the whole chunk.
    let cr = bytes.indexOf(CR, at);
    if (cr < 0) cr = end;
    while (at < end) {
      const byte = bytes[at];
      if (byte !== LF && byte !== CR) {
        let lineEnd = bytes.indexOf(LF, at);
        if (lineEnd < 0) lineEnd = end;
        if (cr < at) {
          cr = bytes.indexOf(CR, at);
          if (cr < 0) cr = end;
        }
        if (cr < lineEnd) lineEnd = cr;
        this.#readLine(bytes, at, lineEnd);
        at = lineEnd;
        if (at === end) return;
      }
      if (bytes[at] === CR) {
        if (at + 1 === end) this.#afterCr = true;
        else if (bytes[at + 1] === LF) at++;
      }
      at++;
      this.#endLine();
    }
  }

  #readLine(bytes: Uint8Array, start: number, end: number): void {
    let at = start;
    this.#lineEmpty = false;
    while (this.#named >= 0 && this.#named < NAME_LENGTH && at < end) {
      if (bytes[at] === NAME[this.#named]) {
        this.#named++;
        at++;
      } else this.#named = -1;
    }
    if (this.#named === NAME_LENGTH && at < end) this.#sink.data(bytes, at, end);
  }

  #endLine(): void {
    if (!this.#lineEmpty) this.#eventEmpty = false;
    else if (!this.#eventEmpty) {
      this.#eventEmpty = true;
      this.#sink.endEvent();
    }
    this.#lineEmpty = true;
    this.#named = 0;
  }

  #skipMark(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && this.#mark < BYTE_ORDER_MARK.length) {
      if (bytes[at] !== BYTE_ORDER_MARK[this.#mark]) this.#mark = BYTE_ORDER_MARK.length;
      else {
        this.#mark++;
        at++;
      }
    }
    return at;
  }
}
