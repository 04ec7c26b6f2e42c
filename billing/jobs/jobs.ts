import { fromPglite, type JobResult, type PGliteLike, PgBoss } from 'pg-boss';
import type { Database } from '#billing/db/database.ts';
import { closePeriod } from '#billing/invoices/invoice.ts';
import { openDuePeriods, type PeriodKey } from '#billing/subscriptions/period.ts';
import type { Log } from '#core/log.ts';
import type { PriceBook } from '#core/price.ts';
import type { Clock } from '#core/time.ts';
import { CLOSE_GRACE_MS, duePeriods, nameOf } from './close-periods.ts';
import { JOB_KINDS } from './job-kinds.ts';

/** Where pg-boss keeps its queues: the billing database, in a schema of its own. */
export type JobStore = { url: string } | { pglite: PGliteLike };

export interface JobsOptions {
  db: Database;
  store: JobStore;
  /** What is due is decided by this clock; when to look, by the database's. */
  clock: Clock;
  log: Log;
  /** The provider prices of the configuration in force. */
  priceBook: () => PriceBook;
  /** Asked each time: the configuration may change what it follows from. */
  closeGraceMs?: () => number;
  /** How often an idle worker looks into its queue; at least half a second. */
  pollSeconds?: number;
}

export interface Jobs {
  /** Looks for periods that are due now instead of at the next minute. */
  wake(): Promise<void>;
  /** Takes no more jobs and waits for those that run, at most this long. */
  stop(timeoutMs?: number): Promise<void>;
}

const SCHEMA = 'pgboss';
const FIND_DUE = 'find_due_periods';
const CLOSE = 'close_period';
const POLL_SECONDS = 2;
const STOP_MS = 20_000;
/** Many periods end at the same midnight: a worker takes them in batches, and the next at once while they are full. */
const CLOSE_WORK = {
  batchSize: 20,
  burstWhenBatchFull: true,
  perJobResults: true,
} as const;

/**
 * Runs the jobs of billing on pg-boss: each minute one process of all that share the database looks for periods that
 * are due and queues each once; any of them closes it, in one transaction that can be repeated. What fails is tried
 * again with growing pauses, and found anew the next minute after that.
 */
export async function startJobs(options: JobsOptions): Promise<Jobs> {
  const { db, clock, log, priceBook, closeGraceMs = () => CLOSE_GRACE_MS, pollSeconds = POLL_SECONDS } = options;
  const boss = new PgBoss({ ...storeOf(options.store), schema: SCHEMA, persistWarnings: false });
  boss.on('error', (thrown) => log.error({ err: thrown }, 'the job queue failed'));
  boss.on('warning', (warning) => log.warn({ warning: warning.message }, 'the job queue warns'));
  await boss.start();

  const run = async (name: string, data: object, job: () => Promise<unknown>): Promise<boolean> => {
    try {
      log.debug({ job: name, ...data, answer: await job() }, 'a job is done');
      return true;
    } catch (thrown) {
      log.error({ job: name, ...data, err: thrown }, 'a job failed');
      return false;
    }
  };
  /** A kind of job that is queued or running once, however many ask for it. What it missed, it finds the next time. */
  const recurring = async (name: string, cron: string, job: () => Promise<unknown>): Promise<void> => {
    await boss.createQueue(name, {
      policy: 'exclusive',
      retryLimit: 0,
      expireInSeconds: 300,
      deleteAfterSeconds: 3_600,
    });
    await boss.schedule(name, cron);
    await boss.work(name, { pollingIntervalSeconds: pollSeconds }, () => run(name, {}, job));
    await boss.send(name);
  };
  const wake = async (): Promise<void> => {
    await boss.send(FIND_DUE);
  };

  await boss.createQueue(CLOSE, {
    policy: 'exclusive',
    retryLimit: 5,
    retryBackoff: true,
    expireInSeconds: 60,
    deleteAfterSeconds: 86_400,
  });
  const closeWork = { ...CLOSE_WORK, pollingIntervalSeconds: pollSeconds };
  await boss.work<PeriodKey, JobResult[], typeof closeWork>(CLOSE, closeWork, async (jobs) => {
    const results: JobResult[] = [];
    for (const { id, data } of jobs) {
      const done = await run(CLOSE, data, () => closePeriod(db, data, clock(), closeGraceMs()));
      results.push({ id, status: done ? 'completed' : 'failed' });
    }
    return results;
  });
  await recurring(FIND_DUE, '* * * * *', async () => {
    await openDuePeriods(db, clock(), log);
    let due = 0;
    for await (const { subscription_id, period_index } of duePeriods(db, clock(), closeGraceMs())) {
      const key: PeriodKey = { subscription_id, period_index };
      await boss.send(CLOSE, key, { singletonKey: nameOf(key) });
      due++;
    }
    return due;
  });
  for (const { name, cron, run: job } of JOB_KINDS) await recurring(name, cron, () => job(db, clock(), priceBook()));
  return { wake, stop: (timeoutMs = STOP_MS) => boss.stop({ graceful: true, timeout: timeoutMs }) };
}

function storeOf(store: JobStore) {
  if ('url' in store) return { connectionString: store.url, max: 3, application_name: 'weir-jobs' };
  return { db: fromPglite(store.pglite), backend: 'pglite' as const };
}
