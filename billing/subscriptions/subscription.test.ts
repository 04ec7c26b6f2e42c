import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyConfig } from '#billing/apply-config.ts';
import { updateCustomer } from '#billing/customers/customer.ts';
import { changePlan, createPlan, planTerms } from '#billing/plans/plan.ts';
import type { PlanConfig } from '#config/config.ts';
import { SILENT } from '#core/log.ts';
import { formatInstant } from '#core/time.ts';
import { type BillingWorld, billingWorld } from '#test/support/billing-world.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { interceptedDatabase } from '#test/support/intercepted-database.ts';
import { findPeriodOfCustomer, openDuePeriods } from './period.ts';
import { listPeriods, listSubscriptions } from './store.ts';
import { changeSubscription, endSubscription, getSubscription, subscribe } from './subscription.ts';
import { listUnsubscribedUsage } from './unsubscribed.ts';

const at = (text: string) => Date.parse(text);

describe.each(DATABASE_KINDS)('a subscription on %s', (kind) => {
  let test: TestDatabase;
  let world: BillingWorld;
  beforeAll(async () => {
    test = await testDatabase(kind);
    world = billingWorld(test.db, 0);
  });
  afterAll(() => test.drop());

  const periodsOf = async (subscription: string) =>
    (await listPeriods(test.db, { subscription, before: 1_000, count: 100 })).reverse();
  const spansOf = async (subscription: string) =>
    (await periodsOf(subscription)).map((row) => `${formatInstant(row.start_at)} ${formatInstant(row.end_at)}`);
  const opened = (text: string) => {
    world.clock.nowMs = at(text);
    return openDuePeriods(test.db, world.clock.nowMs, SILENT);
  };

  it('has a period from its first instant, and the next from the end of that', async () => {
    world.clock.nowMs = at('2026-01-31T10:00:00Z');
    const { id, subscription } = await world.customer({ zone: 'Europe/Paris' });
    await opened('2026-03-30T22:00:00Z');
    expect(await spansOf(subscription.id)).toEqual([
      '2026-01-31T10:00:00.000Z 2026-02-27T23:00:00.000Z',
      '2026-02-27T23:00:00.000Z 2026-03-30T22:00:00.000Z',
      '2026-03-30T22:00:00.000Z 2026-04-29T22:00:00.000Z',
    ]);
    expect((await findPeriodOfCustomer(test.db, id, at('2026-03-30T21:59:59.999Z')))?.period_index).toBe(1);
    expect((await findPeriodOfCustomer(test.db, id, at('2026-03-30T22:00:00Z')))?.period_index).toBe(2);
  });

  it('takes the version of its plan that was in force when a period began, however late that is opened', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const { subscription } = await world.customer({ plan: { fee: '10' } });
    const change = (fee: string, now: string) => {
      const terms = planTerms.parse({ name: 'Plan', currency: 'USD', fee });
      return test.db.transaction((tx) => changePlan(tx, subscription.plan_id, terms, at(now)));
    };
    await change('11', '2026-01-15T00:00:00Z');
    await change('12', '2026-02-01T00:00:01Z');
    await opened('2026-03-05T00:00:00Z');
    expect((await periodsOf(subscription.id)).map((row) => row.plan_version)).toEqual([1, 2, 3]);
  });

  it('keeps the zone of a period when the customer moves within it', async () => {
    world.clock.nowMs = at('2026-01-31T15:00:00Z');
    const { id, subscription } = await world.customer({ zone: 'Asia/Tokyo' });
    await updateCustomer(test.db, id, { timezone: 'America/New_York' }, world.clock.nowMs);
    await opened('2026-04-01T00:00:00Z');
    expect(subscription.anchor_on).toBe('2026-02-01');
    expect((await periodsOf(subscription.id)).map((row) => row.zone)).toEqual(['Asia/Tokyo', 'America/New_York']);
    expect(await spansOf(subscription.id)).toEqual([
      '2026-01-31T15:00:00.000Z 2026-02-28T15:00:00.000Z',
      '2026-02-28T15:00:00.000Z 2026-04-01T04:00:00.000Z',
    ]);
  });

  it('changes its plan with the next period', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const { subscription } = await world.customer();
    const other = planTerms.parse({ name: 'Other', currency: 'USD' });
    await test.db.transaction((tx) => createPlan(tx, `other-${kind}`, other, world.clock.nowMs));
    // The February period has begun and nobody has opened it yet: it is one of the old plan all the same.
    world.clock.nowMs = at('2026-02-01T00:00:30Z');
    await test.db.transaction((tx) => changeSubscription(tx, subscription.id, `other-${kind}`, world.clock.nowMs));
    await opened('2026-03-01T00:00:00Z');
    expect((await periodsOf(subscription.id)).map((row) => row.plan_id)).toEqual([
      subscription.plan_id,
      subscription.plan_id,
      `other-${kind}`,
    ]);
  });

  it('ends at an instant or with its period, and then opens no more', async () => {
    world.clock.nowMs = at('2026-01-10T00:00:00Z');
    const now = await world.customer();
    const later = await world.customer();
    world.clock.nowMs = at('2026-02-20T12:00:00Z');
    const end = (id: string, when: number | 'period_end') =>
      test.db.transaction((tx) => endSubscription(tx, id, when, world.clock.nowMs));
    expect((await end(now.subscription.id, world.clock.nowMs)).end_at).toBe(world.clock.nowMs);
    expect((await end(later.subscription.id, 'period_end')).end_at).toBe(at('2026-03-10T00:00:00Z'));
    expect(await end(later.subscription.id, 'period_end')).toEqual(
      await getSubscription(test.db, later.subscription.id),
    );
    await expect(end(now.subscription.id, at('2026-03-01T00:00:00Z'))).rejects.toMatchObject({
      code: 'state_conflict',
    });
    await opened('2026-06-01T00:00:00Z');
    expect(await spansOf(now.subscription.id)).toEqual([
      '2026-01-10T00:00:00.000Z 2026-02-10T00:00:00.000Z',
      '2026-02-10T00:00:00.000Z 2026-02-20T12:00:00.000Z',
    ]);
    expect((await spansOf(later.subscription.id)).at(-1)).toBe('2026-02-10T00:00:00.000Z 2026-03-10T00:00:00.000Z');
  });

  it('is the only one of its customer at any instant', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const { id, subscription } = await world.customer();
    const again = (startMs?: number) =>
      test.db.transaction((tx) =>
        subscribe(tx, { customer: id, plan: subscription.plan_id, startMs }, world.clock.nowMs),
      );
    await expect(again()).rejects.toMatchObject({ code: 'state_conflict' });
    world.clock.nowMs = at('2026-01-20T00:00:00Z');
    await test.db.transaction((tx) => endSubscription(tx, subscription.id, 'period_end', world.clock.nowMs));
    await expect(again()).rejects.toMatchObject({ code: 'state_conflict' });
    await again(at('2026-02-01T00:00:00Z'));
  });

  it('opens its first period when that begins, with what is in force then', async () => {
    world.clock.nowMs = at('2026-01-10T00:00:00Z');
    const { id, subscription } = await world.customer({ startMs: at('2026-02-01T00:00:00Z'), plan: { fee: '10' } });
    const terms = planTerms.parse({ name: 'Plan', currency: 'USD', fee: '11' });
    await test.db.transaction((tx) => changePlan(tx, subscription.plan_id, terms, at('2026-01-20T00:00:00Z')));
    await updateCustomer(test.db, id, { timezone: 'Pacific/Honolulu' }, at('2026-01-21T00:00:00Z'));
    const expected = [{ plan_version: 2, zone: 'Pacific/Honolulu', start_at: at('2026-02-01T00:00:00Z') }];
    // Nobody has opened it yet: the preview says the same.
    expect([await findPeriodOfCustomer(test.db, id, at('2026-02-01T00:00:10Z'))]).toMatchObject(expected);
    await opened('2026-02-01T00:00:30Z');
    expect(await periodsOf(subscription.id)).toMatchObject(expected);
    expect(await spansOf(subscription.id)).toEqual(['2026-02-01T00:00:00.000Z 2026-02-28T10:00:00.000Z']);
  });

  it('takes another plan before it begins, and bills nothing when it is ended before', async () => {
    world.clock.nowMs = at('2026-01-10T00:00:00Z');
    const startMs = at('2026-02-01T00:00:00Z');
    const changed = await world.customer({ startMs });
    const { subscription: other } = await world.customer();
    await test.db.transaction((tx) =>
      changeSubscription(tx, changed.subscription.id, other.plan_id, world.clock.nowMs),
    );
    const ended: string[] = [];
    for (const when of ['period_end', world.clock.nowMs, startMs] as const) {
      const { id, subscription } = await world.customer({ startMs });
      const end = () => test.db.transaction((tx) => endSubscription(tx, subscription.id, when, world.clock.nowMs));
      expect((await end()).end_at).toBe(startMs);
      expect((await end()).end_at).toBe(startMs);
      // Its customer is free for another.
      await test.db.transaction((tx) => subscribe(tx, { customer: id, plan: other.plan_id }, world.clock.nowMs));
      ended.push(subscription.id);
    }
    await opened('2026-04-15T00:00:00Z');
    expect((await periodsOf(changed.subscription.id))[0]?.plan_id).toBe(other.plan_id);
    for (const subscription of ended) expect(await periodsOf(subscription)).toEqual([]);
  });

  it('ends with the period before when that is the instant at which a period has just begun', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const { subscription } = await world.customer();
    await opened('2026-02-01T00:00:00Z');
    const { end_at } = await test.db.transaction((tx) =>
      endSubscription(tx, subscription.id, world.clock.nowMs, world.clock.nowMs),
    );
    expect(end_at).toBe(world.clock.nowMs);
    await opened('2026-05-01T00:00:00Z');
    expect(await spansOf(subscription.id)).toEqual(['2026-01-01T00:00:00.000Z 2026-02-01T00:00:00.000Z']);
  });

  it('leaves usage before, between and after in the list of what nobody is billed for', async () => {
    world.clock.nowMs = at('2026-05-03T10:30:00Z');
    const { id, subscription } = await world.customer({ startMs: at('2026-05-01T10:30:00Z') });
    await test.db.transaction((tx) => endSubscription(tx, subscription.id, world.clock.nowMs, world.clock.nowMs));
    for (const [time, tokens] of [
      ['2026-05-01T09:59:00Z', '1'],
      ['2026-05-01T10:29:59.999Z', '2'],
      ['2026-05-01T10:30:00Z', '1000'],
      ['2026-05-02T11:00:00Z', '2000'],
      ['2026-05-03T10:29:59.999Z', '3000'],
      ['2026-05-03T10:30:00Z', '4'],
      ['2026-05-03T12:00:00Z', '8'],
    ] as const) {
      await world.use(id, at(time), { input_tokens: tokens });
    }
    const from = at('2026-05-01T00:00:00Z');
    const page = { after: undefined, count: 10 };
    expect(await listUnsubscribedUsage(test.db, from, at('2026-05-04T00:00:00Z'), page)).toEqual([
      { customer: id, unit: 'input_tokens', quantity: '15' },
    ]);
    await expect(listUnsubscribedUsage(test.db, from, from + 1, page)).rejects.toMatchObject({
      code: 'validation_failed',
    });
  });

  it('is not made where the plan is in another currency', async () => {
    world.clock.nowMs = at('2026-01-01T00:00:00Z');
    const { id } = await world.customer({ plan: { currency: 'EUR' } });
    const { subscription } = await world.customer();
    await expect(
      test.db.transaction((tx) =>
        subscribe(
          tx,
          { customer: id, plan: subscription.plan_id, startMs: at('2026-05-01T00:00:00Z') },
          world.clock.nowMs,
        ),
      ),
    ).rejects.toMatchObject({ code: 'state_conflict' });
  });
});

describe.each(DATABASE_KINDS)('the subscriptions of the configuration on %s', (kind) => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await testDatabase(kind);
  });
  afterAll(() => test.drop());

  const plan = (id: string): PlanConfig => ({
    id,
    name: id,
    currency: 'USD',
    interval: 'month',
    fee: '1',
    prices: [],
    charges: [],
  });
  const customer = (id: string, planId: string | null) => ({
    id,
    name: id,
    timezone: 'UTC',
    currency: 'USD',
    plan: planId,
    limits: [],
    keys: [],
  });
  const apply = (text: string, ...customers: ReturnType<typeof customer>[]) =>
    applyConfig(
      test.db,
      { customers, meters: [], plans: [plan('free'), plan('growth'), { ...plan('euro'), currency: 'EUR' }] },
      at(text),
    );
  const subscriptionsOf = async (id: string) =>
    (await listSubscriptions(test.db, { customer: id, after: '', count: 10 })).map((row) => [
      row.plan_id,
      formatInstant(row.start_at),
      row.end_at && formatInstant(row.end_at),
    ]);

  it('begin when a customer gets a plan, change plans with the next period, and end with the period', async () => {
    await apply('2026-01-10T00:00:00Z', customer('acme', null));
    expect(await subscriptionsOf('acme')).toEqual([]);
    // From the beginning of the day, in which a gateway may have admitted calls already.
    await apply('2026-01-11T15:30:00Z', customer('acme', 'free'));
    await apply('2026-01-12T00:00:00Z', customer('acme', 'free'));
    expect(await subscriptionsOf('acme')).toEqual([['free', '2026-01-11T00:00:00.000Z', null]]);
    await apply('2026-01-13T00:00:00Z', customer('acme', 'growth'));
    expect(await subscriptionsOf('acme')).toEqual([['growth', '2026-01-11T00:00:00.000Z', null]]);
    await apply('2026-01-14T00:00:00Z');
    await apply('2026-01-15T00:00:00Z');
    const ended = [['growth', '2026-01-11T00:00:00.000Z', '2026-02-11T00:00:00.000Z']];
    expect(await subscriptionsOf('acme')).toEqual(ended);
    await apply('2026-03-16T00:00:00Z', customer('acme', 'free'));
    expect(await subscriptionsOf('acme')).toEqual([...ended, ['free', '2026-03-16T00:00:00.000Z', null]]);
  });

  it('go on as they were when a customer leaves the file and is back before its period ends', async () => {
    // On the 31st, which a subscription made anew on 28 February would lose.
    await apply('2026-01-31T00:00:00Z', customer('away', 'free'));
    await apply('2026-02-01T00:00:00Z');
    await apply('2026-02-02T00:00:00Z', customer('away', 'growth'));
    expect(await subscriptionsOf('away')).toEqual([['growth', '2026-01-31T00:00:00.000Z', null]]);
    // Gone for good: nothing is billed for after the period that ran then.
    await apply('2026-02-03T00:00:00Z');
    expect(await subscriptionsOf('away')).toEqual([['growth', '2026-01-31T00:00:00.000Z', '2026-02-28T00:00:00.000Z']]);
  });

  it('take no lock of a customer for whom nothing changes', async () => {
    await apply('2026-02-10T00:00:00Z', customer('steady', 'free'), customer('new', null));
    const locks: string[] = [];
    const db = interceptedDatabase(test.db, async (_, what) => {
      if (what.includes('pg_advisory_xact_lock')) locks.push(what);
    });
    const plans = [plan('free'), plan('growth')];
    const config = (newPlan: string | null) => ({
      customers: [customer('steady', 'free'), customer('new', newPlan)],
      meters: [],
      plans,
    });
    await applyConfig(db, config(null), at('2026-02-11T00:00:00Z'));
    // The one statement for those that change, and they are none.
    expect(locks).toHaveLength(1);
    await applyConfig(db, config('growth'), at('2026-02-11T00:00:00Z'));
    expect(await subscriptionsOf('new')).toEqual([['growth', '2026-02-11T00:00:00.000Z', null]]);
  });

  it('end where a customer gets a plan in another currency, and follow in that', async () => {
    await apply('2026-03-10T00:00:00Z', customer('moves', 'free'));
    await apply('2026-03-20T00:00:00Z', { ...customer('moves', 'euro'), currency: 'EUR' });
    await apply('2026-03-21T00:00:00Z', { ...customer('moves', 'euro'), currency: 'EUR' });
    const both = [
      ['free', '2026-03-10T00:00:00.000Z', '2026-04-10T00:00:00.000Z'],
      ['euro', '2026-04-10T00:00:00.000Z', null],
    ];
    expect(await subscriptionsOf('moves')).toEqual(both);
    // Before that has begun it can still be taken back: without a day in euros.
    await apply('2026-03-22T00:00:00Z', customer('moves', 'free'));
    await apply('2026-03-23T00:00:00Z', customer('moves', 'free'));
    expect(await subscriptionsOf('moves')).toEqual([
      ['free', '2026-03-10T00:00:00.000Z', null],
      ['euro', '2026-04-10T00:00:00.000Z', '2026-04-10T00:00:00.000Z'],
    ]);
  });
});
