/** The thread that `billing-thread.ts` starts. */

import { parentPort, workerData } from 'node:worker_threads';
import { asDataDirFault } from '#config/data-dir.ts';
import { faultOf } from '#core/fault.ts';
import { startBillingRole } from './billing-role.ts';
import type { BillingThreadData, FromThread } from './billing-thread.ts';
import { openConfig } from './config-source.ts';
import { createLog } from './log.ts';

const data = workerData as BillingThreadData;
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
  const { code, detail, story, cause } = faultOf(asDataDirFault(error));
  tell({ kind: 'failed', code, detail, story: story ?? (code === 'internal' ? stackOf(cause) : undefined) });
  // At once: what has been opened by then would keep the thread, and a thread that stays is not started again.
  process.exit(1);
}

function stackOf(thrown: unknown): string {
  return (thrown instanceof Error && thrown.stack) || String(thrown);
}
