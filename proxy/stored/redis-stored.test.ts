import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openRedis, type RedisConnection } from '#config/redis-connection.ts';
import { sampleObject, storedConformance } from '#test/conformance/stored.ts';
import { redisUrl } from '#test/servers/redis.ts';
import { redisStored } from './redis-stored.ts';

const namespace = `test-${randomUUID()}`;
let redis: RedisConnection;
beforeAll(async () => {
  redis = openRedis(redisUrl(), { onError: () => undefined });
  await once(redis, 'ready');
});
afterAll(async () => {
  const keys = await redis.keys(`${namespace}:*`);
  await Promise.all(keys.map((key) => redis.del(key)));
  redis.disconnect();
});

storedConformance('Redis', () => redisStored({ redis, namespace }));

it('is away with Redis, and says so', async () => {
  const away = openRedis('redis://127.0.0.1:1', { onError: () => undefined });
  const { objects } = redisStored({ redis: away, namespace });
  await expect(objects.find('acme', sampleObject('acme').id)).rejects.toThrow(
    expect.objectContaining({ code: 'owners_unavailable' }),
  );
  away.disconnect();
});
