import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { hashSecret, isWellFormedSecret, newSecret } from './secret.ts';

describe('a secret', () => {
  it('has the shape that scanners look for, and a checksum that holds', () => {
    for (const mode of ['live', 'test'] as const) {
      const secret = newSecret(mode);
      expect(secret).toMatch(new RegExp(`^wr_${mode}_[0-9A-Za-z]{36}$`));
      expect(isWellFormedSecret(secret)).toBe(true);
    }
  });

  it('is never the same twice and uses the whole alphabet', () => {
    const secrets = Array.from({ length: 500 }, () => newSecret('live'));
    expect(new Set(secrets).size).toBe(500);
    expect(new Set(secrets.map((secret) => secret.slice(8, 38)).join('')).size).toBe(62);
  });

  it('carries the CRC-32 that everybody computes', () => {
    const secret = newSecret('test');
    let value = 0;
    for (const digit of secret.slice(-6)) {
      value = value * 62 + '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'.indexOf(digit);
    }
    expect(value).toBe(crc32(secret.slice(0, -6)));
  });

  it('is recognised as mistyped when any one character is wrong', () => {
    const secret = newSecret('live');
    for (let i = 0; i < secret.length; i++) {
      const other = secret[i] === 'x' ? 'y' : 'x';
      expect(isWellFormedSecret(secret.slice(0, i) + other + secret.slice(i + 1)), `at ${i}`).toBe(false);
    }
    expect(isWellFormedSecret(`${secret}\n`)).toBe(false);
    expect(isWellFormedSecret('')).toBe(false);
  });

  it('is stored as the SHA-256 that everybody computes', async () => {
    const secret = newSecret('live');
    expect(await hashSecret(secret)).toBe(createHash('sha256').update(secret).digest('hex'));
  });
});
