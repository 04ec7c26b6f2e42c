/**
 * Ids are made where the thing begins, sort by time, carry the kind of thing as a prefix, and are the idempotency key
 * all the way down: `req_01JD…` is reservation, usage event and the request id that the client sees.
 *
 * The part after the prefix is a ULID: 48 bits of epoch milliseconds and 80 random bits in Crockford's base 32.
 */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const TIME_CHARS = 10;
const RANDOM_CHARS = 16;
const POOL_IDS = 256;

/** One string at once: built up character by character it would be a tree of 16 strings, and ids are kept for long. */
const CODES = Array.from(ALPHABET, (char) => char.charCodeAt(0));
const codes: number[] = new Array(RANDOM_CHARS).fill(0);

const pool = new Uint8Array(RANDOM_CHARS * POOL_IDS);
let poolUsed = pool.length;
let lastMs = -1;
let lastTime = '';

export type IdPrefix =
  | 'req'
  | 'evt'
  | 'cus'
  | 'key'
  | 'met'
  | 'plan'
  | 'prc'
  | 'sub'
  | 'inv'
  | 'rep'
  | 'line'
  | 'job'
  | 'usr'
  | 'tok'
  | 'halt'
  | 'sim'
  | 'out';

/** A new id for a thing of this kind that begins now. */
export function newId(prefix: IdPrefix, nowMs: number): string {
  if (poolUsed === pool.length) {
    crypto.getRandomValues(pool);
    poolUsed = 0;
  }
  if (nowMs !== lastMs) {
    lastMs = nowMs;
    lastTime = encodeTime(nowMs);
  }
  for (let i = 0; i < RANDOM_CHARS; i++) codes[i] = CODES[(pool[poolUsed + i] as number) & 31] as number;
  poolUsed += RANDOM_CHARS;
  return `${prefix}_${lastTime}${String.fromCharCode(...codes)}`;
}

function encodeTime(ms: number): string {
  let rest = Math.trunc(ms);
  let text = '';
  for (let i = 0; i < TIME_CHARS; i++) {
    text = ALPHABET[rest % 32] + text;
    rest = Math.trunc(rest / 32);
  }
  return text;
}
