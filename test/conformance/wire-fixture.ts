import type { UpstreamConfig } from '#config/config.ts';
import type { WireFamily } from '#config/wires.ts';

/** One answer of a wire, piece by piece, and what it comes to. */
export interface WireFixture {
  readonly family: WireFamily;
  /** Whose prices apply. */
  readonly provider: string;
  readonly path: string;
  /** Asks for it, with all of its usage; `text` stands for the user's message. Bytes where it is no JSON. */
  request(text: string): object | Buffer;
  readonly requestType?: string;
  /** What the upstream is configured with beside its address. */
  readonly upstream?: Partial<UpstreamConfig>;
  readonly headers: Readonly<Record<string, string>>;
  /** The events of a stream, each with its ending; of any other answer its bytes in a few pieces. */
  readonly pieces: readonly Buffer[];
  /** The same with members and events that are yet to come. */
  readonly widened: Buffer;
  /** The same, with at least so many bytes. */
  long(bytes: number): Buffer;
  readonly quantities: Readonly<Record<string, unknown>>;
}

type Common = Omit<WireFixture, 'headers' | 'pieces' | 'widened' | 'long'> & { readonly contentType: string };
type Piece = string | Uint8Array;

/** How a list begins that grows. */
const LIST = Buffer.from('[');

/** A stream of events. */
export function streamOf(
  fixture: Common & {
    readonly events: readonly Piece[];
    /** Events of a kind that is yet to come; they may come anywhere, in a list behind its bracket. */
    readonly unknown: readonly Piece[];
    /** An event with members that are yet to come; without it, data lines and lines of JSON get some at their top. */
    readonly widen?: (event: Buffer) => Piece;
  },
): WireFixture {
  const { contentType, events, unknown, widen = widenedJson, ...common } = fixture;
  const pieces = events.map((one) => Buffer.from(one));
  const [first = Buffer.alloc(0), ...rest] = pieces;
  const noise = Buffer.concat(unknown.map((one) => Buffer.from(one)));
  const wide = (one: Buffer): Buffer[] => (one.equals(LIST) ? [one] : [noise, Buffer.from(widen(one))]);
  return {
    ...common,
    headers: { 'content-type': contentType },
    pieces,
    widened: Buffer.concat(pieces.flatMap(wide)),
    long: (bytes) => Buffer.concat([first, ...Array(Math.ceil(bytes / noise.length)).fill(noise), ...rest]),
  };
}

/** In so many pieces come answers that are no stream. */
const PIECES = 6;

/** One JSON value. */
export function bodyOf(
  fixture: Omit<Common, 'contentType'> & { readonly body: object; readonly headers?: Readonly<Record<string, string>> },
): WireFixture {
  const { body, headers, ...common } = fixture;
  const encode = (value: object): Buffer => Buffer.from(JSON.stringify(value));
  return {
    ...common,
    headers: { 'content-type': 'application/json', ...headers },
    pieces: inPieces(encode(body)),
    widened: encode({ ...FUTURE, ...body, last: FUTURE }),
    long: (bytes) => encode({ future: ['wörter " \\ '.repeat(bytes / 12)], ...body }),
  };
}

/** Sound and the like: nothing of it is read. */
export function bytesOf(fixture: Common & { readonly body: Buffer }): WireFixture {
  const { contentType, body, ...common } = fixture;
  return {
    ...common,
    headers: { 'content-type': contentType },
    pieces: inPieces(body),
    widened: body,
    long: (bytes) => Buffer.alloc(bytes, body),
  };
}

function inPieces(body: Buffer): Buffer[] {
  const length = Math.ceil(body.length / PIECES);
  return Array.from({ length: PIECES }, (_, i) => body.subarray(i * length, (i + 1) * length)).filter(
    (piece) => piece.length > 0,
  );
}

const FUTURE = { future: { deep: [{ usage: null }, 'x'] } };

function widenedJson(event: Buffer): string {
  return event.toString().replace(/^((?:[\w-]+: .*\r?\n)*?(?:data: )?)(\{.*\})/, (_, before: string, json: string) => {
    return `${before}${JSON.stringify({ ...FUTURE, ...(JSON.parse(json) as object) })}`;
  });
}

/** An event of data lines, with a name where it has one. */
export function sseEvent(data: object, name?: string): string {
  return `${name === undefined ? '' : `event: ${name}\n`}data: ${JSON.stringify(data)}\n\n`;
}

/** What models say in fixtures: five words, and with them five tokens. */
export const WORDS = ['Water ', 'flows ', 'over ', 'the ', 'weir.'];
