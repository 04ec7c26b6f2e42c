import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Cluster, Redis } from 'ioredis';
import { Fault } from '#core/fault.ts';
import { customerPrefix, EVENT_FIELD, eventStream, shardOf } from '#core/redis-keys.ts';
import type { Clock } from '#core/time.ts';
import {
  COUNTER_MAX,
  type CounterState,
  type Counters,
  type Hold,
  type Reservation,
  type ReserveAnswer,
} from './counters.ts';
import {
  assertReservation,
  assertUsed,
  CLOSED_KEPT_MS,
  ENDED_KEPT_MS,
  LEASE_MS_MAX,
  LEASES_PER_STEP,
  min,
} from './decide.ts';

export interface RedisCountersOptions {
  redis: Redis | Cluster;
  namespace: string;
  /** For tests only: replaces the clock of Redis. Several gateways must never bring clocks of their own. */
  clock?: Clock;
}

/** How long a customer's keys outlive their last use: longer than anything in them is looked for. */
const KEPT_MS = ENDED_KEPT_MS + LEASE_MS_MAX + 86_400_000;
/** Reservations of unknown fate that are remembered while Redis is away. */
const UNSURE_MAX = 10_000;

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

interface Script {
  text: string;
  sha: string;
}

const CONSTANTS = { CLOSED_KEPT_MS, ENDED_KEPT_MS, LEASES_PER_STEP, KEPT_MS };
const HEAD = Object.entries(CONSTANTS)
  .map(([name, value]) => `local ${name} = ${value}\n`)
  .join('');

function loadScript(verb: 'reserve' | 'settle' | 'release' | 'seed' | 'read'): Script {
  const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8');
  const text = `${HEAD}${read('common')}\n${read(verb)}`;
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

/**
 * Counters that any number of gateways share. Each verb is one script and one round trip; the clock is that of Redis.
 * Settling appends the event to the shard's stream in the same script.
 *
 * Reserve and settle reject with `limits_unavailable` when Redis does not answer in time. A reserve whose answer was
 * lost may have been carried out: it is released as soon as Redis answers again.
 */
export function redisCounters({ redis, namespace, clock }: RedisCountersOptions): Counters {
  const scripts = {
    reserve: loadScript('reserve'),
    settle: loadScript('settle'),
    release: loadScript('release'),
    seed: loadScript('seed'),
    read: loadScript('read'),
  };
  const unsure = new Map<string, Reservation>();
  let givingBack = false;

  async function run(script: Script, keys: string[], args: string[]): Promise<unknown> {
    const all = [...keys, clock ? String(Math.floor(clock())) : '', ...args];
    try {
      return await redis.evalsha(script.sha, keys.length, ...all);
    } catch (error) {
      if (!isReply(error, 'NOSCRIPT')) throw unavailable(error);
    }
    try {
      return await redis.eval(script.text, keys.length, ...all);
    } catch (error) {
      throw unavailable(error);
    }
  }

  async function giveBack(): Promise<void> {
    if (givingBack) return;
    givingBack = true;
    try {
      for (const [id, reservation] of unsure) {
        await counters.release(reservation);
        unsure.delete(id);
      }
    } catch {
      // Redis is still away: tried again when it is ready, or after the next reserve that it answers. If this process
      // ends before, the lease does.
    } finally {
      givingBack = false;
    }
  }

  redis.on('ready', giveBack);

  const counters: Counters = {
    async reserve(reservation): Promise<ReserveAnswer> {
      assertReservation(reservation);
      const { id, customer, leaseMs, holds } = reservation;
      const prefix = customerPrefix(namespace, customer);
      const keys = callKeys(prefix);
      const args = [id, String(leaseMs)];
      for (const hold of holds) {
        keys.push(counterKey(prefix, hold.counter));
        const burst = hold.kind === 'rate' ? hold.burst : 0n;
        args.push(letterOf(hold), String(hold.amount), String(hold.limit), String(burst), spanOf(hold));
      }
      let reply: string[];
      try {
        reply = textsOf(await run(scripts.reserve, keys, args));
      } catch (error) {
        if (!isReply(causeOf(error)) && unsure.size < UNSURE_MAX) unsure.set(id, reservation);
        throw error;
      } finally {
        if (unsure.size > 0) void giveBack();
      }
      const [admitted, index = '', used = '', held = '', waitMs = ''] = reply;
      if (admitted === '1') return { admitted: true };
      return {
        admitted: false,
        index: Number(index),
        used: BigInt(used),
        held: BigInt(held),
        retryAfterMs: waitMs === '' ? null : Number(waitMs),
      };
    },

    async settle(reservation, used, event = ''): Promise<boolean> {
      assertReservation(reservation);
      assertUsed(reservation, used);
      const { id, customer, holds } = reservation;
      const prefix = customerPrefix(namespace, customer);
      const keys = [...callKeys(prefix), eventStream(namespace, shardOf(customer))];
      const args = [id, EVENT_FIELD, event];
      holds.forEach((hold, i) => {
        keys.push(counterKey(prefix, hold.counter));
        args.push(
          letterOf(hold),
          String(hold.amount),
          String(min(used[i] as bigint, COUNTER_MAX)),
          String(hold.limit),
          spanOf(hold),
        );
      });
      return (await run(scripts.settle, keys, args)) === 1;
    },

    async release(reservation): Promise<void> {
      assertReservation(reservation);
      const prefix = customerPrefix(namespace, reservation.customer);
      const keys = callKeys(prefix);
      const args = [reservation.id];
      for (const hold of reservation.holds) {
        keys.push(counterKey(prefix, hold.counter));
        args.push(letterOf(hold), String(hold.amount), spanOf(hold));
      }
      await run(scripts.release, keys, args);
    },

    async seed(customer, counter, used, expiresAtMs): Promise<void> {
      const prefix = customerPrefix(namespace, customer);
      const keys = [...callKeys(prefix), counterKey(prefix, counter)];
      await run(scripts.seed, keys, [String(min(used, COUNTER_MAX)), String(expiresAtMs)]);
    },

    async read(customer, counter): Promise<CounterState> {
      const prefix = customerPrefix(namespace, customer);
      const [used = '', held = ''] = textsOf(
        await run(scripts.read, [...callKeys(prefix), counterKey(prefix, counter)], []),
      );
      return { used: BigInt(used), held: BigInt(held) };
    },
  };
  return counters;
}

/** In the order of common.lua. One hash tag: all keys of a call are in one slot of a cluster. */
function callKeys(prefix: string): string[] {
  return [`${prefix}:clock`, `${prefix}:calls`, `${prefix}:leases`, `${prefix}:ended`, `${prefix}:closed`];
}

function counterKey(prefix: string, counter: string): string {
  return `${prefix}:counter:${counter}`;
}

function letterOf(hold: Hold): string {
  if (hold.kind === 'concurrency') return 'c';
  if (hold.kind === 'quota') return 'q';
  return hold.counted === 'admission' ? 'a' : 's';
}

function spanOf(hold: Hold): string {
  if (hold.kind === 'concurrency') return '0';
  return String(hold.kind === 'quota' ? hold.expiresAtMs : hold.windowMs);
}

function unavailable(cause: unknown): Fault {
  return new Fault('limits_unavailable', { story: cause instanceof Error ? cause.message : 'Redis failed', cause });
}

function causeOf(error: unknown): unknown {
  return error instanceof Fault ? error.cause : error;
}

/** True for an error that Redis answered (it was reached), of the given kind if one is named. */
function isReply(error: unknown, code = ''): boolean {
  return error instanceof Error && error.name === 'ReplyError' && error.message.startsWith(code);
}

function textsOf(reply: unknown): string[] {
  if (Array.isArray(reply) && reply.every((part) => typeof part === 'string')) return reply;
  throw new Fault('limits_unavailable', { story: 'a script of the limits answered something else' });
}
