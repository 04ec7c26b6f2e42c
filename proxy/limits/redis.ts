import type { RedisConnection } from '#config/redis-connection.ts';
import { Fault } from '#core/fault.ts';
import { customerPrefix, dueKey, eventStream, gatewaysKey, LIFE_FIELD, SHARDS, shardOf } from '#core/redis-keys.ts';
import type { Clock } from '#core/time.ts';
import { assertAmounts, assertCounter, assertReservation, assertUsed } from './assert.ts';
import { min } from './counter.ts';
import {
  COUNTER_MAX,
  type CountedIn,
  type CounterStore,
  type Debt,
  type Hold,
  type Reservation,
  type ReserveAnswer,
  type Standing,
} from './counters.ts';
import { holdTexts } from './hold-texts.ts';
import { debtsOf, livesOf, partsOf, reserveAnswerOf, settleAnswerOf, smallOf } from './redis-answers.ts';
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
const NONE: readonly string[] = [];
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

  /**
   * `keys` and `args` are what the script says beside the customer's two keys and the clock. No async function, nor those
   * who call it with each call: every layer of promises costs as much as reading the answer.
   */
  function run<Answer>(
    script: Script,
    customer: string,
    args: readonly string[],
    read: (reply: unknown) => Answer,
    keys = NONE,
    failed = unavailable,
  ): Promise<Answer> {
    const prefix = customerPrefix(namespace, customer);
    const all = [`${prefix}:state`, `${prefix}:times`, ...keys, clock ? String(Math.floor(clock())) : '', ...args];
    const count = 2 + keys.length;
    return redis.evalsha(script.sha, count, ...all).then(read, (error: unknown) => {
      if (!isReply(error, 'NOSCRIPT')) throw failed(error);
      return redis.eval(script.text, count, ...all).then(read, (again: unknown) => {
        throw failed(again);
      });
    });
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

  function holdAll(
    script: Script,
    { id, customer, leaseMs, holds }: Reservation,
    amounts?: readonly bigint[],
    failed = unavailable,
  ): Promise<ReserveAnswer> {
    let said = '';
    for (const hold of holds) {
      const { begin, reserved } = textsOf(hold);
      said += begin + hold.amount + reserved;
    }
    const args = [callField(id), listOf(said), String(leaseMs)];
    if (amounts) args.push(amounts.join(','));
    const read = (reply: unknown): ReserveAnswer => {
      if (unsure.size > 0) void giveBack();
      return reserveAnswerOf(reply, holds.length);
    };
    return run(script, customer, args, read, NONE, failed);
  }

  async function dueCustomers(shard: number): Promise<string[]> {
    const nowMs = clock ? Math.floor(clock()) : Date.now();
    try {
      return await redis.zrangebyscore(dueKey(namespace, shard), '-inf', nowMs, 'LIMIT', 0, SWEPT_PER_SHARD);
    } catch (error) {
      throw unavailable(error);
    }
  }

  const counters: RedisCounters = {
    reserve(reservation) {
      assertReservation(reservation);
      return holdAll(scripts.reserve, reservation, undefined, (error) => {
        if (!isReply(error) && unsure.size < UNSURE_MAX) unsure.set(reservation.id, reservation);
        if (unsure.size > 0) void giveBack();
        return unavailable(error);
      });
    },

    extend(reservation, amounts) {
      assertReservation(reservation);
      assertAmounts(reservation, amounts);
      return holdAll(scripts.extend, reservation, amounts);
    },

    settle(reservation, used, event = '', replayed = false) {
      assertReservation(reservation);
      assertUsed(reservation, used);
      const { id, customer, holds } = reservation;
      let said = '';
      for (let i = 0; i < holds.length; i++) {
        const hold = holds[i] as Hold;
        const { begin, settled, end } = textsOf(hold);
        said += begin + min(used[i] as bigint, COUNTER_MAX) + settled + hold.amount + end;
      }
      const args = [callField(id), listOf(said), event, replayed ? '1' : ''];
      const keys = [eventStream(namespace, shardOf(customer))];
      return run(scripts.settle, customer, args, settleAnswerOf, keys);
    },

    release(reservation) {
      assertReservation(reservation);
      return run(scripts.release, reservation.customer, looking([callField(reservation.id)]), nothing);
    },

    async seed(customer, { counter, used, expiresAtMs, series, as }) {
      assertCounter(counter);
      const args = [...looking([counter]), String(min(used, COUNTER_MAX)), String(expiresAtMs), series?.name ?? ''];
      args.push(as ? String(as.used) : '', as ? String(as.mark) : '');
      return run(scripts.seed, customer, args, (reply) => reply === 1);
    },

    async doubt({ id, customer, atMs, counts }) {
      if (counts.length === 0) return;
      const fields = [callField(id)];
      const args = [String(atMs), LIFE_FIELD];
      for (const { counter, expiresAtMs } of counts) {
        assertCounter(counter);
        fields.push(counter);
        args.push(String(expiresAtMs));
      }
      const keys = [gatewaysKey(namespace, shardOf(customer))];
      await run(scripts.doubt, customer, [...looking(fields), ...args], nothing, keys);
    },

    async standing(customer, counter) {
      const [used = '', mark = ''] = await run(scripts.standing, customer, looking([counter]), partsOf);
      return { used: BigInt(used), mark: smallOf(mark) };
    },

    async read(customer, counter) {
      const [used = '', held = ''] = await run(scripts.read, customer, looking([counter]), partsOf);
      return { used: BigInt(used), held: BigInt(held) };
    },

    async listLive(customer, after, max) {
      const place = after ? [String(after.untilMs), after.id] : ['-inf', ''];
      return run(scripts.live, customer, [...looking([]), ...place, String(max)], livesOf);
    },

    async listDebts(customer, after, max) {
      const found: Debt[] = [];
      let place = after === '' ? '-' : `(${after}`;
      while (place !== '') {
        const args = [...looking([]), place, String(max - found.length)];
        const [next = '', ...parts] = await run(scripts.debts, customer, args, partsOf);
        found.push(...debtsOf(parts));
        place = String(next);
      }
      return found;
    },

    async sweep() {
      let ended = 0;
      const failures: unknown[] = [];
      for (let shard = 0; shard < SHARDS; shard++) {
        try {
          for (const customer of await dueCustomers(shard)) {
            ended += await run(scripts.sweep, customer, looking([]), (count) =>
              typeof count === 'number' ? count : 0,
            );
          }
        } catch (error) {
          // The others may lie on another server.
          failures.push(error);
        }
      }
      if (failures.length > 0) throw failures[0];
      return ended;
    },
  };
  return counters;
}

function nothing(): void {}

/** A call in the state of its customer; names of counters begin with no such sign. */
function callField(id: string): string {
  return `#${id}`;
}

/** The fields of the state that a verb looks at. */
function looking(fields: readonly string[]): string[] {
  return [String(fields.length), ...fields];
}

/**
 * A hold is six values of a list as JSON, and these are what stands around its amounts. Names of counters and series are
 * encoded: they have no quote and no backslash.
 */
const textsOf = holdTexts((hold) => ({
  begin: `,"${hold.counter}","${kindOf(hold)}",${spanOf(hold)},`,
  reserved: `,${hold.limit},"${moreOf(hold)}"`,
  settled: `,${hold.limit},"${saidOf(hold)} `,
  end: ` ${hold.kind === 'rate' ? hold.burst : 0}"`,
}));

function listOf(values: string): string {
  return `[${values.slice(1)}]`;
}

function kindOf(hold: Hold): string {
  if (hold.kind === 'concurrency') return 'c';
  if (hold.kind === 'quota') return 'q';
  return hold.counted === 'admission' ? 'a' : 's';
}

function spanOf(hold: Hold): number {
  if (hold.kind === 'concurrency') return 0;
  return hold.kind === 'quota' ? hold.expiresAtMs : hold.windowMs;
}

/** What a reserve has to know beside. */
function moreOf(hold: Hold): string {
  const soft = hold.soft ? 's' : '';
  if (hold.kind === 'rate') return soft + hold.burst;
  if (hold.kind === 'concurrency') return soft;
  return hold.series ? `${warningsOf(hold)}|${hold.series.startMs}|${hold.series.name}` : warningsOf(hold);
}

/** What a settlement has to know beside, before amount and burst: of most counters that are there nothing. */
function saidOf(hold: Hold): string {
  return hold.kind === 'quota' && hold.series ? `${warningsOf(hold)}k` : warningsOf(hold);
}

function warningsOf(hold: Hold): string {
  const soft = hold.soft ? 's' : '';
  return hold.kind === 'quota' && hold.warnAt ? soft + (hold.currency ?? '') + hold.warnAt.join(',') : soft;
}

function unavailable(cause: unknown): Fault {
  return new Fault('limits_unavailable', { story: cause instanceof Error ? cause.message : 'Redis failed', cause });
}

/** True for an error that Redis answered (it was reached), of the given kind if one is named. */
function isReply(error: unknown, code = ''): boolean {
  return error instanceof Error && error.name === 'ReplyError' && error.message.startsWith(code);
}
