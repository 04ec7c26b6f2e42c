import { applyConfig } from '#billing/apply-config.ts';
import type { Database } from '#billing/db/database.ts';
import type { Config } from '#config/config.ts';
import { Fault } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import { pause } from '#core/pause.ts';
import type { Clock } from '#core/time.ts';

type BillingConfig = Pick<Config, 'customers' | 'meters' | 'plans'>;

export interface ConfigFollower {
  /** Brings it into the database, soon and at last: one that comes meanwhile takes its place. */
  take(config: BillingConfig): void;
  close(): Promise<void>;
}

const RETRY_MS = { min: 500, max: 30_000 };

/**
 * Keeps billing on the latest configuration: one at a time, so that an older one never comes after a newer, and again
 * while the database is away, since gateways serve new customers already. What billing refuses (another currency for a
 * plan) is said, and the one before stays.
 */
export function followConfig(options: {
  db: Database;
  clock: Clock;
  log: Log;
  onApplied: () => void;
  retryMs?: { min: number; max: number };
}): ConfigFollower {
  const { db, clock, log, onApplied, retryMs = RETRY_MS } = options;
  const closing = new AbortController();
  let wanted: BillingConfig | undefined;
  let running: Promise<void> | undefined;

  const run = async (): Promise<void> => {
    let waitMs = retryMs.min;
    while (wanted && !closing.signal.aborted) {
      const config = wanted;
      let isDone = true;
      try {
        await applyConfig(db, config, clock());
        onApplied();
      } catch (thrown) {
        isDone = thrown instanceof Fault && thrown.code !== 'database_unavailable';
        log.error({ err: thrown, again: !isDone }, 'billing could not take over the new configuration');
      }
      if (isDone && wanted === config) wanted = undefined;
      if (isDone) waitMs = retryMs.min;
      else {
        await pause(waitMs, closing.signal);
        waitMs = Math.min(waitMs * 2, retryMs.max);
      }
    }
    running = undefined;
  };

  return {
    take(config) {
      wanted = config;
      running ??= run();
    },
    async close() {
      closing.abort();
      await running;
    },
  };
}
