import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import type { KeyPolicy, LimitPolicy } from '#core/key-policy.ts';
import { SILENT } from '#core/log.ts';
import type { Counters, Reservation, ReserveAnswer } from '#proxy/limits/counters.ts';
import { type MemoryCounters, memoryCounters } from '#proxy/limits/memory.ts';
import { type CallScope, holdsFor, quotaCounter } from '#proxy/limits/policy.ts';
import type { ModelUse } from '#proxy/limits/used-since.ts';
import type { Policies } from '#proxy/policies/policies.ts';
import { type PolicyTable, policyTable } from '#proxy/policies/policy-table.ts';
import { limitSeeds } from './limit-seeds.ts';

const NOW = Date.UTC(2026, 10, 20, 12);
const HASH = 'a'.repeat(64);
const BUDGET: LimitPolicy = {
  id: 'customer/budget/month',
  scope: 'customer',
  kind: 'budget',
  amount: '1000',
  currency: 'USD',
  per: 'month',
  burst: null,
  timezone: 'UTC',
};

function policyOf(limits = [BUDGET]): KeyPolicy {
  return {
    version: 2,
    key: 'key_test',
    customer: 'acme',
    secretHashes: [HASH],
    state: 'active',
    expiresAtMs: null,
    models: [],
    labels: {},
    limits,
  };
}

/** Billing, as far as a limit asks it. */
interface Billing {
  url: string;
  uses: ModelUse[];
  away: boolean;
  asked: URLSearchParams[];
}

const spent = (nanos: string): ModelUse[] => [
  {
    model: 'gpt-4o',
    events: '3',
    quantities: { input_tokens: '10', output_tokens: '5', calls: '3' },
    costs: [dollars(nanos)],
  },
];
const dollars = (nanos: string) => ({ amount: `0.${nanos.padStart(9, '0')}`, currency: 'USD' });

async function startBilling(): Promise<Billing> {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://billing');
    billing.asked.push(searchParams);
    response.statusCode = billing.away || pathname !== '/v1/usage/since' ? 503 : 200;
    response.end(JSON.stringify({ models: billing.uses }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const billing: Billing = { url: `http://127.0.0.1:${port}`, uses: [], away: false, asked: [] };
  return billing;
}

interface World {
  billing: Billing;
  table: PolicyTable;
  store: MemoryCounters;
  counters: Counters;
  policies: Policies;
  /** What a call of this policy is told. */
  call(limits?: LimitPolicy[], scope?: Partial<CallScope>): Promise<ReserveAnswer>;
  used(limit?: LimitPolicy, value?: string | null): bigint;
}

async function start({ callMs = 3_600_000, store = memoryCounters({ clock: () => NOW }) } = {}): Promise<World> {
  const billing = await startBilling();
  const table = policyTable();
  table.replace('config', [policyOf()]);
  const closing = new AbortController();
  onTestFinished(() => closing.abort());
  const { counters, policies } = limitSeeds({
    policies: table,
    counters: store,
    shipped: () => Promise.resolve(),
    callMs: () => callMs,
    url: billing.url,
    token: 'wr_api_ingest',
    clock: () => NOW + performance.now(),
    log: SILENT,
    signal: closing.signal,
  });
  let made = 0;
  return {
    billing,
    table,
    store,
    counters,
    policies,
    call: async (limits = [BUDGET], changes = {}) => counters.reserve(reservationOf(`req_${++made}`, limits, changes)),
    used: (limit = BUDGET, value = null) =>
      store.read('acme', quotaCounter(limit, 'key_test', value, NOW).counter).used,
  };
}

const WORST = { inputTokens: 0n, outputTokens: 0n, costNanos: 10n, currency: 'USD' };

function reservationOf(id: string, limits: LimitPolicy[], changes: Partial<CallScope> = {}): Reservation {
  const scope = { model: 'gpt-4o', user: null, session: null, labels: {}, ...changes };
  const { holds } = holdsFor(policyOf(limits), scope, WORST, NOW, true);
  return { id, customer: 'acme', atMs: NOW, leaseMs: 60_000, holds };
}

/** What a reload does, and the first call after it. */
async function reload({ table, policies }: World, limits?: LimitPolicy[]): Promise<void> {
  table.replace('config', [policyOf(limits)]);
  await policies.find(HASH);
}

it('has the first call under a budget wait for what billing says was spent, and no other', async () => {
  const world = await start();
  world.billing.uses = spent('700');
  expect(await world.call()).toMatchObject({ admitted: true, states: [{ used: 700n, held: 10n }] });
  expect(Object.fromEntries(world.billing.asked[0] ?? [])).toEqual({
    customer: 'acme',
    since: '2026-11-01T00:00:00.000Z',
  });
  // From then on it is one step of the store, which here answers at once.
  expect(world.counters.reserve(reservationOf('req_next', [BUDGET]))).toMatchObject({ admitted: true });
  expect(world.billing.asked).toHaveLength(1);
});

it('admits no call under a budget while billing does not say what was spent, and goes on by itself', async () => {
  const world = await start();
  world.billing.away = true;
  // The store has answered: it is only this limit that nobody knows.
  expect(await world.call()).toMatchObject({ admitted: false, unknown: [0] });
  const inFlight = reservationOf('req_in_flight', [BUDGET]);
  await expect(world.counters.extend(inFlight, [20n])).rejects.toMatchObject({ code: 'limits_unavailable' });
  world.billing.away = false;
  world.billing.uses = spent('700');
  await vi.waitFor(() => expect(world.used()).toBe(700n), { timeout: 10_000 });
  expect(await world.call()).toMatchObject({ admitted: true });
});

it('asks about the limits of all while one customer comes with ever new users', async () => {
  const world = await start();
  world.billing.away = true;
  const perUser: LimitPolicy = { ...BUDGET, id: 'user', by: 'user' };
  const waits = Array.from({ length: 1_000 }, (_, i) => world.call([perUser], { user: `user ${i}` }));
  expect(await world.call([perUser], { user: 'one more' })).toMatchObject({ unknown: [0] });
  world.billing.away = false;
  world.billing.uses = spent('700');
  await vi.waitFor(async () => expect(await world.call()).toMatchObject({ admitted: true }), { timeout: 20_000 });
  let tries = 0;
  const another = () => ({ ...reservationOf(`req_globex_${++tries}`, [perUser], { user: 'x' }), customer: 'globex' });
  await vi.waitFor(async () => expect(await world.counters.reserve(another())).toMatchObject({ admitted: true }), {
    timeout: 20_000,
  });
  await Promise.all(waits);
  expect(world.billing.asked.filter((query) => query.get('where')?.includes('one more'))).toEqual([]);
}, 60_000);

it('asks of each limit what it counts: key, models, labels, users, sessions, units, prices', async () => {
  const world = await start();
  world.billing.uses = [
    { model: 'gpt-4o', events: '3', quantities: { input_tokens: '10', output_tokens: '5', calls: '3' }, costs: [] },
    { model: 'claude', events: '2', quantities: { input_tokens: '100', images: '1.5' }, costs: [dollars('40')] },
  ];
  const base = { ...BUDGET, currency: null, amount: '1000000000000' };
  const limits: LimitPolicy[] = [
    { ...base, id: 'requests', kind: 'requests', per: 'day', scope: 'key' },
    { ...base, id: 'tokens', kind: 'tokens', per: 'week', models: ['claude', 'gpt-*'], labels: { team: 'a' } },
    { ...base, id: 'user', kind: 'tokens', per: 'year', by: 'user', models: ['gpt-*'] },
    { ...base, id: 'images', kind: 'quantity', unit: 'images', per: 'total', by: 'label:app' },
    { ...base, id: 'cost', kind: 'budget', currency: 'USD', per: 'session' },
    {
      ...base,
      id: 'price',
      kind: 'budget',
      currency: 'EUR',
      per: 'quarter',
      basis: 'price',
      prices: [{ unit: 'input_tokens', model: '*', amount: '1', per: '1000000000' }],
    },
  ];
  const labels = { team: 'a', app: 'x' };
  const answer = await world.call(limits, { user: 'ann', session: 's', labels });
  expect(answer).toMatchObject({ admitted: true });
  expect(answer.states.map(({ used }) => used)).toEqual([5n, 115n, 15n, 2n, 40n, 110n]);
  const asked = world.billing.asked.map((query) => [query.get('key'), query.get('since'), query.get('where')]);
  expect(new Set(asked.map((one) => JSON.stringify(one)))).toEqual(
    new Set(
      [
        ['key_test', '2026-11-20T00:00:00.000Z', null],
        [null, '2026-11-16T00:00:00.000Z', '{"labels":{"team":"a"}}'],
        [null, '2026-01-01T00:00:00.000Z', '{"user":"ann"}'],
        [null, '1970-01-01T00:00:00.000Z', '{"labels":{"app":"x"}}'],
        [null, '2026-10-21T12:00:00.000Z', '{"session":"s"}'],
        [null, '2026-10-01T00:00:00.000Z', null],
      ].map((one) => JSON.stringify(one)),
    ),
  );
  // Another user has another count; the same one has it.
  expect(await world.call(limits, { user: 'bob', session: 's', labels })).toMatchObject({ admitted: true });
  expect(world.billing.asked).toHaveLength(7);
});

it('counts what was used while a limit was taken away', async () => {
  const world = await start();
  await reload(world);
  await world.call();
  await reload(world, []);
  world.billing.uses = spent('900');
  await reload(world);
  expect(await world.call()).toMatchObject({ states: [{ used: 900n }] });
});

it('asks nothing again and refuses nothing when a reload leaves a limit in force', async () => {
  const world = await start();
  await reload(world);
  await world.call();
  world.billing.away = true;
  const next = [{ ...BUDGET, amount: '2000' }];
  await reload(world, next);
  expect(await world.call(next)).toMatchObject({ admitted: true });
  expect(world.billing.asked).toHaveLength(1);
});

it('counts calls that were in flight when the limit came, once they are over', async () => {
  const world = await start({ callMs: 100 });
  await world.call();
  expect(world.used()).toBe(0n);
  world.billing.uses = spent('300');
  await vi.waitFor(() => expect(world.used()).toBe(300n));
});

it('does not ask billing about what another gateway on the same store knows, nor about a period that began after', async () => {
  let nowMs = NOW;
  const store = memoryCounters({ clock: () => nowMs });
  const first = await start({ store });
  await first.call();
  const second = await start({ store });
  second.billing.away = true;
  expect(await second.call()).toMatchObject({ admitted: true });
  nowMs = Date.UTC(2026, 11, 3);
  const { holds } = holdsFor(policyOf(), { model: 'm', user: null, session: null, labels: {} }, WORST, nowMs, true);
  const december = { id: 'req_december', customer: 'acme', atMs: nowMs, leaseMs: 60_000, holds };
  expect(second.counters.reserve(december)).toMatchObject({ admitted: true, states: [{ used: 0n }] });
  expect(second.billing.asked).toEqual([]);
});

it('asks about sessions in the first hour of their limit only', async () => {
  let nowMs = NOW;
  const world = await start({ store: memoryCounters({ clock: () => nowMs }) });
  const limits = [{ ...BUDGET, per: 'session' as const }];
  const call = (session: string, id: string) => {
    const scope = { model: 'm', user: null, session, labels: {} };
    const { holds } = holdsFor(policyOf(limits), scope, WORST, nowMs, true);
    return world.counters.reserve({ id, customer: 'acme', atMs: nowMs, leaseMs: 60_000, holds });
  };
  for (const session of ['a', 'b']) expect(await call(session, `req_${session}`)).toMatchObject({ admitted: true });
  expect(world.billing.asked).toHaveLength(2);
  nowMs += 3_600_000;
  expect(call('c', 'req_c')).toMatchObject({ admitted: true });
  expect(world.billing.asked).toHaveLength(2);
});

it('asks billing once at a time about a count, however many calls wait for it', async () => {
  const world = await start();
  world.billing.uses = spent('100');
  const answers = await Promise.all(Array.from({ length: 50 }, () => world.call()));
  expect(answers.every(({ admitted }) => admitted)).toBe(true);
  expect(world.billing.asked).toHaveLength(1);
});
