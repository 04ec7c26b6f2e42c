/**
 * How fast usage events become usage: events per second into Postgres with deduplication and roll-ups, straight and
 * through the Redis streams, and how long an event takes to the usage page at a fixed rate.
 * `node bench/ingest.ts [seconds] [postgres|redis|page]`; DATABASE_URL and REDIS_URL, or private servers with fsync on.
 */
import { cpus } from 'node:os';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { type Database, getRow, sql } from '#billing/db/database.ts';
import { migrate } from '#billing/db/migrate.ts';
import { makePartitions } from '#billing/db/partitions.ts';
import { postgresDatabase } from '#billing/db/postgres.ts';
import { parseJson } from '#billing/event-formats/read-rows.ts';
import { ingest } from '#billing/events/ingest.ts';
import { startRedisConsumer } from '#billing/events/redis-consumer.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { readUsage } from '#billing/usage/usage.ts';
import { SILENT } from '#core/log.ts';
import { EVENT_FIELD, eventStream, shardOf } from '#core/redis-keys.ts';
import { createTestDatabase, startPostgres } from '#test/servers/postgres.ts';
import { startRedis } from '#test/servers/redis.ts';
import { usageEvent } from '#test/support/usage-events.ts';

const SECONDS = Number.parseInt(process.argv[2] ?? '20', 10);
const ONLY = process.argv[3];
const CUSTOMERS = 200;
const BATCH = 1_000;
const WRITERS = 2;
const DUPLICATES_PERCENT = 2;
/** Three billion events a month. */
const RATE = 1_200;
const PROBE = 'probe';
const HOUR_MS = 3_600_000;

/** 200 customers with two keys and three models each: 1,200 roll-ups an hour and unit. */
function newEvent(customer = `customer-${Math.trunc(Math.random() * CUSTOMERS)}`): { customer: string; text: string } {
  const [key, model] = [`${customer}-${Math.trunc(Math.random() * 2)}`, `gpt-4o-${Math.trunc(Math.random() * 3)}`];
  return { customer, text: JSON.stringify(usageEvent({ atMs: Date.now(), customer, key, model })) };
}

async function withDatabase<T>(server: string, work: (db: Database) => Promise<T>): Promise<T> {
  const { url, drop } = await createTestDatabase(server);
  const db = postgresDatabase({ url });
  try {
    await migrate(db);
    await makePartitions(db, Date.now());
    const result = await work(db);
    const now = Date.now();
    const hours = { startMs: now - (now % HOUR_MS) - HOUR_MS, endMs: now - (now % HOUR_MS) + HOUR_MS };
    const differences = await verifyRollups(db, hours);
    if (differences.length > 0) throw new Error(`roll-ups are wrong: ${JSON.stringify(differences[0])}`);
    return result;
  } finally {
    await db.close();
    await drop();
  }
}

/** As the HTTP route and the shipper do it: parse, validate, one transaction a batch. Some events come twice. */
async function straight(db: Database): Promise<string> {
  const pool = Array.from({ length: BATCH * 4 }, () => newEvent().text);
  let events = 0;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const write = async (): Promise<void> => {
    let last: string[] = [];
    while (performance.now() - start < SECONDS * 1000) {
      const fresh = pool.slice(0, BATCH - last.length).map((text) => text.replace(/"req_\w+"/, `"req_${newId()}"`));
      const batch = [...fresh, ...last];
      const results = await ingest(db, batch.map(parseJson), Date.now());
      if (results.filter((result) => result.status === 'accepted').length !== fresh.length)
        throw new Error('miscounted');
      events += batch.length;
      last = fresh.slice(0, (BATCH * DUPLICATES_PERCENT) / 100);
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, write));
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const size = await getRow<{ bytes: bigint; rows: bigint }>(
    db,
    sql`select sum(pg_total_relation_size(oid))::int8 bytes, (select count(*) from event) as rows
        from pg_class where relname like 'event%' and relkind = 'r'`,
  );
  return (
    `${Math.round(events / seconds)} events/s over ${seconds.toFixed(0)} s, ` +
    `${Math.round((user + system) / events)} us of our CPU and ${size.bytes / size.rows} bytes on disk an event`
  );
}

let ids = 0;
function newId(): string {
  return `${Date.now().toString(36)}${(ids++).toString(36).padStart(8, '0')}`;
}

async function append(
  redis: Redis,
  namespace: string,
  events: readonly { customer: string; text: string }[],
): Promise<void> {
  const pipeline = redis.pipeline();
  for (const { customer, text } of events) {
    pipeline.xadd(eventStream(namespace, shardOf(customer)), '*', EVENT_FIELD, text);
  }
  for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
}

/** The streams hold a backlog; the time is from the first batch to the last. */
async function backlog(db: Database, url: string): Promise<string> {
  const namespace = `bench-${newId()}`;
  const redis = new Redis(url);
  const total = SECONDS * 5_000;
  for (let n = 0; n < total; n += BATCH)
    await append(
      redis,
      namespace,
      Array.from({ length: BATCH }, () => newEvent()),
    );
  redis.disconnect();
  let events = 0;
  const { promise: done, resolve } = Promise.withResolvers<void>();
  const start = performance.now();
  const consumer = startRedisConsumer({
    ...{ url, namespace, db, clock: Date.now, log: SILENT },
    onBatch: (results) => {
      events += results.length;
      if (events === total) resolve();
    },
  });
  await done;
  const seconds = (performance.now() - start) / 1000;
  await consumer.stop();
  return `${Math.round(total / seconds)} events/s, ${total} events in ${seconds.toFixed(1)} s`;
}

/** Events come on a clock; one in twenty is the probe's, whose usage is read again and again as its page does. */
async function freshness(db: Database, url: string): Promise<string> {
  const namespace = `bench-${newId()}`;
  const redis = new Redis(url);
  const consumer = startRedisConsumer({ url, namespace, db, clock: Date.now, log: SILENT });
  const sentAt: number[] = [];
  const waits: number[] = [];
  const start = performance.now();
  let sending = true;
  const send = async (): Promise<void> => {
    for (let sent = 0; performance.now() - start < SECONDS * 1000; ) {
      const due = Math.trunc(((performance.now() - start) * RATE) / 1000);
      const events = Array.from({ length: due - sent }, (_, i) => newEvent((sent + i) % 20 === 0 ? PROBE : undefined));
      for (const event of events) if (event.customer === PROBE) sentAt.push(performance.now());
      sent = due;
      if (events.length > 0) await append(redis, namespace, events);
      await delay(1);
    }
    sending = false;
  };
  const look = async (): Promise<void> => {
    const day = { startMs: Date.now() - 24 * HOUR_MS, endMs: Date.now() + 24 * HOUR_MS };
    while (sending || waits.length < sentAt.length) {
      const groups = await readUsage(db, { customer: PROBE, period: day, groupBy: [], zone: 'UTC' });
      const seen = groups[0]?.events ?? 0n;
      const now = performance.now();
      while (waits.length < seen) waits.push(now - (sentAt[waits.length] ?? now));
      await delay(2);
    }
  };
  await Promise.all([send(), look()]);
  await consumer.stop();
  redis.disconnect();
  waits.sort((a, b) => a - b);
  const at = (part: number) => (waits[Math.min(waits.length - 1, Math.trunc(waits.length * part))] ?? 0).toFixed(0);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms over ${waits.length} looks at ${RATE} events/s`;
}

const postgres = process.env.DATABASE_URL ? undefined : await startPostgres({ durable: true });
const redis = process.env.REDIS_URL ? undefined : await startRedis();
try {
  const server = postgres?.url ?? process.env.DATABASE_URL ?? '';
  const redisUrl = redis?.url ?? process.env.REDIS_URL ?? '';
  console.log(
    `${cpus().length} cores, Node ${process.versions.node}; ${WRITERS} writers, ${BATCH} events a transaction`,
  );
  const parts: [name: string, title: string, work: (db: Database) => Promise<string>][] = [
    ['postgres', 'into Postgres:', straight],
    ['redis', 'through Redis:', (db) => backlog(db, redisUrl)],
    ['page', 'event to page:', (db) => freshness(db, redisUrl)],
  ];
  for (const [name, title, work] of parts) {
    if (ONLY === undefined || ONLY === name) console.log(`${title.padEnd(18)} ${await withDatabase(server, work)}`);
  }
} finally {
  await postgres?.stop();
  await redis?.stop();
}
