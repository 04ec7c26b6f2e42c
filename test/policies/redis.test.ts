import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Publisher, publishPolicies } from '#billing/policies/publish-redis.ts';
import { SILENT } from '#core/log.ts';
import { HALTS_FIELD, POLICY_VERSION_FIELD, policyChannel, policyHash } from '#core/redis-keys.ts';
import type { PolicyFeed } from '#proxy/policies/feed.ts';
import { type PolicyTable, policyTable } from '#proxy/policies/policy-table.ts';
import { followRedis } from '#proxy/policies/redis-feed.ts';
import { startRedis, testNamespace } from '#test/servers/redis.ts';
import type { TestServer } from '#test/servers/server.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';

/** The way of a key policy from the billing API through Redis into the memory of gateways. */
describe('key policies through Redis', () => {
  let api: TestApi;
  let server: TestServer;
  let namespace: string;
  const connections: Redis[] = [];
  const publishers: Publisher[] = [];
  const feeds: PolicyFeed[] = [];

  beforeAll(async () => {
    api = await testApi('postgres');
    server = await startRedis();
    await api.call('POST', '/v1/customers', { body: { id: 'acme', name: 'Acme' } });
  });
  afterAll(async () => {
    await api.close();
    await server.stop();
  });
  beforeEach(() => {
    namespace = testNamespace();
  });
  afterEach(async () => {
    for (const feed of feeds.splice(0)) await feed.close();
    for (const publisher of publishers.splice(0)) await publisher.close();
    for (const connection of connections.splice(0)) connection.disconnect();
  });

  function connect(): Redis {
    const redis = new Redis(server.url, { retryStrategy: () => 20 });
    redis.on('error', () => undefined);
    connections.push(redis);
    return redis;
  }
  function publish(): Publisher {
    const publisher = publishPolicies({ feed: api.policies, redis: connect(), namespace, log: SILENT, checkMs: 100 });
    publishers.push(publisher);
    return publisher;
  }
  function follow(checkMs = 60_000, redis = connect()): PolicyTable {
    const table = policyTable();
    feeds.push(followRedis({ redis, namespace, table, log: SILENT, checkMs }));
    return table;
  }
  const modelsOf = (table: PolicyTable, key: string) => table.list('billing').find((one) => one.key === key)?.models;
  const createKey = (id: string) => api.call('POST', '/v1/keys', { body: { id, customer: 'acme', name: id } });
  const setModels = (id: string, models: string[]) => api.call('PATCH', `/v1/keys/${id}`, { body: { models } });
  const allKeys = async () =>
    (await api.policies.changesAfter(undefined, 0)).policies.map((policy) => policy.key).sort();
  const keysOf = (table: PolicyTable) =>
    table
      .list('billing')
      .map((one) => one.key)
      .sort();

  it('reach every gateway within a second of the commit', async () => {
    publish();
    const tables = [follow(), follow()];
    const created = await createKey('fast');
    const sinceMs = performance.now();
    await vi.waitFor(() => expect(tables.every((table) => keysOf(table).includes('fast'))).toBe(true), { interval: 5 });
    // A second is the promise; the machine that runs all tests at once may be slower.
    expect(performance.now() - sinceMs).toBeLessThan(3_000);
    expect(created.status).toBe(201);
    await setModels('fast', ['a*']);
    await vi.waitFor(() => expect(tables.map((table) => modelsOf(table, 'fast'))).toEqual([['a*'], ['a*']]));
  });

  it('are all there for a gateway that starts later', async () => {
    await createKey('before');
    publish();
    const table = follow();
    await feeds[0]?.ready;
    expect(keysOf(table)).toEqual(await allKeys());
  });

  it('are read again at once where that failed, as it does while one of two connections is not there yet', async () => {
    await createKey('behind');
    publish();
    const redis = connect();
    vi.spyOn(redis, 'hgetall').mockRejectedValueOnce(new Error("Stream isn't writeable"));
    const table = follow(60_000, redis);
    await feeds[0]?.ready;
    expect(keysOf(table)).toEqual(await allKeys());
  });

  it('come back by themselves when Redis has lost everything, and no gateway forgets them meanwhile', async () => {
    await createKey('kept');
    publish();
    const table = follow();
    await feeds[0]?.ready;
    await server.kill();
    const other = await createKey('made-while-away');
    expect(other.status).toBe(201);
    expect(keysOf(table)).toContain('kept');
    await server.restart();
    await vi.waitFor(async () => expect(keysOf(table)).toEqual(await allKeys()), { timeout: 10_000 });
    const redis = connect();
    expect(Object.keys(await redis.hgetall(policyHash(namespace))).sort()).toEqual(
      [HALTS_FIELD, POLICY_VERSION_FIELD, ...(await allKeys())].sort(),
    );
  });

  it('come back when somebody empties a Redis that goes on running', async () => {
    await createKey('flushed');
    publish();
    const table = follow(50);
    await feeds[0]?.ready;
    const redis = connect();
    await redis.del(policyHash(namespace));
    await vi.waitFor(async () => expect(await redis.hexists(policyHash(namespace), 'flushed')).toBe(1));
    expect(keysOf(table)).toContain('flushed');
  });

  it('are the newest ones, whatever two billing processes publish at once', async () => {
    await createKey('raced');
    publish();
    publish();
    const table = follow();
    await feeds[0]?.ready;
    for (let i = 0; i < 30; i++) await setModels('raced', [`m${i}`]);
    await vi.waitFor(() => expect(modelsOf(table, 'raced')).toEqual(['m29']));
    const stored = await connect().hget(policyHash(namespace), 'raced');
    expect(JSON.parse(stored ?? '{}').models).toEqual(['m29']);
  });

  it('are noticed without an announcement, and survive an announcement that is rubbish', async () => {
    await createKey('quiet');
    publish();
    const deaf = follow(50);
    await feeds[0]?.ready;
    const redis = connect();
    const policy = JSON.parse((await redis.hget(policyHash(namespace), 'quiet')) ?? '{}');
    await publishers[0]?.close();
    await redis.hset(policyHash(namespace), {
      quiet: JSON.stringify({ ...policy, models: ['silently'] }),
      [POLICY_VERSION_FIELD]: 'other.1',
    });
    await vi.waitFor(() => expect(modelsOf(deaf, 'quiet')).toEqual(['silently']));
    await redis.publish(policyChannel(namespace), 'rubbish');
    await redis.hset(policyHash(namespace), {
      newer: JSON.stringify({ ...policy, key: 'newer', version: 3 }),
      quiet: JSON.stringify({ ...policy, models: ['again'] }),
      [POLICY_VERSION_FIELD]: 'other.2',
    });
    await vi.waitFor(() => expect(modelsOf(deaf, 'quiet')).toEqual(['again']));
    expect(keysOf(deaf)).not.toContain('newer');
  });
});
