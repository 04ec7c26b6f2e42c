import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { expect, it, onTestFinished, vi } from 'vitest';
import { customerPrefix, EVENT_FIELD, eventStream, SHARDS } from '#core/redis-keys.ts';
import type { UsageEvent } from '#core/usage-event.ts';
import { redisCounters } from '#proxy/limits/redis.ts';
import { startRedis } from '#test/servers/redis.ts';
import { temporaryFolder } from '#test/support/journal.ts';
import { sampleOpening } from '#test/support/usage.ts';
import { startChild, Witness } from './calls.ts';

const NAMESPACE = 'weir-away';

it('loses and doubles no event while Redis and the gateway die and come back, and leaves no opened call held', async () => {
  const server = await startRedis({ durable: true });
  onTestFinished(() => server.stop());
  const witness = new Witness(join(temporaryFolder(), 'witness'));
  const store = { kind: 'redis', url: server.url, namespace: NAMESPACE } as const;
  const options = { dir: temporaryFolder(), fsync: 'never', store, finish: false } as const;

  // Redis goes and comes back under a gateway that serves.
  const first = startChild(options, witness);
  await first.ready;
  for (let i = 0; i < 3; i++) {
    await calls(witness, 100);
    await server.kill();
    await moment(300);
    await server.restart();
  }
  await calls(witness, 100);
  first.process.kill('SIGKILL');
  await first.gone;

  // The gateway starts while Redis is away, and dies while it is.
  await server.kill();
  const second = startChild(options, witness);
  await second.ready;
  await server.restart();
  await calls(witness, 100);
  await server.kill();
  await moment(100);
  second.process.kill('SIGKILL');
  await second.gone;
  await server.restart();

  // Gateways that die one after the other.
  for (let i = 0; i < 6; i++) {
    const child = startChild(options, witness);
    await (i % 3 === 0 ? Promise.race([child.ready, moment(400)]) : child.ready);
    await moment(150);
    child.process.kill('SIGKILL');
    await child.gone;
  }
  const { code, lastLine } = await startChild({ ...options, finish: true }, witness).gone;
  expect(code).toBe(0);
  expect(lastLine).toBe('finished 0');

  const redis = new Redis(server.url);
  const events = await streamed(redis);
  expect(witness.countOf('closed')).toBeGreaterThan(300);
  expect(witness.faultsOf(events)).toEqual([]);
  expect(await miscounted(redis, events)).toEqual([]);
  // A gateway that died between its reserve and its opening leaves a hold that ends with its lease; no other is left.
  const held = await heldCalls(redis, new Set(events.map((event) => event.subject)));
  expect(held.filter((id) => witness.opened(id))).toEqual([]);
  redis.disconnect();

  /** Waits until so many more calls have been closed. */
  async function calls(heard: Witness, more: number): Promise<void> {
    const wanted = heard.countOf('closed') + more;
    await vi.waitFor(() => expect(heard.countOf('closed')).toBeGreaterThan(wanted), { timeout: 20_000 });
  }
}, 90_000);

async function streamed(redis: Redis): Promise<UsageEvent[]> {
  const events: UsageEvent[] = [];
  for (let shard = 0; shard < SHARDS; shard++) {
    for (const [, [field, json = '']] of await redis.xrange(eventStream(NAMESPACE, shard), '-', '+')) {
      expect(field).toBe(EVENT_FIELD);
      events.push(JSON.parse(json));
    }
  }
  return events;
}

/** Customers whose budget counts something else than what their events say. */
async function miscounted(redis: Redis, events: readonly UsageEvent[]): Promise<string[]> {
  const counters = redisCounters({ redis, namespace: NAMESPACE });
  const spent = new Map<string, bigint>();
  for (const { subject, data } of events) {
    const nanos =
      data.usage_status === 'estimated'
        ? (sampleOpening('', subject).estimatedUse[2] ?? 0n)
        : 3_000_000n + BigInt(data.quantities.output_tokens ?? 0) * 10_000n;
    spent.set(subject, (spent.get(subject) ?? 0n) + nanos);
  }
  const wrong: string[] = [];
  for (const [customer, wanted] of spent) {
    const { used } = await counters.read(customer, 'budget-per-month:2026-11');
    if (used !== wanted) wrong.push(`${customer} used ${wanted}, its budget says ${used}`);
  }
  return wrong;
}

async function heldCalls(redis: Redis, customers: ReadonlySet<string>): Promise<string[]> {
  const ids: string[] = [];
  for (const customer of customers) {
    const fields = await redis.hkeys(`${customerPrefix(NAMESPACE, customer)}:state`);
    ids.push(...fields.filter((field) => field.startsWith('#')));
  }
  return ids;
}

/** When the kill comes is what is random here. */
function moment(maxMs: number): Promise<void> {
  return pause(Math.random() * maxMs);
}
