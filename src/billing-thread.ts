import { Worker } from 'node:worker_threads';
import { Fault, type FaultCode, reasonOf } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import { pause } from '#core/pause.ts';
import { within } from '#core/within.ts';
import type { BillingRole, BillingRoleOptions } from './billing-role.ts';
import type { ConfigOrigin } from './config-source.ts';

/**
 * The billing role on a thread of its own, so that nothing it does delays a call of the gateway beside it. It follows
 * the configuration by itself; all that passes between the two threads is that it runs, and that it shall stop.
 */
export interface BillingThreadData extends Omit<BillingRoleOptions, 'config' | 'log' | 'clock'> {
  config: ConfigOrigin;
  env: Record<string, string | undefined>;
  logLevel: string;
}

export type FromThread =
  | { kind: 'running'; url: string | null }
  | { kind: 'failed'; code: FaultCode; detail: string | undefined; story: string | undefined };

interface Thread {
  worker: Worker;
  /** Resolves when it is gone, however it went; with its exit code. */
  ended: Promise<number>;
}

const RESTART_MS = { min: 500, max: 30_000 };
/** Longer than all that the billing role waits for when it closes. */
const CLOSE_MS = 45_000;

/** Starts the thread and rejects when its first start fails; when it dies later it is started again, and the gateway's journal waits. */
export async function startBillingThread(data: BillingThreadData, log: Log): Promise<BillingRole> {
  const closing = new AbortController();
  let thread = spawn(data);
  const url = await running(thread);
  const tellDeath = (error: unknown): void => log.error({ err: error }, 'the billing thread failed');
  thread.worker.on('error', tellDeath);

  void (async () => {
    let waitMs = RESTART_MS.min;
    for (;;) {
      const startedAt = Date.now();
      await thread.ended;
      if (closing.signal.aborted) return;
      if (Date.now() - startedAt > RESTART_MS.max) waitMs = RESTART_MS.min;
      log.error({ restart_ms: waitMs }, 'the billing thread died; starting it again');
      await pause(waitMs, closing.signal);
      if (closing.signal.aborted) return;
      waitMs = Math.min(waitMs * 2, RESTART_MS.max);
      thread = spawn(data);
      thread.worker.on('error', tellDeath);
      await running(thread).catch((error: unknown) => log.error({ error: reasonOf(error) }, 'billing did not start'));
    }
  })();

  return {
    url,
    async close() {
      closing.abort();
      thread.worker.postMessage('close');
      const late = (): Error => new Error(`billing did not close within ${CLOSE_MS} ms`);
      const code = await within(CLOSE_MS, thread.ended, late);
      if (code !== 0)
        throw new Fault('database_unavailable', { detail: 'Billing did not close in order: see its log.' });
    },
  };
}

function spawn(data: BillingThreadData): Thread {
  const worker = new Worker(new URL('./billing-thread-main.ts', import.meta.url), {
    workerData: data,
    env: data.env,
    name: 'billing',
  });
  const { promise: ended, resolve } = Promise.withResolvers<number>();
  worker.once('exit', resolve);
  return { worker, ended };
}

function running({ worker, ended }: Thread): Promise<string | null> {
  return new Promise((resolve, reject) => {
    worker.on('message', (message: FromThread) => {
      if (message.kind === 'running') resolve(message.url);
      else reject(new Fault(message.code, { detail: message.detail, story: message.story }));
    });
    worker.on('error', reject);
    void ended.then(() => reject(new Error('the billing thread ended')));
  });
}
