import { encodeUtf8, find, isEqualRange, type Needle } from './bytes.ts';
import { skipBlanks, stringEnd } from './json-span.ts';
import type { ShownText } from './shown.ts';

/** Members of a delta that are no generated text. */
const NO_TEXT = ['role', 'id', 'type', 'name', 'finish_reason'].map(encodeUtf8);
/** The type of a tool call: tokens that nobody sees come with one. */
const FUNCTION = encodeUtf8('function');

/** The strings of a stream that its model has generated. */
export interface StreamText {
  /** Of generated text. */
  bytes: number;
  /** Every string, where the stream is held in parts: names and ids of tool calls stand for the tokens around them. */
  readonly shown: ShownText | null;
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
          const { shown } = text;
          if (isText) text.bytes += close - at - 2;
          if (shown) {
            shown.bytes += close - at - 2;
            if (isText) shown.add(bytes, at + 1, close - 1, true);
            else if (isEqualRange(bytes, at + 1, close - 1, FUNCTION)) shown.forget();
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
