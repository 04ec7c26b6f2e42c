import type { Log } from '#core/log.ts';
import { pause } from '#core/pause.ts';
import type { Clock } from '#core/time.ts';
import {
  type Backlog,
  type ClosingsRange,
  type Cursor,
  type JournalEntry,
  type PageMax,
  readClosings,
} from './journal.ts';

/** Closings on their way to one place: those of a journal to billing, or its unsettled ones to their store. */
export interface Course {
  /** Everything before it has arrived. */
  readonly cursor: Cursor;
  /** How many have not. */
  readonly unshipped: number;
  readonly backlog: Backlog;
  /** Of the next closing. */
  readonly ordinal: number;
  range(from: Cursor, max: PageMax): ClosingsRange;
  shipped(to: Cursor): Promise<void>;
  watch(onClosings: () => void): () => void;
}

export interface ShipperOptions {
  journal: Course;
  ship: Ship;
  now: Clock;
  log: Log;
  batch?: PageMax;
  /** How long closings are left alone, unless somebody waits for them; those that come meanwhile go with them. */
  ripeMs?: number;
  backoff?: { firstMs: number; maxMs: number };
}

/**
 * Brings closings to where they go. Resolves with the place after them when every event is durable there; what comes
 * twice must count once. `started` is told when the oldest of them was written.
 */
export type Ship = (
  range: ClosingsRange,
  started: (oldestAtMs: number | undefined) => void,
  signal: AbortSignal,
) => Promise<Cursor>;

/** For those who bring them one by one. */
export function shipEntries(post: (batch: readonly JournalEntry[], signal: AbortSignal) => Promise<void>): Ship {
  return async (range, started, signal) => {
    const { entries, next } = await readClosings(range);
    started(entries[0]?.atMs);
    await post(entries, signal);
    return next;
  };
}

export interface Shipper {
  /** What has not been shipped, and since when the oldest of it waits. */
  backlog(): Backlog & { oldestAgeMs: number };
  /** True from a failed batch to the next one that went through. */
  readonly failing: boolean;
  /** Resolves when everything that is closed by now has been shipped, however much is closed meanwhile. */
  shipped(): Promise<void>;
  /** Breaks off: what was under way is shipped again at the next start. */
  stop(): Promise<void>;
}

const BATCH = { count: 1000, bytes: 1024 * 1024 };
const BACKOFF = { firstMs: 50, maxMs: 5000 };
/** After an idle moment an event goes at once; under load batches start this far apart unless another full one waits. */
const GROUP_MS = 20;

/**
 * Brings the closings of a journal to where they go, in order, one batch at a time, and marks them shipped when they
 * have arrived. A batch that fails is tried again in halves, with growing pauses, for as long as it takes.
 */
export function shipJournal(options: ShipperOptions): Shipper {
  const { journal, now, log } = options;
  const max = options.batch ?? BATCH;
  const backoff = options.backoff ?? BACKOFF;
  const stopped = new AbortController();
  let count = max.count;
  let failures = 0;
  let oldestAtMs: number | undefined;
  let wake = Promise.withResolvers<void>();
  /** Somebody waits. */
  let hurry = new AbortController();
  const waiters = new Set<{ ordinal: number; resolve(): void }>();
  const unwatch = journal.watch(() => wake.resolve());
  stopped.signal.addEventListener('abort', () => wake.resolve());

  async function shipBatch(): Promise<void> {
    const { cursor } = journal;
    const range = journal.range(cursor, { count, bytes: max.bytes });
    const next = await options.ship(range, (atMs) => (oldestAtMs = atMs), stopped.signal);
    oldestAtMs = undefined;
    // Unless it is to begin somewhere else meanwhile.
    if (journal.cursor === cursor) await journal.shipped(next);
    tellWaiters();
    failures = 0;
    count = Math.min(max.count, count * 2);
    if (journal.unshipped < count && options.ripeMs === undefined) await pause(GROUP_MS, stopped.signal);
  }

  function tellWaiters(): void {
    for (const waiter of waiters) {
      if (waiter.ordinal > journal.cursor.ordinal && journal.unshipped > 0) continue;
      waiters.delete(waiter);
      waiter.resolve();
    }
  }

  async function run(): Promise<void> {
    while (!stopped.signal.aborted) {
      wake = Promise.withResolvers();
      if (journal.unshipped === 0) {
        await wake.promise;
        continue;
      }
      try {
        if (options.ripeMs !== undefined && journal.unshipped < count) await ripen(options.ripeMs);
        if (stopped.signal.aborted) break;
        await shipBatch();
      } catch (error) {
        if (stopped.signal.aborted) break;
        failures++;
        count = Math.max(1, Math.trunc(count / 2));
        const waitMs = pauseMs(backoff, failures);
        log.warn({ err: error, failures, unshipped: journal.unshipped, waitMs }, 'Usage events could not be shipped.');
        await pause(waitMs, stopped.signal);
      }
    }
  }

  async function ripen(ms: number): Promise<void> {
    hurry = new AbortController();
    if (waiters.size > 0) return;
    await pause(ms, AbortSignal.any([hurry.signal, stopped.signal]));
  }

  const running = run();
  return {
    backlog: () => ({ ...journal.backlog, oldestAgeMs: oldestAtMs === undefined ? 0 : now() - oldestAtMs }),
    get failing() {
      return failures > 0;
    },
    shipped() {
      const { ordinal } = journal;
      if (journal.unshipped === 0) return Promise.resolve();
      return new Promise((resolve) => {
        waiters.add({ ordinal, resolve });
        hurry.abort();
      });
    },
    async stop() {
      stopped.abort();
      unwatch();
      await running;
    },
  };
}

/** Doubles with every failure; somewhere in the upper half of it, so that gateways do not come back in step. */
function pauseMs({ firstMs, maxMs }: { firstMs: number; maxMs: number }, failures: number): number {
  const whole = Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 20));
  return whole / 2 + Math.random() * (whole / 2);
}
