import { Redis } from 'ioredis';

/**
 * A connection that fails fast: a call waits for Redis no longer than `commandTimeoutMs` in its own batch and as long in
 * the one before, and not at all while there is no connection. Nothing is sent again by itself, so nothing is carried
 * out that nobody waits for. `onError` hears of every failure to connect; it comes back by itself.
 */
export function openRedis(
  url: string,
  { commandTimeoutMs = 1_000, connectTimeoutMs = 2_000, onError }: OpenRedisOptions,
): Redis {
  const redis = new Redis(url, {
    enableAutoPipelining: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: connectTimeoutMs,
    commandTimeout: commandTimeoutMs,
    retryStrategy: (attempt) => Math.min(20 * 2 ** attempt, 1_000),
  });
  redis.on('error', onError);
  return redis;
}

export interface OpenRedisOptions {
  commandTimeoutMs?: number;
  connectTimeoutMs?: number;
  onError: (error: Error) => void;
}
