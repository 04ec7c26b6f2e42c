import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Config } from '#config/config.ts';
import { getConfig } from '#config/load.ts';
import { openRedis } from '#config/redis-connection.ts';
import { hashSecret, newSecret } from '#config/secret.ts';
import type { WireFamily } from '#config/wires.ts';
import { SILENT } from '#core/log.ts';
import { EVENT_FIELD, eventStream, shardOf } from '#core/redis-keys.ts';
import type { UsageEvent } from '#core/usage-event.ts';
import { Gateway } from '#proxy/gateway.ts';
import { listen } from '#proxy/inbound/node.ts';
import type { CounterStore } from '#proxy/limits/counters.ts';
import { memoryCounters } from '#proxy/limits/memory.ts';
import { redisCounters } from '#proxy/limits/redis.ts';
import { policyTable } from '#proxy/policies/policy-table.ts';
import { openJournal } from '#proxy/sink/journal/journal.ts';
import { journalSink } from '#proxy/sink/journal-sink.ts';
import { redisSink } from '#proxy/sink/redis-sink.ts';
import type { Sink } from '#proxy/sink/sink.ts';
import type { TokenCounter } from '#proxy/tokens/token-counter.ts';
import { nodeDialer } from '#proxy/upstream/socket-node.ts';
import { undiciUpstream } from '#proxy/upstream/undici.ts';
import { eventOf, unshipped } from './journal-calls.ts';

/** A gateway of the real parts, in this process, in front of one upstream. */
export interface RunningGateway {
  /** Without a path: what the SDKs of most APIs take. */
  readonly origin: string;
  /** Ends in `/v1`: what OpenAI's takes. */
  readonly url: string;
  readonly secret: string;
  /** By request id: what was emitted. Each id once, or `twice` holds it. */
  readonly events: ReadonlyMap<string, UsageEvent>;
  readonly twice: readonly string[];
  /** Everything that has come to where events leave the gateway: its journal, or the stream in Redis. */
  emitted(): Promise<UsageEvent[]>;
  stop(): Promise<void>;
}

export interface RunningGatewayOptions {
  /** The upstream's address for OpenAI, with its version segment; or its addresses by wire. */
  upstreamUrl: string | Partial<Record<WireFamily, string>>;
  /** Whose models and prices apply: OpenAI's unless given. */
  provider?: string;
  /** Prices and sizes of models, as they stand in a configuration file. */
  prices?: string;
  /** Patterns of the models that the upstream serves; those of the catalogue for its provider unless given. */
  models?: readonly string[];
  /** The customer's limits, as they stand in a configuration file. */
  limits?: string;
  /** Settings of the gateway, as they stand in a configuration file. */
  gateway?: string;
  /** Counts where bounds are too coarse; without it nothing is counted. */
  tokens?: TokenCounter;
  /** Other parts than counters in memory and a journal. */
  parts?: (config: Config, folder: string) => Promise<GatewayParts>;
}

export interface GatewayParts {
  counters: CounterStore;
  sink: Sink;
  emitted(): Promise<UsageEvent[]>;
  close(): Promise<void>;
}

export const CUSTOMER = 'tester';

export async function startGateway(options: RunningGatewayOptions): Promise<RunningGateway> {
  const secret = newSecret('test');
  const config = await getConfig(await yamlOf(options, secret), { env: { UPSTREAM_KEY: 'sk-upstream' }, file: 'test' });
  const folder = await mkdtemp(join(tmpdir(), 'weir-gateway-'));
  const { counters, sink, emitted, close } = await (options.parts ?? journalParts)(config, folder);

  const events = new Map<string, UsageEvent>();
  const twice: string[] = [];
  const tapped: Sink = {
    open: (opening) => sink.open(opening),
    close: (closing) => {
      if (events.has(closing.event.id)) twice.push(closing.event.id);
      events.set(closing.event.id, closing.event);
      return sink.close(closing);
    },
    abandon: (opening) => sink.abandon(opening),
    drain: () => sink.drain(),
  };
  const policies = policyTable();
  policies.replace(
    'config',
    config.customers.flatMap(({ keys }) => keys),
  );
  const upstream = undiciUpstream();
  const gateway = new Gateway({
    config,
    policies,
    counters,
    sink: tapped,
    upstream,
    dialer: nodeDialer(),
    observer: { callStarted() {}, callEnded() {}, callRefused() {}, faulted() {} },
    hash: (text) => createHash('sha256').update(text).digest('hex'),
    ready: () => true,
    clock: Date.now,
    random: Math.random,
    ...(options.tokens && { tokens: options.tokens }),
  });
  const listener = await listen(gateway, { ...config.gateway, host: '127.0.0.1', port: 0 });
  return {
    origin: `http://127.0.0.1:${listener.port}`,
    url: `http://127.0.0.1:${listener.port}/v1`,
    secret,
    events,
    twice,
    async emitted() {
      await sink.drain();
      return emitted();
    },
    async stop() {
      const closed = listener.close();
      await gateway.drain(1_000);
      await closed;
      await upstream.close();
      await close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function yamlOf(options: RunningGatewayOptions, secret: string): Promise<string> {
  const { upstreamUrl, provider = 'openai', prices, models, limits = '[]', gateway = '{}' } = options;
  const addresses = typeof upstreamUrl === 'string' ? { openai: upstreamUrl } : upstreamUrl;
  return `
gateway: ${gateway}
upstreams:
  upstream:
    provider: ${provider}
    base_urls: ${JSON.stringify(addresses)}
    key: "\${UPSTREAM_KEY}"
    ${models ? `models: ${JSON.stringify(models)}` : ''}
${prices === undefined ? '' : `models: ${prices}`}
customers:
  ${CUSTOMER}:
    name: Tester
    limits: ${limits}
    keys:
      tester-key: { secret: "sha256:${await hashSecret(secret)}" }
`;
}

async function journalParts({ gateway }: Config, dir: string): Promise<GatewayParts> {
  const settings = { ...gateway.journal, fsync: 'never' as const };
  const journal = await openJournal({ dir, settings, now: Date.now, log: SILENT });
  const counters = memoryCounters({ clock: Date.now });
  return {
    counters,
    sink: journalSink({ counters, journal }),
    emitted: async () => (await unshipped(journal)).map(eventOf),
    close: () => journal.close(),
  };
}

/** Counters and events in Redis, as on a server; the journal stands behind it. */
export function redisParts(url: string, namespace: string): (config: Config, dir: string) => Promise<GatewayParts> {
  return async ({ gateway }, dir) => {
    const redis = openRedis(url, { onError: (error) => console.error(error) });
    await once(redis, 'ready');
    const journal = await openJournal({ dir, settings: gateway.journal, now: Date.now, log: SILENT });
    const counters = redisCounters({ redis, namespace });
    const sink = redisSink({ counters, journal, now: Date.now, log: SILENT });
    return {
      counters,
      sink,
      async emitted() {
        const entries = await redis.xrange(eventStream(namespace, shardOf(CUSTOMER)), '-', '+');
        return entries.map(([, [field, text = '']]) => {
          if (field !== EVENT_FIELD) throw new Error(`unknown field ${field}`);
          return JSON.parse(text);
        });
      },
      async close() {
        await sink.replay.stop();
        await journal.close();
        redis.disconnect();
      },
    };
  };
}
