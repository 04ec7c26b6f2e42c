import { afterAll, beforeAll, expect, it } from 'vitest';
import { findCustomer } from '#billing/customers/customer.ts';
import type { Database } from '#billing/db/database.ts';
import type { CustomerConfig, PlanConfig } from '#config/config.ts';
import { Fault } from '#core/fault.ts';
import { SILENT } from '#core/log.ts';
import { type TestDatabase, testDatabase } from '#test/support/database.ts';
import { followConfig } from './follow-config.ts';

let test: TestDatabase;
beforeAll(async () => {
  test = await testDatabase('pglite');
});
afterAll(() => test.drop());

const configOf = (name: string, planCurrency = 'USD') => {
  const plan: PlanConfig = {
    id: 'p',
    name: 'P',
    currency: planCurrency,
    interval: 'month',
    fee: '1',
    prices: [],
    charges: [],
  };
  const customer: CustomerConfig = {
    ...{ id: 'acme', name, timezone: 'UTC', currency: planCurrency, plan: 'p' },
    ...{ limits: [], keys: [] },
  };
  return { customers: [customer], meters: [], plans: [plan] };
};

/** A follower of a database whose transactions, by their number from 1, wait for or fail with what the story says. */
function follower(story: (transaction: number) => Promise<void> | undefined) {
  let count = 0;
  let resolve: () => void = () => undefined;
  let tell: () => void = () => undefined;
  const db: Database = {
    ...test.db,
    transaction: async (work) => {
      await story(++count);
      return test.db.transaction(work);
    },
  };
  const follow = followConfig({
    ...{
      db,
      clock: () => Date.parse('2026-01-01T00:00:00Z'),
      log: { ...SILENT, error: () => tell() },
      retryMs: { min: 1, max: 2 },
    },
    onApplied: () => resolve(),
  });
  return {
    ...follow,
    applied: () => new Promise<void>((done) => (resolve = done)),
    refused: () => new Promise<void>((done) => (tell = done)),
  };
}

const nameNow = async () => (await findCustomer(test.db, 'acme'))?.name;

it('takes the configuration over when the database is back', async () => {
  const follow = follower((n) => (n < 4 ? Promise.reject(new Fault('database_unavailable')) : undefined));
  const applied = follow.applied();
  follow.take(configOf('One'));
  await applied;
  expect(await nameNow()).toBe('One');
  await follow.close();
});

it('ends with the latest, however long an older one takes', async () => {
  let go: () => void = () => undefined;
  const slow = new Promise<void>((resolve) => {
    go = resolve;
  });
  const follow = follower((n) => (n === 1 ? slow : undefined));
  const first = follow.applied();
  follow.take(configOf('Older'));
  follow.take(configOf('Skipped'));
  follow.take(configOf('Newest'));
  go();
  await first;
  expect(await nameNow()).toBe('Older');
  await follow.applied();
  expect(await nameNow()).toBe('Newest');
  await follow.close();
});

it('keeps what stood when billing refuses the new one, and takes the next', async () => {
  const follow = follower(() => undefined);
  const refused = follow.refused();
  follow.take(configOf('Refused', 'EUR'));
  await refused;
  expect(await nameNow()).toBe('Newest');
  const applied = follow.applied();
  follow.take(configOf('Right'));
  await applied;
  expect(await nameNow()).toBe('Right');
  await follow.close();
});
