import { join } from 'node:path';
import type { Config } from '#config/config.ts';
import { Fault } from '#core/fault.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import { within } from '#core/within.ts';
import { Gateway } from '#proxy/gateway.ts';
import { listen } from '#proxy/inbound/node.ts';
import { policyTable } from '#proxy/policies/policy-table.ts';
import { openJournal } from '#proxy/sink/journal/journal.ts';
import { gatewayGauges } from '#proxy/telemetry/node-gauges.ts';
import type { Telemetry } from '#proxy/telemetry/node-telemetry.ts';
import { tiktokenCounter } from '#proxy/tokens/tiktoken-node.ts';
import { googleTokens } from '#proxy/upstream/google-node.ts';
import { nodeDialer } from '#proxy/upstream/socket-node.ts';
import { undiciUpstream } from '#proxy/upstream/undici.ts';
import { reachable } from './address.ts';
import { type BackingOptions, elapsed, localBacking, redisBacking } from './backing.ts';
import { closeInOrder } from './close.ts';
import { sha256 } from './key-hash.ts';
import { startRecovering } from './recovering.ts';

export interface GatewayRoleOptions extends BackingOptions {
  redisUrl: string | null;
  /** Of the operator, who may see what calls hold. */
  adminToken: string;
  telemetry: Telemetry;
}

export interface RunningRole {
  url: string;
  /** Drains, makes everything durable, and lets go of all it holds. */
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
  const recovering = startRecovering({ journal, stored: backing.stored, log });
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
    dialer: nodeDialer(),
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
  if (gateway.reconciler) await Promise.race([gateway.reconciler.resume(), elapsed(PREPARE_MS)]);
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

/** Often enough for the shortest lease. */
const BEAT_MS = 1_000;
const PREPARE_MS = 3_000;
/** What clients have to take the last bytes of answers that are over. */
const LAST_BYTES_MS = 1_000;
/** A disk that hangs does not keep the process: what it did not take is estimated at the next start. */
const JOURNAL_CLOSE_MS = 3_000;

function addressOf({ host, port }: { host: string; port: number }): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
