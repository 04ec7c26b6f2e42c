import { Cluster, Redis } from 'ioredis';
import { parseRedisUrl } from './redis-address.ts';

/** How processes reach Redis: one server, or a cluster of them. */

export type RedisConnection = Redis | Cluster;

const COMMAND_TIMEOUT_MS = 1_000;

export interface RedisOptions {
  /** A command fails after this long without an answer. */
  commandTimeoutMs?: number;
  connectTimeoutMs?: number;
  name?: string;
  /** Hears of every failure to connect; the connection comes back by itself. */
  onError: (error: Error) => void;
}

/**
 * A connection that fails fast: a call waits for Redis no longer than `commandTimeoutMs` and an eighth, and not at all
 * while there is no connection. Nothing is sent again by itself, so nothing is carried
 * out that nobody waits for; in a cluster, what another node has is asked there at once.
 */
export function openRedis(url: string, options: RedisOptions): RedisConnection {
  const { commandTimeoutMs = COMMAND_TIMEOUT_MS, connectTimeoutMs = 2_000, name, onError } = options;
  const address = parseRedisUrl(url);
  if (!address) throw new RangeError('no address of a Redis');
  const own = {
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: connectTimeoutMs,
    ...(name !== undefined && { connectionName: name }),
  };
  const retry = (attempt: number): number => Math.min(20 * 2 ** attempt, 1_000);
  const shared = { enableOfflineQueue: false };
  const redis = address.isCluster
    ? new Cluster(address.urls, {
        ...shared,
        clusterRetryStrategy: retry,
        clusterNodeRetryStrategy: retry,
        retryDelayOnFailover: 0,
        retryDelayOnClusterDown: 0,
        slotsRefreshTimeout: connectTimeoutMs,
        redisOptions: { ...own, ...credentialsOf(new URL(address.urls[0] as string)) },
      })
    : new Redis(address.urls[0] as string, { ...shared, ...own, retryStrategy: retry, reconnectOnError: isDemoted });
  redis.on('error', onError);
  if (redis instanceof Cluster) redis.on('+node', (node: Redis) => prepare(node, commandTimeoutMs));
  else prepare(redis, commandTimeoutMs);
  return redis;
}

function prepare(redis: Redis, commandTimeoutMs: number): void {
  writeTogether(redis);
  boundWaits(redis, commandTimeoutMs);
}

/** In the time that a command may wait. */
const LOOKS = 8;
type Waiting = ReturnType<Redis['commandQueue']['peekBack']>;

/**
 * Rejects what has waited too long for its answer. Answers come in the order of the commands, so it is enough to remember
 * which was the last one when we looked: if it still waits, so does all before it. (ioredis has a timer for each command,
 * and takes a property off each to stop it: 2 us of a call in the gateway, 2026-11.)
 */
function boundWaits(redis: Redis, commandTimeoutMs: number): void {
  redis.on('connect', () => {
    /** The last commands at the last looks, the oldest first. */
    const lasts: Waiting[] = [];
    let rejected: Waiting;
    const look = (): void => {
      const queue = redis.commandQueue;
      const last = lasts.length === LOOKS ? lasts.shift() : undefined;
      lasts.push(queue.peekBack());
      if (!last || last === rejected) return;
      const waiting = queue.toArray();
      const end = waiting.indexOf(last);
      if (end === -1) return;
      const begin = rejected ? waiting.indexOf(rejected) + 1 : 0;
      rejected = last;
      for (const { command } of waiting.slice(begin, end + 1)) command.reject(new Error('Command timed out'));
    };
    const looking = setInterval(look, commandTimeoutMs / LOOKS).unref();
    redis.once('close', () => clearInterval(looking));
  });
}

/**
 * What is asked in one turn of the event loop goes out in one write. ioredis has its own way to do that
 * (`enableAutoPipelining`), which sends nothing while the answers of the batch before are on their way: with a call in
 * two round trips that was half of what could be served.
 */
function writeTogether(redis: Redis): void {
  redis.on('connect', () => {
    const { stream } = redis;
    const write = stream.write;
    stream.write = function (this: typeof stream, ...args: Parameters<typeof write>) {
      if (stream.writableCorked === 0) {
        stream.cork();
        setImmediate(() => stream.uncork());
      }
      return write.apply(stream, args);
    } as typeof write;
  });
}

/** A primary that has become a replica keeps its connections. Its address may lead to the new one by now. */
function isDemoted({ message }: Error): boolean {
  return message.startsWith('READONLY');
}

/** The nodes that a cluster names have addresses only. */
function credentialsOf({ protocol, username, password }: URL) {
  return {
    ...(username !== '' && { username: decodeURIComponent(username) }),
    ...(password !== '' && { password: decodeURIComponent(password) }),
    ...(protocol === 'rediss:' && { tls: {} }),
  };
}

/** Another connection to the same place, for what listens. One to a single server does not subscribe again by itself. */
export function duplicateRedis(redis: RedisConnection): RedisConnection {
  if (redis instanceof Cluster) {
    return redis.duplicate().on('+node', (node: Redis) => boundWaits(node, COMMAND_TIMEOUT_MS));
  }
  const other = redis.duplicate({ autoResubscribe: false, lazyConnect: false });
  boundWaits(other, COMMAND_TIMEOUT_MS);
  return other;
}
