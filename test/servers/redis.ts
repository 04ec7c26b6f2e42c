import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { getSource, type Product, type Source } from './products.ts';
import { poll, startContainer, startLocal, type TestServer } from './server.ts';

export const REDIS: Product = {
  name: 'Redis',
  variable: 'REDIS_URL',
  commands: ['redis-server'],
  folders: ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/opt/homebrew/bin', '/usr/local/opt/redis/bin'],
  aptPackage: 'redis-server',
  dockerImage: 'redis:7',
};

export interface RedisOptions {
  /** Keeps every write through a kill (append-only file, synced each time). Otherwise nothing is written to disk. */
  durable?: boolean;
  /** Further options of redis-server. */
  args?: readonly string[];
}

/** A Redis of one's own. */
export async function startRedis(options: RedisOptions = {}, source?: Source): Promise<TestServer> {
  const from = source ?? (await getSource(REDIS));
  const durability = options.durable ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
  const args = ['--save', '', ...durability, ...(options.args ?? [])];
  const url = (port: number) => `redis://127.0.0.1:${port}`;
  if (from.kind === 'docker') {
    const command = ['redis-server', ...args];
    return startContainer({
      name: 'redis',
      image: from.image,
      containerPort: 6379,
      options: [],
      args: command,
      url,
      answers,
    });
  }
  return startLocal({
    name: 'redis',
    url,
    command: (folder, port) => [
      join(from.folder, 'redis-server'),
      ...['--bind', '127.0.0.1', '--port', String(port), '--dir', folder, '--daemonize', 'no'],
      ...args,
    ],
    stopSignal: 'SIGKILL',
    answers,
  });
}

export interface TestCluster {
  /** As REDIS_URL takes it. */
  url: string;
  nodes: readonly TestServer[];
  stop(): Promise<void>;
}

const SLOTS = 16_384;
const CLUSTER_TIMEOUT_MS = 60_000;

/** A Redis Cluster of so many primaries, of one's own, that serves every slot. */
export async function startRedisCluster(primaries = 3): Promise<TestCluster> {
  const from = await getSource(REDIS);
  // In containers the nodes would have to reach each other under addresses that this process reaches too.
  if (from.kind === 'docker') throw new Error('A test cluster needs redis-server on this machine, not in a container.');
  const args = ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--cluster-node-timeout', '60000'];
  const nodes = await Promise.all(Array.from({ length: primaries }, () => startRedis({ args }, from)));
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()));
  };
  const admins = nodes.map(({ url }) => new Redis(url));
  try {
    for (const [i, admin] of admins.entries()) {
      const [first, next] = [i, i + 1].map((n) => Math.floor((SLOTS * n) / primaries)) as [number, number];
      await admin.cluster('ADDSLOTSRANGE', first, next - 1);
      if (i > 0) await admin.cluster('MEET', '127.0.0.1', nodes[0]?.port ?? 0);
    }
    for (const admin of admins) {
      const together = await poll(async () => {
        const info = String(await admin.cluster('INFO'));
        return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${primaries}`);
      }, Date.now() + CLUSTER_TIMEOUT_MS);
      if (!together) throw new Error(`the nodes of a cluster did not find each other within ${CLUSTER_TIMEOUT_MS} ms`);
    }
  } catch (error) {
    await stop();
    throw error;
  } finally {
    for (const admin of admins) admin.disconnect();
  }
  return { url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`, nodes, stop };
}

/** True when a Redis serves there: it answers PONG, not that it is still loading. */
export function answers(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => socket.write('PING\r\n'));
    socket.setTimeout(1_000, () => socket.destroy());
    socket.once('data', (data) => {
      resolve(data.toString().startsWith('+PONG'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}

/** The shared Redis of this test run. */
export function redisUrl(): string {
  const url = process.env.REDIS_URL;
  if (!url) throw new Error('REDIS_URL is not set: test/servers/global-setup.ts sets it');
  return url;
}

/** A namespace in the shared Redis that no other test has. */
export function testNamespace(): string {
  return `weir-test-${randomUUID()}`;
}

/** Removes what a test left in its namespace; only worth it in a Redis that outlives the run. */
export async function removeNamespace(namespace: string): Promise<void> {
  const redis = new Redis(redisUrl());
  try {
    for await (const keys of redis.scanStream({ match: `${namespace}:*`, count: 1000 })) {
      if (keys.length > 0) await redis.unlink(...keys);
    }
  } finally {
    redis.disconnect();
  }
}
