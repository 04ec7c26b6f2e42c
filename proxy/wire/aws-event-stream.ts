import { concat, decodeUtf8, encodeUtf8 } from './bytes.ts';

/**
 * The framing `application/vnd.amazon.eventstream`: a message is its length, the length of its headers, a CRC of these
 * two, headers, payload, and a CRC of all before. docs/decisions/0019 says why this is ours.
 */
export interface AwsMessage {
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: Uint8Array;
}

const PRELUDE_BYTES = 12;
const CRC_BYTES = 4;
/** AWS sends none that is longer. */
const MESSAGE_BYTES_MAX = 24 * 1024 * 1024;
const STRING = 7;
/** How long the values of the other types are; a list of bytes says so itself. */
const VALUE_BYTES: Readonly<Record<number, number>> = { 0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16 };
const BYTE_LIST = 6;

/** Takes messages out of a stream that comes in pieces. What is broken ends it: nothing behind it can be trusted. */
export class AwsMessages {
  readonly #visit: (message: AwsMessage) => void;
  #held = new Uint8Array(0);
  #heldLength = 0;
  #broken = false;

  constructor(visit: (message: AwsMessage) => void) {
    this.#visit = visit;
  }

  /** True where no message has begun that has not ended. */
  get between(): boolean {
    return this.#heldLength === 0 && !this.#broken;
  }

  /** Where messages end in a chunk that comes next. */
  endsOf(chunk: Uint8Array): number[] {
    const held = this.#heldLength;
    const bytes = concat([this.#held.subarray(0, held), chunk]);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const ends: number[] = [];
    for (let at = 0; !this.#broken && at + PRELUDE_BYTES <= bytes.length; ) {
      const length = view.getUint32(at);
      if (length < PRELUDE_BYTES + CRC_BYTES) break;
      at += length;
      if (at <= bytes.length) ends.push(at - held);
    }
    return ends;
  }

  push(chunk: Uint8Array): void {
    if (this.#broken) return;
    let at = 0;
    // Most messages come whole and are read where they are.
    if (this.#heldLength === 0) at = this.#readAll(chunk);
    if (at < chunk.length || this.#heldLength > 0) this.#hold(chunk.subarray(at));
  }

  #hold(bytes: Uint8Array): void {
    if (this.#broken) return;
    const wanted = this.#heldLength + bytes.length;
    if (wanted > this.#held.length) {
      const larger = new Uint8Array(Math.max(wanted, 2 * this.#held.length));
      larger.set(this.#held.subarray(0, this.#heldLength));
      this.#held = larger;
    }
    this.#held.set(bytes, this.#heldLength);
    this.#heldLength = wanted;
    const read = this.#readAll(this.#held.subarray(0, wanted));
    this.#held.copyWithin(0, read, wanted);
    this.#heldLength = wanted - read;
  }

  /** How many bytes were whole messages. */
  #readAll(bytes: Uint8Array): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    while (bytes.length - at >= PRELUDE_BYTES) {
      const length = view.getUint32(at);
      const sound = crc32(bytes.subarray(at, at + 8)) === view.getUint32(at + 8);
      if (!sound || length < PRELUDE_BYTES + CRC_BYTES || length > MESSAGE_BYTES_MAX) return this.#break(bytes);
      if (bytes.length - at < length) break;
      const end = at + length - CRC_BYTES;
      if (crc32(bytes.subarray(at, end)) !== view.getUint32(end)) return this.#break(bytes);
      const headersEnd = at + PRELUDE_BYTES + view.getUint32(at + 4);
      if (headersEnd > end) return this.#break(bytes);
      const headers = headersOf(bytes.subarray(at + PRELUDE_BYTES, headersEnd));
      if (!headers) return this.#break(bytes);
      this.#visit({ headers, payload: bytes.subarray(headersEnd, end) });
      at += length;
    }
    return at;
  }

  #break(bytes: Uint8Array): number {
    this.#broken = true;
    return bytes.length;
  }
}

/** The headers that are text; undefined where they are none. */
function headersOf(bytes: Uint8Array): Record<string, string> | undefined {
  const headers: Record<string, string> = {};
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at < bytes.length) {
    const nameEnd = at + 1 + view.getUint8(at);
    if (nameEnd + 1 > bytes.length) return undefined;
    const type = view.getUint8(nameEnd);
    const isSized = type === STRING || type === BYTE_LIST;
    if (isSized && nameEnd + 3 > bytes.length) return undefined;
    const start = nameEnd + (isSized ? 3 : 1);
    const size = isSized ? view.getUint16(nameEnd + 1) : VALUE_BYTES[type];
    if (size === undefined || start + size > bytes.length) return undefined;
    if (type === STRING)
      headers[decodeUtf8(bytes.subarray(at + 1, nameEnd))] = decodeUtf8(bytes.subarray(start, start + size));
    at = start + size;
  }
  return headers;
}

/** Headers of text alone. */
export function encodeAwsMessage({ headers, payload }: AwsMessage): Uint8Array {
  const pairs = Object.entries(headers).map(([name, value]) => [encodeUtf8(name), encodeUtf8(value)] as const);
  const headersLength = pairs.reduce((sum, [name, value]) => sum + 1 + name.length + 3 + value.length, 0);
  const bytes = new Uint8Array(PRELUDE_BYTES + headersLength + payload.length + CRC_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length);
  view.setUint32(4, headersLength);
  view.setUint32(8, crc32(bytes.subarray(0, 8)));
  let at = PRELUDE_BYTES;
  for (const [name, value] of pairs) {
    bytes[at] = name.length;
    bytes.set(name, at + 1);
    at += 1 + name.length;
    bytes[at] = STRING;
    view.setUint16(at + 1, value.length);
    bytes.set(value, at + 3);
    at += 3 + value.length;
  }
  bytes.set(payload, at);
  view.setUint32(bytes.length - CRC_BYTES, crc32(bytes.subarray(0, bytes.length - CRC_BYTES)));
  return bytes;
}

/** CRC-32 as of zlib: the polynomial reversed. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) {
    crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ (bytes[i] as number)) & 255] as number);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
