/**
 * What the limits cost a call that has three of them: requests and tokens per minute, and a monthly budget.
 * `node bench/limits.ts`; with REDIS_URL set, or a Redis of the tests, Redis too.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { openRedis } from '#config/redis-connection.ts';
import { newId } from '#core/id.ts';
import { KEY_POLICY_VERSION, type KeyPolicy } from '#core/key-policy.ts';
import type { Counters, Reservation } from '#proxy/limits/counters.ts';
import { memoryCounters } from '#proxy/limits/memory.ts';
import { type Bound, holdsFor, usedOf } from '#proxy/limits/policy.ts';
import { redisCounters } from '#proxy/limits/redis.ts';
import { startRedis, testNamespace } from '#test/servers/redis.ts';

const limit = { scope: 'customer', currency: null, burst: null, timezone: 'Europe/Paris' } as const;
const CUSTOMERS = 100;
const POLICIES: readonly KeyPolicy[] = Array.from({ length: CUSTOMERS }, (_, i) => ({
  version: KEY_POLICY_VERSION,
  key: `key_${i}`,
  customer: `customer-${i}`,
  secretHashes: [],
  state: 'active',
  expiresAtMs: null,
  models: [],
  labels: {},
  limits: [
    { ...limit, id: 'rpm', kind: 'requests', amount: '100000000', per: 'minute' },
    { ...limit, id: 'tpm', kind: 'tokens', amount: '10000000000', per: 'minute' },
    { ...limit, id: 'monthly', kind: 'budget', amount: '9000000000000000', currency: 'USD', per: 'month' },
  ],
}));
const RATE = 2_000;
const CALL_MS = 20;
const WARM_SECONDS = 2;
const STEADY_SECONDS = 10;
const SCOPE = { model: 'gpt-4o', user: null, session: null, labels: {} };
const WORST = { inputTokens: 400n, outputTokens: 4_000n, costNanos: 30_000_000n, currency: 'USD' };
const COUNTS = { calls: 1n, input_tokens: 300n, output_tokens: 200n };
const EVENT = JSON.stringify({ id: newId('req', Date.now()), padding: 'x'.repeat(900) });

function boundOf(n: number): Bound & { reservation: Reservation } {
  const policy = POLICIES[n % CUSTOMERS] as KeyPolicy;
  const atMs = Date.now();
  const id = newId('req', atMs);
  const bound = holdsFor(policy, SCOPE, WORST, atMs);
  return { ...bound, reservation: { id, customer: policy.customer, atMs, leaseMs: 660_000, holds: bound.holds } };
}

const USE = { counts: COUNTS, costNanos: 3_000_000n, model: SCOPE.model };
const used = ({ limits, reservation }: ReturnType<typeof boundOf>) => usedOf(limits, reservation, USE);

function memory(): void {
  const counters = memoryCounters({ clock: Date.now });
  const calls = 300_000;
  const round = (n: number) => {
    const call = boundOf(n);
    if (!counters.reserve(call.reservation).admitted) throw new Error('refused');
    counters.settle(call.reservation, used(call));
  };
  for (let n = 0; n < 50_000; n++) round(n);
  const cpu = process.cpuUsage();
  const start = performance.now();
  for (let n = 0; n < calls; n++) round(n);
  const micros = ((performance.now() - start) * 1_000) / calls;
  const { user, system } = process.cpuUsage(cpu);
  console.log(
    `memory: ${micros.toFixed(2)} us a call (holds, reserve and settle), ${((user + system) / calls).toFixed(2)} us of CPU`,
  );
}

/** Two round trips that begin at a steady rate, whatever becomes of those before, the second a while after the first. */
async function steady(what: string, first: (n: number) => Promise<() => Promise<unknown>>): Promise<void> {
  const millis: number[] = [];
  const round = async (n: number): Promise<void> => {
    const start = performance.now();
    const second = await first(n);
    millis.push(performance.now() - start);
    await pause(CALL_MS);
    await second();
  };
  const run = async (seconds: number): Promise<void> => {
    const calls: Promise<void>[] = [];
    const start = performance.now();
    for (let n = 0; n < RATE * seconds; await pause(1)) {
      const due = Math.min(RATE * seconds, ((performance.now() - start) * RATE) / 1_000);
      for (; n < due; n++) calls.push(round(n));
    }
    await Promise.all(calls);
  };
  await run(WARM_SECONDS);
  millis.length = 0;
  await run(STEADY_SECONDS);
  millis.sort((a, b) => a - b);
  const at = (part: number) => (millis[Math.trunc(millis.length * part)] as number).toFixed(3);
  console.log(
    `Redis, ${RATE} calls/s for ${STEADY_SECONDS} s: ${what} p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, p99.9 ${at(0.999)} ms`,
  );
}

async function busy(counters: Counters, server: () => Promise<number>): Promise<void> {
  const calls = 20_000;
  let left = calls;
  const cpu = process.cpuUsage();
  const serverCpu = await server();
  const start = performance.now();
  await Promise.all(
    Array.from({ length: 200 }, async () => {
      while (left-- > 0) {
        const call = boundOf(left);
        if (!(await counters.reserve(call.reservation)).admitted) throw new Error('refused');
        await counters.settle(call.reservation, used(call), EVENT);
      }
    }),
  );
  const seconds = (performance.now() - start) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  const redisMicros = (((await server()) - serverCpu) * 1_000_000) / calls;
  console.log(
    `Redis, 200 callers: ${Math.round(calls / seconds)} calls/s (reserve and settle with a 1 kB event); ` +
      `a call takes ${((user + system) / calls).toFixed(1)} us of the gateway's CPU and ${redisMicros.toFixed(1)} us of Redis'`,
  );
}

memory();
const server = process.env.REDIS_URL ? undefined : await startRedis();
const redis = openRedis(process.env.REDIS_URL ?? server?.url ?? '', { onError: (error) => console.error(error) });
await new Promise((resolve) => redis.once('ready', resolve));
const counters = redisCounters({ redis, namespace: testNamespace() });
// What the machine itself makes of two round trips, in the same run.
await steady('PING', async () => {
  await redis.ping();
  return () => redis.ping();
});
await steady('admission', async (n) => {
  const call = boundOf(n);
  if (!(await counters.reserve(call.reservation)).admitted) throw new Error('refused');
  return () => Promise.resolve(counters.settle(call.reservation, used(call), EVENT));
});
await busy(counters, async () => {
  const text = await redis.info('cpu');
  const seconds = (name: string) => Number(new RegExp(`${name}:([0-9.]+)`).exec(text)?.[1]);
  return seconds('used_cpu_user') + seconds('used_cpu_sys');
});
redis.disconnect();
await server?.stop();
