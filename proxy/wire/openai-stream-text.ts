import { decodeUtf8, encodeUtf8, find, isEqualRange, type Needle, parseJson } from './bytes.ts';
import { skipBlanks, stringEnd } from './json-span.ts';
import type { Shown } from './wire.ts';

/** Beside the bytes of a stream: the tokens that open and end an answer. */
const FRAME_TOKENS = 16;

/** Members of a delta that are no generated text. */
const NO_TEXT = ['role', 'id', 'type', 'name', 'finish_reason'].map(encodeUtf8);
/** The type of a tool call: tokens that nobody sees come with one. */
const FUNCTION = encodeUtf8('function');

/** The strings of a stream that its model has generated. */
export interface StreamText {
  /** Of generated text. */
  bytes: number;
  /** Of every string: names and ids of tool calls stand for the tokens around them. */
  allBytes: number;
  /** Texts as they stand in JSON; null where nobody wants them, or there was more than text. */
  kept: string[] | null;
}

export function shownOf(text: StreamText): Shown {
  return {
    get tokensMax() {
      return text.allBytes + FRAME_TOKENS;
    },
    takeText() {
      if (!text.kept) return undefined;
      const taken = text.kept.map(unescaped).join('');
      text.kept = [];
      return taken;
    },
  };
}

function unescaped(json: string): string {
  if (!json.includes('\\')) return json;
  const parsed = parseJson(`"${json}"`)?.value;
  return typeof parsed === 'string' ? parsed : json;
}

/** Adds the generated text of an event: the strings behind a name. */
export function readText(text: StreamText, behind: Needle, bytes: Uint8Array, start: number, end: number): void {
  let at = start;
  while (true) {
    const found = find(bytes, behind, at, end);
    if (found < 0) return;
    at = found + behind.bytes.length;
    let depth = 0;
    let isText = true;
    while (at < end) {
      const byte = bytes[at];
      if (byte === 0x22) {
        const close = stringEnd(bytes, at, end);
        const next = skipBlanks(bytes, close, end);
        if (bytes[next] === 0x3a) isText = !NO_TEXT.some((name) => isEqualRange(bytes, at + 1, close - 1, name));
        else {
          text.allBytes += close - at - 2;
          if (isText) {
            text.bytes += close - at - 2;
            text.kept?.push(decodeUtf8(bytes.subarray(at + 1, close - 1)));
          } else if (text.kept && isEqualRange(bytes, at + 1, close - 1, FUNCTION)) {
            text.kept = null;
          }
        }
        at = next;
        continue;
      }
      if (byte === 0x7b || byte === 0x5b) depth++;
      else if (byte === 0x7d || byte === 0x5d) {
        depth--;
        if (depth <= 0) break;
      }
      at++;
    }
  }
}
