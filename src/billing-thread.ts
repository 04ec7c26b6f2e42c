import { parentPort, Worker, workerData } from 'node:worker_threads';
import { faultOf } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import { pause } from '#core/pause.ts';
import { type BillingRole, type BillingRoleOptions, startBillingRole } from './billing-role.ts';
import { type ConfigOrigin, openConfig } from './config-source.ts';
import { createLog } from './log.ts';

/**
 * The billing role on a thread of its own, so that nothing it does delays a call of the gateway beside it. It follows
 * the configuration by itself; all that passes between the two threads is that it runs, and that it shall stop.
 */
export interface BillingThreadData extends Omit<BillingRoleOptions, 'config' | 'log' | 'clock'> {
  config: ConfigOrigin;
  env: Record<string, string | undefined>;
  logLevel: string;
}

type FromThread = { kind: 'running'; url: string | null } | { kind: 'failed'; message: string };

const RESTART_MS = { min: 500, max: 30_000 };

/** Starts the thread and rejects when its first start fails; when it dies later it is started again, and the gateway's journal waits. */
export async function startBillingThread(data: BillingThreadData, log: Log): Promise<BillingRole> {
  const closing = new AbortController();
  let worker = spawn(data);
  const url = await running(worker);

  void (async () => {
    let waitMs = RESTART_MS.min;
    for (;;) {
      const startedAt = Date.now();
      await ended(worker);
      if (closing.signal.aborted) return;
      if (Date.now() - startedAt > RESTART_MS.max) waitMs = RESTART_MS.min;
      log.error({ restart_ms: waitMs }, 'the billing thread died; starting it again');
      await pause(waitMs, closing.signal);
      if (closing.signal.aborted) return;
      waitMs = Math.min(waitMs * 2, RESTART_MS.max);
      worker = spawn(data);
      await running(worker).catch((error: unknown) => log.error({ error: String(error) }, 'billing did not start'));
    }
  })();

  return {
    url,
    async close() {
      closing.abort();
      const end = ended(worker);
      worker.postMessage('close');
      await end;
    },
  };
}

function spawn(data: BillingThreadData): Worker {
  return new Worker(new URL(import.meta.url), { workerData: data, env: data.env, name: 'billing' });
}

function running(worker: Worker): Promise<string | null> {
  return new Promise((resolve, reject) => {
    worker.on('message', (message: FromThread) => {
      if (message.kind === 'running') resolve(message.url);
      else reject(new Error(message.message));
    });
    worker.on('error', reject);
    worker.on('exit', () => reject(new Error('the billing thread ended')));
  });
}

/** When it is gone, however it went. */
function ended(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    worker.once('exit', () => resolve());
  });
}

/** The thread itself. */
async function main(data: BillingThreadData): Promise<void> {
  const tell = (message: FromThread): void => parentPort?.postMessage(message);
  try {
    const log = createLog(data.logLevel, 'billing');
    const config = await openConfig(data.config, data.env, log);
    const role = await startBillingRole({ ...data, config, log, clock: Date.now });
    parentPort?.once('message', () => {
      config.close();
      role.close().then(
        () => process.exit(0),
        (error: unknown) => {
          log.error({ err: error }, 'billing did not close in order');
          process.exit(1);
        },
      );
    });
    tell({ kind: 'running', url: role.url });
  } catch (error) {
    const fault = faultOf(error);
    tell({ kind: 'failed', message: fault.code === 'internal' ? String(fault.cause) : fault.message });
    process.exitCode = 1;
    parentPort?.close();
  }
}

if (parentPort && workerData) await main(workerData as BillingThreadData);
