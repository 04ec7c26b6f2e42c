import { createHash } from 'node:crypto';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
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

function customersOf(limits: Readonly<Record<Policy, string>>): string {
  const lines = Object.entries(limits).map(([name, limit]) => {
    const hash = createHash('sha256')
      .update(SECRETS[name as Policy])
      .digest('hex');
    return `  of-${name}: { limits: [${limit}], keys: { key-${name}: { secret: "sha256:${hash}" } } }`;
  });
  return lines.join('\n');
}

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
    customers: customersOf(LIMITS),
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
  readonly #served = new Map<Policy, number>();

  constructor(weir: Deployment) {
    this.#weir = weir;
  }

  async one(policy: Policy): Promise<string> {
    const gatewayUrl = this.#weir.gatewayUrls[0] as string;
    const { end, code } = await callOnce({ gatewayUrl, secret: SECRETS[policy], number: this.#next++ });
    if (end === 'answered') this.#served.set(policy, this.servedOf(policy) + 1);
    return code ?? end;
  }

  servedOf(policy: Policy): number {
    return this.#served.get(policy) ?? 0;
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

it('goes on at the replica that takes over, with what was counted', { timeout: 180_000 }, async () => {
  const primary = await startRedis({ durable: true });
  onTestFinished(() => primary.stop());
  const portOf = (url: string): string => new URL(url).port;
  const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', portOf(primary.url)] });
  onTestFinished(() => replica.stop());
  const address = await movingAddress(Number(portOf(primary.url)));
  onTestFinished(() => address.close());
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  const upstream = await startNumberedUpstream();
  onTestFinished(() => upstream.stop());
  const weir = await deploy({
    kind: 'shared',
    upstreamUrl: upstream.url,
    limits: '[]',
    customers: customersOf({ closed: '{ requests: 20, per: day }', open: LIMITS.open, local: LIMITS.local }),
    gateway: 'store_timeout: 300ms',
    stores: { databaseUrl: database.url, redisUrl: address.url },
  });
  onTestFinished(() => weir.stop());
  const load = new Load(weir);
  for (let i = 0; i < 10; i++) expect(await load.one('closed')).toBe('answered');

  // What has been counted is there before its primary is gone.
  const admin = new Redis(primary.url);
  await admin.wait(1, 10_000);
  await until(async () => (await weir.events()).length === 10, 'events to be read');
  admin.disconnect();
  await primary.kill();
  await load.whileAway();
  const promoting = new Redis(replica.url);
  await promoting.replicaof('NO', 'ONE');
  promoting.disconnect();
  address.move(Number(portOf(replica.url)));
  await load.back();

  // Ten before, some since; never more than twenty.
  await until(async () => (await load.one('closed')) === 'rate_limit_exceeded', 'the limit to be reached');
  const served = upstream.served().map(({ number }) => number);
  expect(load.servedOf('closed')).toBe(20);
  await until(async () => (await weir.events()).length >= served.length, 'all events to arrive in billing');
  const events = (await weir.events()).map(({ data }) => Number(data.labels.number));
  expect(events.toSorted((a, b) => a - b)).toEqual(served.toSorted((a, b) => a - b));
});

/** An address that leads to one server and then to another, as that of a failover does. */
async function movingAddress(port: number): Promise<{ url: string; move(to: number): void; close(): void }> {
  let target = port;
  const open = new Set<Socket>();
  const server = createServer((inbound) => {
    const outbound = connect(target, '127.0.0.1');
    for (const socket of [inbound, outbound]) {
      open.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        open.delete(socket);
        inbound.destroy();
        outbound.destroy();
      });
    }
    inbound.pipe(outbound).pipe(inbound);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port: own } = server.address() as AddressInfo;
  const cut = (): void => {
    for (const socket of open) socket.destroy();
  };
  return {
    url: `redis://127.0.0.1:${own}`,
    move(to) {
      target = to;
      cut();
    },
    close() {
      cut();
      server.close();
    },
  };
}
