import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { openRedis, type RedisConnection } from '#config/redis-connection.ts';
import type { LimitWarning } from '#core/limit-warning.ts';
import type { Log } from '#core/log.ts';
import { eventStream, SHARDS } from '#core/redis-keys.ts';
import type { Clock } from '#core/time.ts';
import { callMsMax } from '#proxy/admission.ts';
import type { CounterStore, Standing } from '#proxy/limits/counters.ts';
import { memoryCounters } from '#proxy/limits/memory.ts';
import { type Notice, noticedCounters, noticeTo } from '#proxy/limits/noticed.ts';
import { redisCounters, type SettledCall } from '#proxy/limits/redis.ts';
import { redisGateways } from '#proxy/limits/redis-gateways.ts';
import { redisStanding, streamRead } from '#proxy/limits/redis-standing.ts';
import { parseCounts } from '#proxy/limits/reservation-text.ts';
import type { PolicyFeed } from '#proxy/policies/feed.ts';
import { followHttp } from '#proxy/policies/http-feed.ts';
import type { Policies } from '#proxy/policies/policies.ts';
import type { PolicyTable } from '#proxy/policies/policy-table.ts';
import { followRedis } from '#proxy/policies/redis-feed.ts';
import { snapshotFile } from '#proxy/policies/snapshot-file.ts';
import { httpShipping } from '#proxy/sink/journal/http-shipping.ts';
import type { Journal } from '#proxy/sink/journal/journal.ts';
import { type Shipper, shipJournal } from '#proxy/sink/journal/shipper.ts';
import { journalSink } from '#proxy/sink/journal-sink.ts';
import { isFinal, redisSink } from '#proxy/sink/redis-sink.ts';
import type { Sink } from '#proxy/sink/sink.ts';
import { copiedStored } from '#proxy/stored/copied-stored.ts';
import { redisStored } from '#proxy/stored/redis-stored.ts';
import { sqliteStored } from '#proxy/stored/sqlite-node.ts';
import type { Stored } from '#proxy/stored/stored.ts';
import type { ConfigSource } from './config-source.ts';
import { type LimitSeeds, limitSeeds } from './limit-seeds.ts';
import { startSweeping } from './sweeping.ts';

export interface BackingOptions {
  config: ConfigSource;
  dataDir: string;
  namespace: string;
  /** The billing role: where events go and policies come from without Redis. */
  billing: { url: string; token: string };
  log: Log;
  clock: Clock;
}

/** What differs between a gateway alone and several on one Redis. */
export interface Backing {
  policies: Policies;
  sink: Sink;
  /** Sees to it that billing gets what is in the journal. */
  shipper: Shipper;
  counters: CounterStore;
  stored: Stored;
  feed: PolicyFeed;
  /** What the first call would have to wait for. */
  prepare(): Promise<void>;
  ready(): Promise<boolean>;
  close(): Promise<void>;
}

/** Memory and journal; events are posted to billing, policies followed there, budgets seeded from there. */
export function localBacking(options: BackingOptions, journal: Journal, table: PolicyTable): Backing {
  const { clock, log } = options;
  const closing = new AbortController();
  const counters = noticedCounters(memoryCounters({ clock }), noticeOf(options, journal, false));
  const shipping = httpShipping(options.billing);
  const shipper = shipJournal({ journal, ship: shipping.ship, now: clock, log });
  const feed = followHttp({
    ...options.billing,
    table,
    log,
    snapshot: snapshotFile(join(options.dataDir, 'policies.json')),
  });
  const seeds = seeded(options, { table, counters, journal, shipper, signal: closing.signal });
  const stored = sqliteStored(join(options.dataDir, 'stored.db'), log);
  stored.resume();
  return {
    ...seeds,
    stored,
    sink: journalSink({ counters, journal }),
    shipper,
    feed,
    prepare: () => Promise.resolve(),
    ready: () => Promise.resolve(true),
    async close() {
      closing.abort();
      await feed.close();
      await Promise.race([shipper.shipped(), elapsed(SHIP_ON_CLOSE_MS)]);
      await shipper.stop();
      await shipping.close();
      stored.close();
    },
  };
}

/** Limits, events and policies in Redis, the journal behind it. */
export function redisBacking(options: BackingOptions, redisUrl: string, journal: Journal, table: PolicyTable): Backing {
  const { namespace, clock, log } = options;
  const open = (): RedisConnection =>
    openRedis(redisUrl, {
      commandTimeoutMs: options.config.current.gateway.storeTimeoutMs,
      onError: (error) => log.warn({ error: error.message }, 'Redis is away'),
    });
  const closing = new AbortController();
  const redis = open();
  const policyRedis = open();
  const counters = noticedCounters(redisCounters({ redis, namespace }), noticeOf(options, journal, true));
  const sink = redisSink({ counters, journal, now: clock, log });
  const shipping = httpShipping(options.billing, {
    async arrived() {
      await sink.replay.shipped();
      const streams = Array.from({ length: SHARDS }, (_, shard) => eventStream(namespace, shard));
      await Promise.all(streams.map((stream) => streamRead(redis, stream, closing.signal)));
    },
    async brought(calls) {
      const events = calls.filter(({ isSent }) => isSent).length;
      if (events > 0) log.warn({ events }, 'Redis has lost events: billing has them from the journal.');
      const settled = calls.map(({ id, customer, atMs, counts }) => ({
        id,
        customer,
        atMs,
        counts: parseCounts(counts),
      }));
      const doubted = (call: SettledCall) =>
        counters.doubt(call).catch((error: unknown) => {
          if (!isFinal(error)) throw error;
          log.error({ err: error, id: call.id }, 'The limits cannot be told of a call that they have lost.');
        });
      await Promise.all(settled.map(doubted));
    },
    inherited: journal.ordinal,
  });
  // Billing gets events from Redis: what it has not got by then is brought from here.
  const shipper = shipJournal({ journal, ship: shipping.ship, now: clock, log, ripeMs: RIPE_MS });
  const feed = followRedis({
    redis: policyRedis,
    namespace,
    table,
    log,
    snapshot: snapshotFile(join(options.dataDir, 'policies.json')),
  });
  const { signal } = closing;
  const sweeping = startSweeping(counters, log);
  const gateways = redisGateways({
    ...{ redis, namespace, clock, log, signal },
    name: nameOf(options.dataDir),
    async brought() {
      await journal.flush();
      await Promise.race([shipper.shipped(), aborted(signal)]);
    },
    behind() {
      log.warn({}, 'Redis is as it was before: what it may have lost is asked for again.');
      shipping.tellUntil(journal.ordinal);
      journal.rewind();
    },
  });
  const standing = redisStanding({ redis, namespace, counters, gateways, signal });
  const seeds = seeded(options, { table, counters, journal, shipper: sink.replay, standing, signal });
  const copies = sqliteStored(join(options.dataDir, 'stored.db'), log);
  const away = (err: unknown): void => log.warn({ err }, 'Redis did not take what a provider keeps: it is copied.');
  return {
    ...seeds,
    sink,
    stored: copiedStored(redisStored({ redis, namespace }), copies, away),
    shipper,
    feed,
    // A first call before the first connection would be refused.
    async prepare() {
      const connected = new Promise((done) => redis.once('ready', done));
      if (redis.status !== 'ready') await Promise.race([connected, elapsed(PREPARE_MS)]);
    },
    ready: async () => (await redis.ping().catch(() => '')) === 'PONG',
    async close() {
      closing.abort();
      sweeping.stop();
      await feed.close();
      await Promise.race([sink.replay.shipped(), elapsed(SHIP_ON_CLOSE_MS)]);
      await sink.replay.stop();
      await shipper.stop();
      await shipping.close();
      copies.close();
      redis.disconnect();
      policyRedis.disconnect();
    },
  };
}

/** In Redis' stream it is already, by the step that noticed it. */
function noticeOf({ clock, log }: BackingOptions, journal: Journal, isInStream: boolean): (notice: Notice) => void {
  const keep = (warning: LimitWarning) => void journal.noted(warning.id, JSON.stringify(warning), isInStream);
  return noticeTo({ clock, log, keep });
}

interface SeededParts {
  table: PolicyTable;
  counters: CounterStore;
  journal: Journal;
  shipper: Shipper;
  standing?: (customer: string, counter: string) => Promise<Standing>;
  signal: AbortSignal;
}

function seeded({ billing, config, clock, log }: BackingOptions, parts: SeededParts): LimitSeeds {
  const { table, counters, journal, shipper, standing, signal } = parts;
  return limitSeeds({
    ...billing,
    policies: table,
    counters,
    shipped: async () => {
      await journal.flush();
      await shipper.shipped();
    },
    ...(standing && { standing }),
    callMs: () => callMsMax(config.current.gateway),
    clock,
    log,
    signal,
  });
}

const NAME_CHARS = 16;
const PREPARE_MS = 3_000;
/** What is not shipped by then stays in the journal for the next start. */
const SHIP_ON_CLOSE_MS = 5_000;
/** Most events have come to billing from Redis by then. */
const RIPE_MS = 1_000;

/** The same when the gateway starts again with the same journal. */
function nameOf(dataDir: string): string {
  return createHash('sha256')
    .update(`${hostname()} ${resolve(dataDir)}`)
    .digest('hex')
    .slice(0, NAME_CHARS);
}

export function elapsed(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
