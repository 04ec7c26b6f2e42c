import { join } from 'node:path';
import type { Config } from '#config/config.ts';
import { openRedis, type RedisConnection } from '#config/redis-connection.ts';
import { Fault } from '#core/fault.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import type { Log } from '#core/log.ts';
import type { Clock } from '#core/time.ts';
import { within } from '#core/within.ts';
import { callMsMax } from '#proxy/admission.ts';
import { Gateway } from '#proxy/gateway.ts';
import { listen } from '#proxy/inbound/node.ts';
import type { CounterStore } from '#proxy/limits/counters.ts';
import { memoryCounters } from '#proxy/limits/memory.ts';
import { noticedCounters, noticeTo } from '#proxy/limits/noticed.ts';
import { redisCounters } from '#proxy/limits/redis.ts';
import type { PolicyFeed } from '#proxy/policies/feed.ts';
import { followHttp } from '#proxy/policies/http-feed.ts';
import type { Policies } from '#proxy/policies/policies.ts';
import { type PolicyTable, policyTable } from '#proxy/policies/policy-table.ts';
import { followRedis } from '#proxy/policies/redis-feed.ts';
import { snapshotFile } from '#proxy/policies/snapshot-file.ts';
import { httpShipping } from '#proxy/sink/journal/http-shipping.ts';
import { type Journal, openJournal } from '#proxy/sink/journal/journal.ts';
import { type Shipper, shipJournal } from '#proxy/sink/journal/shipper.ts';
import { journalSink } from '#proxy/sink/journal-sink.ts';
import { redisSink } from '#proxy/sink/redis-sink.ts';
import type { Sink } from '#proxy/sink/sink.ts';
import { redisStored } from '#proxy/stored/redis-stored.ts';
import { sqliteStored } from '#proxy/stored/sqlite-node.ts';
import type { Stored } from '#proxy/stored/stored.ts';
import { gatewayGauges } from '#proxy/telemetry/node-gauges.ts';
import type { Telemetry } from '#proxy/telemetry/node-telemetry.ts';
import { tiktokenCounter } from '#proxy/tokens/tiktoken-node.ts';
import { googleTokens } from '#proxy/upstream/google-node.ts';
import { undiciUpstream } from '#proxy/upstream/undici.ts';
import { closeInOrder } from './close.ts';
import type { ConfigSource } from './config-source.ts';
import { sha256 } from './key-hash.ts';
import { type LimitSeeds, limitSeeds } from './limit-seeds.ts';
import { startRecovering } from './recovering.ts';
import { startSweeping } from './sweeping.ts';

export interface GatewayRoleOptions {
  config: ConfigSource;
  dataDir: string;
  redisUrl: string | null;
  namespace: string;
  /** The billing role: where events go and policies come from without Redis. */
  billing: { url: string; token: string };
  /** Of the operator, who may see what calls hold. */
  adminToken: string;
  telemetry: Telemetry;
  log: Log;
  clock: Clock;
}

export interface RunningRole {
  url: string;
  /** Drains, makes everything durable, and lets go of all it holds. */
  close(): Promise<void>;
}

/** What differs between a gateway alone and several on one Redis. */
interface Backing {
  policies: Policies;
  sink: Sink;
  /** Brings the journal to billing, or to Redis when it was away. */
  shipper: Shipper;
  counters: CounterStore;
  stored: Stored;
  feed: PolicyFeed;
  /** What the first call would have to wait for. */
  prepare(): Promise<void>;
  ready(): Promise<boolean>;
  close(): Promise<void>;
}

export async function startGatewayRole(options: GatewayRoleOptions): Promise<RunningRole> {
  const { config, telemetry, clock, log } = options;
  const settings = config.current.gateway;
  const journal = await openJournal({
    dir: join(options.dataDir, 'journal'),
    settings: settings.journal,
    now: clock,
    log,
  });
  const table = policyTable();
  const policiesOf = ({ customers }: Config): KeyPolicy[] => customers.flatMap((customer) => customer.keys);
  const first = config.current;
  table.replace('config', policiesOf(first));

  const backing = options.redisUrl
    ? redisBacking(options, options.redisUrl, journal, table)
    : localBacking(options, journal, table);
  const recovering = startRecovering({ journal, stored: backing.stored, sink: backing.sink, log });
  await recovering.begun;
  // A key that was made in billing must not be unknown for the moment that a restart takes.
  await Promise.all([backing.prepare(), Promise.race([backing.feed.ready, elapsed(PREPARE_MS)])]);

  const upstream = undiciUpstream();
  const tokens = tiktokenCounter();
  const gateway = new Gateway({
    config: first,
    policies: backing.policies,
    counters: backing.counters,
    tokens,
    sink: backing.sink,
    upstream,
    stored: { ...backing.stored, handedOver: (id) => journal.abandoned(id) },
    observer: telemetry.observer,
    metrics: telemetry.scrape,
    hash: sha256,
    operatorHash: sha256(options.adminToken),
    // With a journal that takes no openings, no metered call is taken.
    ready: async () => journal.fault === undefined && (await backing.ready()),
    clock,
    random: Math.random,
    googleTokens: googleTokens(),
  });
  gateway.killSwitch.follow(table);
  const heart = setInterval(() => gateway.beat(), BEAT_MS);
  gateway.beat();
  const take = async (next: Config): Promise<void> => {
    table.replace('config', policiesOf(next));
    gateway.use(next);
    telemetry.use(next);
  };
  config.onChange(take);
  // One that came while the role started.
  if (config.current !== first) await take(config.current);
  telemetry.gauges(gatewayGauges({ gateway, journal, shipper: backing.shipper }));
  gateway.reconciler?.start();
  const listener = await listen(gateway, settings);
  return {
    url: reachable(addressOf(listener)),
    async close() {
      // Both at once: no new connections, and on those that are open no new calls.
      const closed = listener.close();
      await closeInOrder([
        () => gateway.drain(config.current.gateway.shutdownTimeoutMs),
        async () => {
          const cut = setTimeout(() => listener.cut(), LAST_BYTES_MS);
          await closed;
          clearTimeout(cut);
        },
        async () => clearInterval(heart),
        async () => {
          recovering.stop();
          await gateway.reconciler?.stop();
        },
        () => upstream.close(),
        () => tokens.close(),
        () => backing.close(),
        () => within(JOURNAL_CLOSE_MS, journal.close(), () => new Fault('journal_unavailable')),
      ]);
    },
  };
}

/** Memory and journal; events are posted to billing, policies followed there, budgets seeded from there. */
function localBacking(options: GatewayRoleOptions, journal: Journal, table: PolicyTable): Backing {
  const { clock, log } = options;
  const closing = new AbortController();
  const counters = noticedCounters(memoryCounters({ clock }), noticeTo(log));
  const shipping = httpShipping(options.billing);
  const shipper = shipJournal({ journal, ship: shipping.ship, now: clock, log });
  const feed = followHttp({
    ...options.billing,
    table,
    log,
    snapshot: snapshotFile(join(options.dataDir, 'policies.json')),
  });
  const seeds = seeded(options, { table, counters, journal, shipper, signal: closing.signal });
  const stored = sqliteStored(join(options.dataDir, 'stored.db'));
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
function redisBacking(options: GatewayRoleOptions, redisUrl: string, journal: Journal, table: PolicyTable): Backing {
  const { namespace, clock, log } = options;
  const open = (): RedisConnection =>
    openRedis(redisUrl, {
      commandTimeoutMs: options.config.current.gateway.storeTimeoutMs,
      onError: (error) => log.warn({ error: error.message }, 'Redis is away'),
    });
  const closing = new AbortController();
  const redis = open();
  const policyRedis = open();
  const counters = noticedCounters(redisCounters({ redis, namespace }), noticeTo(log));
  const sink = redisSink({ counters, journal, now: clock, log });
  const feed = followRedis({
    redis: policyRedis,
    namespace,
    table,
    log,
    snapshot: snapshotFile(join(options.dataDir, 'policies.json')),
  });
  const shipper = sink.replay;
  const sweeping = startSweeping(counters, log);
  const seeds = seeded(options, { table, counters, journal, shipper, signal: closing.signal });
  return {
    ...seeds,
    sink,
    stored: redisStored({ redis, namespace }),
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
      redis.disconnect();
      policyRedis.disconnect();
    },
  };
}

interface SeededParts {
  table: PolicyTable;
  counters: CounterStore;
  journal: Journal;
  shipper: Shipper;
  signal: AbortSignal;
}

function seeded({ billing, config, clock, log }: GatewayRoleOptions, parts: SeededParts): LimitSeeds {
  const { table, counters, journal, shipper, signal } = parts;
  return limitSeeds({
    ...billing,
    policies: table,
    counters,
    shipped: async () => {
      await journal.flush();
      await shipper.shipped();
    },
    callMs: () => callMsMax(config.current.gateway),
    clock,
    log,
    signal,
  });
}

/** Often enough for the shortest lease. */
const BEAT_MS = 1_000;
const PREPARE_MS = 3_000;
/** What clients have to take the last bytes of answers that are over. */
const LAST_BYTES_MS = 1_000;
/** A disk that hangs does not keep the process: what it did not take is estimated at the next start. */
const JOURNAL_CLOSE_MS = 3_000;
/** What is not shipped by then stays in the journal for the next start. */
const SHIP_ON_CLOSE_MS = 5_000;

function elapsed(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}

/** An address that a person can open: what listens everywhere is found on loopback. */
export function reachable(url: string): string {
  return url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:');
}

function addressOf({ host, port }: { host: string; port: number }): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
