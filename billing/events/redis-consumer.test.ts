import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Database, getRow, sql } from '#billing/db/database.ts';
import { migrate } from '#billing/db/migrate.ts';
import { postgresDatabase } from '#billing/db/postgres.ts';
import { SILENT } from '#core/log.ts';
import { EVENT_FIELD, eventStream, SHARDS, shardOf } from '#core/redis-keys.ts';
import type { UsageEvent } from '#core/usage-event.ts';
import { createTestDatabase, startPostgres } from '#test/servers/postgres.ts';
import { redisUrl, removeNamespace, startRedis, testNamespace } from '#test/servers/redis.ts';
import { type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { ingest } from './ingest.ts';
import { type RedisConsumer, startRedisConsumer } from './redis-consumer.ts';

const NOW = Date.UTC(2026, 10, 20, 12);
const SOON = { timeout: 30_000, interval: 20 };
/** Processes and servers that start take their time on a busy machine. */
const LONG = { timeout: 120_000 };

let test: TestDatabase;
let db: Database;
let redis: Redis;
let namespace: string;
let consumer: RedisConsumer | undefined;

beforeEach(async () => {
  test = await testDatabase('postgres');
  db = test.db;
  redis = new Redis(redisUrl());
  namespace = testNamespace();
});
afterEach(async () => {
  await consumer?.stop();
  consumer = undefined;
  redis.disconnect();
  await removeNamespace(namespace);
  await test.drop();
});

const start = (options: Partial<Parameters<typeof startRedisConsumer>[0]> = {}) =>
  startRedisConsumer({
    ...{ url: redisUrl(), namespace, db, clock: () => NOW, log: SILENT, claimIdleMs: 300, batchMax: 50 },
    ...options,
  });

/** As a gateway appends them: to the stream of the customer's shard. */
async function append(events: readonly UsageEvent[], to = redis): Promise<void> {
  const pipeline = to.pipeline();
  for (const event of events) {
    pipeline.xadd(eventStream(namespace, shardOf(event.subject)), '*', EVENT_FIELD, JSON.stringify(event));
  }
  for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
}

const calls = (count: number, customers = 40) =>
  Array.from({ length: count }, (_, i) =>
    usageEvent({ customer: `customer-${i % customers}`, quantities: { calls: '1' } }),
  );

async function counted(from = db): Promise<{ events: bigint; calls: string; entries: bigint }> {
  return await getRow(
    from,
    sql`select (select count(*) from event_id) events, (select coalesce(sum(quantity), 0) from usage_hour) calls,
          (select coalesce(sum(events), 0)::int8 from cost_hour) entries`,
  );
}
const exactly = (n: number) => ({ events: BigInt(n), calls: `${n}`, entries: BigInt(n) });

/** Entries that are left in the streams, and those of them that somebody has taken and not acknowledged. */
async function left(from = redis): Promise<[length: number, pending: number]> {
  let [length, pending] = [0, 0];
  for (let shard = 0; shard < SHARDS; shard++) {
    const stream = eventStream(namespace, shard);
    length += await from.xlen(stream);
    const [count] = (await from.xpending(stream, 'billing')) as [number];
    pending += count;
  }
  return [length, pending];
}

describe('the consumer of the event streams', () => {
  it('moves what is there and what comes into the database, and leaves the streams empty', async () => {
    await append(calls(300));
    consumer = start();
    await append(calls(300));
    await vi.waitFor(async () => expect(await counted()).toEqual(exactly(600)), SOON);
    await vi.waitFor(async () => expect(await left()).toEqual([0, 0]), SOON);
    await consumer.stop();
    await append(calls(10));
    expect(await left()).toEqual([10, 0]);
  });

  it('parks what is no event, and goes on', async () => {
    const stream = eventStream(namespace, 3);
    await redis.xadd(stream, '*', EVENT_FIELD, '{"cut');
    await redis.xadd(stream, '*', 'something', 'else');
    await append(calls(5));
    consumer = start();
    await vi.waitFor(async () => expect(await counted()).toEqual(exactly(5)), SOON);
    await vi.waitFor(async () => expect(await left()).toEqual([0, 0]), SOON);
    const parked = await db.query(sql`select reason, body from event_parked order by body`);
    expect(parked).toEqual([
      { reason: 'malformed', body: '"[\\"something\\",\\"else\\"]"' },
      { reason: 'malformed', body: '"{\\"cut"' },
    ]);
  });

  it('counts once what was counted and not acknowledged, and takes over what another process held', async () => {
    const events = calls(200);
    await append(events);
    for (let shard = 0; shard < SHARDS; shard++) {
      const stream = eventStream(namespace, shard);
      await redis.xgroup('CREATE', stream, 'billing', '0', 'MKSTREAM');
      await redis.xreadgroup('GROUP', 'billing', 'dead', 'COUNT', 5, 'STREAMS', stream, '>');
    }
    await ingest(db, events.slice(0, 100), NOW);
    consumer = start();
    await vi.waitFor(async () => expect(await counted()).toEqual(exactly(200)), SOON);
    await vi.waitFor(async () => expect(await left()).toEqual([0, 0]), SOON);
  });

  it('leaves everything in Redis while the database refuses, stops all the same, and loses nothing', async () => {
    await append(calls(100));
    const { promise: refusedOnce, resolve: refuse } = Promise.withResolvers<void>();
    const away: Database = {
      ...db,
      transaction: () => {
        refuse();
        return Promise.reject(new Error('away'));
      },
    };
    consumer = start({ db: away });
    await refusedOnce;
    await consumer.stop();
    expect((await left())[0]).toBe(100);
    consumer = start();
    await vi.waitFor(async () => expect(await counted()).toEqual(exactly(100)), SOON);
    await vi.waitFor(async () => expect(await left()).toEqual([0, 0]), SOON);
  });

  it('counts every event once when its process is killed again and again in the middle', LONG, async () => {
    const program = fileURLToPath(new URL('../../test/support/consume-events.ts', import.meta.url));
    const run = (): ChildProcess => {
      const child = spawn(process.execPath, [program, redisUrl(), namespace, test.url ?? ''], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      onTestFinished(() => {
        child.kill('SIGKILL');
      });
      return child;
    };
    const total = 3_000;
    await append(calls(total));
    for (let kills = 0; kills < 6; kills++) {
      const child = run();
      // So many batches as chance has it; then the kill falls into the next read, transaction or acknowledgement.
      let batches = Math.floor(Math.random() * 4);
      child.stdout?.on('data', () => {
        if (batches-- <= 0) child.kill('SIGKILL');
      });
      const [, signal] = await once(child, 'exit');
      expect(signal).toBe('SIGKILL');
    }
    const last = run();
    await vi.waitFor(async () => expect(await left()).toEqual([0, 0]), SOON);
    last.kill('SIGTERM');
    expect(await once(last, 'exit')).toEqual([0, null]);
    expect(await counted()).toEqual(exactly(total));
  });
});

describe('the consumer and servers that go away', () => {
  it('survives a Redis that is killed and comes back, and one that has lost its data', LONG, async () => {
    const own = await startRedis({ durable: true });
    const ownRedis = new Redis(own.url, { maxRetriesPerRequest: null });
    ownRedis.on('error', () => undefined);
    consumer = start({ url: own.url });
    await append(calls(500), ownRedis);
    await own.kill();
    await own.restart();
    await append(calls(500), ownRedis);
    await vi.waitFor(async () => expect(await counted()).toEqual(exactly(1_000)), SOON);
    await ownRedis.flushall();
    await append(calls(100), ownRedis);
    await vi.waitFor(async () => expect(await counted()).toEqual(exactly(1_100)), SOON);
    await consumer.stop();
    expect(await left(ownRedis)).toEqual([0, 0]);
    ownRedis.disconnect();
    await own.stop();
  });

  it(
    'waits for a database that is killed and comes back, even one that commits to memory unless told otherwise',
    LONG,
    async () => {
      const server = await startPostgres({ settings: ['synchronous_commit=off'] });
      const { url } = await createTestDatabase(server.url);
      const ownDb = postgresDatabase({ url, connectTimeoutMs: 1_000 });
      await migrate(ownDb);
      await append(calls(2_000));
      let batches = 0;
      const { promise: someTaken, resolve: taken } = Promise.withResolvers<void>();
      consumer = start({ db: ownDb, onBatch: () => ++batches === 5 && taken() });
      await someTaken;
      await server.kill();
      await append(calls(500));
      await server.restart();
      await vi.waitFor(async () => expect(await left()).toEqual([0, 0]), SOON);
      expect(await counted(ownDb)).toEqual(exactly(2_500));
      await consumer.stop();
      await ownDb.close();
      await server.stop();
    },
  );
});
