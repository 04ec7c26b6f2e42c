import { Redis } from 'ioredis';
import { expect, it, onTestFinished } from 'vitest';
import { SILENT } from '#core/log.ts';
import { startRedis } from '#test/servers/redis.ts';
import { redisGateways } from './redis-gateways.ts';

const NAMESPACE = 'weir-gateways';

function gatewayOn(url: string, name: string, clock = Date.now) {
  const ended = new AbortController();
  const redis = new Redis(url);
  redis.on('error', () => undefined);
  let brought = Promise.withResolvers<void>();
  brought.resolve();
  let asked = 0;
  let behind = 0;
  const gateways = redisGateways({
    ...{ redis, namespace: NAMESPACE, name, clock, log: SILENT, signal: ended.signal },
    async brought() {
      asked++;
      await brought.promise;
    },
    behind: () => void behind++,
  });
  const stop = (): void => {
    ended.abort();
    redis.disconnect();
  };
  onTestFinished(stop);
  return {
    gateways,
    redis,
    stop,
    /** From now on it has something that billing has not. */
    owe: () => {
      brought = Promise.withResolvers<void>();
    },
    bring: () => brought.resolve(),
    asked: () => asked,
    behind: () => behind,
  };
}

async function isDone(promise: Promise<void>): Promise<boolean> {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  await new Promise<void>((resolve) => setImmediate(resolve));
  return done;
}

it('waits after a loss until every gateway that was there has brought what it had', { timeout: 30_000 }, async () => {
  const server = await startRedis();
  onTestFinished(() => server.stop());
  const [one, other] = [gatewayOn(server.url, 'one'), gatewayOn(server.url, 'other')];
  await Promise.all([one.gateways.settledDown('acme'), other.gateways.settledDown('acme')]);
  // Each has seen the other.
  await expect.poll(() => one.redis.hlen(`${NAMESPACE}:{0}:gateways`), { timeout: 10_000 }).toBe(3);
  await expect
    .poll(async () => (await one.redis.hgetall(`${NAMESPACE}:{0}:gateways`)).other !== undefined, { timeout: 10_000 })
    .toBe(true);
  const before = one.asked();
  const seen = await one.redis.hget(`${NAMESPACE}:{15}:gateways`, 'one');
  await expect
    .poll(async () => (await one.redis.hget(`${NAMESPACE}:{15}:gateways`, 'one')) !== seen, { timeout: 10_000 })
    .toBe(true);

  other.owe();
  await one.redis.flushall();
  const settled = one.gateways.settledDown('acme');
  await expect.poll(() => one.asked(), { timeout: 10_000 }).toBeGreaterThan(before);
  await expect.poll(() => one.redis.hexists(`${NAMESPACE}:{0}:gateways`, 'one'), { timeout: 10_000 }).toBe(1);
  expect(await isDone(settled)).toBe(false);
  other.bring();
  await settled;
});

it('does not wait for ever for one that is gone', { timeout: 30_000 }, async () => {
  const server = await startRedis();
  onTestFinished(() => server.stop());
  let aheadMs = 0;
  const one = gatewayOn(server.url, 'one', () => Date.now() + aheadMs);
  const other = gatewayOn(server.url, 'other');
  await Promise.all([one.gateways.settledDown('acme'), other.gateways.settledDown('acme')]);
  const seen = await one.redis.hget(`${NAMESPACE}:{15}:gateways`, 'one');
  await expect
    .poll(async () => (await one.redis.hget(`${NAMESPACE}:{15}:gateways`, 'one')) !== seen, { timeout: 10_000 })
    .toBe(true);
  other.stop();
  await one.redis.flushall();
  const settled = one.gateways.settledDown('acme');
  await expect.poll(() => one.redis.hexists(`${NAMESPACE}:{0}:gateways`, 'one'), { timeout: 10_000 }).toBe(1);
  expect(await isDone(settled)).toBe(false);
  aheadMs = 11_000;
  await settled;
});

it('says when Redis is as it was before, and not when it has lost everything', { timeout: 30_000 }, async () => {
  const server = await startRedis();
  onTestFinished(() => server.stop());
  const one = gatewayOn(server.url, 'one');
  await one.gateways.settledDown('acme');
  const shard = `${NAMESPACE}:{15}:gateways`;
  const old = await one.redis.hgetall(shard);
  const goesOn = async (): Promise<void> => {
    const seen = await one.redis.hget(shard, 'one');
    await expect.poll(() => one.redis.hget(shard, 'one'), { timeout: 10_000 }).not.toBe(seen);
  };
  await goesOn();
  await one.redis.flushall();
  await goesOn();
  await goesOn();
  expect(one.behind()).toBe(0);

  const before = one.asked();
  await one.redis.hset(shard, old);
  await expect.poll(() => one.behind(), { timeout: 10_000 }).toBeGreaterThan(0);
  expect(one.asked()).toBeGreaterThan(before);
});
