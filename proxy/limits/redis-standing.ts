import type { RedisConnection } from '#config/redis-connection.ts';
import { pause } from '#core/pause.ts';
import { eventStream, shardOf } from '#core/redis-keys.ts';
import type { Standing } from './counters.ts';
import type { RedisCounters } from './redis.ts';
import type { RedisGateways } from './redis-gateways.ts';

export interface RedisStandingOptions {
  redis: RedisConnection;
  namespace: string;
  counters: RedisCounters;
  gateways: RedisGateways;
  signal: AbortSignal;
}

const READ_MS = 20;

/** Resolves when billing has committed what is in a stream now: it deletes it then. */
export async function streamRead(redis: RedisConnection, stream: string, signal: AbortSignal): Promise<void> {
  const [last] = await redis.xrevrange(stream, '+', '-', 'COUNT', 1);
  if (!last) return;
  while ((await redis.xrange(stream, '-', last[0], 'COUNT', 1)).length > 0 && !signal.aborted) {
    await pause(READ_MS, signal);
  }
}

/**
 * How a quota stands, once billing can say what it has used: every event that it counted so far is in billing, and every
 * one that Redis has lost. With what billing says then it is whole, if it is still as it was.
 */
export function redisStanding(options: RedisStandingOptions): (customer: string, counter: string) => Promise<Standing> {
  const { redis, namespace, counters, gateways, signal } = options;

  return async (customer, counter) => {
    await gateways.settledDown(customer);
    const standing = await counters.standing(customer, counter);
    // A counter that has counted nothing is not waited for: as a rule it is new.
    if (standing.used > 0n || standing.mark > 1)
      await streamRead(redis, eventStream(namespace, shardOf(customer)), signal);
    return standing;
  };
}
