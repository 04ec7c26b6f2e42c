import type { Counters, Hold } from '#proxy/limits/counters.ts';

export const BUDGET_NANOS = 1_000_000_000n;
const CALLERS = 500;
const WORST_NANOS = 20_000_000;
const LEASE_MS = 600_000;
const EXPIRES_MS = Date.UTC(2099, 0, 1);

export interface Spent {
  settled: bigint;
  refusals: number;
}

/**
 * 500 callers at once, over one or more gateways, against one budget: each makes calls of random worst cases, and of
 * random actual cost below them, until nothing is in flight and the rest is less than its call may cost.
 */
export async function spend(gateways: readonly Counters[], customer: string): Promise<Spent> {
  const spent: Spent = { settled: 0n, refusals: 0 };
  let inFlight = 0;
  const waiting: (() => void)[] = [];
  const upTo = (max: number) => BigInt(Math.floor(Math.random() * max));

  async function caller(index: number): Promise<void> {
    const counters = gateways[index % gateways.length];
    if (!counters) throw new RangeError('no gateway');
    for (let made = 0; ; made++) {
      const worst = 1n + upTo(WORST_NANOS);
      const hold: Hold = {
        kind: 'quota',
        counter: 'budget',
        amount: worst,
        limit: BUDGET_NANOS,
        expiresAtMs: EXPIRES_MS,
      };
      const reservation = { id: `req_${index}_${made}`, customer, atMs: 0, leaseMs: LEASE_MS, holds: [hold] };
      const answer = await counters.reserve(reservation);
      if (!answer.admitted) {
        spent.refusals++;
        if (answer.states[0]?.held === 0n) return;
        // What is held may be given back: ask again when something was.
        if (inFlight > 0) await new Promise<void>((resolve) => waiting.push(resolve));
        continue;
      }
      inFlight++;
      // The call itself: others get their turn.
      await Promise.resolve();
      const used = upTo(Number(worst) + 1);
      await counters.settle(reservation, [used]);
      spent.settled += used;
      inFlight--;
      for (const wake of waiting.splice(0, inFlight > 0 ? 4 : waiting.length)) wake();
    }
  }

  await Promise.all(Array.from({ length: CALLERS }, (_, index) => caller(index)));
  return spent;
}
