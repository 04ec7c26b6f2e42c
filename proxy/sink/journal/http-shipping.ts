import { Worker } from 'node:worker_threads';
import type { ClosingsRange, Cursor } from './journal.ts';
import type { Ship } from './shipper.ts';

/** A billing role, and the token that may bring it events. */
export interface ShippingTarget {
  url: string;
  token: string;
}

export type FromThread =
  | { kind: 'started'; oldestAtMs: number }
  | { kind: 'shipped'; next: Cursor }
  | { kind: 'failed'; reason: string };

/** What one batch waits for. */
interface Asked {
  started(oldestAtMs: number): void;
  resolve(next: Cursor): void;
  reject(error: Error): void;
}

/** It holds one batch at a time, of a megabyte or the one event that is larger. */
const THREAD_HEAP_MB = 64;

/**
 * Ships a journal to billing on a thread of its own. Posting takes a tenth of what a call costs, and the thread that
 * serves calls has better to do. A thread that dies fails its batch, and the next batch starts another.
 */
export function httpShipping(target: ShippingTarget): { ship: Ship; close(): Promise<void> } {
  let asked: Asked | undefined;
  let worker: Worker | undefined = start();

  function start(): Worker {
    const started = new Worker(new URL('./http-shipping-thread.ts', import.meta.url), {
      workerData: target,
      name: 'shipping',
      resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MB },
    });
    started.on('message', (message: FromThread) => {
      if (message.kind === 'started') asked?.started(message.oldestAtMs);
      else if (message.kind === 'shipped') asked?.resolve(message.next);
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

  return {
    async ship(range: ClosingsRange, started, signal) {
      worker ??= start();
      const { promise, resolve, reject } = Promise.withResolvers<Cursor>();
      asked = { started, resolve, reject };
      const stop = (): void => reject(new Error('stopped'));
      signal.addEventListener('abort', stop, { once: true });
      worker.ref();
      worker.postMessage(range);
      try {
        return await promise;
      } finally {
        asked = undefined;
        worker?.unref();
        signal.removeEventListener('abort', stop);
      }
    },
    async close() {
      await worker?.terminate();
    },
  };
}
