import { sha256Hex } from './hash.ts';

/**
 * Secrets of customers' keys: `wr_live_` or `wr_test_`, thirty random characters in base 62 (178 bits) and six of a
 * checksum, as GitHub's tokens have. The checksum is the CRC-32 of all that stands before it, in base 62, zeros in
 * front: a scanner that finds the shape can tell a secret from a look-alike without asking anybody, and Weir refuses a
 * mistyped one without looking it up.
 *
 * Shape for scanners: \bwr_(live|test)_[0-9A-Za-z]{36}\b
 *
 * Only the SHA-256 of a secret is stored. A fast hash is right here: there is nothing to guess in 178 bits.
 */
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const RANDOM_CHARS = 30;
const CHECKSUM_CHARS = 6;
const SHAPE = /^wr_(?:live|test)_[0-9A-Za-z]{36}$/;
/** Bytes from here on would make the first letters likelier than the last. */
const UNBIASED_BELOW = 256 - (256 % ALPHABET.length);

export type SecretMode = 'live' | 'test';

export function newSecret(mode: SecretMode): string {
  let body = '';
  const bytes = new Uint8Array(2 * RANDOM_CHARS);
  while (body.length < RANDOM_CHARS) {
    crypto.getRandomValues(bytes);
    for (const byte of bytes) {
      if (byte < UNBIASED_BELOW && body.length < RANDOM_CHARS) body += ALPHABET[byte % ALPHABET.length];
    }
  }
  const stem = `wr_${mode}_${body}`;
  return stem + checksum(stem);
}

/** True when it has the shape and its checksum is right: whether it works is another question. */
export function isWellFormedSecret(text: string): boolean {
  return SHAPE.test(text) && checksum(text.slice(0, -CHECKSUM_CHARS)) === text.slice(-CHECKSUM_CHARS);
}

function checksum(text: string): string {
  let rest = crc32(text);
  let digits = '';
  for (let i = 0; i < CHECKSUM_CHARS; i++) {
    digits = ALPHABET[rest % ALPHABET.length] + digits;
    rest = Math.trunc(rest / ALPHABET.length);
  }
  return digits;
}

/** CRC-32 (IEEE 802.3), bit by bit: forty characters at a time need no table. */
function crc32(ascii: string): number {
  let crc = 0xffffffff;
  for (let i = 0; i < ascii.length; i++) {
    crc ^= ascii.charCodeAt(i);
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** What is stored of a secret. On Node's request path `node:crypto` gives the same without waiting. */
export function hashSecret(secret: string): Promise<string> {
  return sha256Hex(secret);
}
