import type { RedisConnection } from '#config/redis-connection.ts';
import { faultOf } from '#core/fault.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import type { Log } from '#core/log.ts';
import { pause } from '#core/pause.ts';
import {
  HALTS_FIELD,
  POLICY_VERSION_FIELD,
  type PolicyAnnouncement,
  policyChannel,
  policyHash,
} from '#core/redis-keys.ts';
import type { PolicyFeed } from './feed.ts';
import type { PolicyChanges } from './policy.ts';

/** How often Redis is asked whether it still has what was published: one that lost its data is filled again by then. */
const CHECK_MS = 5_000;
/** Beyond this many, gateways read everything anew instead. */
const KEYS_ANNOUNCED_MAX = 100;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;

/**
 * Compare and set: changes are applied only to what they are changes of, so two billing processes that publish at once
 * never put an older policy over a newer one. A full set replaces whatever is there, unless that is newer.
 *
 * KEYS: hash. ARGV: channel, version field, expected position ('' for a full set), epoch, version, announcement, then
 * pairs of key id and policy ('' removes). Gives 1 when applied or newer already, 0 when what is there is something else.
 */
const PUBLISH = `
local current = redis.call('hget', KEYS[1], ARGV[2]) or ''
local position = ARGV[4] .. '.' .. ARGV[5]
local epoch, version = string.match(current, '^(.*)%.(%d+)$')
if epoch == ARGV[4] and tonumber(version) >= tonumber(ARGV[5]) then return 1 end
if ARGV[3] == '' then redis.call('del', KEYS[1]) elseif current ~= ARGV[3] then return 0 end
for i = 7, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('hdel', KEYS[1], ARGV[i]) else redis.call('hset', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
redis.call('hset', KEYS[1], ARGV[2], position)
redis.call('publish', ARGV[1], ARGV[6])
return 1
`;

export interface Publisher {
  /** Resolves when nothing is under way any more. */
  close(): Promise<void>;
}

/**
 * Keeps the policies in Redis as they are in the database, after each commit and for as long as it runs. Everything at
 * the start, then changes; whatever goes wrong is healed by publishing everything again.
 */
export function publishPolicies(options: {
  feed: PolicyFeed;
  redis: RedisConnection;
  namespace: string;
  log: Log;
  checkMs?: number;
}): Publisher {
  const { feed, redis, namespace, log } = options;
  const checkMs = options.checkMs ?? CHECK_MS;
  const hash = policyHash(namespace);
  const ended = new AbortController();

  async function publish(changes: PolicyChanges, expected: string): Promise<boolean> {
    const { epoch, version } = partsOf(changes.version);
    const fields = [
      ...[HALTS_FIELD, JSON.stringify(changes.halts)],
      ...changes.policies.flatMap(fieldOf),
      ...changes.removed.flatMap((key) => [key, '']),
    ];
    const keys = [...changes.policies.map((policy) => policy.key), ...changes.removed];
    const announcement: PolicyAnnouncement = {
      from: expected === '' || keys.length > KEYS_ANNOUNCED_MAX ? null : expected,
      version: changes.version,
      keys: keys.length > KEYS_ANNOUNCED_MAX ? [] : keys,
    };
    const header = [
      policyChannel(namespace),
      POLICY_VERSION_FIELD,
      expected,
      epoch,
      version,
      JSON.stringify(announcement),
    ];
    return (await redis.eval(PUBLISH, 1, hash, ...header, ...fields)) === 1;
  }

  async function run(): Promise<void> {
    /** What Redis has, as far as we know; undefined to publish everything. */
    let published: string | undefined;
    let retryMs = RETRY_MS_MIN;
    while (!ended.signal.aborted) {
      try {
        const changes = await feed.changesAfter(published, checkMs, ended.signal);
        if (ended.signal.aborted) return;
        if (changes.version !== published) {
          const applied = await publish(changes, changes.reset ? '' : (published ?? ''));
          published = applied ? changes.version : undefined;
        } else if ((await redis.hget(hash, POLICY_VERSION_FIELD)) !== published) {
          published = undefined;
        }
        retryMs = RETRY_MS_MIN;
      } catch (thrown) {
        published = undefined;
        const fault = faultOf(thrown);
        if (fault.code === 'shutting_down') return;
        log.warn({ err: fault, retry_ms: retryMs }, 'key policies cannot be published to Redis');
        await pause(retryMs, ended.signal);
        retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
      }
    }
  }

  const running = run();
  return {
    close: async () => {
      ended.abort();
      await running;
    },
  };
}

function fieldOf(policy: KeyPolicy): [string, string] {
  return [policy.key, JSON.stringify(policy)];
}

function partsOf(position: string): { epoch: string; version: string } {
  const dot = position.lastIndexOf('.');
  return { epoch: position.slice(0, dot), version: position.slice(dot + 1) };
}
