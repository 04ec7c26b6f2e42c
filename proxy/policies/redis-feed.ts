import { duplicateRedis, type RedisConnection } from '#config/redis-connection.ts';
import { faultOf } from '#core/fault.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import type { Log } from '#core/log.ts';
import {
  HALTS_FIELD,
  POLICY_VERSION_FIELD,
  type PolicyAnnouncement,
  policyChannel,
  policyHash,
} from '#core/redis-keys.ts';
import type { PolicyFeed } from './feed.ts';
import { parseHalts, parseKeyPolicy } from './parse.ts';
import type { PolicyTable } from './policy-table.ts';
import { loadSnapshot, type Snapshot, saveSnapshot } from './snapshot.ts';

export interface RedisFeedOptions {
  redis: RedisConnection;
  namespace: string;
  table: PolicyTable;
  log: Log;
  snapshot?: Snapshot;
  /** How often the version is compared, should an announcement have been lost without anybody noticing. */
  checkMs?: number;
}

const CHECK_MS = 5_000;
/** How soon what could not be read is read again: doubles as long as it cannot. */
const RETRY_MS = { min: 50, max: 5_000 };

/**
 * Follows the key policies that billing publishes in Redis: everything at the start and after each connection that was
 * lost, then the keys that are announced. A Redis that is away or has lost its contents changes nothing here.
 */
export function followRedis(options: RedisFeedOptions): PolicyFeed {
  const { redis, namespace, table, log, snapshot } = options;
  const hash = policyHash(namespace);
  const channel = policyChannel(namespace);
  const { promise: ready, resolve: isReady } = Promise.withResolvers<void>();
  let version: string | undefined;
  let closed = false;

  async function readAll(): Promise<void> {
    const { [POLICY_VERSION_FIELD]: found, [HALTS_FIELD]: halts, ...fields } = await redis.hgetall(hash);
    if (closed) return;
    if (found === undefined) {
      log.warn({ hash }, 'Redis has no key policies; keeping the last until billing publishes them');
      return;
    }
    const policies = Object.values(fields).map(parse);
    const known = policies.filter((policy) => policy !== undefined);
    // Where some cannot be read, they may be newer forms of what we have, which stays then.
    if (known.length < policies.length) table.change('billing', known, []);
    else table.replace('billing', known);
    takeHalts(halts);
    await stand(found);
  }

  async function readAnnounced(announcement: PolicyAnnouncement): Promise<void> {
    if (announcement.version === version) return;
    if (announcement.from === null || announcement.from !== version) return readAll();
    const [halts, ...fields] = await redis.hmget(hash, HALTS_FIELD, ...announcement.keys);
    if (closed) return;
    const removed = announcement.keys.filter((_, i) => fields[i] === null);
    const known = fields.filter((field) => typeof field === 'string').map(parse);
    table.change(
      'billing',
      known.filter((policy) => policy !== undefined),
      removed,
    );
    takeHalts(halts);
    await stand(announcement.version);
  }

  /** Where they are missing or of a newer form, those that are known stay. */
  function takeHalts(text: string | null | undefined): void {
    const halts = typeof text === 'string' ? parseHalts(parseJson(text)) : undefined;
    if (halts) table.replaceHalts(halts);
  }

  async function check(): Promise<void> {
    const found = await redis.hget(hash, POLICY_VERSION_FIELD);
    if (!closed && found !== null && found !== version) await readAll();
  }

  async function stand(at: string): Promise<void> {
    const isNews = at !== version;
    version = at;
    isReady();
    if (isNews) await saveSnapshot(snapshot, table, at, log);
  }

  function parse(text: string): KeyPolicy | undefined {
    const policy = parseKeyPolicy(parseJson(text));
    if (!policy) log.warn({}, 'a key policy of a version that this gateway does not know is ignored');
    return policy;
  }

  /** One step after the other, so that an older answer never overtakes a newer one. */
  let waiting = 0;
  let retryMs = RETRY_MS.min;
  let retrying: ReturnType<typeof setTimeout> | undefined;
  let steps: Promise<void> = loadSnapshot(snapshot, table, log).then(() => {
    if (table.list('billing').length > 0) isReady();
  });
  function enqueue(step: () => Promise<void>): void {
    waiting++;
    steps = steps.then(async () => {
      try {
        if (!closed) await step();
        retryMs = RETRY_MS.min;
      } catch (thrown) {
        if (!closed) checkSoon(thrown);
      } finally {
        waiting--;
      }
    });
  }

  /** Whatever we missed, that check sees another version. */
  function checkSoon(thrown: unknown): void {
    version = undefined;
    log.warn({ err: faultOf(thrown), retry_ms: retryMs }, 'key policies cannot be read from Redis; keeping the last');
    clearTimeout(retrying);
    retrying = setTimeout(() => {
      retrying = undefined;
      if (waiting === 0) enqueue(check);
    }, retryMs);
    retryMs = Math.min(retryMs * 2, RETRY_MS.max);
  }

  const listening = duplicateRedis(redis);
  listening.on('error', (thrown: unknown) => {
    log.debug({ err: faultOf(thrown) }, 'the subscription to key policies has an error');
  });
  // Subscribed first, read then: nothing is announced in between unseen. The same after each lost connection.
  listening.on('ready', () => {
    enqueue(async () => {
      await listening.subscribe(channel);
      await readAll();
    });
  });
  listening.on('message', (_, text: string) => {
    const announcement = parseAnnouncement(text);
    enqueue(announcement ? () => readAnnounced(announcement) : readAll);
  });
  const checking = setInterval(() => {
    // Where steps wait for a Redis that is away, one more would only wait behind them.
    if (waiting === 0 && retrying === undefined) enqueue(check);
  }, options.checkMs ?? CHECK_MS);

  return {
    ready,
    close: async () => {
      closed = true;
      clearInterval(checking);
      clearTimeout(retrying);
      listening.disconnect();
    },
  };
}

function parseAnnouncement(text: string): PolicyAnnouncement | undefined {
  const value = parseJson(text);
  if (typeof value !== 'object' || value === null) return undefined;
  const { from, version, keys } = value as Record<string, unknown>;
  if ((from !== null && typeof from !== 'string') || typeof version !== 'string' || !Array.isArray(keys))
    return undefined;
  return { from, version, keys: keys.filter((key) => typeof key === 'string') };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
