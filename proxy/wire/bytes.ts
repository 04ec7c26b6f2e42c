const encoder = new TextEncoder();
const lenient = new TextDecoder('utf-8');
const strict = new TextDecoder('utf-8', { fatal: true });

export const EMPTY = new Uint8Array(0);

export function encodeUtf8(text: string): Uint8Array {
  return encoder.encode(text);
}

export function decodeUtf8(bytes: Uint8Array): string {
  return lenient.decode(bytes);
}

/** Undefined when the bytes are no UTF-8: a lenient decoder would let two readers see two different texts. */
export function decodeStrictUtf8(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Undefined when it is no JSON. */
export function parseJson(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** The JSON that stands there; undefined when it is none. */
export function parseBytes(bytes: Uint8Array, start: number, end: number): unknown {
  return parseJson(lenient.decode(bytes.subarray(start, end)))?.value;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A byte sequence prepared for searching (Horspool): looks at about one byte in `length` of those that it passes. */
export interface Needle {
  readonly bytes: Uint8Array;
  readonly shifts: Uint8Array;
}

export function needle(text: string): Needle {
  const bytes = encodeUtf8(text);
  const shifts = new Uint8Array(256).fill(bytes.length);
  for (let i = 0; i < bytes.length - 1; i++) shifts[bytes[i] as number] = bytes.length - 1 - i;
  return { bytes, shifts };
}

/** Where the needle begins within `[start, end)`, or -1. */
export function find(bytes: Uint8Array, wanted: Needle, start: number, end: number): number {
  const { bytes: pattern, shifts } = wanted;
  const last = pattern.length - 1;
  let at = start + last;
  while (at < end) {
    let back = 0;
    while (back <= last && bytes[at - back] === pattern[last - back]) back++;
    if (back > last) return at - last;
    at += shifts[bytes[at] as number] as number;
  }
  return -1;
}

export function isEqualRange(bytes: Uint8Array, start: number, end: number, wanted: Uint8Array): boolean {
  if (end - start !== wanted.length) return false;
  for (let i = 0; i < wanted.length; i++) if (bytes[start + i] !== wanted[i]) return false;
  return true;
}

/** Bytes that arrive in pieces and are needed in one piece. Doubles as it grows, so that single bytes cost no more. */
export class ByteBuffer {
  #bytes = EMPTY;
  length = 0;

  append(chunk: Uint8Array): void {
    const wanted = this.length + chunk.length;
    if (wanted > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(wanted, this.#bytes.length * 2, 256));
      grown.set(this.#bytes.subarray(0, this.length));
      this.#bytes = grown;
    }
    this.#bytes.set(chunk, this.length);
    this.length = wanted;
  }

  /** A view, good until the next call. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  /** Forgets everything before an offset. */
  dropTo(offset: number): void {
    this.#bytes.copyWithin(0, offset, this.length);
    this.length -= offset;
  }

  clear(): void {
    this.length = 0;
  }
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array;
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
