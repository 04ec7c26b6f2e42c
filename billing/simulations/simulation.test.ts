import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, sql } from '#billing/db/database.ts';
import { ingest } from '#billing/events/ingest.ts';
import { measureThePast } from '#billing/measurements/measure.ts';
import { createMeter } from '#billing/meters/meter.ts';
import { planTerms } from '#billing/plans/plan.ts';
import { meterTerms } from '#config/meter-terms.ts';
import { getExact } from '#core/exact.ts';
import { Fault } from '#core/fault.ts';
import { type BillingWorld, billingWorld } from '#test/support/billing-world.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import type { SimulationQuestion } from './question.ts';
import { createSimulation, getSimulation, runSimulations } from './simulation.ts';
import { listSimulationCustomers, sumSimulation } from './store.ts';

const START = Date.parse('2026-01-01T00:00:00Z');
const END = Date.parse('2026-02-01T00:00:00Z');
const NOTHING: SimulationQuestion = { fromMs: START, toMs: END, plans: {}, models: [], costs: [] };

describe.each(DATABASE_KINDS)('a simulation on %s', (kind) => {
  let test: TestDatabase;
  let world: BillingWorld;
  let ids: string[];
  beforeAll(async () => {
    test = await testDatabase(kind);
    world = billingWorld(test.db, START);
    const charges = [
      { meter: 'output_tokens', model: 'big', price: { kind: 'unit', amount: '2', per: '1000' } },
      { meter: 'output_tokens', price: { kind: 'unit', amount: '1', per: '1000' } },
    ];
    ids = [];
    for (const quantity of ['10000', '40000']) {
      const { id } = await world.customer({ plan: { fee: '10', charges } });
      for (const model of ['big', 'small']) {
        const quantities = { calls: '1', output_tokens: quantity };
        const cost = { amount: model === 'big' ? '5' : '1', currency: 'USD' };
        await ingest(test.db, [usageEvent({ customer: id, atMs: START + 60_000, model, quantities, cost })], START);
      }
      ids.push(id);
      world.clock.nowMs += 1; // Ids sort by time.
    }
  });
  afterAll(() => test.drop());

  const run = async (question: Partial<SimulationQuestion>) => {
    const asked = { ...NOTHING, ...question };
    const { id } = await test.db.transaction((tx) => createSimulation(tx, asked, world.clock.nowMs));
    expect(await getSimulation(test.db, id)).toMatchObject({ state: 'queued', customers: null, done: 0n });
    await runSimulations(test.db, world.clock.nowMs);
    const { state, error, done, customers } = await getSimulation(test.db, id);
    const rows = await listSimulationCustomers(test.db, id, { after: '', count: 10 });
    return { id, state, error, done, customers, rows };
  };
  const nanos = (amount: bigint) => amount * 1_000_000_000n;

  it('of nothing else finds what is', async () => {
    const { state, done, customers, rows } = await run({});
    expect({ state, done, customers }).toEqual({ state: 'done', done: 2n, customers: 2 });
    expect(rows.map((row) => [row.customer_id, row.revenue_before_nanos, row.revenue_after_nanos])).toEqual([
      [ids[0], nanos(40n), nanos(40n)],
      [ids[1], nanos(130n), nanos(130n)],
    ]);
    expect(rows[0]).toMatchObject({ periods: 1, cost_before: getExact('6'), cost_after: getExact('6'), uncosted: [] });
  });

  it('rates under other terms what was used', async () => {
    const terms = planTerms.parse({
      name: 'Other',
      currency: 'USD',
      charges: [{ meter: 'output_tokens', allowance: '30000', price: { kind: 'package', size: '1000', amount: '3' } }],
    });
    const { id, rows } = await run({ plans: { '*': { terms } } });
    // 20,000 are within the allowance; of 80,000, 50 packages are billed.
    expect(rows.map((row) => row.revenue_after_nanos)).toEqual([0n, nanos(150n)]);
    expect(await sumSimulation(test.db, id)).toMatchObject([
      { currency: 'USD', customers: 2n, revenue_before_nanos: nanos(170n), revenue_after_nanos: nanos(150n) },
    ]);
  });

  it('reads a meter that no plan names, and leaves what measures events as it is', async () => {
    const meter = {
      id: 'largest',
      name: 'Largest',
      terms: meterTerms.parse({ aggregation: 'max', unit: 'output_tokens' }),
    };
    await test.db.transaction((tx) => createMeter(tx, meter, START));
    await measureThePast(test.db);
    const feed = () => test.db.query(sql`select version from meter_feed`);
    const before = await feed();
    const charges = [{ meter: 'largest', price: { kind: 'unit', amount: '1', per: '1000' } }];
    const terms = planTerms.parse({ name: 'Largest', currency: 'USD', charges });
    const { rows } = await run({ plans: { '*': { terms } } });
    expect(rows.map((row) => row.revenue_after_nanos)).toEqual([nanos(10n), nanos(40n)]);
    expect(await feed()).toEqual(before);
  });

  it('prices and costs calls as if another model had served them', async () => {
    const { rows } = await run({
      models: [{ from: 'big', to: 'small' }],
      costs: [{ model: 'small', unit: 'output_tokens', amount: '0.05', per: '1000' }],
    });
    expect(rows[0]).toMatchObject({ revenue_before_nanos: nanos(40n), revenue_after_nanos: nanos(30n) });
    expect(rows[0]).toMatchObject({ cost_before: getExact('6'), cost_after: getExact('1'), uncosted: [] });
  });

  it('says what it has no cost or no price for', async () => {
    const terms = planTerms.parse({ name: 'Big only', currency: 'USD', charges: [] });
    const { rows, error } = await run({ models: [{ from: 'big', to: 'nobody-has-it' }], plans: { '*': { terms } } });
    expect(error).toBeNull();
    expect(rows[0]).toMatchObject({
      revenue_after_nanos: 0n,
      cost_after: getExact('1'),
      uncosted: ['nobody-has-it output_tokens'],
      unrated: ['nobody-has-it output_tokens', 'small output_tokens'],
    });
  });

  it('of one customer computes one, and of a plan that is not there fails with the reason', async () => {
    expect((await run({ customers: [ids[1] ?? ''] })).rows.map((row) => row.customer_id)).toEqual([ids[1]]);
    const { state, error, rows } = await run({ plans: { '*': { plan: 'never-made' } } });
    expect({ state, error, rows }).toEqual({ state: 'failed', error: 'There is no plan never-made.', rows: [] });
  });

  it('goes on where it was interrupted', async () => {
    const { id } = await test.db.transaction((tx) => createSimulation(tx, NOTHING, world.clock.nowMs));
    let left = 1;
    const failing: Database = {
      ...test.db,
      query: (statement) => test.db.query(statement),
      transaction: (work) => {
        if (left-- <= 0) throw new Fault('database_unavailable');
        return test.db.transaction(work);
      },
    };
    await expect(runSimulations(failing, world.clock.nowMs)).rejects.toMatchObject({ code: 'database_unavailable' });
    expect(await getSimulation(test.db, id)).toMatchObject({ state: 'running', done: 1n, customers: 2 });
    await runSimulations(test.db, world.clock.nowMs);
    expect(await getSimulation(test.db, id)).toMatchObject({ state: 'done', done: 2n });
  });
});
