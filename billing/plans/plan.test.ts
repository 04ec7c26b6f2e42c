import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PlanConfig } from '#config/config.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { applyPlans, changePlan, createPlan, getPlan, getPlanVersion, planTerms, termsOf } from './plan.ts';
import { listPlanVersions } from './store.ts';

const NOW = Date.UTC(2026, 10, 20);

const growth: PlanConfig = {
  id: 'growth',
  name: 'Growth',
  currency: 'USD',
  interval: 'month',
  fee: '20',
  prices: [
    { unit: 'input_tokens', model: 'gpt-*', amount: '2.5', per: '1000000' },
    { unit: 'output_tokens', model: '*', amount: '10', per: '1000000' },
  ],

  charges: [],
};

describe.each(DATABASE_KINDS)('plans on %s', (kind) => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await testDatabase(kind);
  });
  afterAll(() => test.drop());

  const apply = (configs: readonly PlanConfig[]) => test.db.transaction((tx) => applyPlans(tx, configs, NOW));

  it('of the configuration become versions: the same contents are no new one', async () => {
    expect(await apply([growth])).toEqual([{ id: 'growth', version: 1 }]);
    expect(await apply([{ ...growth, fee: '20.00' }])).toEqual([]);
    expect(await apply([{ ...growth, fee: '25' }])).toEqual([{ id: 'growth', version: 2 }]);
    expect(await apply([{ ...growth, fee: '25' }])).toEqual([]);
    expect(termsOf(await getPlan(test.db, 'growth')).feeNanos).toBe(25_000_000_000n);
  });

  it('leave their old versions and prices as they were', async () => {
    const old = await getPlanVersion(test.db, 'growth', 1);
    expect(termsOf(old).feeNanos).toBe(20_000_000_000n);
    expect(old.charges.map((charge) => [charge.unit, charge.model, charge.price])).toEqual([
      ['input_tokens', 'gpt-*', { kind: 'unit', amount: '2.5', per: '1000000' }],
      ['output_tokens', '*', { kind: 'unit', amount: '10', per: '1000000' }],
    ]);
    const latest = await getPlan(test.db, 'growth');
    expect(latest.charges[0]?.price_id).not.toBe(old.charges[0]?.price_id);
  });

  it('of the configuration are read-only elsewhere', async () => {
    const terms = planTerms.parse({ name: 'Mine', currency: 'USD' });
    await expect(test.db.transaction((tx) => changePlan(tx, 'growth', terms, NOW))).rejects.toMatchObject({
      code: 'managed_by_config',
    });
    await expect(test.db.transaction((tx) => createPlan(tx, 'growth', terms, NOW))).rejects.toMatchObject({
      code: 'already_exists',
    });
  });

  it('that leave the configuration are marked, and come back when it names them again', async () => {
    await apply([]);
    expect((await getPlan(test.db, 'growth')).removed_at).toBe(NOW);
    expect(await apply([{ ...growth, fee: '25' }])).toEqual([]);
    expect((await getPlan(test.db, 'growth')).removed_at).toBeNull();
  });

  it('keep their currency', async () => {
    await expect(apply([{ ...growth, currency: 'EUR' }])).rejects.toMatchObject({ code: 'state_conflict' });
  });

  it('say all that is wrong with their charges at once', async () => {
    const price = { kind: 'unit', amount: '1' };
    const terms = planTerms.parse({
      name: 'Odd',
      currency: 'USD',
      charges: [
        { meter: 'input_tokens', price },
        { meter: 'wishes', price },
        { meter: 'input_tokens', model: '*', price },
        { meter: 'input_tokens', model: 'gpt-4o', price },
      ],
    });
    await expect(test.db.transaction((tx) => createPlan(tx, 'odd', terms, NOW))).rejects.toMatchObject({
      code: 'validation_failed',
      issues: [{ pointer: '#/charges/1/meter' }, { pointer: '#/charges/2' }, { pointer: '#/charges/3' }],
    });
  });

  it('have a bound on what a fee or a price may be', async () => {
    const of = (fee: string, amount: string) =>
      planTerms.safeParse({
        ...{ name: 'Dear', currency: 'USD', fee },
        charges: [{ meter: 'calls', price: { kind: 'volume', tiers: [{ up_to: null, amount }] } }],
      }).success;
    expect(of('1000000000000000', '1000000000000000')).toBe(true);
    expect(of('1000000000000000.1', '1')).toBe(false);
    expect(of('1', `1${'0'.repeat(40)}`)).toBe(false);
  });

  it('changed by many at once get one version each, in a row', async () => {
    const terms = (fee: string) => planTerms.parse({ name: 'Busy', currency: 'USD', fee });
    await test.db.transaction((tx) => createPlan(tx, 'busy', terms('1'), NOW));
    await Promise.all(
      ['2', '3', '4', '5'].map((fee) => test.db.transaction((tx) => changePlan(tx, 'busy', terms(fee), NOW))),
    );
    const versions = await listPlanVersions(test.db, 'busy', 0, 100);
    expect(versions.map((row) => row.version)).toEqual([1, 2, 3, 4, 5]);
    expect(new Set(versions.map((row) => row.fee_nanos)).size).toBe(5);
  });
});
