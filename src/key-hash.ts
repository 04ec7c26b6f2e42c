import { createHash } from 'node:crypto';

const HASHES_MAX = 10_000;
const hashes = new Map<string, string>();

/** Remembered, since a key calls again and again: hashing costs more than all other work on it. */
export function sha256(secret: string): string {
  let hash = hashes.get(secret);
  if (hash === undefined) {
    hash = createHash('sha256').update(secret).digest('hex');
    if (hashes.size >= HASHES_MAX) hashes.clear();
    hashes.set(secret, hash);
  }
  return hash;
}
