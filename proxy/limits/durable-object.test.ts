import { randomUUID } from 'node:crypto';
import type { Miniflare } from 'miniflare';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { limitWarning } from '#core/limit-warning.ts';
import { countersConformance } from '#test/conformance/counters.ts';
import {
  encodeBigints,
  type Kept,
  parseBigints,
  type Step,
  type StepAnswer,
  type StepValue,
} from '#test/support/counters-steps.ts';
import type { Spent } from '#test/support/spend.ts';
import { startWorkerd } from '#test/support/workerd.ts';
import type {
  CounterState,
  CounterStore,
  Debt,
  Hold,
  LiveReservation,
  Reservation,
  ReserveAnswer,
  SettleAnswer,
} from './counters.ts';

const WORKER = 'counters';
/** What the queue was brought, by the worker that takes from it. */
const sent: string[] = [];
let queueIsDown = false;
let workerd: Miniflare;
beforeAll(async () => {
  workerd = await startWorkerd(new URL('../../test/support/counters-worker.ts', import.meta.url), {
    name: WORKER,
    durableObjects: { COUNTERS: { className: 'TestCounters', useSQLite: true } },
    serviceBindings: {
      QUEUE: async (request: { text(): Promise<string> }) => {
        if (queueIsDown) return new Response('down', { status: 503 });
        sent.push(...parseBigints<string[]>(await request.text()));
        return new Response('taken');
      },
    },
  });
});
afterAll(() => workerd.dispose());

async function askAll(steps: readonly Step[]): Promise<StepValue[]> {
  const response = await workerd.dispatchFetch('http://counters', { method: 'POST', body: encodeBigints(steps) });
  return parseBigints<StepAnswer[]>(await response.text()).map((answer) => {
    if ('error' in answer) throw Object.assign(new Error(answer.error.message), { code: answer.error.code });
    return answer.value;
  });
}

async function ask(step: Step): Promise<StepValue> {
  const [value] = await askAll([step]);
  return value;
}

/** The counters in workerd, called from here. */
function remoteCounters(clockMs: () => number | null): CounterStore {
  return {
    async reserve(reservation) {
      const { customer } = reservation;
      return (await ask({ verb: 'reserve', customer, clockMs: clockMs(), reservation })) as ReserveAnswer;
    },
    async settle(reservation, used, event = '') {
      const { customer } = reservation;
      return (await ask({ verb: 'settle', customer, clockMs: clockMs(), reservation, used, event })) as SettleAnswer;
    },
    async extend(reservation, amounts) {
      const { customer } = reservation;
      return (await ask({ verb: 'extend', customer, clockMs: clockMs(), reservation, amounts })) as ReserveAnswer;
    },
    async release(reservation) {
      await ask({ verb: 'release', customer: reservation.customer, clockMs: clockMs(), reservation });
    },
    async seed(customer, seed) {
      await ask({ verb: 'seed', customer, clockMs: clockMs(), seed });
      return true;
    },
    async listLive(customer, after, max) {
      return (await ask({ verb: 'listLive', customer, clockMs: clockMs(), after, max })) as LiveReservation[];
    },
    async listDebts(customer, after, max) {
      return (await ask({ verb: 'listDebts', customer, clockMs: clockMs(), after, max })) as Debt[];
    },
    sweep: () => 0,
    async read(customer, counter) {
      return (await ask({ verb: 'read', customer, clockMs: clockMs(), counter })) as CounterState;
    },
  };
}

countersConformance(
  'Durable Object',
  () => {
    let nowMs = 0;
    const customer = `customer-${randomUUID()}`;
    return {
      counters: remoteCounters(() => nowMs),
      customer,
      setClock: (ms) => {
        nowMs = ms;
      },
      run: askAll,
      spend: async () => (await ask({ verb: 'spend', customer, clockMs: nowMs })) as Spent,
    };
  },
  { historiesMs: 4_000 },
);

const START_MS = Date.UTC(2031, 0, 1);
const budget = (amount: bigint): Hold => ({
  kind: 'quota',
  counter: 'budget',
  amount,
  limit: 1_000n,
  expiresAtMs: START_MS + 86_400_000,
});

function scene() {
  const customer = `customer-${randomUUID()}`;
  let nowMs = START_MS;
  let made = 0;
  return {
    customer,
    counters: remoteCounters(() => nowMs),
    call: (holds: Hold[], leaseMs = 60_000): Reservation => ({
      id: `req_${++made}`,
      customer,
      atMs: START_MS,
      leaseMs,
      holds,
    }),
    pass: (ms: number) => {
      nowMs += ms;
    },
    open: (reservation: Reservation, used: bigint[], event: string) =>
      ask({ verb: 'open', customer, clockMs: nowMs, reservation, used, event }),
    ring: () => ask({ verb: 'ring', customer, clockMs: nowMs }),
    look: async () => (await ask({ verb: 'look', customer, clockMs: nowMs })) as Kept,
    sentOf: () => sent.filter((event) => event.includes(customer)),
  };
}

const eventOf = ({ id, customer }: Reservation, text = '') => JSON.stringify({ id, subject: customer, text });

test('loses nothing when the object is evicted', async () => {
  const { customer, counters, call } = scene();
  const [open, settled] = [call([budget(10n)]), call([budget(20n)])];
  await counters.reserve(open);
  await counters.reserve(settled);
  await counters.settle(settled, [7n]);
  await workerd.unsafeEvictDurableObject(WORKER, 'TestCounters', { name: customer });
  expect(await counters.read(customer, 'budget')).toEqual({ used: 7n, held: 10n });
  expect((await counters.settle(settled, [7n])).settled).toBe(false);
  expect((await counters.settle(open, [3n])).settled).toBe(true);
  expect(await counters.read(customer, 'budget')).toEqual({ used: 10n, held: 0n });
});

test('brings the event of a settled call to the queue, once however often it is settled', async () => {
  const { counters, call, sentOf } = scene();
  const first = call([budget(10n)]);
  await counters.reserve(first);
  for (let i = 0; i < 3; i++) await counters.settle(first, [7n], eventOf(first, 'ü "quoted" \n'));
  const second = call([]);
  await counters.settle(second, [], eventOf(second));
  await expect.poll(sentOf).toEqual([eventOf(first, 'ü "quoted" \n'), eventOf(second)]);
});

test('brings an event for each threshold that is reached to the queue', async () => {
  const { customer, counters, call, sentOf } = scene();
  const warned: Hold = { ...(budget(60n) as Hold & { kind: 'quota' }), limit: 100n, warnAt: [50n], currency: 'USD' };
  const first = call([warned]);
  await counters.reserve(first);
  await counters.settle(first, [55n], eventOf(first));
  const { counter } = warned;
  const about = { customer, counter, threshold: '50', amount: '100', currency: 'USD', atMs: START_MS };
  await expect.poll(sentOf).toEqual([JSON.stringify(limitWarning(about)), eventOf(first)]);
});

test('keeps events while the queue is down, over an eviction too, and sends them when it is back', async () => {
  const { customer, counters, call, sentOf, ring, look } = scene();
  const calls = Array.from({ length: 3 }, () => call([budget(10n)]));
  queueIsDown = true;
  try {
    for (const each of calls) await counters.settle(each, [1n], eventOf(each));
    expect(await look()).toMatchObject({ outbox: 3 });
    await workerd.unsafeEvictDurableObject(WORKER, 'TestCounters', { name: customer });
  } finally {
    queueIsDown = false;
  }
  await ring();
  expect(sentOf()).toEqual(calls.map((each) => eventOf(each)));
  expect(await look()).toMatchObject({ outbox: 0 });
});

test('emits and settles the estimate of a call that was opened and never closed, when its lease ends', async () => {
  const { customer, counters, call, sentOf, open, pass, ring } = scene();
  const [lost, closed, released] = [call([budget(100n)]), call([budget(100n)]), call([budget(100n)])];
  for (const each of [lost, closed, released]) {
    await counters.reserve(each);
    await open(each, [60n], eventOf(each, 'estimate'));
  }
  await counters.settle(closed, [5n], eventOf(closed));
  await counters.release(released);
  await workerd.unsafeEvictDurableObject(WORKER, 'TestCounters', { name: customer });
  pass(59_999);
  await ring();
  await expect.poll(sentOf).toEqual([eventOf(closed)]);
  pass(1);
  await ring();
  expect(sentOf()).toEqual([eventOf(closed), eventOf(lost, 'estimate')]);
  expect(await counters.read(customer, 'budget')).toEqual({ used: 65n, held: 0n });
  expect((await counters.settle(lost, [1n], eventOf(lost))).settled).toBe(false);
});

test('opens nothing for a call that is closed already', async () => {
  const { counters, call, sentOf, open, pass, ring, look } = scene();
  const first = call([budget(10n)]);
  await counters.reserve(first);
  await counters.settle(first, [1n], eventOf(first));
  await open(first, [10n], eventOf(first, 'estimate'));
  pass(600_000);
  await ring();
  expect(sentOf()).toEqual([eventOf(first)]);
  expect(await look()).toMatchObject({ openings: 0 });
});

test('rings by itself: a lease ends and its event leaves although no call comes', async () => {
  const customer = `customer-${randomUUID()}`;
  const counters = remoteCounters(() => null);
  const reservation: Reservation = { id: 'req_1', customer, atMs: 0, leaseMs: 300, holds: [] };
  await counters.reserve(reservation);
  await ask({ verb: 'open', customer, clockMs: null, reservation, used: [], event: eventOf(reservation, 'estimate') });
  const sentOf = () => sent.filter((event) => event.includes(customer));
  await expect.poll(sentOf, { timeout: 10_000 }).toEqual([eventOf(reservation, 'estimate')]);
});

test('keeps nothing of a customer that has nothing to say any more', async () => {
  const { counters, call, pass, ring, look } = scene();
  const first = call([budget(10n)]);
  await counters.reserve(first);
  await counters.settle(first, [1n], eventOf(first));
  expect(await look()).toMatchObject({ calls: 1, counters: 1 });
  pass(3_600_000);
  await ring();
  expect(await look()).toMatchObject({ calls: 0, counters: 1 });
  pass(86_400_000);
  await ring();
  expect(await look()).toEqual({});
  expect(await counters.reserve(call([]))).toMatchObject({ admitted: true });
  expect(await look()).toMatchObject({ calls: 1, counters: 0 });
});
