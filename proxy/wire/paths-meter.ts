import { EMPTY } from './bytes.ts';
import type { Paths } from './json-path-tree.ts';
import { JsonPaths } from './json-paths.ts';
import { lineEnds, ShownText, shownOf } from './shown.ts';
import { eventEnds } from './sse.ts';
import { type DataSink, SseData } from './sse-data.ts';
import type { Meter, Reading, Shown } from './wire.ts';

/** What one format makes of the values that it watches for. */
export interface AnswerReader {
  readonly paths: Paths;
  /** One of the kept paths, by its place; `bytes[start, end)` is good until the call returns. */
  keep(kept: number, bytes: Uint8Array, start: number, end: number): void;
  read(seen: Seen): Reading;
  /** An error at this place, in the format's words; undefined where none can be put. */
  breakOff(message: string, code: string, place: Place): Uint8Array | undefined;
  /** Where what it shows is wanted: what its values say of that. */
  shown?: ShownText | undefined;
}

/** What went by, beside the values that were kept. */
export interface Seen {
  /** A whole value has gone by at the root, and nothing has begun after it. */
  readonly whole: boolean;
  readonly textBytes: number;
}

/**
 * Where an answer stands. sse: between two events. array: inside a list and between its elements, of which `comma` says
 * that one is due. lines: between two values, or before the first; `open` says that the line has not ended. inside:
 * anywhere else.
 */
export type Place =
  | { readonly kind: 'sse' | 'inside' }
  | { readonly kind: 'lines'; readonly open: boolean }
  | { readonly kind: 'array'; readonly comma: boolean };

const SSE: Place = { kind: 'sse' };
const INSIDE: Place = { kind: 'inside' };

const LF = 0x0a;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const BLANK_MAX = 0x20;

/** Watches an event stream whose data is JSON. `inParts`: and what it shows of its output. */
export function sseMeter(reader: AnswerReader, inParts = false): Meter {
  const json = pathsFor(reader, inParts);
  const sink: DataSink = {
    data: (bytes, start, end) => json.push(bytes, start, end),
    endEvent() {
      if (!json.between) json.reset();
    },
  };
  const sse = new SseData(sink);
  return meterOf(
    json,
    reader,
    (chunk) => sse.push(chunk),
    () => (sse.between ? SSE : INSIDE),
    reader.shown && shownOf(reader.shown, eventEnds),
  );
}

/** Watches an answer that is JSON: one value, one a line, or a list that grows. `inParts`: lines, and what they show. */
export function jsonMeter(reader: AnswerReader, inParts = false): Meter {
  const json = pathsFor(reader, inParts);
  /** The last byte, and the last that is no blank. */
  let end = LF;
  let last = 0;
  function push(chunk: Uint8Array): void {
    json.push(chunk);
    end = chunk[chunk.length - 1] ?? end;
    for (let at = chunk.length - 1; at >= 0; at--) {
      const byte = chunk[at] as number;
      if (byte <= BLANK_MAX) continue;
      last = byte;
      return;
    }
  }
  function place(): Place {
    if (json.between) return { kind: 'lines', open: end !== LF };
    return json.inRootArray ? { kind: 'array', comma: last !== COMMA && last !== OPEN_BRACKET } : INSIDE;
  }
  return meterOf(json, reader, push, place, reader.shown && shownOf(reader.shown, lineEnds));
}

function pathsFor(reader: AnswerReader, inParts: boolean): JsonPaths {
  if (inParts) reader.shown = new ShownText();
  return new JsonPaths(
    reader.paths,
    (kept, bytes, start, end) => reader.keep(kept, bytes, start, end),
    undefined,
    reader.shown,
  );
}

function meterOf(
  json: JsonPaths,
  reader: AnswerReader,
  push: (chunk: Uint8Array) => void,
  place: () => Place,
  shown: Shown | undefined,
): Meter {
  return {
    edits: false,
    push(chunk) {
      push(chunk);
      return chunk;
    },
    end: () => EMPTY,
    read: () => reader.read({ whole: json.values > 0 && json.between, textBytes: json.textBytes }),
    breakOff: (message, code) => reader.breakOff(message, code, place()),
    shown,
  };
}
