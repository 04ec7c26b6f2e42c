import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { getRow, sql } from '#billing/db/database.ts';
import { startRedisConsumer } from '#billing/events/redis-consumer.ts';
import { publishPolicies } from '#billing/policies/publish-redis.ts';
import { openRedis, type RedisConnection } from '#config/redis-connection.ts';
import { SILENT } from '#core/log.ts';
import { shardOf } from '#core/redis-keys.ts';
import { redisCounters } from '#proxy/limits/redis.ts';
import { policyTable } from '#proxy/policies/policy-table.ts';
import { followRedis } from '#proxy/policies/redis-feed.ts';
import { startRedisCluster, type TestCluster } from '#test/servers/redis.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';

const SOON = { timeout: 30_000, interval: 20 };

/** What goes over Redis goes over a cluster of three primaries too: settlements with their events, and policies. */
describe('a cluster between gateways and billing', () => {
  let cluster: TestCluster;
  let api: TestApi;
  let database: TestDatabase;
  const closing: (() => unknown)[] = [];
  beforeAll(async () => {
    cluster = await startRedisCluster();
    api = await testApi('postgres');
    database = await testDatabase('postgres');
  }, 120_000);
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });
  afterAll(async () => {
    await api?.close();
    await database?.drop();
    await cluster?.stop();
  });

  async function connect(): Promise<RedisConnection> {
    const redis = openRedis(cluster.url, { onError: () => undefined });
    closing.push(() => redis.disconnect());
    await once(redis, 'ready');
    return redis;
  }

  it('brings the events of calls that settle on every node to the database, once', async () => {
    const namespace = `weir-${randomUUID()}`;
    const counters = redisCounters({ redis: await connect(), namespace });
    const consumer = startRedisConsumer({
      ...{ url: cluster.url, namespace, db: database.db, clock: Date.now, log: SILENT },
    });
    closing.push(() => consumer.stop());
    const customers = Array.from({ length: 64 }, (_, i) => `customer-${i}`);
    expect(new Set(customers.map(shardOf)).size).toBe(16);
    for (const customer of customers) {
      const event = usageEvent({ customer, quantities: { calls: '1' } });
      const call = { id: event.id, customer, atMs: 0, leaseMs: 60_000, holds: [] };
      await counters.settle(call, [], JSON.stringify(event));
      await counters.settle(call, [], JSON.stringify(event));
    }
    const counted = () => getRow<{ events: bigint }>(database.db, sql`select count(*) events from event_id`);
    await vi.waitFor(async () => expect(await counted()).toEqual({ events: 64n }), SOON);
  });

  it('carries key policies to gateways as they change', async () => {
    const namespace = `weir-${randomUUID()}`;
    const table = policyTable();
    const redis = await connect();
    const publisher = publishPolicies({ feed: api.policies, redis, namespace, log: SILENT });
    const feed = followRedis({ redis: await connect(), namespace, table, log: SILENT, checkMs: 60_000 });
    closing.push(() => publisher.close());
    closing.push(() => feed.close());
    await api.call('POST', '/v1/customers', { body: { id: 'acme', name: 'Acme' } });
    await api.call('POST', '/v1/keys', { body: { id: 'k', customer: 'acme', name: 'k' } });
    const models = () => table.list('billing').find(({ key }) => key === 'k')?.models;
    await vi.waitFor(() => expect(models()).toEqual([]), SOON);
    await api.call('PATCH', '/v1/keys/k', { body: { models: ['gpt-*'] } });
    await vi.waitFor(() => expect(models()).toEqual(['gpt-*']), SOON);
  });
});
