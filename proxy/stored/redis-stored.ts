import { readFileSync } from 'node:fs';
import type { RedisConnection } from '#config/redis-connection.ts';
import { Fault } from '#core/fault.ts';
import { customerPrefix, fileKey, looksKey, SHARDS, shardOf } from '#core/redis-keys.ts';
import { ENDED_KEPT_MS } from '../limits/limit-state.ts';
import { type Claimed, LOOK_AGE_SHARE, LOOK_MS, type OpenCall, type Stored } from './stored.ts';
import { encodeCall, encodeClosing, encodeObject, parseCall, parseClosing, parseObject } from './stored-text.ts';

/** How long it is known that a call is settled: until the journal of the gateway that took it is back. */
const FORGOTTEN_MS = ENDED_KEPT_MS;

const SCRIPTS = { keep: read('keep'), claim: read('claim'), conclude: read('conclude'), forget: read('forget') };

/**
 * For any number of gateways. All keys of a customer are in the slot of its limits, and what is due stands in one list
 * a shard. Everything rejects with `owners_unavailable` when Redis does not answer.
 */
export function redisStored({ redis, namespace }: { redis: RedisConnection; namespace: string }): Stored {
  const objectKey = (customer: string, id: string): string => `${customerPrefix(namespace, customer)}:object:${id}`;
  const callKey = (customer: string, id: string): string => `${customerPrefix(namespace, customer)}:open:${id}`;
  const looks = (customer: string): string => looksKey(namespace, shardOf(customer));
  const memberOf = ({ id, customer }: OpenCall): string => `${id} ${customer}`;

  return {
    objects: {
      async keep(object) {
        const leftMs = Math.max(1, object.keptUntilMs - Date.now());
        const { customer, id, kind, upstream } = object;
        // Known as somebody's first: nobody reaches it in between.
        if (kind === 'file') {
          const key = fileKey(namespace, id);
          await Promise.all([answered(redis.hset(key, upstream, customer)), answered(redis.pexpire(key, leftMs))]);
        }
        await answered(redis.set(objectKey(customer, id), encodeObject(object), 'PX', leftMs));
      },
      async find(customer, id) {
        const text = await answered(redis.get(objectKey(customer, id)));
        if (text === null) return undefined;
        const object = parseObject(text);
        if (object.kind !== 'file') return object;
        const owner = await answered(redis.hget(fileKey(namespace, id), object.upstream));
        return owner === null || owner === customer ? object : undefined;
      },
      async isFile(id) {
        return (await answered(redis.exists(fileKey(namespace, id)))) === 1;
      },
    },
    calls: {
      async keep(call) {
        const { id, customer, atMs } = call;
        const args = [atMs, encodeCall(call), atMs + LOOK_MS.min, memberOf(call)];
        await answered(redis.eval(SCRIPTS.keep, 2, callKey(customer, id), looks(customer), ...args));
      },
      async find(customer, id) {
        const fields = await answered(redis.hmget(callKey(customer, id), 'at', 'text', 'closing'));
        const [at, text, closing] = fields;
        if (!text) return at ? 'forgotten' : undefined;
        return claimedOf(text, closing ?? '');
      },
      async claim(nowMs, max) {
        const found: Claimed[] = [];
        // Every shard is the first one in turn.
        const first = Math.trunc(nowMs / 1_000);
        for (let i = 0; i < SHARDS && found.length < max; i++) {
          const args = [nowMs, max - found.length, LOOK_AGE_SHARE, LOOK_MS.min, LOOK_MS.max];
          const key = looksKey(namespace, (first + i) % SHARDS);
          found.push(...claimedInAnswer(await answered(redis.eval(SCRIPTS.claim, 1, key, ...args))));
        }
        return found;
      },
      async conclude(call, closing) {
        const key = callKey(call.customer, call.id);
        const text = await answered(redis.eval(SCRIPTS.conclude, 1, key, encodeClosing(closing)));
        return typeof text === 'string' ? parseClosing(text) : undefined;
      },
      async forget(call) {
        const { id, customer } = call;
        await answered(
          redis.eval(SCRIPTS.forget, 2, callKey(customer, id), looks(customer), memberOf(call), FORGOTTEN_MS),
        );
      },
    },
  };
}

function read(name: string): string {
  return readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8');
}

async function answered<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    throw new Fault('owners_unavailable', { story: 'Redis did not answer', cause });
  }
}

function claimedInAnswer(answer: unknown): Claimed[] {
  const texts = Array.isArray(answer) ? answer.map(String) : [];
  const claimed: Claimed[] = [];
  for (let i = 0; i + 1 < texts.length; i += 2) claimed.push(claimedOf(texts[i] as string, texts[i + 1] as string));
  return claimed;
}

function claimedOf(text: string, closing: string): Claimed {
  return { call: parseCall(text), closing: closing === '' ? null : parseClosing(closing) };
}
