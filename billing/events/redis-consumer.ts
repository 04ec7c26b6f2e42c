import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster } from 'ioredis';
import type { Database } from '#billing/db/database.ts';
import { parseJson } from '#billing/event-formats/read-rows.ts';
import { openRedis, type RedisConnection } from '#config/redis-connection.ts';
import type { Log } from '#core/log.ts';
import { EVENT_FIELD, eventStream, SHARDS } from '#core/redis-keys.ts';
import type { Clock } from '#core/time.ts';
import { type IngestResult, ingest } from './ingest.ts';

/** All billing processes are one consumer of one group: an entry goes to one of them, and any may take over what another left. */
const GROUP = 'billing';
const CONSUMER = 'billing';

export interface RedisConsumerOptions {
  url: string;
  namespace: string;
  db: Database;
  clock: Clock;
  log: Log;
  /** Batches on their way at once: while one is in the database, the next is read and parsed. */
  readersMax?: number;
  /** Events in one transaction. */
  batchMax?: number;
  /** How long an entry may be with a process before another takes it over. Only delays what a killed process held. */
  claimIdleMs?: number;
  /** After each transaction, for metrics. */
  onBatch?: (results: readonly IngestResult[]) => void;
}

export interface RedisConsumer {
  /** Takes nothing more, finishes what can be finished, and closes. What is left stays in Redis. */
  stop(): Promise<void>;
}

interface Entry {
  stream: string;
  entryId: string;
  event: unknown;
}

/**
 * Between two looks while little comes: a transaction for every event or two costs several times as much as one for what
 * came within a moment, and nobody sees these milliseconds.
 */
const GATHER_MS = 10;

/** A wait for news, so that stop() is heard; the longest silence of a command; pauses while something is away. */
const BLOCK_MS = 500;
const CLUSTER_PAUSE_MS = 100;
const COMMAND_TIMEOUT_MS = 10_000;
const BACKOFF_MS = 50;
const BACKOFF_MAX_MS = 2_000;

/**
 * Moves usage events from the streams that the gateways append to into the database. An entry is acknowledged and
 * deleted only after the transaction that took its event has committed; whatever fails before that, it is read again,
 * and the ingest counts it once. Redis and the database may both go away and come back.
 */
export function startRedisConsumer(options: RedisConsumerOptions): RedisConsumer {
  const { db, clock, log } = options;
  const batchMax = options.batchMax ?? 1_000;
  // Redis counts by stream: a few full ones make a batch, and all sixteen stay a bounded piece of memory.
  const perStream = (batchMax >> 2) + 1;
  const claimIdleMs = options.claimIdleMs ?? 15_000;
  const streams = Array.from({ length: SHARDS }, (_, shard) => eventStream(options.namespace, shard));
  const stopping = new AbortController();

  const pause = async (ms: number): Promise<void> => {
    await delay(ms, undefined, { signal: stopping.signal }).catch(() => undefined);
  };

  /** Does it until it succeeds; undefined when stopped before. What is away is said once and not at every try. */
  const insist = async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
    for (let failures = 0; !stopping.signal.aborted; failures++) {
      try {
        const result = await work();
        if (failures > 0) log.info({ what, failures }, 'event consumer goes on');
        return result;
      } catch (err) {
        if (failures === 0) log.warn({ what, err }, 'event consumer waits');
        const pauseMs = Math.min(BACKOFF_MS * 2 ** failures, BACKOFF_MAX_MS);
        await pause(pauseMs);
      }
    }
    return undefined;
  };

  /** Once entries are in hand, they go the whole way; a stop in between leaves them in Redis for the next process. */
  const take = async (redis: RedisConnection, entries: readonly Entry[]): Promise<void> => {
    for (let at = 0; at < entries.length; at += batchMax) {
      const batch = entries.slice(at, at + batchMax);
      const values = batch.map((entry) => entry.event);
      const results = await insist('database', () => ingest(db, values, clock()));
      if (!results) return;
      report(results);
      await acknowledge(redis, batch);
    }
  };

  const report = (results: readonly IngestResult[]) => {
    options.onBatch?.(results);
    const count = (status: IngestResult['status']) => results.filter((result) => result.status === status).length;
    const [conflicts, parked] = [count('conflict'), count('parked')];
    if (conflicts + parked > 0) log.warn({ events: results.length, conflicts, parked }, 'events were not counted');
  };

  /** Gives how many entries there were. */
  const read = async (redis: RedisConnection): Promise<number> => {
    if (redis instanceof Cluster) return readCluster(redis);
    const answer = await redis.xreadgroup(
      ...(['GROUP', GROUP, CONSUMER, 'COUNT', perStream, 'BLOCK', BLOCK_MS, 'STREAMS'] as const),
      ...[...streams, ...streams.map(() => '>')],
    );
    const entries = answer === null ? [] : parseStreams(answer);
    await take(redis, entries);
    return entries.length;
  };

  /** The streams are on several nodes, and a command reaches one: each is looked at, and nobody waits there. */
  const readCluster = async (redis: RedisConnection): Promise<number> => {
    const answers = await Promise.all(
      streams.map((stream) =>
        redis.xreadgroup(...(['GROUP', GROUP, CONSUMER, 'COUNT', perStream, 'STREAMS'] as const), stream, '>'),
      ),
    );
    const entries = answers.flatMap(parseStreams);
    if (entries.length > 0) await take(redis, entries);
    else await pause(CLUSTER_PAUSE_MS);
    return entries.length;
  };

  /** What somebody took and did not acknowledge for long: a process that was killed, or one that lost its connection. */
  const claim = async (redis: RedisConnection): Promise<void> => {
    for (const stream of streams) {
      for (let cursor = '0-0'; !stopping.signal.aborted; ) {
        const answer = await redis.xautoclaim(stream, GROUP, CONSUMER, claimIdleMs, cursor, 'COUNT', perStream);
        const [next, entries] = parseClaimed(stream, answer);
        if (entries.length > 0) log.info({ stream, entries: entries.length }, 'events of another process taken over');
        await take(redis, entries);
        if (next === '0-0') break;
        cursor = next;
      }
    }
  };

  const prepare = async (redis: RedisConnection): Promise<void> => {
    for (const stream of streams) {
      await redis.xgroup('CREATE', stream, GROUP, '0', 'MKSTREAM').catch((thrown: unknown) => {
        if (!String(thrown).includes('BUSYGROUP')) throw thrown;
      });
    }
  };

  const runReader = async (claims: boolean): Promise<void> => {
    const redis = connect(options.url, log);
    let claimAtMs = 0;
    let ready = false;
    while (!stopping.signal.aborted) {
      await insist('redis', async () => {
        try {
          if (redis.status !== 'ready') await connected(redis, stopping.signal);
          if (!ready) await prepare(redis);
          ready = true;
          if (claims && performance.now() >= claimAtMs) {
            await claim(redis);
            claimAtMs = performance.now() + claimIdleMs / 2;
          }
          const count = await read(redis);
          if (count > 0 && count < perStream) await pause(GATHER_MS);
        } catch (thrown) {
          // A Redis that lost its data has lost the groups too.
          ready = false;
          throw thrown;
        }
      });
    }
    redis.disconnect();
  };

  const readers = Array.from({ length: options.readersMax ?? 2 }, (_, i) => runReader(i === 0));
  return {
    stop: async () => {
      stopping.abort();
      await Promise.all(readers);
    },
  };
}

/** Fails at once while Redis is away, so that waiting and stopping are ours to decide. */
function connect(url: string, log: Log): RedisConnection {
  return openRedis(url, {
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
    name: 'weir-billing',
    onError: (err) => log.debug({ err }, 'redis connection of the event consumer'),
  });
}

async function connected(redis: RedisConnection, stop: AbortSignal): Promise<void> {
  await once(redis, 'ready', { signal: AbortSignal.any([stop, AbortSignal.timeout(COMMAND_TIMEOUT_MS)]) });
}

/** Both or neither, in each stream: an entry that is acknowledged and stays would never be read or freed again. */
async function acknowledge(redis: RedisConnection, entries: readonly Entry[]): Promise<void> {
  const byStream = Map.groupBy(entries, (entry) => entry.stream);
  await Promise.all(
    [...byStream].map(async ([stream, ofStream]) => {
      const ids = ofStream.map((entry) => entry.entryId);
      const answers = await redis
        .multi()
        .xack(stream, GROUP, ...ids)
        .xdel(stream, ...ids)
        .exec();
      for (const [error] of answers ?? []) if (error) throw error;
    }),
  );
}

/** [[stream, [[id, [field, value, …]], …]], …] */
function parseStreams(answer: unknown): Entry[] {
  return listOf(answer).flatMap((item) => {
    const [stream, entries] = listOf(item);
    return parseEntries(String(stream), entries);
  });
}

/** [cursor, entries, ids of entries that were deleted meanwhile] */
function parseClaimed(stream: string, answer: unknown): [next: string, entries: Entry[]] {
  const [next, entries] = listOf(answer);
  return [String(next), parseEntries(stream, entries)];
}

function parseEntries(stream: string, entries: unknown): Entry[] {
  return listOf(entries).flatMap((entry) => {
    const [entryId, fields] = listOf(entry);
    // Redis 6 gives nothing in the place of an entry that was deleted meanwhile.
    if (typeof entryId !== 'string') return [];
    const values = listOf(fields).map(String);
    const at = values.indexOf(EVENT_FIELD);
    // An entry without the field is nothing that we append; as text it is parked, where somebody will see it.
    const event = at % 2 === 0 ? parseJson(values[at + 1] ?? '') : JSON.stringify(values);
    return [{ stream, entryId, event }];
  });
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
