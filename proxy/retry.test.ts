import { describe, expect, it } from 'vitest';
import { backoffMs, isRetriable, retryAfterMs } from './retry.ts';

const NOW = Date.UTC(2026, 10, 20, 12);

describe('an attempt', () => {
  it('is worth another where the upstream is busy or broken, and not where the request is wrong', () => {
    expect([408, 429, 500, 502, 503, 529].every(isRetriable)).toBe(true);
    expect([200, 400, 401, 403, 404, 409, 422].some(isRetriable)).toBe(false);
  });

  it('waits as the upstream asks, in each way of saying it', () => {
    expect(retryAfterMs({ 'retry-after-ms': '120', 'retry-after': '9' }, NOW)).toBe(120);
    expect(retryAfterMs({ 'retry-after': '2' }, NOW)).toBe(2_000);
    expect(retryAfterMs({ 'retry-after': '0.5' }, NOW)).toBe(500);
    expect(retryAfterMs({ 'retry-after': 'Fri, 20 Nov 2026 12:00:03 GMT' }, NOW)).toBe(3_000);
    expect(retryAfterMs({ 'retry-after': 'Fri, 20 Nov 2026 11:00:00 GMT' }, NOW)).toBe(0);
    expect(retryAfterMs({ 'retry-after': 'soon' }, NOW)).toBeNull();
    expect(retryAfterMs({}, NOW)).toBeNull();
  });

  it('waits longer each time, with jitter, within bounds, and not at all when asked for too much', () => {
    expect([0, 1, 2, 10].map((n) => backoffMs(n, null, 0))).toEqual([125, 250, 500, 2_500]);
    expect([0, 1, 2, 10].map((n) => backoffMs(n, null, 1))).toEqual([250, 500, 1_000, 5_000]);
    expect(backoffMs(0, 3_000, 0)).toBe(3_000);
    expect(backoffMs(5, 10, 0)).toBe(2_500);
    expect(backoffMs(0, 60_000, 0)).toBeUndefined();
  });
});
