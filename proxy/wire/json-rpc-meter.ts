import { EMPTY, encodeUtf8, find, isEqualRange, needle, parseBytes } from './bytes.ts';
import type { Paths } from './json-path-tree.ts';
import { JsonPaths } from './json-paths.ts';
import { SseData } from './sse-data.ts';
import type { Meter, Reading } from './wire.ts';

/** What a protocol makes of the messages of an answer: those of JSON-RPC, or bare ones that look alike. */
export interface RpcReader {
  readonly paths: Paths;
  /** A value at one of the kept paths, by its place, of the message that is going by. */
  value(kept: number, value: unknown): void;
  /** The message has gone by whole. */
  message(): void;
  /** What went by of the message at hand will not go on. */
  drop(): void;
  /** `whole`: the answer may end here. */
  read(whole: boolean): Reading;
  /**
   * An event that says that the answer breaks off here; undefined where there is nobody to tell. `named`: its events have
   * ids, by which a client may ask for those that it missed.
   */
  breakOff(message: string, code: string, named: boolean): Uint8Array | undefined;
}

const ID = encodeUtf8('id:');
const ID_LINE = needle('\nid:');

/** Watches one message, or a list of them: as JSON, or each as an event. */
export function rpcMeter(reader: RpcReader, isStream: boolean): Meter {
  const json = new JsonPaths(
    reader.paths,
    (kept, bytes, start, end) => reader.value(kept, parseBytes(bytes, start, end)),
    () => reader.message(),
  );
  const sse = new SseData({
    data: (bytes, start, end) => json.push(bytes, start, end),
    endEvent() {
      if (!json.between) json.reset();
      reader.drop();
    },
  });
  let named = false;
  return {
    edits: false,
    push(chunk) {
      if (isStream) {
        named ||=
          isEqualRange(chunk, 0, Math.min(chunk.length, ID.length), ID) || find(chunk, ID_LINE, 0, chunk.length) >= 0;
        sse.push(chunk);
      } else json.push(chunk);
      return chunk;
    },
    end: () => EMPTY,
    read: () => reader.read(isStream ? sse.between : json.values > 0 && json.between),
    breakOff: (message, code) => (isStream && sse.between ? reader.breakOff(message, code, named) : undefined),
  };
}

export const NOTHING_READ = {
  usage: null,
  complete: true,
  failed: false,
  model: null,
  serviceTier: null,
  outputTokensGuess: 0n,
} as const satisfies Reading;

/** Nothing ran for an answer that HTTP itself calls an error. */
export function refusedReader(paths: Paths): RpcReader {
  return {
    paths,
    value() {},
    message() {},
    drop() {},
    read: () => NOTHING_READ,
    breakOff: () => undefined,
  };
}
