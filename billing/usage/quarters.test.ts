import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCustomer, updateCustomer } from '#billing/customers/customer.ts';
import { type Database, sql } from '#billing/db/database.ts';
import { CORRECTION_TYPE } from '#billing/events/event-schema.ts';
import { ingest } from '#billing/events/ingest.ts';
import { repairUsage } from '#billing/repairs/repair.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { readUsage } from './usage.ts';

const at = (text: string) => Date.parse(`2026-11-${text}Z`);
const MADE = at('01T00:00');
const NOW = at('30T00:00');
const month = { startMs: MADE, endMs: at('30T00:00') };

describe.each(DATABASE_KINDS)('customers whose days begin on a quarter of an hour, on %s', (kind) => {
  let test: TestDatabase;
  let db: Database;
  beforeAll(async () => {
    test = await testDatabase(kind);
    db = test.db;
    const wanted = { name: 'K', currency: 'USD', limits: [] };
    await createCustomer(db, { ...wanted, id: 'kathmandu', timezone: 'Asia/Kathmandu' }, MADE);
    await createCustomer(db, { ...wanted, id: 'paris', timezone: 'Europe/Paris' }, MADE);
    await createCustomer(db, { ...wanted, id: 'moved', timezone: 'UTC' }, MADE);
    await updateCustomer(db, 'moved', { timezone: 'Asia/Kolkata' }, at('10T00:30'));
    const times = [
      '01T18:15',
      '02T18:14',
      '02T18:15',
      '12T18:29:59.999',
      '12T18:30',
      '12T18:44',
      '20T18:15',
      '20T19:00',
      '20T19:07',
    ];
    for (const customer of ['kathmandu', 'paris', 'moved']) {
      const events = times.map((time, i) =>
        usageEvent({ id: `${customer}-${i}`, customer, atMs: at(time), quantities: { calls: `${2 ** i}` } }),
      );
      await ingest(db, events, NOW);
    }
    const correction = {
      ...{ specversion: '1.0', id: 'fix', source: '/app', type: CORRECTION_TYPE, time: '2026-11-29T00:00:00Z' },
      data: { source: '/weir/gateway', id: 'kathmandu-6', reason: 'never happened', event: null },
    };
    expect(await ingest(db, [correction], NOW)).toMatchObject([{ status: 'accepted' }]);
  });
  afterAll(() => test.drop());

  const days = async (customer: string, zone: string) =>
    (await readUsage(db, { customer, period: month, groupBy: ['day'], zone })).flatMap(
      ({ period, quantities, events }) =>
        events === 0n ? [] : [`${new Date(period.startMs).toISOString().slice(8, 16)} ${quantities.calls} ${events}`],
    );

  it('get the same figures from quarters as from events', async () => {
    const wanted = ['01T18:15 3 2', '02T18:15 4 1', '12T18:15 56 3', '20T18:15 384 2'];
    expect(await days('kathmandu', 'Asia/Kathmandu')).toEqual(wanted);
    expect(await db.query(sql`select id, quarters_from from customer order by id`)).toEqual([
      { id: 'kathmandu', quarters_from: at('02T02:00') },
      { id: 'moved', quarters_from: at('11T02:00') },
      { id: 'paris', quarters_from: null },
    ]);
    await db.query(sql`update customer set quarters_from = null`);
    expect(await days('kathmandu', 'Asia/Kathmandu')).toEqual(wanted);
    await db.query(sql`update customer set quarters_from = '2026-11-02T02:00:00Z' where id = 'kathmandu'`);
    await db.query(sql`update customer set quarters_from = '2026-11-11T02:00:00Z' where id = 'moved'`);
    const moved = await days('moved', 'Asia/Kolkata');
    await db.query(sql`update customer set quarters_from = null where id = 'moved'`);
    expect(await days('moved', 'Asia/Kolkata')).toEqual(moved);
    await db.query(sql`update customer set quarters_from = '2026-11-11T02:00:00Z' where id = 'moved'`);
    expect(await db.query(sql`select distinct customer from usage_quarter order by 1`)).toEqual([
      { customer: 'kathmandu' },
      { customer: 'moved' },
    ]);
  });

  it('are checked against their hours, and repaired with them', async () => {
    expect(await verifyRollups(db, month)).toEqual([]);
    await db.query(
      sql`update usage_quarter set quantity = 99 where customer = 'kathmandu' and quarter = '2026-11-12T18:15:00Z'`,
    );
    expect(await verifyRollups(db, month)).toMatchObject([
      { unit: 'quarters of calls', rolled_up: '147', recomputed: '56' },
    ]);
    const period = { startMs: at('12T18:00'), endMs: at('12T19:00') };
    await db.transaction((tx) => repairUsage(tx, { customer: 'kathmandu', period, reason: 'edited', token: 't' }, NOW));
    expect(await verifyRollups(db, month)).toEqual([]);
  });

  it('read no event for a page of days', async () => {
    const before = await days('kathmandu', 'Asia/Kathmandu');
    await db.query(sql`delete from event where time >= '2026-11-02T02:00:00Z'`);
    expect((await days('kathmandu', 'Asia/Kathmandu')).slice(1)).toEqual(before.slice(1));
  });
});
