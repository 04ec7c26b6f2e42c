import { ByteBuffer, decodeUtf8, parseJson } from './bytes.ts';
import type { Shown } from './wire.ts';

/** Beside the bytes of a stream: the tokens that open and end an answer. */
const FRAME_TOKENS = 16;
/** And those that open and close a block of it: the call of a tool is written in more words than are shown. */
const BLOCK_TOKENS = 128;
/** No vocabulary has longer tokens by far, on average: a figure that leaves more bytes to each does not run along. */
const BYTES_PER_TOKEN_MAX = 16;

/** What a stream of text has shown of its output: its bytes, its text for those who count, and what its provider says. */
export class ShownText {
  /** Of generated text as it stands in JSON; no token has fewer. */
  bytes = 0;
  blocks = 0;
  #texts: string[] | null = [];
  /** Of a string that goes on with the next chunk. */
  readonly #begun = new ByteBuffer();
  #stated = 0;
  #statedAt = 0;

  /** A string of generated text, as it stands in JSON, or a part of it. */
  add(bytes: Uint8Array, start: number, end: number, isEnd: boolean): void {
    if (!this.#texts) return;
    if (!isEnd || this.#begun.length > 0) this.#begun.append(bytes.subarray(start, end));
    if (!isEnd) return;
    const json = decodeUtf8(this.#begun.length > 0 ? this.#begun.view() : bytes.subarray(start, end));
    this.#begun.clear();
    this.#texts.push(unescaped(json));
  }

  /** Something else than text was generated: it bounds, and cannot be counted. */
  forget(): void {
    this.#texts = null;
  }

  /** The provider says how many tokens it has generated for what has gone by: its text need not be counted. */
  state(tokens: number): void {
    this.#texts = null;
    this.#stated = tokens;
    this.#statedAt = this.bytes;
  }

  get tokensMax(): number {
    const runs = this.#stated * BYTES_PER_TOKEN_MAX >= this.#statedAt;
    const beside = FRAME_TOKENS + this.blocks * BLOCK_TOKENS;
    return beside + (runs ? this.#stated + this.bytes - this.#statedAt : this.bytes);
  }

  takeText(): string | undefined {
    if (!this.#texts) return undefined;
    const taken = this.#texts.join('');
    this.#texts = [];
    return taken;
  }
}

function unescaped(json: string): string {
  if (!json.includes('\\')) return json;
  const parsed = parseJson(`"${json}"`)?.value;
  return typeof parsed === 'string' ? parsed : json;
}

/** How a stream is watched that holds a part of what it may answer; `endsOf`: where its events end in a chunk. */
export function shownOf(text: ShownText, endsOf: Shown['endsOf']): Shown {
  return {
    get tokensMax() {
      return text.tokensMax;
    },
    takeText: () => text.takeText(),
    endsOf,
  };
}

const LF = 0x0a;

/** Of lines. */
export function lineEnds(chunk: Uint8Array): number[] {
  const ends: number[] = [];
  for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, at + 1)) ends.push(at + 1);
  return ends;
}
