import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { sha1Hex } from './sha1.ts';

it('is what everybody else computes, for texts around the ends of blocks', () => {
  for (let length = 0; length < 200; length++) {
    const text = 'aé€😀'.repeat(length).slice(0, length).toWellFormed();
    expect(sha1Hex(text)).toBe(createHash('sha1').update(text).digest('hex'));
  }
});
