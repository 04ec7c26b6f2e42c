import type { Log } from '#core/log.ts';
import type { CounterBook } from '#proxy/limits/counters.ts';

/** How soon the lease of a dead gateway's call is worked off although its customer does not call. */
const SWEEP_MS = 10_000;

/** Ends leases by itself until it is stopped. While the store is away there is nothing to sweep: every verb says so. */
export function startSweeping(counters: Pick<CounterBook, 'sweep'>, log: Log): { stop(): void } {
  const sweep = async (): Promise<void> => {
    try {
      await counters.sweep();
    } catch (error) {
      log.debug({ err: error }, 'leases cannot be ended while the store is away');
    }
  };
  const timer = setInterval(() => void sweep(), SWEEP_MS);
  return { stop: () => clearInterval(timer) };
}
