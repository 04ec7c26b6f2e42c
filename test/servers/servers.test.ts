import { Redis } from 'ioredis';
import { Client } from 'pg';
import { afterAll, describe, expect, it } from 'vitest';
import { createTestDatabase, POSTGRES, startPostgres } from './postgres.ts';
import { missing } from './products.ts';
import { REDIS, redisUrl, removeNamespace, startRedis, testNamespace } from './redis.ts';
import type { TestServer } from './server.ts';

const started: TestServer[] = [];
afterAll(() => Promise.all(started.map((server) => server.stop())));

describe('the servers of the tests', () => {
  it('gives each test its own database in the shared PostgreSQL, and drops it with its connections', async () => {
    const [one, two] = await Promise.all([createTestDatabase(), createTestDatabase()]);
    await rows(one.url, 'create table marks (n int)');
    await expect(rows(two.url, 'select * from marks')).rejects.toThrow('does not exist');
    await Promise.all([one.drop(), two.drop()]);
    await expect(rows(one.url, 'select 1')).rejects.toThrow('does not exist');
  });

  it('gives each test its own namespace in the shared Redis, and empties it', async () => {
    const redis = new Redis(redisUrl());
    const [mine, other] = [testNamespace(), testNamespace()];
    await redis.mset(`${mine}:a`, '1', `${other}:a`, '2');
    await removeNamespace(mine);
    expect(await redis.mget(`${mine}:a`, `${other}:a`)).toEqual([null, '2']);
    await removeNamespace(other);
    redis.disconnect();
  });

  it('keeps what a durable Redis acknowledged through a kill, on the same port', async () => {
    const server = await startRedis({ durable: true });
    started.push(server);
    const before = server.pid;
    await command(server.url, (redis) => redis.set('mark', 'kept'));
    await server.kill();
    expect(() => process.kill(before, 0)).toThrow();
    await server.restart();
    expect(server.pid).not.toBe(before);
    expect(await command(server.url, (redis) => redis.get('mark'))).toBe('kept');
  });

  it('keeps what PostgreSQL committed through a kill, on the same port', async () => {
    const server = await startPostgres({ durable: true });
    started.push(server);
    const before = server.pid;
    await rows(server.url, 'create table marks as select 7 as n');
    await server.kill();
    expect(() => process.kill(before, 0)).toThrow();
    await server.restart();
    expect(await rows(server.url, 'select n from marks')).toEqual([{ n: 7 }]);
  });

  it('is gone after it was stopped, and stopping it twice does nothing', async () => {
    const server = await startRedis();
    await server.stop();
    await server.stop();
    expect(() => process.kill(server.pid, 0)).toThrow();
  });
});

it('says in one sentence what is missing and how to give it', () => {
  const text = missing([REDIS, POSTGRES]);
  expect(text).toMatch(
    /^The tests need Redis \(set REDIS_URL, .*\) and PostgreSQL \(set DATABASE_URL, .*\), and .*\.$/,
  );
});

async function rows(url: string, text: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

async function command<T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url);
  try {
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}
