import { Redis } from 'ioredis';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { add, compare, getExact, ZERO } from '#core/exact.ts';
import { createTestDatabase } from '#test/servers/postgres.ts';
import { startRedis } from '#test/servers/redis.ts';
import { callOnce } from './caller.ts';
import { type Deployment, deploy } from './deployment.ts';
import { type NumberedUpstream, startNumberedUpstream } from './numbered-upstream.ts';
import { until } from './until.ts';

const CALLERS = 1_000;

let upstream: NumberedUpstream | undefined;
let deployment: Deployment | undefined;

afterEach(async () => {
  await deployment?.stop();
  await upstream?.stop();
});

describe('a hard budget of 1 USD under 1,000 concurrent callers', () => {
  it.each([
    { kind: 'embedded', gateways: 1, where: 'in memory' },
    { kind: 'shared', gateways: 4, where: 'on four gateways and one Redis' },
  ] as const)('is never passed, and is used to 99 %, $where', { timeout: 120_000 }, async (setup) => {
    upstream = await startNumberedUpstream({ latencyMs: 20 });
    deployment = await deploy({
      ...setup,
      upstreamUrl: upstream.url,
      limits: '[{ budget: 1 USD, per: month, mode: hard }]',
      gateway: 'store_timeout: 10s',
    });
    const weir = deployment;
    let next = 0;
    const codes = new Set<string | null>();
    await Promise.all(
      Array.from({ length: CALLERS }, async (_, caller) => {
        const gatewayUrl = weir.gatewayUrls[caller % weir.gatewayUrls.length] as string;
        for (;;) {
          const number = next++;
          const { end, code } = await callOnce({ gatewayUrl, secret: weir.secret, number, stream: number % 3 === 0 });
          // A machine that is busy with all of them at once keeps some waiting for Redis for too long: they ask again.
          if (end === 'answered' || code === 'limits_unavailable') continue;
          codes.add(code);
          return;
        }
      }),
    );
    // Every caller ended because the budget said so, not because something broke.
    expect([...codes]).toEqual(['insufficient_quota']);

    const served = upstream.served().length;
    let costs: string[] = [];
    await until(async () => {
      costs = (await weir.events()).flatMap((event) => (event.data.cost ? [event.data.cost.amount] : []));
      return costs.length >= served;
    }, 'all events to arrive in billing');
    expect(costs).toHaveLength(served);
    const spent = costs.reduce((sum, amount) => add(sum, getExact(amount)), ZERO);
    expect(compare(spent, getExact('1'))).toBeLessThanOrEqual(0);
    expect(compare(spent, getExact('0.99'))).toBeGreaterThanOrEqual(0);
  });
});

describe('a hard budget that is set when money was spent already', () => {
  it.each([
    { kind: 'embedded', where: 'in memory' },
    { kind: 'shared', where: 'in Redis' },
  ] as const)('counts what was spent, $where', { timeout: 60_000 }, async ({ kind }) => {
    upstream = await startNumberedUpstream();
    const options = { kind, upstreamUrl: upstream.url, limits: '[]' };
    deployment = await deploy(options);
    const weir = deployment;
    const call = (number: number) =>
      callOnce({ gatewayUrl: weir.gatewayUrls[0] as string, secret: weir.secret, number });
    const ends = await Promise.all(Array.from({ length: 20 }, (_, number) => call(number)));
    expect(ends.every(({ end }) => end === 'answered')).toBe(true);
    await until(async () => (await weir.events()).length === 20, 'all events to arrive in billing');

    // Each call costs some 0.001 USD.
    options.limits = '[{ budget: 0.01 USD, per: month, mode: hard }]';
    await weir.killGateway(0);
    await weir.startGateway(0);
    expect(await call(20)).toEqual({ end: 'refused', code: 'insufficient_quota' });
  });
});

it.each([{ how: 'by a restart without a disk' }, { how: 'while it goes on running, and nobody loses a connection' }])(
  'counts what was spent when Redis has lost its counters $how',
  { timeout: 90_000 },
  async ({ how }) => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const database = await createTestDatabase();
    onTestFinished(() => database.drop());
    upstream = await startNumberedUpstream();
    deployment = await deploy({
      kind: 'shared',
      upstreamUrl: upstream.url,
      limits: '[{ budget: 0.02 USD, per: month, mode: hard }]',
      stores: { databaseUrl: database.url, redisUrl: redis.url },
    });
    const weir = deployment;
    let next = 0;
    /** Calls until the budget says no. */
    const spend = async (): Promise<void> => {
      await until(async () => {
        const number = next++;
        return (
          (await callOnce({ gatewayUrl: weir.gatewayUrls[0] as string, secret: weir.secret, number })).end === 'refused'
        );
      }, 'the budget to be used up');
    };
    await spend();
    const served = upstream.served().length;
    await until(async () => (await weir.events()).length === served, 'all events to arrive in billing');
    if (how.startsWith('by a restart')) {
      await redis.kill();
      await redis.restart();
    } else {
      const admin = new Redis(redis.url);
      await admin.flushall();
      admin.disconnect();
    }
    await spend();
    expect(upstream.served().length).toBe(served);
  },
);
