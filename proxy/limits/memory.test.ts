import { expect, test } from 'vitest';
import { countersConformance } from '#test/conformance/counters.ts';
import type { Hold, Reservation } from './counters.ts';
import { memoryCounters, REMEMBERED_MAX } from './memory.ts';

countersConformance(
  'memory',
  () => {
    let nowMs = 0;
    return {
      counters: memoryCounters({ clock: () => nowMs }),
      customer: 'acme',
      setClock: (ms) => {
        nowMs = ms;
      },
    };
  },
  { historiesMs: 4_000 },
);

const START_MS = Date.UTC(2031, 0, 1);
const HOLDS: Hold[] = [
  { kind: 'rate', counter: 'r', amount: 1n, limit: 10n, burst: 10n, windowMs: 1_000, counted: 'admission' },
  { kind: 'concurrency', counter: 'c', amount: 1n, limit: 10n },
];
const reservation = (customer: string, id: string, leaseMs = 1_000): Reservation => ({
  id,
  customer,
  atMs: START_MS,
  leaseMs,
  holds: HOLDS,
});

test('answers at once, without a promise', () => {
  const counters = memoryCounters({ clock: () => START_MS });
  expect(counters.reserve(reservation('acme', 'req_1')).admitted).toBe(true);
  expect(counters.settle(reservation('acme', 'req_1'), [1n, 1n]).settled).toBe(true);
});

test('forgets customers that have nothing to say any more, some in each millisecond of steps', () => {
  let nowMs = START_MS;
  const counters = memoryCounters({ clock: () => nowMs });
  for (let i = 0; i < 1_000; i++) {
    const call = reservation(`customer ${i}`, `req_${i}`);
    counters.reserve(call);
    if (i % 2 === 0) counters.settle(call, [1n, 1n]);
  }
  expect(counters.size()).toMatchObject({ customers: 1_000, live: 500, remembered: 500 });
  // Longer than anything is remembered: the leases end on the way.
  nowMs += 2_000;
  for (let i = 0; i < 2_000; i++, nowMs++) counters.read('nobody', 'r');
  expect(counters.size()).toMatchObject({ live: 0, counters: 0 });
  nowMs += 8 * 86_400_000;
  for (let i = 0; i < 2_000; i++, nowMs++) counters.read('nobody', 'r');
  expect(counters.size()).toEqual({ customers: 0, counters: 0, live: 0, remembered: 0 });
});

test('remembers a bounded number of settled calls', () => {
  const counters = memoryCounters({ clock: () => START_MS });
  const quota: Hold = { kind: 'quota', counter: 'q', amount: 1n, limit: 10n ** 9n, expiresAtMs: START_MS + 1 };
  const calls = REMEMBERED_MAX + 5_000;
  for (let i = 0; i < calls; i++) {
    const call = { ...reservation(`customer ${i % 3}`, `req_${i}`), holds: [quota] };
    counters.reserve(call);
    counters.settle(call, [1n]);
  }
  expect(counters.size().remembered).toBe(REMEMBERED_MAX);
  expect(
    counters.settle({ ...reservation(`customer ${(calls - 1) % 3}`, `req_${calls - 1}`), holds: [quota] }, [1n])
      .settled,
  ).toBe(false);
});
