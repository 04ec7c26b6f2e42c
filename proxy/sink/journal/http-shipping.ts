import { Worker } from 'node:worker_threads';
import type { ClosingsRange, Cursor } from './journal.ts';
import type { Ship } from './shipper.ts';

/** A billing role, and the token that may bring it events. */
export interface ShippingTarget {
  url: string;
  token: string;
}

/** A call whose event did not come to billing by its stream, and what of it is counted in periods. */
export interface Brought {
  id: string;
  customer: string;
  atMs: number;
  counts: string;
  /** False where that is not sure: billing had it, and it may have been brought before without anybody hearing of it. */
  isSent: boolean;
}

/** Events go to billing another way, which can lose them: only what is lost is shipped. */
export interface OtherWay {
  /** Resolves when what is on that way now has arrived. */
  arrived(): Promise<void>;
  /** Billing has these now, which it did not get that way. Told again until it has been heard. */
  brought(calls: readonly Brought[]): Promise<void>;
  /** How many closings the process before left: what it has brought of them it may not have told. */
  inherited: number;
}

export interface ShippingThreadData extends ShippingTarget {
  /** Billing is asked first what it does not have. */
  onlyMissing: boolean;
}

export type ToThread =
  /** `tellsAll`: of each closing, as of one that was brought. */
  { kind: 'ship'; range: ClosingsRange; tellsAll: boolean } | { kind: 'go' };

export type FromThread =
  /** Of what it asked about: it waits to be told to go on. */
  | { kind: 'missing' }
  | { kind: 'started'; oldestAtMs: number }
  | { kind: 'shipped'; next: Cursor; brought: Brought[] }
  | { kind: 'failed'; reason: string };

/** What one batch waits for. */
interface Asked {
  started(oldestAtMs: number): void;
  resolve(shipped: { next: Cursor; brought: readonly Brought[] }): void;
  reject(error: Error): void;
}

/** It holds one batch at a time, of a megabyte or the one event that is larger. */
const THREAD_HEAP_MB = 64;

/**
 * Ships a journal to billing on a thread of its own. Posting takes a tenth of what a call costs, and the thread that
 * serves calls has better to do. A thread that dies fails its batch, and the next batch starts another.
 */
export function httpShipping(
  target: ShippingTarget,
  otherWay?: OtherWay,
): { ship: Ship; tellUntil(ordinal: number): void; close(): Promise<void> } {
  const workerData: ShippingThreadData = { url: target.url, token: target.token, onlyMissing: otherWay !== undefined };
  let asked: Asked | undefined;
  /** Closings before it may have been brought by a batch that failed behind billing: nobody has heard of them. */
  let unheardUntil = otherWay?.inherited ?? 0;
  let worker: Worker | undefined = start();

  function start(): Worker {
    const started = new Worker(new URL('./http-shipping-thread.ts', import.meta.url), {
      workerData,
      name: 'shipping',
      resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MB },
    });
    started.on('message', (message: FromThread) => {
      if (message.kind === 'started') asked?.started(message.oldestAtMs);
      else if (message.kind === 'missing') goOn(started);
      else if (message.kind === 'shipped') asked?.resolve(message);
      else asked?.reject(new Error(message.reason));
    });
    started.on('error', (error: Error) => asked?.reject(error));
    started.on('exit', (code) => {
      if (worker === started) worker = undefined;
      asked?.reject(new Error(`the shipping thread ended with ${code}`));
    });
    // It keeps a process alive only while something is asked of it.
    started.unref();
    return started;
  }

  function goOn(waiting: Worker): void {
    const tellIt = (): void => waiting.postMessage({ kind: 'go' } satisfies ToThread);
    const fail = (error: unknown): void => asked?.reject(error instanceof Error ? error : new Error(String(error)));
    otherWay?.arrived().then(tellIt, fail);
  }

  return {
    async ship(range: ClosingsRange, started, signal) {
      worker ??= start();
      const { promise, resolve, reject } = Promise.withResolvers<{ next: Cursor; brought: readonly Brought[] }>();
      asked = { started, resolve, reject };
      const stop = (): void => reject(new Error('stopped'));
      signal.addEventListener('abort', stop, { once: true });
      worker.ref();
      const { from, untilOrdinal, max } = range;
      const tellsAll = from.ordinal < unheardUntil;
      worker.postMessage({ kind: 'ship', range, tellsAll } satisfies ToThread);
      try {
        const { next, brought } = await promise;
        if (brought.length > 0) await otherWay?.brought(brought);
        return next;
      } catch (error) {
        if (otherWay) unheardUntil = Math.max(unheardUntil, Math.min(untilOrdinal, from.ordinal + max.count));
        throw error;
      } finally {
        asked = undefined;
        worker?.unref();
        signal.removeEventListener('abort', stop);
      }
    },
    /** What is shipped before it is told as what was brought: what became of it there may be lost. */
    tellUntil(ordinal) {
      unheardUntil = Math.max(unheardUntil, ordinal);
    },
    async close() {
      await worker?.terminate();
    },
  };
}
