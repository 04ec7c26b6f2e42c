import type { Database } from '#billing/db/database.ts';
import { Fault, faultOf } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import type { Clock } from '#core/time.ts';
import { formatPosition, listPolicyChanges, type PolicyChanges, refreshEndedSecrets } from './policy.ts';
import { getPolicyPosition } from './store.ts';

/** How soon a change made by another process is noticed; a change made here is noticed at once. */
const POLL_MS = 500;

export interface PolicyFeed {
  /** What changed after a position, at once or as soon as there is something; without changes when the time is over. */
  changesAfter(after: string | undefined, timeoutMs: number, signal?: AbortSignal): Promise<PolicyChanges>;
  /** Something may have changed: look now. */
  nudge(): void;
  /** Lets everybody go who waits, and refuses with `shutting_down` who comes then. Close the server after it. */
  close(): void;
}

/** One look at the database serves all who wait, and nobody looks when nobody waits. */
export function policyFeed(options: { db: Database; clock: Clock; log: Log }): PolicyFeed {
  const { db, clock, log } = options;
  const waiting = new Map<symbol, { after: string; wake: () => void }>();
  let timer: NodeJS.Timeout | undefined;
  let looking = false;
  let lookAgain = false;
  let closed = false;

  async function look(): Promise<void> {
    if (looking) {
      lookAgain = true;
      return;
    }
    looking = true;
    clearTimeout(timer);
    timer = undefined;
    try {
      const position = await getPolicyPosition(db, clock());
      if (position.is_stale) {
        await refreshEndedSecrets(db, clock());
        lookAgain = true;
      }
      const current = formatPosition(position.epoch, position.version);
      for (const waiter of waiting.values()) if (waiter.after !== current) waiter.wake();
    } catch (thrown) {
      log.warn({ err: faultOf(thrown) }, 'key policies cannot be read; trying again');
    } finally {
      looking = false;
    }
    if (waiting.size === 0 || closed) {
      lookAgain = false;
    } else if (lookAgain) {
      lookAgain = false;
      await look();
    } else {
      timer = setTimeout(() => void look(), POLL_MS);
    }
  }

  /** Resolves when the feed stands elsewhere, the time is over, or the reader is gone. */
  function moved(after: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const id = Symbol('waiter');
      const wake = (): void => {
        clearTimeout(timeout);
        signal?.removeEventListener('abort', wake);
        waiting.delete(id);
        resolve();
      };
      const timeout = setTimeout(wake, timeoutMs);
      signal?.addEventListener('abort', wake, { once: true });
      waiting.set(id, { after, wake });
      if (timer === undefined) void look();
    });
  }

  return {
    changesAfter: async (after, timeoutMs, signal) => {
      // Not an empty answer: whoever got one would ask again at once, until the server is gone.
      if (closed) throw new Fault('shutting_down');
      const changes = await listPolicyChanges(db, after);
      const isNews = changes.reset || changes.version !== after;
      if (isNews || timeoutMs === 0 || closed || signal?.aborted) return changes;
      await moved(changes.version, timeoutMs, signal);
      return closed || signal?.aborted ? changes : await listPolicyChanges(db, after);
    },
    nudge: () => {
      if (waiting.size > 0) void look();
    },
    close: () => {
      closed = true;
      clearTimeout(timer);
      for (const waiter of waiting.values()) waiter.wake();
    },
  };
}
