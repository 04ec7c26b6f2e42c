import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';
import { expect, it, onTestFinished } from 'vitest';
import { createTestDatabase } from '../servers/postgres.ts';
import { startRedis } from '../servers/redis.ts';
import { callOnce } from './caller.ts';
import { type Deployment, deploy } from './deployment.ts';
import { startNumberedUpstream } from './numbered-upstream.ts';
import { until } from './until.ts';

/** What one gateway lets through by itself while its store is away. */
const LOCAL = 5;
/** Redis answers nobody for so long. The promise is shown with 10 seconds (`WEIR_BLOCKED_MS=10000`). */
const BLOCKED_MS = Number.parseInt(process.env.WEIR_BLOCKED_MS ?? '3000', 10);

const SECRETS = { closed: 'wr_test_store_closed', open: 'wr_test_store_open', local: 'wr_test_store_local' } as const;
type Policy = keyof typeof SECRETS;

const LIMITS: Readonly<Record<Policy, string>> = {
  closed: '{ requests: 100000, per: minute }',
  open: '{ requests: 100000, per: minute, on_store_down: open }',
  local: `{ requests: 100000, per: minute, on_store_down: local, local: { requests: ${LOCAL} } }`,
};

const customers = Object.entries(LIMITS)
  .map(([name, limit]) => {
    const hash = createHash('sha256')
      .update(SECRETS[name as Policy])
      .digest('hex');
    return `  of-${name}: { limits: [${limit}], keys: { key-${name}: { secret: "sha256:${hash}" } } }`;
  })
  .join('\n');

it('does what each limit says while Redis is blocked, dies, or forgets its scripts, and loses no event', {
  timeout: 240_000 + BLOCKED_MS,
}, async () => {
  // Events on their way to billing are in Redis: it keeps what it was told.
  const redis = await startRedis({ durable: true });
  onTestFinished(() => redis.stop());
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  const upstream = await startNumberedUpstream();
  onTestFinished(() => upstream.stop());
  const weir = await deploy({
    kind: 'shared',
    upstreamUrl: upstream.url,
    limits: '[]',
    customers,
    gateway: 'store_timeout: 300ms',
    stores: { databaseUrl: database.url, redisUrl: redis.url },
  });
  onTestFinished(() => weir.stop());
  const load = new Load(weir);
  await load.all('answered');

  const admin = new Redis(redis.url);
  admin.on('error', () => undefined);
  onTestFinished(() => admin.disconnect());
  await admin.call('SCRIPT', 'FLUSH');
  for (let i = 0; i < 3; i++) await load.all('answered');

  await admin.call('CLIENT', 'PAUSE', String(BLOCKED_MS), 'ALL');
  await load.whileAway();
  await load.back();

  await redis.kill();
  await load.whileAway();
  await redis.restart();
  await load.back();

  const served = upstream.served().map(({ number }) => number);
  await until(async () => (await weir.events()).length >= served.length, 'all events to arrive in billing');
  const events = (await weir.events()).map(({ data }) => Number(data.labels.number));
  expect(events.toSorted((a, b) => a - b)).toEqual(served.toSorted((a, b) => a - b));
});

class Load {
  readonly #weir: Deployment;
  #next = 0;

  constructor(weir: Deployment) {
    this.#weir = weir;
  }

  async one(policy: Policy): Promise<string> {
    const gatewayUrl = this.#weir.gatewayUrls[0] as string;
    const { end, code } = await callOnce({ gatewayUrl, secret: SECRETS[policy], number: this.#next++ });
    return code ?? end;
  }

  async all(wanted: string): Promise<void> {
    for (const policy of Object.keys(SECRETS) as Policy[])
      expect([policy, await this.one(policy)]).toEqual([policy, wanted]);
  }

  async whileAway(): Promise<void> {
    await until(async () => (await this.one('closed')) === 'limits_unavailable', 'the closed limit to refuse');
    expect(await this.one('open')).toBe('answered');
    const local: string[] = [];
    for (let i = 0; i < LOCAL + 3; i++) local.push(await this.one('local'));
    const served = local.filter((outcome) => outcome === 'answered').length;
    expect(served).toBeLessThanOrEqual(LOCAL);
    expect(local.at(-1)).toBe('rate_limit_exceeded');
    expect(await this.one('open')).toBe('answered');
  }

  async back(): Promise<void> {
    for (const policy of Object.keys(SECRETS) as Policy[]) {
      await until(async () => (await this.one(policy)) === 'answered', `${policy} to be served again`);
    }
  }
}
