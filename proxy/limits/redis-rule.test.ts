import { once } from 'node:events';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRedis } from '#config/redis-connection.ts';
import { redisUrl, removeNamespace, testNamespace } from '#test/servers/redis.ts';
import { seededRandom } from '#test/support/random.ts';
import { COUNTER_MAX, type Hold, type Reservation } from './counters.ts';
import * as rule from './decide.ts';
import type { Call, HoldingCall, LimitState } from './limit-state.ts';
import { type RedisCounters, redisCounters } from './redis.ts';

/**
 * Lua against the rule itself, where the oracle of the conformance suite does not go: ends that move, sessions that come
 * back, counters that Redis has dropped and the rule has not, amounts near the largest, clocks that jump by days.
 */
const HISTORIES_MS = 2_000;
const STEPS = 120;
const START_MS = Date.UTC(2031, 0, 1);
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

const namespace = testNamespace();
let redis: Redis;
let counters: RedisCounters;
let nowMs = START_MS;
beforeAll(async () => {
  const opened = openRedis(redisUrl(), { onError: () => undefined });
  if (!(opened instanceof Redis)) throw new Error('a cluster');
  redis = opened;
  await once(redis, 'ready');
  counters = redisCounters({ redis, namespace, clock: () => nowMs });
});
afterAll(async () => {
  redis.disconnect();
  await removeNamespace(namespace);
});

/** Forgets nothing. */
function wholeState(): LimitState {
  const calls = new Map<string, Call>();
  const debts = new Set<string>();
  const live = () => {
    const found = [...calls].filter((entry): entry is [string, HoldingCall] => entry[1].state === 'live');
    return found.sort(([a, { untilMs: from }], [b, { untilMs: to }]) => from - to || (a < b ? -1 : 1));
  };
  return {
    ...{ markMs: 0, counters: new Map(), calls, debts, since: new Map() },
    dueLeases: (atMs, max) =>
      live()
        .filter(([, { untilMs }]) => untilMs <= atMs)
        .slice(0, max),
    listLive: (_, max) => live().slice(0, max),
    listDebts: (after, max) =>
      [...debts]
        .filter((name) => name > after)
        .sort()
        .slice(0, max),
  };
}

async function agree(seed: number): Promise<void> {
  const next = seededRandom(seed);
  const below = (most: number) => Math.floor(next() * most);
  const pick = <Value>(values: readonly Value[]): Value => values[below(values.length)] as Value;
  const isLarge = next() < 0.4;
  const large = () => pick([COUNTER_MAX, COUNTER_MAX - 1n, COUNTER_MAX / 2n]) - BigInt(below(3));
  const amountOf = () => (isLarge && next() < 0.4 ? large() : BigInt(below(pick([20, 1_000]))));
  const limitOf = () => (isLarge && next() < 0.6 ? large() : BigInt(1 + below(2_000)));

  const rateOf = (counter: string): (() => Hold) => {
    const [windowMs, counted, limit] = [pick([1_000, 60_000, HOUR_MS]), pick(['admission', 'settlement']), limitOf()];
    const [most, wanted] = [COUNTER_MAX / BigInt(windowMs), limitOf()];
    const soft = next() < 0.3 && ({ soft: true } as const);
    const fixed = { kind: 'rate', counter, limit, burst: wanted < most ? wanted : most, windowMs, ...soft } as const;
    return () =>
      counted === 'admission'
        ? { ...fixed, counted: 'admission', amount: BigInt(below(3)) }
        : { ...fixed, counted: 'settlement', amount: amountOf() };
  };
  const quotaOf = (counter: string): (() => Hold) => {
    const [limit, lifeMs, isSession] = [limitOf(), pick([10_000, HOUR_MS, 3 * DAY_MS, 30 * DAY_MS]), next() < 0.5];
    const soft = next() < 0.3 && ({ soft: true } as const);
    const isAsked = next() < 0.5;
    const fixed = { kind: 'quota', counter, warnAt: [limit / 2n + 1n, limit], ...soft } as const;
    return () => ({
      ...{ ...fixed, amount: amountOf(), limit: next() < 0.1 ? limitOf() : limit },
      expiresAtMs: isSession ? nowMs + lifeMs : START_MS + lifeMs + (next() < 0.2 ? HOUR_MS : 0),
      ...(isAsked && { series: { name: counter, startMs: START_MS + pick([-DAY_MS, 0, DAY_MS]) } }),
    });
  };
  const quotas = ['day', 'month', 'session'].map(quotaOf);
  const places = BigInt(1 + below(4));
  /** Many, so that they are dropped. */
  const userOf = (): Hold => {
    const counter = `user/${below(60)}`;
    return { kind: 'quota', counter, amount: amountOf(), limit: 500n, expiresAtMs: nowMs + pick([1_000, 60_000]) };
  };
  const world: (() => Hold)[] = [
    ...['a', 'b', 'c'].map(rateOf),
    () => ({ kind: 'concurrency', counter: 'at once', amount: 1n, limit: places }),
    ...[...quotas, userOf],
  ];

  const customer = `customer-${seed} {x}:state`;
  const state = wholeState();
  const calls: Reservation[] = [];
  const newCall = (): Reservation => {
    const holds = world.filter(() => next() < 0.45).map((make) => make());
    const call = {
      id: `req ${calls.length}`,
      customer,
      atMs: 0,
      leaseMs: pick([1, 1_000, 60_000, 25 * HOUR_MS]),
      holds,
    };
    calls.push(call);
    return call;
  };

  nowMs = START_MS;
  for (let step = 0; step < STEPS; step++) {
    const byMs = pick([0, 50, 50, 30_000, 30_000, 3 * HOUR_MS]);
    nowMs += below(byMs) + (next() < 0.02 ? below(4 * DAY_MS) : 0) - (next() < 0.03 ? below(2 * HOUR_MS) : 0);
    const said = `seed ${seed}, step ${step}`;
    const turn = next();
    const call = turn < 0.3 || calls.length === 0 ? newCall() : pick(calls);
    const { holds } = call;
    if (turn < 0.35) {
      expect(await counters.reserve(call), said).toEqual(rule.reserve(state, call, nowMs));
    } else if (turn < 0.5) {
      const amounts = holds.map(({ kind, amount }) => (kind === 'concurrency' || next() < 0.3 ? amount : amountOf()));
      expect(await counters.extend(call, amounts), said).toEqual(rule.extend(state, call, amounts, nowMs));
    } else if (turn < 0.77) {
      const used = holds.map(() => (next() < 0.05 ? COUNTER_MAX * 3n : amountOf()));
      expect(await counters.settle(call, used), said).toEqual(rule.settle(state, call, used, nowMs));
    } else if (turn < 0.84) {
      await counters.release(call);
      rule.release(state, call, nowMs);
    } else if (turn < 0.9) {
      const { counter, amount, ...hold } = pick(quotas)() as Hold & { kind: 'quota' };
      const { expiresAtMs, series } = hold;
      const seeded = { counter, used: amount, expiresAtMs, ...(series && { series }) };
      await counters.seed(customer, seeded);
      rule.seed(state, seeded, nowMs);
    } else if (turn < 0.96) {
      const { counter } = pick(world)();
      expect(await counters.read(customer, counter), said).toEqual(rule.read(state, counter, nowMs));
    } else {
      expect(await counters.listLive(customer, null, 10), said).toEqual(rule.listLive(state, null, 10, nowMs));
    }
  }
}

test('is the rule in Lua, whatever Redis has dropped meanwhile', { timeout: 60_000 }, async () => {
  const startMs = performance.now();
  const first = Math.floor(Math.random() * 2 ** 31);
  let histories = 0;
  while (performance.now() - startMs < HISTORIES_MS) await agree(first + histories++);
  expect(histories).toBeGreaterThan(0);
});
