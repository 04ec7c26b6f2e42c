import type { RedisConnection } from '#config/redis-connection.ts';
import { Fault } from '#core/fault.ts';
import {
  customerPrefix,
  dueKey,
  EVENT_FIELD,
  eventStream,
  gatewaysKey,
  LIFE_FIELD,
  SHARDS,
  shardOf,
} from '#core/redis-keys.ts';
import type { Clock } from '#core/time.ts';
import { assertAmounts, assertReservation, assertUsed } from './assert.ts';
import { min } from './counter.ts';
import {
  COUNTER_MAX,
  type CountedIn,
  type CounterStore,
  type Hold,
  type Reservation,
  type ReserveAnswer,
  type Standing,
} from './counters.ts';
import { debtsOf, livesOf, reserveAnswerOf, settleAnswerOf, textsOf } from './redis-answers.ts';
import { loadScripts, type Script } from './redis-scripts.ts';

export interface RedisCountersOptions {
  redis: RedisConnection;
  namespace: string;
  /** For tests only: replaces the clock of Redis. Several gateways must never bring clocks of their own. */
  clock?: Clock;
}

/** A call that was settled, and where it counts. */
export interface SettledCall {
  id: string;
  customer: string;
  atMs: number;
  counts: readonly CountedIn[];
}

export interface RedisCounters extends CounterStore {
  /** The event of a call came to billing by another way than its stream: if the store has lost the call, its counts are unknown from now on. */
  doubt(call: SettledCall): Promise<void>;

  /** How a quota stands before billing is asked what it has used. */
  standing(customer: string, counter: string): Promise<Standing>;
}

/** Reservations of unknown fate that are remembered while Redis is away. */
const UNSURE_MAX = 10_000;
/** Customers of a shard that one sweep looks at. */
const SWEPT_PER_SHARD = 16;

/**
 * Counters that any number of gateways share. Each verb is one script and one round trip; the clock is that of Redis.
 * Settling appends the event to the shard's stream in the same script.
 *
 * Every verb rejects with `limits_unavailable` when Redis does not answer in time. A reserve whose answer was lost may
 * have been carried out: it is released as soon as Redis answers again.
 */
export function redisCounters({ redis, namespace, clock }: RedisCountersOptions): RedisCounters {
  const scripts = loadScripts();
  const unsure = new Map<string, Reservation>();
  let givingBack = false;

  async function run(script: Script, keys: string[], customer: string, args: string[]): Promise<unknown> {
    const all = [...keys, clock ? String(Math.floor(clock())) : '', customer, ...args];
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

  /** In the order of common.lua. One hash tag: all keys of a call are in one slot of a cluster. */
  function keysOf(prefix: string): string[] {
    return [`${prefix}:clock`, `${prefix}:calls`, `${prefix}:leases`, `${prefix}:ended`, `${prefix}:closed`];
  }

  async function holdAll(
    script: Script,
    { id, customer, leaseMs, holds }: Reservation,
    amounts: readonly bigint[],
  ): Promise<ReserveAnswer> {
    const prefix = customerPrefix(namespace, customer);
    const keys = keysOf(prefix);
    const args = [id, String(leaseMs)];
    for (const hold of holds) {
      keys.push(counterKey(prefix, hold.counter));
      args.push(letterOf(hold), String(hold.amount), String(hold.limit), burstOf(hold), spanOf(hold), moreOf(hold));
    }
    for (const amount of amounts) args.push(String(amount));
    return reserveAnswerOf(textsOf(await run(script, keys, customer, args)), holds.length);
  }

  const counters: RedisCounters = {
    async reserve(reservation) {
      assertReservation(reservation);
      try {
        return await holdAll(scripts.reserve, reservation, []);
      } catch (error) {
        if (!isReply(causeOf(error)) && unsure.size < UNSURE_MAX) unsure.set(reservation.id, reservation);
        throw error;
      } finally {
        if (unsure.size > 0) void giveBack();
      }
    },

    async extend(reservation, amounts) {
      assertReservation(reservation);
      assertAmounts(reservation, amounts);
      return holdAll(scripts.extend, reservation, amounts);
    },

    async settle(reservation, used, event = '', replayed = false) {
      assertReservation(reservation);
      assertUsed(reservation, used);
      const { id, customer, holds } = reservation;
      const prefix = customerPrefix(namespace, customer);
      const keys = [...keysOf(prefix), eventStream(namespace, shardOf(customer))];
      const args = [id, EVENT_FIELD, event, replayed ? '1' : ''];
      holds.forEach((hold, i) => {
        keys.push(counterKey(prefix, hold.counter));
        args.push(letterOf(hold), String(hold.amount), String(min(used[i] as bigint, COUNTER_MAX)));
        args.push(String(hold.limit), burstOf(hold), spanOf(hold), saidOf(hold));
      });
      return settleAnswerOf(textsOf(await run(scripts.settle, keys, customer, args)));
    },

    async release(reservation) {
      assertReservation(reservation);
      const { id, customer } = reservation;
      await run(scripts.release, keysOf(customerPrefix(namespace, customer)), customer, [id]);
    },

    async seed(customer, { counter, used, expiresAtMs, series, as }) {
      const prefix = customerPrefix(namespace, customer);
      const keys = [...keysOf(prefix), counterKey(prefix, counter)];
      const args = [String(min(used, COUNTER_MAX)), String(expiresAtMs), series?.name ?? ''];
      args.push(as ? String(as.used) : '', as ? String(as.mark) : '');
      return (await run(scripts.seed, keys, customer, args)) === 1;
    },

    async doubt({ id, customer, atMs, counts }) {
      if (counts.length === 0) return;
      const prefix = customerPrefix(namespace, customer);
      const keys = [...keysOf(prefix), gatewaysKey(namespace, shardOf(customer))];
      const args = [id, String(atMs), LIFE_FIELD];
      for (const { counter, expiresAtMs } of counts) {
        keys.push(counterKey(prefix, counter));
        args.push(String(expiresAtMs));
      }
      await run(scripts.doubt, keys, customer, args);
    },

    async standing(customer, counter) {
      const prefix = customerPrefix(namespace, customer);
      const keys = [...keysOf(prefix), counterKey(prefix, counter)];
      const [used = '', mark = ''] = textsOf(await run(scripts.standing, keys, customer, []));
      return { used: BigInt(used), mark: Number.parseInt(mark, 10) };
    },

    async read(customer, counter) {
      const prefix = customerPrefix(namespace, customer);
      const keys = [...keysOf(prefix), counterKey(prefix, counter)];
      const [used = '', held = ''] = textsOf(await run(scripts.read, keys, customer, []));
      return { used: BigInt(used), held: BigInt(held) };
    },

    async listLive(customer, after, max) {
      const prefix = customerPrefix(namespace, customer);
      const place = after ? [String(after.untilMs), after.id] : ['-inf', ''];
      const reply = await run(scripts.live, keysOf(prefix), customer, [...place, String(max)]);
      return livesOf(textsOf(reply), counterKey(prefix, ''));
    },

    async listDebts(customer, after, max) {
      const prefix = customerPrefix(namespace, customer);
      const from = after === '' ? '-' : `(${counterKey(prefix, after)}`;
      const reply = await run(scripts.debts, keysOf(prefix), customer, [from, String(max)]);
      return debtsOf(textsOf(reply), counterKey(prefix, ''));
    },

    async sweep() {
      let ended = 0;
      for (let shard = 0; shard < SHARDS; shard++) {
        const nowMs = clock ? Math.floor(clock()) : Date.now();
        let customers: string[];
        try {
          customers = await redis.zrangebyscore(dueKey(namespace, shard), '-inf', nowMs, 'LIMIT', 0, SWEPT_PER_SHARD);
        } catch (error) {
          throw unavailable(error);
        }
        for (const customer of customers) {
          const keys = keysOf(customerPrefix(namespace, customer));
          const count = await run(scripts.sweep, keys, customer, []);
          if (typeof count === 'number') ended += count;
        }
      }
      return ended;
    },
  };
  return counters;
}

function counterKey(prefix: string, counter: string): string {
  return `${prefix}:counter:${counter}`;
}

function letterOf(hold: Hold): string {
  if (hold.kind === 'concurrency') return 'c';
  if (hold.kind === 'quota') return 'q';
  return hold.counted === 'admission' ? 'a' : 's';
}

function burstOf(hold: Hold): string {
  return hold.kind === 'rate' ? String(hold.burst) : '0';
}

function spanOf(hold: Hold): string {
  if (hold.kind === 'concurrency') return '0';
  return String(hold.kind === 'quota' ? hold.expiresAtMs : hold.windowMs);
}

/** What a settlement has to know beside. */
function saidOf(hold: Hold): string {
  return hold.kind === 'quota' && hold.series ? `k${warningsOf(hold)}` : warningsOf(hold);
}

function warningsOf(hold: Hold): string {
  const soft = hold.soft ? 's' : '';
  return hold.kind === 'quota' && hold.warnAt ? soft + (hold.currency ?? '') + hold.warnAt.join(',') : soft;
}

/** What only few holds have, in one text, so that the others pay nothing for it. */
function moreOf(hold: Hold): string {
  if (hold.kind !== 'quota' || !hold.series) {
    const warnings = warningsOf(hold);
    return warnings === '' ? '' : `${warnings}||`;
  }
  return `${warningsOf(hold)}|${hold.series.startMs}|${hold.series.name}`;
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
