import { expect, it } from 'vitest';
import type { Hold, Reservation } from './counters.ts';
import { memoryCounters } from './memory.ts';
import { type Notice, noticedCounters } from './noticed.ts';

it('tells each threshold once, whether a settlement reaches it or a call finds it reached', async () => {
  const notices: Notice[] = [];
  const counters = noticedCounters(memoryCounters({ clock: Date.now }), (notice) => notices.push(notice));
  const hold: Hold = {
    kind: 'quota',
    counter: 'budget/month/a/2026-11',
    amount: 10n,
    limit: 100n,
    expiresAtMs: Date.now() + 1_000_000,
    warnAt: [50n, 90n],
  };
  const call = async (id: string, used: bigint): Promise<void> => {
    const reservation: Reservation = { id, customer: 'acme', atMs: Date.now(), leaseMs: 60_000, holds: [hold] };
    await counters.reserve(reservation);
    await counters.settle(reservation, [used]);
  };
  await call('a', 49n);
  expect(notices).toEqual([]);
  await call('b', 2n);
  await call('c', 2n);
  const about = { customer: 'acme', counter: hold.counter, limit: 100n, currency: null };
  expect(notices).toEqual([{ ...about, threshold: 50n }]);
  await call('d', 45n);
  await call('e', 1n);
  expect(notices).toEqual([
    { ...about, threshold: 50n },
    { ...about, threshold: 90n },
  ]);
});
