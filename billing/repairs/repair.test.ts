import { afterAll, beforeAll, expect, it } from 'vitest';
import { sql } from '#billing/db/database.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { checkRollups } from './repair.ts';

let api: TestApi;
const hour = (text: string) => `2026-11-20T${text}:00:00.000Z`;
const get = async (path: string) => (await api.call('GET', path)).json;
const span = { from: hour('08'), to: hour('12') };

beforeAll(async () => {
  api = await testApi('postgres');
  await api.call('POST', '/v1/customers', { body: { id: 'acme', name: 'Acme', timezone: 'UTC' } });
  for (const body of [
    { id: 'peak', name: 'Peak', aggregation: 'max', value: 'properties.size' },
    { id: 'items', name: 'Items', aggregation: 'unique', value: 'properties.size', dimensions: ['model'] },
    { id: 'level', name: 'Level', aggregation: 'latest', value: 'properties.size', recurring: true },
  ]) {
    expect(await api.call('POST', '/v1/meters', { body })).toMatchObject({ status: 201 });
  }
  const events = [1, 2, 2.5].map((size, i) =>
    usageEvent({
      id: `e${i}`,
      atMs: Date.UTC(2026, 10, 20, 10, 14 * i),
      quantities: { calls: '1' },
      cost: null,
      properties: { size },
    }),
  );
  await api.call('POST', '/v1/events', { body: events });
});
afterAll(() => api.close());

it('finds nothing where nothing else wrote, and repairs nothing', async () => {
  await checkRollups(api.test.db, api.clock.nowMs);
  expect(await get('/v1/usage/findings')).toMatchObject({ data: [] });
  expect(await get(`/v1/usage/differences?from=${span.from}&to=${span.to}`)).toEqual({ data: [] });
  const repaired = await api.call('POST', '/v1/usage/repairs', {
    body: { ...span, customer: 'acme', reason: 'to be sure' },
  });
  expect(repaired).toMatchObject({ status: 201, json: { differences: [] } });
  expect(await get(`/v1/usage/differences?from=${span.from}&to=${span.to}`)).toEqual({ data: [] });
});

it('finds what something else wrote, keeps it in sight, and repairs it by command with what stood there', async () => {
  const { db } = api.test;
  await db.query(sql`update usage_hour set quantity = 7 where unit = 'calls'`);
  await db.query(sql`update meter_roll_up set greatest = 99 where meter = 'peak'`);
  await db.query(sql`delete from meter_roll_up where meter = 'items' and item = '2'`);
  await db.query(sql`update meter_point set value = 3 where meter = 'level' and id = 'e2'`);
  for (let run = 0; run < 2; run++) {
    await db.script('delete from usage_check');
    await expect(checkRollups(db, api.clock.nowMs)).rejects.toMatchObject({ code: 'internal' });
  }
  const { data } = await get('/v1/usage/findings?customer=acme');
  expect(data).toMatchObject([{ customer: 'acme', hour: hour('10'), repair: null }]);
  const wanted = [
    ['calls', '7', '3'],
    [`peak@1 ${hour('10')} []`, '2 3 1 99', '2 3 1 2'],
    [`peak@1 2026-11-20T10:15:00.000Z []`, '1 2.5 2.5 99', '1 2.5 2.5 2.5'],
    [`items@1 ${hour('10')} ["gpt-4o-mini"] 2`, null, '1 0  '],
    [`level@1 2026-11-20T10:28:00.000Z [] /weir/gateway e2 0 0`, '3 add ', '2.5 add '],
  ];
  const figures = (rows: { unit: string; rolled_up: string; recomputed: string }[]) =>
    rows.map(({ unit, rolled_up, recomputed }) => [unit, rolled_up, recomputed]);
  expect(figures(data[0].differences)).toEqual(expect.arrayContaining(wanted));
  expect(data[0].differences).toHaveLength(wanted.length);

  const body = { ...span, customer: 'acme', reason: 'somebody edited the tables' };
  expect((await api.call('POST', '/v1/usage/repairs', { body, token: api.tokens.viewer })).status).toBe(403);
  const { json } = await api.call('POST', '/v1/usage/repairs', { body, token: api.tokens.ops });
  expect(figures(json.differences)).toEqual(expect.arrayContaining(wanted));
  await db.script('delete from usage_check');
  await checkRollups(db, api.clock.nowMs);
  expect(await get('/v1/usage/findings')).toMatchObject({ data: [], checked_until: hour('12') });
  expect(await get('/v1/usage/findings?open=false')).toMatchObject({ data: [{ repair: json.id }] });
  // Both are of one moment of the clock: neither is the later one.
  const { data: repairs } = await get('/v1/usage/repairs?customer=acme');
  expect(repairs).toHaveLength(2);
  expect(repairs).toContainEqual(expect.objectContaining({ id: json.id, reason: 'somebody edited the tables' }));
  expect(repairs).toContainEqual(expect.objectContaining({ reason: 'to be sure' }));
  expect(await get('/v1/usage/meters/peak?customer=acme')).toMatchObject({ readings: [{ quantity: '2.5' }] });
  expect(await get('/v1/usage?customer=acme')).toMatchObject({ groups: [{ quantities: { calls: '3' } }] });
});

it('reads no more in one run than its bound, and goes on where it stopped until all was looked at once', async () => {
  const { db } = api.test;
  await db.script('delete from usage_check');
  const customers = ['', 'beta', 'gamma', 'delta'];
  const events = customers.flatMap((customer, n) =>
    [0, 1].map((i) => {
      const event = usageEvent({
        customer,
        id: `w${n}${i}`,
        atMs: Date.UTC(2026, 10, 20, 11, n),
        quantities: { calls: '1' },
      });
      if (customer !== '') return event;
      const { subject: _, ...nobody } = event;
      const { customer: __, key: ___, ...data } = event.data;
      return { ...nobody, data };
    }),
  );
  const { json } = await api.call('POST', '/v1/events', { body: events });
  expect(json).toMatchObject({ accepted: 8 });
  await db.query(sql`update usage_hour set quantity = 9 where customer in ('', 'gamma')`);
  // Each event is read once for the sums and once for each of the three meters.
  const runs: string[] = [];
  for (let run = 0; run < 9; run++) {
    try {
      const reads = await checkRollups(db, api.clock.nowMs, 12n);
      expect(reads).toBeLessThanOrEqual(12n);
      runs.push(`${reads}`);
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: 'internal' });
      runs.push('found');
    }
  }
  expect(runs).toEqual(['12', 'found', '8', '8', 'found', '0', '0', '0', '0']);
  const { data, checked_until } = await get('/v1/usage/findings');
  expect(checked_until).toBe(hour('12'));
  expect(data.map((row: { customer: string }) => row.customer)).toEqual(['gamma', '']);
});

it('repairs nothing whose events are gone', async () => {
  await api.test.db.script("insert into cost_hour values ('acme', '2026-01-01T00:00:00Z', 'k', 'm', 'USD', 1, 1, 0)");
  const body = { from: '2026-01-01T00:00:00Z', to: '2026-01-01T01:00:00Z', customer: 'acme', reason: 'why not' };
  expect((await api.call('POST', '/v1/usage/repairs', { body })).json).toMatchObject({ code: 'state_conflict' });
  expect((await api.call('POST', '/v1/usage/repairs', { body: { ...body, to: body.from } })).json).toMatchObject({
    code: 'validation_failed',
  });
});
