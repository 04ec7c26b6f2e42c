import { join } from 'node:path';
import { applyConfig } from '#billing/apply-config.ts';
import { type Database, sqlStateOf } from '#billing/db/database.ts';
import { migrate } from '#billing/db/migrate.ts';
import { makePartitions } from '#billing/db/partitions.ts';
import { pgliteDatabase } from '#billing/db/pglite.ts';
import { postgresDatabase } from '#billing/db/postgres.ts';
import { startRedisConsumer } from '#billing/events/redis-consumer.ts';
import { followConfig } from '#billing/follow-config.ts';
import { createApp } from '#billing/http/app.ts';
import { serveBilling } from '#billing/http/server.ts';
import { CLOSE_GRACE_MS } from '#billing/jobs/close-periods.ts';
import { type JobStore, startJobs } from '#billing/jobs/jobs.ts';
import { policyFeed } from '#billing/policies/feed.ts';
import { publishPolicies } from '#billing/policies/publish-redis.ts';
import { billingRoutes } from '#billing/routes.ts';
import { tokenAuthenticator } from '#billing/tokens/token.ts';
import { lockDataDir } from '#config/data-dir.ts';
import { openRedis } from '#config/redis-connection.ts';
import { Fault, reasonOf } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import { pause } from '#core/pause.ts';
import type { Clock } from '#core/time.ts';
import { within } from '#core/within.ts';
import { reachable } from './address.ts';
import { closeInOrder } from './close.ts';
import type { ConfigSource } from './config-source.ts';
import type { RunningRole } from './gateway-role.ts';

export interface BillingRoleOptions {
  config: ConfigSource;
  dataDir: string;
  databaseUrl: string | null;
  redisUrl: string | null;
  namespace: string;
  adminToken: string;
  version: string;
  /** Which of its parts run here. The embedded database belongs to one process, so there both do. */
  parts: { api: boolean; jobs: boolean };
  log: Log;
  clock: Clock;
}

export interface BillingRole {
  /** Null where only the jobs run. */
  url: string | null;
  close(): Promise<void>;
}

/** Until the event of a call that was bounded by `call_timeout` has also been shipped. */
const SHIPPING_MS = 15 * 60_000;

/** A call counts when it is admitted and its event comes when it ends: no period is closed while one of its calls may still run. */
function closeGraceOf({ config }: BillingRoleOptions): number {
  return Math.max(CLOSE_GRACE_MS, config.current.gateway.callTimeoutMs + SHIPPING_MS);
}

const SHUTDOWN_MS = 10_000;
const DAY_MS = 86_400_000;

interface Store {
  db: Database;
  jobs: JobStore;
  close(): Promise<void>;
}

/** The billing API with the console, the ingest of events and the publication of key policies; the jobs. */
export async function startBillingRole(options: BillingRoleOptions): Promise<BillingRole> {
  const { clock, log, parts } = options;
  const store = await openStore(options);
  await migrate(store.db).catch(refused);
  const api = parts.api ? await startApi(options, store.db) : undefined;
  const jobs = parts.jobs
    ? await startJobs({
        ...{ db: store.db, store: store.jobs, clock, log },
        priceBook: () => options.config.current.priceBook,
        closeGraceMs: () => closeGraceOf(options),
      })
    : undefined;
  return {
    url: api?.url ?? null,
    async close() {
      await closeInOrder([
        async () => api?.close(),
        async () => jobs?.stop(),
        () => within(SHUTDOWN_MS, store.close(), () => new Fault('database_unavailable')),
      ]);
    },
  };
}

async function startApi(options: BillingRoleOptions, db: Database): Promise<RunningRole> {
  const { config, clock, log } = options;
  await makePartitions(db, clock());
  const first = config.current;
  await applyConfig(db, first, clock());
  const feed = policyFeed({ db, clock, log });
  const follower = followConfig({ db, clock, log, onApplied: feed.nudge });
  config.onChange(follower.take);
  // One that came while the first was applied.
  if (config.current !== first) follower.take(config.current);
  const partitions = setInterval(() => {
    makePartitions(db, clock()).catch((error: unknown) => log.error({ err: error }, 'no partition was made ahead'));
  }, DAY_MS);
  const app = createApp({
    db,
    clock,
    log,
    authenticate: tokenAuthenticator({ db, clock, adminToken: options.adminToken }),
    routes: billingRoutes({ policies: feed, priceBook: () => config.current.priceBook }),
    version: options.version,
  });
  const server = await serveBilling(app, config.current.billing);
  const redis = options.redisUrl ? followRedis(options, options.redisUrl, db, feed) : undefined;
  return {
    url: reachable(server.url),
    async close() {
      clearInterval(partitions);
      await follower.close();
      feed.close();
      await server.close(SHUTDOWN_MS);
      await redis?.close();
    },
  };
}

/** Brings the schema up to date and says what it did. */
export async function migrateDatabase(options: StoreOptions): Promise<string[]> {
  const store = await openStore(options);
  try {
    return await migrate(store.db).catch(refused);
  } finally {
    await store.close();
  }
}

function followRedis(options: BillingRoleOptions, url: string, db: Database, feed: ReturnType<typeof policyFeed>) {
  const { namespace, clock, log } = options;
  const redis = openRedis(url, { onError: (error) => log.warn({ error: error.message }, 'Redis is away') });
  const publisher = publishPolicies({ feed, redis, namespace, log });
  const consumer = startRedisConsumer({ url, namespace, db, clock, log });
  return {
    async close() {
      await consumer.stop();
      await publisher.close();
      redis.disconnect();
    },
  };
}

/** How long a start waits for a database that comes up beside it. */
const DATABASE_WAIT_MS = 30_000;
const DATABASE_RETRY_MS = 500;

type StoreOptions = Pick<BillingRoleOptions, 'databaseUrl' | 'dataDir' | 'log'>;

async function openStore({ databaseUrl, dataDir, log }: StoreOptions): Promise<Store> {
  if (databaseUrl === null) {
    const folder = join(dataDir, 'billing');
    const lock = lockDataDir(folder);
    const db = await pgliteDatabase({ dataDir: join(folder, 'pglite') });
    return {
      db,
      jobs: { pglite: db.pglite },
      async close() {
        await db.close();
        lock.release();
      },
    };
  }
  const db = postgresDatabase({ url: databaseUrl });
  await untilThere(db, log);
  return { db, jobs: { url: databaseUrl }, close: () => db.close() };
}

/** What cannot be reached may be coming up, or have a name that does not exist yet; what refuses us has to be mended. */
async function untilThere(db: Database, log: Log): Promise<void> {
  const giveUp = AbortSignal.timeout(DATABASE_WAIT_MS);
  let told: string | undefined;
  for (;;) {
    try {
      await db.transaction(async () => undefined);
      return;
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== 'database_unavailable') return refused(error);
      const reason = reasonOf(error.cause);
      if (giveUp.aborted) throw new Fault('database_unavailable', { detail: `${reason}.`, cause: error.cause });
      if (reason !== told) log.warn({ reason }, `waiting for the database, ${DATABASE_WAIT_MS / 1000} seconds at most`);
      told = reason;
      await pause(DATABASE_RETRY_MS, giveUp);
    }
  }
}

/** A user, a password or a database that is not there, or rights that are missing: in the words of the server. */
function refused(error: unknown): never {
  const state = sqlStateOf(error);
  if (state?.startsWith('28') || state === '3D000' || state === '42501') {
    throw new Fault('database_refused', { detail: `${reasonOf(error)}.`, cause: error });
  }
  throw error;
}
