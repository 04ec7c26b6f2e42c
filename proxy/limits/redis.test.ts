import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openRedis } from '#config/redis-connection.ts';
import { type LimitWarning, limitWarning } from '#core/limit-warning.ts';
import {
  customerPrefix,
  dueKey,
  EVENT_FIELD,
  eventStream,
  gatewaysKey,
  LIFE_FIELD,
  shardOf,
} from '#core/redis-keys.ts';
import { countersConformance } from '#test/conformance/counters.ts';
import { redisUrl, removeNamespace, startRedis, testNamespace } from '#test/servers/redis.ts';
import { spend } from '#test/support/spend.ts';
import type { CounterStore, Hold, Reservation, Seed, Standing } from './counters.ts';
import { CLOSED_KEPT_MS, LEASES_PER_STEP } from './limit-state.ts';
import { type RedisCounters, redisCounters } from './redis.ts';

const namespace = testNamespace();
const opened: { disconnect(): void }[] = [];

async function connect(url = redisUrl(), commandTimeoutMs = 1_000): Promise<Redis> {
  const redis = openRedis(url, { commandTimeoutMs, onError: () => undefined });
  if (!(redis instanceof Redis)) throw new Error('a cluster');
  opened.push(redis);
  await once(redis, 'ready');
  return redis;
}

let redis: Redis;
let counters: RedisCounters;
beforeAll(async () => {
  redis = await connect();
  counters = redisCounters({ redis, namespace });
});
afterAll(async () => {
  for (const each of opened) each.disconnect();
  await removeNamespace(namespace);
});

let nowMs = 0;
let clocked: CounterStore;
countersConformance(
  'Redis',
  () => {
    clocked ??= redisCounters({ redis, namespace, clock: () => nowMs });
    return {
      counters: clocked,
      customer: `customer-${randomUUID()}`,
      setClock: (ms) => {
        nowMs = ms;
      },
    };
  },
  { historiesMs: 4_000 },
);

function scene() {
  const customer = `customer-${randomUUID()}`;
  let made = 0;
  const call = (holds: Hold[], leaseMs = 60_000, id = `req_${++made}`): Reservation => ({
    id,
    customer,
    atMs: Date.now(),
    leaseMs,
    holds,
  });
  return { customer, call };
}

const budget = (amount: bigint, limit = 1_000n): Hold => ({
  kind: 'quota',
  counter: 'budget',
  amount,
  limit,
  expiresAtMs: Date.now() + 86_400_000,
});
const rate = (amount: bigint): Hold => ({
  kind: 'rate',
  counter: 'tokens',
  amount,
  limit: 100n,
  burst: 100n,
  windowMs: 60_000,
  counted: 'settlement',
});
const atOnce: Hold = { kind: 'concurrency', counter: 'at once', amount: 1n, limit: 5n };

async function eventsOf(customer: string, from: Redis = redis): Promise<string[]> {
  const entries = await from.xrange(eventStream(namespace, shardOf(customer)), '-', '+');
  return entries.flatMap(([, [field, event = '']]) =>
    field === EVENT_FIELD && event.includes(customer) ? [event] : [],
  );
}

test('appends the event in the step that settles, once however often it is settled', async () => {
  const { customer, call } = scene();
  const first = call([budget(10n)]);
  await counters.reserve(first);
  expect(await eventsOf(customer)).toEqual([]);
  const event = JSON.stringify({ id: first.id, subject: customer, text: 'ü "quoted" \n \u2028' });
  const answers = await Promise.all([1, 2, 3].map(() => counters.settle(first, [7n], event)));
  expect(answers.map(({ settled }) => settled)).toEqual([true, false, false]);
  const unseen = call([budget(10n)]);
  await counters.settle(unseen, [1n], JSON.stringify({ id: unseen.id, subject: customer }));
  const released = call([budget(10n)]);
  await counters.reserve(released);
  await counters.release(released);
  expect((await counters.settle(released, [1n], JSON.stringify({ id: released.id, subject: customer }))).settled).toBe(
    false,
  );
  expect(await eventsOf(customer)).toEqual([event, JSON.stringify({ id: unseen.id, subject: customer })]);
});

test('settles nothing when the event cannot be appended', async () => {
  const { customer, call } = scene();
  const other = `${namespace}-broken`;
  const broken = redisCounters({ redis, namespace: other });
  const first = call([budget(10n)]);
  await redis.set(eventStream(other, shardOf(customer)), 'no stream');
  await broken.reserve(first);
  await expect(broken.settle(first, [7n], '{}')).rejects.toMatchObject({ code: 'limits_unavailable' });
  expect(await broken.read(customer, 'budget')).toEqual({ used: 0n, held: 10n });
  await redis.del(eventStream(other, shardOf(customer)));
  expect((await broken.settle(first, [7n], '{}')).settled).toBe(true);
  await removeNamespace(other);
  expect(await counters.read(customer, 'budget')).toEqual({ used: 0n, held: 0n });
});

test('takes the clock of Redis, whatever the gateways think', async () => {
  const { customer, call } = scene();
  await counters.reserve({ ...call([rate(10n)], 50), atMs: 0 });
  await expect
    .poll(() => counters.read(customer, 'tokens'), { timeout: 5_000, interval: 20 })
    .toEqual({ used: 0n, held: 0n });
  const [seconds = 0] = await redis.time();
  const head = await redis.hgetBuffer(`${customerPrefix(namespace, customer)}:state`, '@');
  const mark = head?.readDoubleLE(0) ?? 0;
  expect(Math.abs(mark - Number(seconds) * 1_000)).toBeLessThan(5_000);
});

test('sends one command per verb, and loads a script that Redis has lost', async () => {
  const { customer, call } = scene();
  const own = await connect();
  const mine = redisCounters({ redis: own, namespace });
  const first = call([budget(10n), rate(5n), atOnce]);
  await mine.reserve(first);
  await mine.settle(first, [1n, 1n, 1n]);
  const sent: string[] = [];
  const send = own.sendCommand.bind(own);
  own.sendCommand = (command, stream) => {
    sent.push(command.name);
    return send(command, stream);
  };
  const second = call([budget(10n), rate(5n), atOnce]);
  await mine.reserve(second);
  await mine.settle(second, [1n, 1n, 1n], JSON.stringify({ subject: customer }));
  expect(sent).toEqual(['evalsha', 'evalsha']);
  await own.script('FLUSH');
  const third = call([budget(10n)]);
  expect(await mine.reserve(third)).toMatchObject({ admitted: true });
  expect(await counters.read(customer, 'budget')).toEqual({ used: 2n, held: 10n });
});

test('lets every key of a customer expire some time after its last use', async () => {
  const { customer, call } = scene();
  const holds = [budget(10n), rate(5n), atOnce];
  const [kept, ended, settled] = [call(holds), call(holds, 1), call(holds)];
  for (const each of [kept, ended, settled]) await counters.reserve(each);
  await counters.settle(settled, [1n, 1n, 1n]);
  await expect.poll(() => counters.read(customer, 'at once'), { timeout: 5_000 }).toEqual({ used: 0n, held: 1n });
  const keys = await redis.keys(`${customerPrefix(namespace, customer)}:*`);
  expect(keys.map((key) => key.slice(customerPrefix(namespace, customer).length)).sort()).toEqual([':state', ':times']);
  for (const key of keys) {
    expect(await redis.pttl(key)).toBeGreaterThan(8 * 86_400_000);
    expect(await redis.pttl(key)).toBeLessThan(11 * 86_400_000);
  }
});

test('keeps them as long as a counter says something: a rate that leaks for months, a lease until it is ended', async () => {
  const monthsMs = 90 * 86_400_000;
  const ttls = async (customer: string) => {
    const prefix = customerPrefix(namespace, customer);
    return [await redis.pttl(`${prefix}:state`), await redis.pttl(`${prefix}:times`)];
  };
  const slow: Hold = { ...rate(0n), limit: 1n, burst: 3_000n, windowMs: 3_600_000 } as Hold;
  const { customer: leaking, call } = scene();
  await counters.settle(call([slow]), [3_000n]);
  expect((await ttls(leaking))[0]).toBeGreaterThan(3_000 * 3_600_000);

  const long: Hold = { ...(budget(1n) as Hold & { kind: 'quota' }), expiresAtMs: Date.now() + monthsMs };
  const { customer: inFlight, call: left } = scene();
  const open = left([long]);
  await counters.reserve(open);
  for (const ttl of await ttls(inFlight)) expect(ttl).toBeGreaterThan(monthsMs);

  // A clock that jumped ahead by two months and is right again.
  const { customer: jumped, call: ahead } = scene();
  const startMs = Date.now();
  let atMs = startMs;
  const at = redisCounters({ redis, namespace, clock: () => atMs });
  await at.reserve(ahead([long]));
  atMs = startMs + 60 * 86_400_000;
  await at.reserve(ahead([long]));
  atMs = startMs;
  for (const key of ['state', 'times']) await redis.pexpire(`${customerPrefix(namespace, jumped)}:${key}`, 60_000);
  await at.reserve(ahead([long]));
  for (const ttl of await ttls(jumped)) expect(ttl).toBeGreaterThan(monthsMs);
});

describe('counters that say nothing any more', () => {
  const SESSIONS = 2_000;
  let nowMs = Date.now();
  const session = (i: number, customer: string, livesMs: number): Reservation => ({
    id: `req_${i}`,
    customer,
    atMs: nowMs,
    leaseMs: 60_000,
    holds: [{ kind: 'quota', counter: `session ${i}`, amount: 1n, limit: 10n, expiresAtMs: nowMs + livesMs }],
  });

  test('are dropped while others are made, some with each', async () => {
    const { customer } = scene();
    const at = redisCounters({ redis, namespace, clock: () => nowMs });
    await at.reserve({ id: 'req_here', customer, atMs: nowMs, leaseMs: 3_600_000, holds: [atOnce] });
    for (let i = 0; i < SESSIONS; i++, nowMs++) await at.settle(session(i, customer, 100), [1n]);
    // A hundred count at any time, and a seventh of that is kept beside them, more or less.
    const fields = await redis.hlen(`${customerPrefix(namespace, customer)}:state`);
    expect(fields).toBeGreaterThanOrEqual(100);
    expect(fields).toBeLessThan(250);
    expect(await at.read(customer, `session ${SESSIONS - 1}`)).toEqual({ used: 1n, held: 0n });
    expect(await at.read(customer, 'at once')).toEqual({ used: 0n, held: 1n });
  });

  test('are dropped as fast as they are made where a call makes many', async () => {
    const { customer } = scene();
    const at = redisCounters({ redis, namespace, clock: () => nowMs });
    for (let i = 0; i < 500; i++, nowMs++) {
      const call = session(i, customer, 10);
      const [hold] = call.holds as [Hold];
      const holds = Array.from({ length: 12 }, (_, n) => ({ ...hold, counter: `${hold.counter} of limit ${n}` }));
      await at.settle(
        { ...call, holds },
        holds.map(() => 1n),
      );
    }
    // 120 count at any time.
    expect(await redis.hlen(`${customerPrefix(namespace, customer)}:state`)).toBeLessThan(300);
  });

  test('are dropped with calls whose lease ended and that nobody asked for in their time', async () => {
    const { customer } = scene();
    const at = redisCounters({ redis, namespace, clock: () => nowMs });
    const prefix = customerPrefix(namespace, customer);
    for (let i = 0; i < 50; i++) await at.reserve({ ...session(i, customer, 1e10), leaseMs: 1, holds: [rate(1n)] });
    nowMs += 1;
    // The order of calls is kept for less long than counters are.
    while ((await redis.zcount(`${prefix}:times`, '-inf', 1e14)) > 0) await at.read(customer, 'tokens');
    await redis.del(`${prefix}:times`);
    for (let i = 0; i < 200; i++) await at.settle(session(1_000 + i, customer, 1e10), [1n]);
    const left = (await redis.hkeys(`${prefix}:state`)).filter((field) => field.startsWith('#'));
    expect(left.length).toBeLessThan(10);
  });

  test('are made anew as they were by a call that comes back to them', async () => {
    const { customer } = scene();
    const at = redisCounters({ redis, namespace, clock: () => nowMs });
    const late: Reservation = { id: 'req_late', customer, atMs: nowMs, leaseMs: 1, holds: [rate(10n)] };
    await at.reserve(late);
    nowMs += 1;
    expect(await at.read(customer, 'tokens')).toEqual({ used: 0n, held: 0n });
    nowMs += 3_600_000;
    await at.settle(session(0, customer, 1_000), [1n]);
    expect(await redis.hexists(`${customerPrefix(namespace, customer)}:state`, 'tokens')).toBe(0);
    expect(await at.extend(late, [10n])).toMatchObject({ admitted: true, states: [{ used: 0n, held: 10n }] });
    // Within its burst: no debt.
    expect(await at.settle(late, [20n])).toEqual({ settled: true, over: [], crossed: [] });
  });

  test('are dropped by the sweep where nobody makes others, some in each hour', async () => {
    const own = `${namespace}-quiet`;
    const at = redisCounters({ redis, namespace: own, clock: () => nowMs });
    const { customer } = scene();
    for (let i = 0; i < SESSIONS; i++) await at.settle(session(i, customer, 60_000), [1n]);
    await at.reserve(session(SESSIONS, customer, 60_000));
    const state = `${customerPrefix(own, customer)}:state`;
    expect(await redis.hlen(state)).toBeGreaterThan(SESSIONS);
    nowMs += 60_000;
    let sweeps = 0;
    while ((await redis.hlen(state)) > 256) {
      await at.sweep();
      expect(++sweeps).toBeLessThan(10);
      nowMs += 3_600_000;
    }
    await at.sweep();
    expect(await redis.zcard(dueKey(own, shardOf(customer)))).toBe(0);
    await removeNamespace(own);
  });
});

test('ends the leases of a dead gateway although nobody calls, some in each sweep', async () => {
  const { customer, call } = scene();
  const dead = Array.from({ length: 150 }, () => call([budget(2n)], 50));
  for (const each of dead) await counters.reserve(each);
  const live = call([budget(5n)]);
  await counters.reserve(live);
  const prefix = customerPrefix(namespace, customer);
  const swept: number[] = [];
  await expect
    .poll(
      async () => {
        swept.push(await counters.sweep());
        return redis.zcount(`${prefix}:times`, '-inf', Date.now() + 60_000);
      },
      { timeout: 20_000, interval: 20 },
    )
    .toBe(1);
  expect(Math.max(...swept)).toBeLessThanOrEqual(LEASES_PER_STEP * 16);
  expect(await redis.zscore(dueKey(namespace, shardOf(customer)), customer)).not.toBeNull();
  await counters.settle(live, [1n]);
  expect(await counters.read(customer, 'budget')).toEqual({ used: 301n, held: 0n });
});

test('looks at some debts in each step, however many are paid', async () => {
  const own = await connect();
  let atMs = Date.now();
  const at = redisCounters({ redis: own, namespace, clock: () => atMs });
  const { customer, call } = scene();
  const debt = (i: number, livesMs: number): Hold =>
    ({ ...budget(0n, 1n), counter: `session ${i}`, expiresAtMs: atMs + livesMs }) as Hold;
  await Promise.all(
    Array.from({ length: 2_500 }, (_, i) => at.settle(call([debt(i, i % 100 === 99 ? 10_000 : 100)]), [2n])),
  );
  atMs += 100;
  let steps = 0;
  const send = own.sendCommand.bind(own);
  own.sendCommand = (command, stream) => {
    if (command.name.startsWith('eval')) steps++;
    return send(command, stream);
  };
  const left = Array.from({ length: 25 }, (_, i) => `session ${i * 100 + 99}`).sort();
  expect((await at.listDebts(customer, '', 20)).map(({ counter }) => counter)).toEqual(left.slice(0, 20));
  expect((await at.listDebts(customer, left[19] ?? '', 20)).map(({ counter }) => counter)).toEqual(left.slice(20));
  expect(steps).toBeGreaterThan(2);
  expect(await redis.zcard(`${customerPrefix(namespace, customer)}:over`)).toBe(25);
});

test('sweeps the other shards although one cannot be', async () => {
  const own = `${namespace}-torn`;
  let atMs = Date.now();
  const at = redisCounters({ redis, namespace: own, clock: () => atMs });
  const { customer, call } = scene();
  await at.reserve(call([budget(1n)], 1_000));
  atMs += 1_000;
  for (let shard = 0; shard < 16; shard++)
    if (shard !== shardOf(customer)) await redis.set(dueKey(own, shard), 'no list');
  await expect(at.sweep()).rejects.toMatchObject({ code: 'limits_unavailable' });
  expect(await redis.zcard(dueKey(own, shardOf(customer)))).toBe(0);
  await removeNamespace(own);
});

test('looks at a customer when the first of its leases ends, though others that began before are longer', async () => {
  const own = `${namespace}-leases`;
  const startMs = Date.now();
  let atMs = startMs;
  const at = redisCounters({ redis, namespace: own, clock: () => atMs });
  const { call } = scene();
  await at.reserve(call([budget(1n)], 3_600_000));
  await at.reserve(call([budget(1n)], 1_000));
  atMs += 1_000;
  expect(await at.sweep()).toBe(1);
  expect(await at.sweep()).toBe(0);
  await removeNamespace(own);
});

test('takes one round trip to admit, one to extend and one to settle, as Redis counts them', async () => {
  const server = await startRedis();
  try {
    const own = await connect(server.url);
    const there = redisCounters({ redis: own, namespace });
    const { call } = scene();
    const calls = Array.from({ length: 20 }, () => call([budget(10n), rate(1n), atOnce].slice(0, 2)));
    await there.reserve(call([]));
    await there.extend(call([]), []);
    await there.settle(call([]), []);
    const counted = async () =>
      Object.fromEntries(
        [...(await own.info('commandstats')).matchAll(/cmdstat_(\S+):calls=(\d+)/g)].map(([, name, n]) => [
          name,
          Number(n),
        ]),
      );
    await own.config('RESETSTAT');
    for (const each of calls) {
      await there.reserve(each);
      await there.extend(each, [12n, 1n]);
      await there.settle(each, [9n, 1n], '{}');
    }
    const { evalsha, eval: whole, ...inside } = await counted();
    expect([evalsha, whole]).toEqual([60, undefined]);
    // The rest are what the scripts do inside, which costs no round trip.
    expect(Object.keys(inside)).toContain('xadd');
  } finally {
    await server.stop();
  }
});

test('two gateways with two connections each share one budget among 500 callers and never pass it', async () => {
  const { customer } = scene();
  const gateways = [redis, await connect(), await connect(), await connect()].map((each) =>
    redisCounters({ redis: each, namespace }),
  );
  const { settled, refusals } = await spend(gateways, customer);
  expect(settled).toBeLessThanOrEqual(1_000_000_000n);
  expect(settled).toBeGreaterThanOrEqual(900_000_000n);
  expect(refusals).toBeGreaterThan(0);
  expect(await gateways[0]?.read(customer, 'budget')).toEqual({ used: settled, held: 0n });
});

test('says that limits are unavailable at once without a connection, and in bounded time without an answer', async () => {
  const gone = openRedis('redis://127.0.0.1:1', { onError: () => undefined });
  opened.push(gone);
  const { call } = scene();
  const fault = { code: 'limits_unavailable', status: 503 };
  const startMs = performance.now();
  await expect(redisCounters({ redis: gone, namespace }).reserve(call([budget(1n)]))).rejects.toMatchObject(fault);
  await expect(redisCounters({ redis: gone, namespace }).settle(call([budget(1n)]), [1n])).rejects.toMatchObject(fault);
  expect(performance.now() - startMs).toBeLessThan(500);
});

test('gives back what a reserve held whose answer never came', { timeout: 60_000 }, async () => {
  const server = await startRedis();
  try {
    const node = await connect(server.url, 200);
    const there = redisCounters({ redis: node, namespace });
    const { customer, call } = scene();
    const first = call([budget(10n)]);
    await there.reserve(first);
    expect(await there.read(customer, 'budget')).toEqual({ used: 0n, held: 10n });

    // Redis stands still: what is sent meanwhile waits there and is carried out afterwards.
    await node.client('PAUSE', 1_500, 'ALL');
    const startMs = performance.now();
    const lost = call([budget(500n)]);
    await expect(there.reserve(lost)).rejects.toMatchObject({ code: 'limits_unavailable' });
    await expect(there.settle(first, [3n], '{}')).rejects.toMatchObject({ code: 'limits_unavailable' });
    expect(performance.now() - startMs).toBeLessThan(1_500);

    // The settle was carried out although nobody heard of it: the journal's replay finds it done.
    const settled = async () => (await there.settle(first, [3n], '{}')).settled;
    await expect.poll(() => settled().catch(() => undefined), { timeout: 10_000 }).toBe(false);
    await there.reserve(call([budget(1n)]));
    await expect.poll(() => there.read(customer, 'budget'), { timeout: 10_000 }).toEqual({ used: 3n, held: 1n });
  } finally {
    await server.stop();
  }
});

test('waits for an answer as long as it may, and not for one that was asked for too long ago', {
  timeout: 60_000,
}, async () => {
  const server = await startRedis();
  try {
    const node = await connect(server.url, 2_000);
    const admin = await connect(server.url, 10_000);
    await admin.client('PAUSE', 3_000, 'ALL');
    const startMs = performance.now();
    const waitsMs: number[] = [];
    const early = Promise.all([1, 2].map(() => node.get('early').catch((error: Error) => error)));
    void early.then(() => waitsMs.push(performance.now() - startMs));
    await expect.poll(() => performance.now() - startMs, { timeout: 10_000 }).toBeGreaterThan(1_500);
    const late = node.get('late');
    expect(await early).toMatchObject([{ message: 'Command timed out' }, { message: 'Command timed out' }]);
    expect(waitsMs[0]).toBeGreaterThanOrEqual(2_000);
    expect(await late).toBeNull();
    // And what is asked afterwards gets its own answer, not one that nobody waited for.
    await node.set('early', 'there');
    expect(await node.get('early')).toBe('there');
  } finally {
    await server.stop();
  }
});

test('leaves a server that has become a replica: its address may lead to the new primary by now', async () => {
  const server = await startRedis();
  try {
    const own = await connect(server.url);
    const there = redisCounters({ redis: own, namespace });
    const { call } = scene();
    expect(await there.reserve(call([budget(1n)]))).toMatchObject({ admitted: true });
    const admin = await connect(server.url);
    await admin.replicaof('127.0.0.1', '1');
    const left = once(own, 'close');
    await expect(there.reserve(call([budget(1n)]))).rejects.toMatchObject({ code: 'limits_unavailable' });
    await left;
    await admin.replicaof('NO', 'ONE');
    if (own.status !== 'ready') await once(own, 'ready');
    expect(await there.reserve(call([budget(1n)]))).toMatchObject({ admitted: true, states: [{ held: 2n }] });
  } finally {
    await server.stop();
  }
}, 60_000);

describe('a count that may have been lost', () => {
  const PERIOD = { name: 'budget/month', startMs: 0 };
  const counted = (amount: bigint): Hold => ({ ...(budget(amount) as Hold & { kind: 'quota' }), series: PERIOD });
  const seedOf = (used: bigint, as?: Standing): Seed => {
    const { counter, expiresAtMs } = budget(0n) as Hold & { kind: 'quota' };
    return { counter, used, expiresAtMs, series: PERIOD, ...(as && { as }) };
  };
  const settledCall = (id: string, customer: string, atMs: number) => {
    const { counter, expiresAtMs } = budget(0n) as Hold & { kind: 'quota' };
    return { id, customer, atMs, counts: [{ counter, expiresAtMs }] };
  };

  test('is not charged with a replayed settlement that it has never seen, and is unknown until it is seeded', async () => {
    const { customer, call } = scene();
    await counters.seed(customer, seedOf(100n));
    const first = call([counted(10n)]);
    expect(await counters.reserve(first)).toMatchObject({ admitted: true });
    await counters.settle(first, [7n], '{}', true);
    expect(await counters.standing(customer, 'budget')).toEqual({ used: 107n, mark: 1 });

    const lost = call([counted(10n)]);
    expect(await counters.settle(lost, [5n], '{}', true)).toMatchObject({ settled: true });
    expect(await counters.settle(lost, [5n], '{}', true)).toMatchObject({ settled: false });
    expect(await counters.standing(customer, 'budget')).toEqual({ used: 107n, mark: 2 });
    const next = call([counted(10n)]);
    expect(await counters.reserve(next)).toMatchObject({ admitted: false, unknown: [0] });
    await counters.seed(customer, seedOf(112n));
    expect(await counters.reserve(next)).toMatchObject({ admitted: true, unknown: [] });
    expect(await counters.read(customer, 'budget')).toEqual({ used: 112n, held: 10n });
  });

  test('is charged with a replayed settlement where nobody can say what it has used', async () => {
    const { customer, call } = scene();
    await counters.settle(call([budget(10n)]), [5n], '{}', true);
    expect(await counters.read(customer, 'budget')).toEqual({ used: 5n, held: 0n });
  });

  test('is seeded only as it was when billing was asked', async () => {
    const { customer, call } = scene();
    const as = await counters.standing(customer, 'budget');
    expect(as).toEqual({ used: 0n, mark: 0 });
    await counters.settle(call([counted(10n)]), [3n], '{}');
    expect(await counters.seed(customer, seedOf(50n, as))).toBe(false);
    expect(await counters.reserve(call([counted(1n)]))).toMatchObject({ unknown: [0] });
    const now = await counters.standing(customer, 'budget');
    expect(now).toEqual({ used: 3n, mark: 0 });
    expect(await counters.seed(customer, seedOf(53n, now))).toBe(true);
    expect(await counters.read(customer, 'budget')).toEqual({ used: 53n, held: 0n });
    await counters.settle(call([counted(1n)]), [2n], '{}', true);
    expect(await counters.seed(customer, seedOf(53n, { used: 53n, mark: 1 }))).toBe(false);
  });

  test('is in doubt when billing gets the event of a call from elsewhere that is not settled here', async () => {
    const { customer, call } = scene();
    await counters.seed(customer, seedOf(0n));
    const here = call([counted(10n)]);
    await counters.settle(here, [4n], '{}');
    await counters.doubt(settledCall(here.id, customer, Date.now()));
    expect(await counters.standing(customer, 'budget')).toEqual({ used: 4n, mark: 1 });
    await counters.doubt(settledCall('req_elsewhere', customer, Date.now()));
    expect(await counters.standing(customer, 'budget')).toEqual({ used: 4n, mark: 2 });
    // What is held can be raised all the same, and leaves the doubt.
    const live = call([counted(1n)]);
    await counters.seed(customer, seedOf(4n));
    await counters.reserve(live);
    await counters.doubt(settledCall('req_another', customer, Date.now()));
    await counters.extend(live, [2n]);
    expect(await counters.standing(customer, 'budget')).toEqual({ used: 4n, mark: 4 });
  });

  test('is not trusted by a sum that is older than its last doubt, though another gateway has ended the one before', async () => {
    const { customer, call } = scene();
    await counters.seed(customer, seedOf(5n));
    await counters.doubt(settledCall('req_lost', customer, Date.now()));
    const asked = await counters.standing(customer, 'budget');
    expect(await counters.seed(customer, seedOf(5n, asked))).toBe(true);
    await counters.doubt(settledCall('req_lost_too', customer, Date.now()));
    expect(await counters.seed(customer, seedOf(5n, asked))).toBe(false);
    expect(await counters.reserve(call([counted(1n)]))).toMatchObject({ admitted: false, unknown: [0] });
  });

  test('is asked for where a replica took over with the hold of a call and without its settlement, which gives that back', async () => {
    const { customer, call } = scene();
    await counters.seed(customer, seedOf(20n));
    const place: Hold = { kind: 'concurrency', counter: 'at-once', amount: 1n, limit: 1n };
    const lost = call([counted(10n), place]);
    await counters.reserve(lost);
    await counters.doubt(settledCall(lost.id, customer, Date.now()));
    expect(await counters.listLive(customer, null, 10)).toEqual([]);
    expect(await counters.read(customer, 'budget')).toEqual({ used: 20n, held: 0n });
    const next = call([counted(10n), place]);
    expect(await counters.reserve(next)).toMatchObject({ admitted: false, unknown: [0] });
    await counters.seed(customer, seedOf(23n));
    expect(await counters.reserve(next)).toMatchObject({ admitted: true });
    // Said again, it is no news; and neither is its settlement.
    await counters.doubt(settledCall(lost.id, customer, Date.now()));
    expect(await counters.settle(lost, [3n, 0n], '{}', true)).toMatchObject({ settled: false });
    expect(await counters.standing(customer, 'budget')).toEqual({ used: 23n, mark: 3 });
  });

  test('takes the charge of a lease back that ended before its call was found to be over', async () => {
    let nowMs = Date.now();
    const at = redisCounters({ redis, namespace, clock: () => nowMs });
    const { customer, call } = scene();
    await at.seed(customer, seedOf(20n));
    const lost = call([counted(10n)]);
    await at.reserve(lost);
    nowMs += lost.leaseMs + 1;
    expect(await at.read(customer, 'budget')).toEqual({ used: 30n, held: 0n });
    await at.doubt(settledCall(lost.id, customer, nowMs));
    expect(await at.standing(customer, 'budget')).toEqual({ used: 20n, mark: 2 });
  });

  test('is in no doubt by a call of long ago that Redis has forgotten in due time', async () => {
    const { customer } = scene();
    await counters.seed(customer, seedOf(0n));
    const shard = gatewaysKey(namespace, shardOf(customer));
    const longAgo = Date.now() - 2 * CLOSED_KEPT_MS;
    await redis.hset(shard, LIFE_FIELD, String(longAgo - CLOSED_KEPT_MS));
    await counters.doubt(settledCall('req_old', customer, longAgo));
    expect(await counters.standing(customer, 'budget')).toEqual({ used: 0n, mark: 1 });
    await redis.hset(shard, LIFE_FIELD, String(longAgo + CLOSED_KEPT_MS / 2));
    await counters.doubt(settledCall('req_old', customer, longAgo));
    expect(await counters.standing(customer, 'budget')).toEqual({ used: 0n, mark: 2 });
  });
});

test('leaves an event for each threshold in the step that reaches it, as it is everywhere', async () => {
  const { customer, call } = scene();
  const { counter, ...rest } = budget(1n) as Hold & { kind: 'quota' };
  const hold: Hold = { ...rest, counter, limit: 100n, warnAt: [50n, 90n], currency: 'USD' };
  const stream = eventStream(namespace, shardOf(customer));
  for (const used of [49n, 2n, 44n, 1n]) {
    const one = call([hold]);
    await counters.reserve(one);
    await counters.settle(one, [used]);
  }
  const entries = (await redis.xrange(stream, '-', '+')).map(([, [, text = '']]) => JSON.parse(text) as LimitWarning);
  const found = entries.filter(({ subject }) => subject === customer);
  expect(found.map(({ data }) => data.threshold)).toEqual(['50', '90']);
  for (const warning of found) {
    const { threshold } = warning.data;
    const atMs = Date.parse(warning.time);
    expect(Math.abs(atMs - Date.now())).toBeLessThan(60_000);
    expect(warning).toEqual(limitWarning({ customer, counter, threshold, amount: '100', currency: 'USD', atMs }));
  }
});

test('writes instants as everybody does, whatever the day', async () => {
  const namespaced = `${namespace}-days`;
  const days = [
    '2024-02-29T23:59:59.999Z',
    '2026-12-31T00:00:00.000Z',
    '2028-03-01T12:34:56.007Z',
    '2100-02-28T01:02:03.000Z',
  ];
  for (const day of days) {
    const at = redisCounters({ redis, namespace: namespaced, clock: () => Date.parse(day) });
    const customer = `customer-${randomUUID()}`;
    const hold = { ...(budget(1n) as Hold & { kind: 'quota' }), warnAt: [1n], expiresAtMs: Date.UTC(2200, 0, 1) };
    await at.settle({ id: 'req_1', customer, atMs: 0, leaseMs: 60_000, holds: [hold] }, [1n]);
    const entries = await redis.xrange(eventStream(namespaced, shardOf(customer)), '-', '+');
    const times = entries.map(([, [, text = '']]) => JSON.parse(text) as LimitWarning);
    expect(times.filter(({ subject }) => subject === customer).map(({ time }) => time)).toEqual([day]);
  }
  await removeNamespace(namespaced);
});

test('refuses where a proxy or a right keeps its scripts from Redis, and never counts by itself instead', async () => {
  const server = await startRedis();
  try {
    const admin = await connect(server.url);
    await admin.call('ACL', 'SETUSER', 'default', '-@scripting');
    const barred = redisCounters({ redis: await connect(server.url), namespace });
    const { call } = scene();
    for (let i = 0; i < 3; i++) {
      await expect(barred.reserve(call([budget(10n)]))).rejects.toMatchObject({ code: 'limits_unavailable' });
    }
    await admin.call('ACL', 'SETUSER', 'default', '+@scripting');
    expect(await barred.reserve(call([budget(10n)]))).toMatchObject({ admitted: true });
  } finally {
    await server.stop();
  }
});
