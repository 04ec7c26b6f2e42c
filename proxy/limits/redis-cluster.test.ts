import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { Cluster } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRedis, type RedisConnection } from '#config/redis-connection.ts';
import { EVENT_FIELD, eventStream, SHARDS, shardOf } from '#core/redis-keys.ts';
import { countersConformance } from '#test/conformance/counters.ts';
import { storedConformance } from '#test/conformance/stored.ts';
import { startRedisCluster, type TestCluster } from '#test/servers/redis.ts';
import { redisStored } from '../stored/redis-stored.ts';
import type { CounterStore, Hold } from './counters.ts';
import { redisCounters } from './redis.ts';

let cluster: TestCluster;
let redis: RedisConnection;
let counters: CounterStore;
let nowMs = 0;
beforeAll(async () => {
  cluster = await startRedisCluster();
  redis = openRedis(cluster.url, { onError: () => undefined });
  await once(redis, 'ready');
  counters = redisCounters({ redis, namespace: 'weir', clock: () => nowMs });
}, 120_000);
afterAll(async () => {
  redis?.disconnect();
  await cluster?.stop();
});

countersConformance(
  'Redis Cluster',
  () => ({
    counters,
    customer: `customer-${randomUUID()}`,
    setClock: (ms) => {
      nowMs = ms;
    },
  }),
  { historiesMs: 4_000 },
);

// Beside the limits of its customer, on a cluster that is there already.
storedConformance('Redis Cluster', () => redisStored({ redis, namespace: 'weir' }));

test('keeps each customer on one of three primaries, and all three at work', async () => {
  // A history that was interrupted may still move the clock of the others.
  let atMs = Date.UTC(2031, 0, 1);
  const own = redisCounters({ redis, namespace: 'weir', clock: () => atMs });
  const budget = (amount: bigint): Hold => ({
    kind: 'quota',
    counter: 'budget',
    amount,
    limit: 1_000n,
    expiresAtMs: atMs + 86_400_000,
  });
  for (let shard = 0, i = 0; shard < SHARDS; i++) {
    const customer = `customer-${i}`;
    if (shardOf(customer) !== shard) continue;
    shard++;
    const call = (id: string, leaseMs: number) => ({ id, customer, atMs: 0, leaseMs, holds: [budget(10n)] });
    const [ended, settled] = [call('req_1', 1), call('req_2', 60_000)];
    for (const each of [ended, settled]) expect((await own.reserve(each)).admitted).toBe(true);
    expect((await own.settle(settled, [1n], `{"subject":"${customer}"}`)).settled).toBe(true);
    atMs += 1;
    expect(await own.read(customer, 'budget')).toEqual({ used: 11n, held: 0n });
    const entries = await redis.xrange(eventStream('weir', shardOf(customer)), '-', '+');
    // Histories leave warnings of customers whose names begin like this one's.
    const subject = `"subject":"${customer}"`;
    expect(entries.filter(([, [field, event]]) => field === EVENT_FIELD && event?.includes(subject))).toHaveLength(1);
  }
  expect(redis).toBeInstanceOf(Cluster);
  if (!(redis instanceof Cluster)) return;
  const sizes = await Promise.all(redis.nodes('master').map((node) => node.dbsize()));
  expect(sizes).toHaveLength(3);
  for (const size of sizes) expect(size).toBeGreaterThan(0);
});

test('names in its scripts only keys that it was given, or others of the same hash tag', () => {
  const folder = new URL('./lua/', import.meta.url);
  /** Not among KEYS: names of the same hash tag that `key_beside` and `key_of_shard` make. */
  const known =
    /\bcall\('[A-Z]+', (STATE\b|TIMES\b|KEYS\[\d+\]|due\b|debts\b|known\b|(rare\(\)|book)\.key_(beside|of_shard)\()/;
  const calls = readdirSync(folder).flatMap((name) => {
    const lines = readFileSync(new URL(name, folder), 'utf8').split('\n');
    return lines.filter((line) => /\bcall\('/.test(line) && !/^\s*--/.test(line)).map((line) => `${name}: ${line}`);
  });
  expect(calls.length).toBeGreaterThan(20);
  expect(calls.filter((line) => !known.test(line) && !line.includes("call('TIME')"))).toEqual([]);
});
