import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from '#billing/db/database.ts';
import { listInvoices } from '#billing/invoices/invoice.ts';
import { SILENT } from '#core/log.ts';
import { type BillingWorld, billingWorld } from '#test/support/billing-world.ts';
import { type TestDatabase, testDatabase } from '#test/support/database.ts';
import { closeDuePeriods } from './close-periods.ts';

describe('closing what is due', () => {
  let test: TestDatabase;
  let world: BillingWorld;
  beforeAll(async () => {
    test = await testDatabase('postgres');
    world = billingWorld(test.db, Date.parse('2026-01-01T00:00:00Z'));
  });
  afterAll(() => test.drop());

  it('goes past a period that fails, says so, and closes it when it can', async () => {
    const broken = await world.customer();
    const whole = await world.customer();
    await world.use(broken.id, world.clock.nowMs, { input_tokens: '1' });
    await test.db.query(sql`
      update price set terms = jsonb_set(terms, '{per}', '"none"') where plan_id = ${broken.subscription.plan_id}`);
    world.clock.nowMs = Date.parse('2026-02-02T00:00:00Z');
    const errors: object[] = [];
    const log = { ...SILENT, error: (fields: object) => errors.push(fields) };
    const close = () => closeDuePeriods(test.db, { nowMs: world.clock.nowMs, log });
    const key = { subscription_id: broken.subscription.id, period_index: 0 };
    expect(await close()).toEqual({ invoiced: 1, empty: 0, closedBefore: 0, failed: 1 });
    expect(errors).toMatchObject([key]);
    expect(await listInvoices(test.db, { customer: whole.id, count: 9 })).toHaveLength(1);
    await test.db.query(sql`
      update price set terms = jsonb_set(terms, '{per}', '"1000000"') where plan_id = ${broken.subscription.plan_id}`);
    expect(await close()).toEqual({ invoiced: 1, empty: 0, closedBefore: 0, failed: 0 });
    expect(await close()).toEqual({ invoiced: 0, empty: 0, closedBefore: 0, failed: 0 });
  });
});
