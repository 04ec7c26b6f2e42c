import { describe, expect, it } from 'vitest';
import { newId } from './id.ts';

const MS = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

describe('ids', () => {
  it('say what kind of thing they name', () => {
    expect(newId('req', MS)).toMatch(/^req_[0-9A-HJKMNP-TV-Z]{26}$/);
    expect(newId('inv', MS)).toMatch(/^inv_/);
  });

  it('sort by the time at which the thing began', () => {
    const times = [0, 1, 31, 32, 1023, MS - 1, MS, MS + 1, MS + 1_000_000, 2 ** 45, 2 ** 48 - 1];
    const ids = times.map((time) => newId('req', time));
    expect([...ids].reverse().sort()).toEqual(ids);
  });

  it('carry their time as a ULID does', () => {
    // The example time of the ULID specification.
    expect(newId('req', 1_469_918_176_385).slice(4, 14)).toBe('01ARYZ6S41');
  });

  it('are unique within one millisecond, across many refills of the random pool', () => {
    const ids = new Set(Array.from({ length: 100_000 }, () => newId('req', MS)));
    expect(ids.size).toBe(100_000);
  });
});
