import type { RedisConnection } from '#config/redis-connection.ts';
import type { Log } from '#core/log.ts';
import { pause } from '#core/pause.ts';
import { gatewaysKey, LIFE_FIELD, SHARDS, shardOf } from '#core/redis-keys.ts';
import type { Clock } from '#core/time.ts';

export interface RedisGatewaysOptions {
  redis: RedisConnection;
  namespace: string;
  /** Of this gateway, the same when it starts again. */
  name: string;
  /** Resolves when billing has every event that this gateway closed so far. */
  brought: () => Promise<void>;
  /** Redis has gone back to how it was before: a replica that was behind took over, or it began with an old copy. */
  behind: () => void;
  clock: Clock;
  log: Log;
  signal: AbortSignal;
}

export interface RedisGateways {
  /** Resolves when every gateway has brought what it had closed before Redis lost what it knew of this customer, if it did. */
  settledDown(customer: string): Promise<void>;
}

/** KEYS: the hash. ARGV: field of its life, name, now, the life that is meant. A hash that has been lost since stays without us. */
const ENTER = `
if redis.call('hget', KEYS[1], ARGV[1]) ~= ARGV[4] then return 0 end
redis.call('hset', KEYS[1], ARGV[2], ARGV[3])
return 1
`;

const LOOK_MS = 1_000;
const AWAIT_MS = 50;
/** A gateway that was not seen for so long is not waited for. */
const SEEN_MS = 10_000;
/** Nor is one that does not come back for so long; what it has counts when it does. */
const ABSENT_MS = 10_000;
/** Names of gateways that are no more. */
const FORGOTTEN_MS = 600_000;

interface Shard {
  readonly key: string;
  /** By name: when each of the others was here last, by our clock. */
  readonly others: Map<string, number>;
  /** Since when we know that this gateway, or another, is missing from what Redis has. */
  missedMs: number | undefined;
  /** What Redis took from us last, as it has to be there still. */
  enteredMs: number;
}

/**
 * Which gateways have told billing everything that Redis may have lost. Each is in a hash of every shard, and goes there
 * anew, when the hash is gone, once billing has all that it had closed by then. A count is asked of billing only when
 * all who were there before are there again.
 */
export function redisGateways(options: RedisGatewaysOptions): RedisGateways {
  const { redis, name, clock, log, signal } = options;
  const shards = Array.from(
    { length: SHARDS },
    (_, shard): Shard => ({
      key: gatewaysKey(options.namespace, shard),
      others: new Map(),
      missedMs: undefined,
      enteredMs: 0,
    }),
  );

  /** What Redis says now. */
  async function look(shard: Shard): Promise<{ isHere: boolean; isBehind: boolean; life: string | undefined }> {
    const found = await redis.hgetall(shard.key);
    const nowMs = clock();
    const gone: string[] = [];
    for (const [other, text] of Object.entries(found)) {
      if (other === LIFE_FIELD || other === name) continue;
      const seenMs = Number.parseInt(text, 10);
      if (nowMs - seenMs > FORGOTTEN_MS) gone.push(other);
      else shard.others.set(other, Math.max(seenMs, shard.others.get(other) ?? 0));
    }
    if (gone.length > 0) await redis.hdel(shard.key, ...gone);
    const missing = found[name] === undefined || absent(shard, found, nowMs).length > 0;
    if (!missing) shard.missedMs = undefined;
    else shard.missedMs ??= nowMs;
    // One that has lost everything began after us.
    const isBehind = Number.parseInt(found[name] ?? found[LIFE_FIELD] ?? '', 10) < shard.enteredMs;
    return { isHere: found[name] !== undefined, isBehind, life: found[LIFE_FIELD] };
  }

  /** Who was there a moment before we began to miss somebody, and is not. */
  function absent({ others, missedMs }: Shard, found: Readonly<Record<string, string>>, nowMs: number): string[] {
    const names: string[] = [];
    for (const [other, seenMs] of others) {
      if ((missedMs ?? nowMs) - seenMs > SEEN_MS) others.delete(other);
      else if (found[other] === undefined) names.push(other);
    }
    return names;
  }

  async function pass(): Promise<void> {
    const now = String(clock());
    await Promise.all(shards.map(({ key }) => redis.hsetnx(key, LIFE_FIELD, now)));
    const lives = await Promise.all(shards.map(look));
    if (lives.some(({ isBehind }) => isBehind)) options.behind();
    if (lives.some(({ isHere, isBehind }) => !isHere || isBehind)) await options.brought();
    const seenMs = clock();
    await Promise.all(
      shards.map(async (shard, i) => {
        const life = lives[i]?.life ?? '';
        const took = await redis.eval(ENTER, 1, shard.key, LIFE_FIELD, name, String(seenMs), life);
        if (took === 1) shard.enteredMs = seenMs;
      }),
    );
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await pass().catch((error: unknown) => log.debug({ err: error }, 'the gateways on Redis could not be looked at'));
      await pause(LOOK_MS, signal);
    }
  }

  void run();
  return {
    async settledDown(customer) {
      const shard = shards[shardOf(customer)] as Shard;
      for (;;) {
        const found = await redis.hgetall(shard.key);
        const names = found[name] === undefined ? [name] : absent(shard, found, clock());
        if (names.length === 0) return;
        shard.missedMs ??= clock();
        if (!names.includes(name) && clock() - shard.missedMs > ABSENT_MS) {
          log.warn(
            { gateways: names },
            'Redis lost what it had, and gateways are away: what they have is not counted yet.',
          );
          return;
        }
        await pause(AWAIT_MS, signal);
        if (signal.aborted) return;
      }
    },
  };
}
