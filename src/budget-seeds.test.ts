import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import type { KeyPolicy } from '#core/key-policy.ts';
import { SILENT } from '#core/log.ts';
import type { Reservation } from '#proxy/limits/counters.ts';
import { type MemoryCounters, memoryCounters } from '#proxy/limits/memory.ts';
import { holdsFor, quotaCounter } from '#proxy/limits/policy.ts';
import { type PolicyTable, policyTable } from '#proxy/policies/policy-table.ts';
import { keyPolicy, limitPolicy } from '#test/gateway/harness.ts';
import { type SeededPolicies, seededPolicies } from './budget-seeds.ts';

const NOW = Date.parse('2026-11-20T12:00:00Z');
const BUDGET = limitPolicy({
  id: 'customer/budget/month',
  kind: 'budget',
  amount: '1000',
  currency: 'USD',
  per: 'month',
});
const HASH = 'a'.repeat(64);

function policyOf(limits = [BUDGET]): KeyPolicy {
  return keyPolicy({ secretHashes: [HASH], limits });
}

/** Billing, as far as a budget asks it. */
interface Billing {
  url: string;
  spent: bigint;
  away: boolean;
  asked: number;
}

async function startBilling(): Promise<Billing> {
  const server = createServer((request, response) => {
    billing.asked++;
    const since = new URL(request.url ?? '/', 'http://billing').searchParams.get('since');
    response.statusCode = billing.away || since !== '2026-11-01T00:00:00.000Z' ? 503 : 200;
    response.end(JSON.stringify({ nanos: billing.spent.toString() }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const billing: Billing = { url: `http://127.0.0.1:${port}`, spent: 0n, away: false, asked: 0 };
  return billing;
}

interface World {
  billing: Billing;
  table: PolicyTable;
  counters: MemoryCounters;
  policies: SeededPolicies;
  used(): Promise<bigint>;
}

async function start({ shared = false, callMs = 3_600_000 } = {}): Promise<World> {
  const billing = await startBilling();
  const table = policyTable();
  table.replace('config', [policyOf()]);
  const counters = memoryCounters({ clock: () => NOW });
  const closing = new AbortController();
  onTestFinished(() => closing.abort());
  const policies = seededPolicies({
    policies: table,
    counters,
    shared,
    shipped: () => Promise.resolve(),
    callMs: () => callMs,
    url: billing.url,
    token: 'wr_api_ingest',
    clock: () => NOW + performance.now(),
    log: SILENT,
    signal: closing.signal,
  });
  const { counter } = quotaCounter(BUDGET, 'key_test', null, NOW);
  return { billing, table, counters, policies, used: async () => (await counters.read('acme', counter)).used };
}

/** What a reload does. */
async function reload({ table, policies }: World, next: KeyPolicy): Promise<void> {
  await policies.seed([next]);
  table.replace('config', [next]);
}

function reservation(id: string, nanos: bigint): Reservation {
  const worst = { inputTokens: 0n, outputTokens: 0n, costNanos: nanos, currency: 'USD' };
  const scope = { model: 'gpt-4o', user: null, session: null, labels: {} };
  return { id, customer: 'acme', atMs: NOW, leaseMs: 60_000, holds: holdsFor(policyOf(), scope, worst, NOW).holds };
}

it('has the first call under a budget wait for what billing says was spent', async () => {
  const world = await start();
  world.billing.spent = 700n;
  expect(await world.policies.find(HASH)).toBe(world.table.find(HASH));
  expect(await world.used()).toBe(700n);
  // From then on it is a plain look-up.
  expect(world.policies.find(HASH)).toBe(world.table.find(HASH));
});

it('refuses calls under a budget while billing does not say what was spent', async () => {
  const world = await start();
  world.billing.away = true;
  await expect(world.policies.find(HASH)).rejects.toMatchObject({ code: 'limits_unavailable' });
  world.billing.away = false;
  world.billing.spent = 700n;
  await vi.waitFor(async () => expect((await world.policies.find(HASH))?.key).toBe('key_test'), { timeout: 10_000 });
  expect(await world.used()).toBe(700n);
});

it('counts what was spent while a budget was taken away', async () => {
  const world = await start();
  await reload(world, policyOf());
  await reload(world, policyOf([]));
  expect(await world.policies.find(HASH)).toMatchObject({ limits: [] });
  world.billing.spent = 900n;
  await reload(world, policyOf());
  expect(world.policies.find(HASH)).toMatchObject({ limits: [BUDGET] });
  expect(await world.used()).toBe(900n);
});

it('asks nothing again and refuses nothing when a reload leaves a budget in force', async () => {
  const world = await start();
  await reload(world, policyOf());
  world.billing.away = true;
  const { asked } = world.billing;
  await reload(world, policyOf([{ ...BUDGET, amount: '2000' }]));
  expect(world.policies.find(HASH)).toMatchObject({ limits: [{ amount: '2000' }] });
  expect(world.billing.asked).toBe(asked);
});

it('counts calls that were in flight when the budget came, once they are over', async () => {
  const world = await start({ callMs: 100 });
  await reload(world, policyOf());
  expect(await world.used()).toBe(0n);
  world.billing.spent = 300n;
  await vi.waitFor(async () => expect(await world.used()).toBe(300n));
});

it('does not wait for billing where a shared store has a count, and raises it when billing is back', async () => {
  const world = await start({ shared: true });
  world.billing.away = true;
  await world.counters.reserve(reservation('req_elsewhere', 10n));
  await world.policies.seed([policyOf()]);
  expect(world.policies.find(HASH)).toMatchObject({ key: 'key_test' });
  world.billing.spent = 50n;
  world.billing.away = false;
  await vi.waitFor(async () => expect(await world.used()).toBe(50n));
});

it('waits for billing again when a shared store may have lost its counts, and has', async () => {
  const world = await start({ shared: true });
  world.billing.spent = 400n;
  await world.policies.seed([policyOf()]);
  expect(world.policies.find(HASH)).toMatchObject({ key: 'key_test' });
  const lost = vi.spyOn(world.counters, 'read').mockReturnValue({ used: 0n, held: 0n });
  world.billing.away = true;
  world.policies.doubt();
  const call = Promise.resolve(world.policies.find(HASH));
  await expect(call).rejects.toMatchObject({ code: 'limits_unavailable' });
  lost.mockRestore();
  world.billing.away = false;
  await vi.waitFor(async () => expect((await world.policies.find(HASH))?.key).toBe('key_test'), { timeout: 10_000 });
});

it('asks billing once at a time about a budget, however often the store comes and goes', async () => {
  const world = await start({ shared: true });
  world.billing.away = true;
  for (let i = 0; i < 50; i++) {
    world.policies.doubt();
    void world.policies.seed([policyOf()]);
  }
  await vi.waitFor(() => expect(world.billing.asked).toBeGreaterThan(2));
  expect(world.billing.asked).toBeLessThan(10);
});
