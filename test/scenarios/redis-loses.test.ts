import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { expect, it, onTestFinished } from 'vitest';
import { createTestDatabase } from '../servers/postgres.ts';
import { startRedis } from '../servers/redis.ts';
import { callOnce } from './caller.ts';
import { type Deployment, deploy } from './deployment.ts';
import { startNumberedUpstream } from './numbered-upstream.ts';
import { until } from './until.ts';

/** How often Redis loses all it has. The promise is shown with 12 (`WEIR_LOSSES=12`). */
const LOSSES = Number.parseInt(process.env.WEIR_LOSSES ?? '3', 10);
const CALLERS = 6;
/** Served between two losses at least: what billing has not read of it is lost with Redis. */
const BETWEEN = 30;
/** So many calls that were not served show that none is for now: each waits two seconds for billing. */
const FAILURES = 2 * CALLERS;
/** The hard limit of the day: more than is served before the last loss. */
const MOST = (LOSSES + 1) * 600;
const BUDGET_NANOS = BigInt(LOSSES + 1) * 400_000_000n;

const SECRETS = { requests: 'wr_test_lost_requests', budget: 'wr_test_lost_budget' } as const;
const LIMITS = {
  requests: `{ requests: ${MOST}, per: day }`,
  budget: `{ budget: ${Number(BUDGET_NANOS) / 1e9} USD, per: day }`,
};

function customers(): string {
  const lines = Object.entries(SECRETS).map(([name, secret]) => {
    const hash = createHash('sha256').update(secret).digest('hex');
    const limit = LIMITS[name as keyof typeof LIMITS];
    return `  of-${name}: { limits: [${limit}], keys: { key-${name}: { secret: "sha256:${hash}" } } }`;
  });
  return lines.join('\n');
}

it('loses no event and passes no limit when a Redis that keeps nothing goes, with events that billing has not read', {
  timeout: 120_000 + LOSSES * 60_000,
}, async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  const upstream = await startNumberedUpstream({ latencyMs: 20 });
  onTestFinished(() => upstream.stop());
  const weir = await deploy({
    kind: 'shared',
    upstreamUrl: upstream.url,
    gateways: 2,
    limits: '[]',
    customers: customers(),
    gateway: 'store_timeout: 300ms',
    stores: { databaseUrl: database.url, redisUrl: redis.url },
  });
  onTestFinished(() => weir.stop());
  const load = startLoad(weir);
  onTestFinished(() => load.stop());
  const served = (): number => upstream.served().length;
  const servedMore = async (count: number): Promise<void> => {
    const from = served();
    await until(
      () => served() >= from + count,
      `${count} more calls to be served`,
      () => weir.output().slice(-4_000),
    );
  };

  await servedMore(BETWEEN);
  for (let loss = 0; loss < LOSSES; loss++) {
    const paused = await pauseConsumer(database.url);
    onTestFinished(() => paused.end());
    // A count that a gateway has put in doubt just now is not trusted before billing, which is held up, has said it.
    const [from, failedFrom] = [served(), load.failed()];
    await until(
      () => served() >= from + BETWEEN || load.failed() > failedFrom + FAILURES,
      'calls while billing is held up',
    );
    const admin = new Redis(redis.url, { retryStrategy: () => null });
    admin.on('error', () => undefined);
    // Every other time with what a gateway held open too.
    if (loss % 2 === 1) await weir.killGateway(1);
    await admin.call('SHUTDOWN', 'NOSAVE').catch(() => undefined);
    admin.disconnect();
    await redis.restart();
    await paused.end();
    await servedMore(BETWEEN);
    if (loss % 2 === 1) await weir.startGateway(1);
  }

  await until(
    () => load.refused('requests') && load.refused('budget'),
    'both limits to be reached',
    () => `${served()}`,
  );
  await load.stop();
  await until(async () => (await weir.events()).length >= served(), 'all events to arrive in billing');
  const events = await weir.events();
  // Whether a call that its gateway was killed with had been served nobody can say: it is estimated.
  const known = events.filter(({ data }) => data.outcome !== 'unknown');
  const numbersOf = (some: typeof events) => some.map(({ data }) => Number(data.labels.number));
  const numbers = upstream.served().map(({ number }) => number);
  expect(new Set(numbersOf(events)).size).toBe(events.length);
  expect(numbers.filter((number) => !numbersOf(events).includes(number))).toEqual([]);
  expect(numbersOf(known).filter((number) => !numbers.includes(number))).toEqual([]);
  expect(events.length - known.length).toBeLessThanOrEqual(CALLERS * LOSSES);

  const of = (customer: string) => events.filter(({ subject }) => subject === customer);
  expect(of('of-requests')).toHaveLength(MOST);
  const spentNanos = of('of-budget').reduce(
    (sum, { data }) => sum + BigInt(Math.round(Number(data.cost?.amount) * 1e9)),
    0n,
  );
  expect(spentNanos).toBeLessThanOrEqual(BUDGET_NANOS);
  expect(await weir.get('/v1/events/conflicts')).toMatchObject({ data: [] });
  for (const gatewayUrl of weir.gatewayUrls) {
    expect(await usedOf(gatewayUrl, SECRETS.requests)).toBe(BigInt(MOST) * 1_000_000_000n);
    expect(await usedOf(gatewayUrl, SECRETS.budget)).toBe(spentNanos);
  }
});

/** Billing's API goes on; what takes events waits for the table. */
async function pauseConsumer(databaseUrl: string): Promise<{ end(): Promise<void> }> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  client.on('error', () => undefined);
  await client.query('begin');
  await client.query('lock table event_id in access exclusive mode');
  return { end: () => client.end() };
}

interface Load {
  refused(name: keyof typeof SECRETS): boolean;
  /** How many calls had no answer of a model, for any other reason than a limit that is reached. */
  failed(): number;
  stop(): Promise<void>;
}

function startLoad(weir: Deployment): Load {
  let failures = 0;
  const refusals = { requests: 0, budget: 0 };
  let number = 0;
  let stopped = false;
  async function caller(index: number): Promise<void> {
    const name = index % 2 === 0 ? 'requests' : 'budget';
    while (!stopped) {
      // One that fails is tried again after a while: Redis or the gateway is away.
      await until(async () => {
        const gatewayUrl = weir.gatewayUrls[number % weir.gatewayUrls.length] as string;
        const { end } = await callOnce({ gatewayUrl, secret: SECRETS[name], number: number++ });
        refusals[name] = end === 'refused' ? refusals[name] + 1 : 0;
        if (end === 'failed') failures++;
        return end !== 'failed' || stopped;
      }, 'a call to be answered');
    }
  }
  const callers = Array.from({ length: CALLERS }, (_, index) => caller(index));
  return {
    // Many in a row: one alone may be what others held for a moment.
    failed: () => failures,
    refused: (name) => refusals[name] > 4 * CALLERS,
    async stop() {
      stopped = true;
      await Promise.all(callers);
    },
  };
}

/** In billionths. */
async function usedOf(gatewayUrl: string, secret: string): Promise<bigint> {
  const response = await fetch(`${gatewayUrl}/v1/limits`, { headers: { authorization: `Bearer ${secret}` } });
  const { data } = (await response.json()) as { data: { used: string }[] };
  return BigInt(Math.round(Number(data[0]?.used) * 1e9));
}
