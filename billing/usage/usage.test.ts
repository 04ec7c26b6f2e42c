import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, sql } from '#billing/db/database.ts';
import { makePartitions } from '#billing/db/partitions.ts';
import { ingest } from '#billing/events/ingest.ts';
import { checkRollups } from '#billing/repairs/repair.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import type { Period } from '#core/time.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import type { PartFilter } from './store.ts';
import { type Dimension, readUsage, useSince } from './usage.ts';

const NOW = Date.UTC(2026, 10, 30, 23);
const at = (text: string) => Date.parse(`2026-11-${text}Z`);
const november: Period = { startMs: at('01T00:00'), endMs: Date.UTC(2026, 11, 1) };

describe.each(DATABASE_KINDS)('usage on %s', (kind) => {
  let test: TestDatabase;
  let db: Database;
  beforeAll(async () => {
    test = await testDatabase(kind);
    db = test.db;
    await makePartitions(db, NOW, 1);
  });
  afterAll(() => test.drop());
  beforeEach(() => db.script('truncate event, event_id, usage_hour, cost_hour'));

  const used = (time: string, calls: string, parts: Parameters<typeof usageEvent>[0] = {}) =>
    usageEvent({ atMs: at(time), quantities: { calls }, cost: { amount: `0.${calls}`, currency: 'USD' }, ...parts });
  const callsOf = async (period: Period, groupBy: Dimension[] = [], zone = 'UTC') =>
    (await readUsage(db, { period, groupBy, zone, customer: 'acme' })).map((group) => group.quantities.calls);

  it('groups by what it is asked for, and never adds quantities of different units', async () => {
    await ingest(
      db,
      [
        used('20T09:00', '1', { model: 'a', quantities: { calls: '1', output_tokens: '7' } }),
        used('20T09:59:59.999', '2', { model: 'b', key: 'other' }),
        used('20T10:00', '3', { model: 'b', cost: null }),
        used('20T10:00', '4', {
          model: 'b',
          data: { usage_status: 'estimated' },
          cost: { amount: '2', currency: 'EUR' },
        }),
        used('20T10:00', '50', { customer: 'another' }),
        usageEvent({ atMs: at('20T10:00'), model: 'c', quantities: {}, cost: { amount: '0', currency: 'USD' } }),
      ],
      NOW,
    );
    const [all] = await readUsage(db, { period: november, groupBy: [], zone: 'UTC', customer: 'acme' });
    expect(all).toEqual({
      customer: null,
      key: null,
      model: null,
      period: november,
      quantities: { calls: '10', output_tokens: '7' },
      costs: [
        { amount: '2', currency: 'EUR' },
        { amount: '0.3', currency: 'USD' },
      ],
      events: 5n,
      estimated: 1n,
      unpriced: 1n,
    });
    const groups = await readUsage(db, { period: november, groupBy: ['model', 'key'], zone: 'UTC', customer: 'acme' });
    expect(groups.map(({ key, model, quantities, events }) => ({ key, model, quantities, events }))).toEqual([
      { key: 'key_prod', model: 'a', quantities: { calls: '1', output_tokens: '7' }, events: 1n },
      { key: 'key_prod', model: 'b', quantities: { calls: '7' }, events: 2n },
      { key: 'key_prod', model: 'c', quantities: {}, events: 1n },
      { key: 'other', model: 'b', quantities: { calls: '2' }, events: 1n },
    ]);
    const customers = await readUsage(db, { period: november, groupBy: ['customer'], zone: 'UTC' });
    expect(customers.map(({ customer, quantities }) => [customer, quantities.calls])).toEqual([
      ['acme', '10'],
      ['another', '50'],
    ]);
    expect(await readUsage(db, { period: november, groupBy: [], zone: 'UTC', key: 'other' })).toMatchObject([
      { quantities: { calls: '2' } },
    ]);
  });

  it('counts what several models did for one call once, each at its own model', async () => {
    const parts = [
      { model: 'main', quantities: { calls: '1', output_tokens: '10' }, cost: { amount: '0.1', currency: 'USD' } },
      { model: 'adviser', quantities: { output_tokens: '5' }, cost: { amount: '0.5', currency: 'USD' } },
    ];
    const event = usageEvent({
      atMs: at('20T09:30'),
      model: 'main',
      quantities: { calls: '1', output_tokens: '15' },
      cost: { amount: '0.6', currency: 'USD' },
      data: { parts, usage_status: 'estimated' },
    });
    await ingest(db, [event, event], NOW);
    // Whole hours are read from roll-ups, parts of an hour from the events themselves.
    for (const period of [november, { startMs: at('20T09:15'), endMs: at('20T09:45') }]) {
      const groups = await readUsage(db, { period, groupBy: ['model'], zone: 'UTC', customer: 'acme' });
      expect(
        groups.map(({ model, quantities, costs, events, estimated }) => [model, quantities, costs, events, estimated]),
      ).toEqual([
        ['adviser', { output_tokens: '5' }, [{ amount: '0.5', currency: 'USD' }], 0n, 0n],
        ['main', { calls: '1', output_tokens: '10' }, [{ amount: '0.1', currency: 'USD' }], 1n, 1n],
      ]);
      const [adviser, ...others] = await readUsage(db, { period, groupBy: [], zone: 'UTC', model: 'adviser' });
      expect([adviser?.quantities, others]).toEqual([{ output_tokens: '5' }, []]);
    }
    expect(await verifyRollups(db, { startMs: at('20T00:00'), endMs: at('21T00:00') })).toEqual([]);
  });

  it('knows no cost of a call on which several models worked where it knows that of some of them only', async () => {
    const parts = [
      { model: 'main', quantities: { output_tokens: '10' }, cost: { amount: '0.1', currency: 'USD' } },
      { model: 'stranger', quantities: { output_tokens: '5' }, cost: null },
    ];
    const quantities = { output_tokens: '15' };
    await ingest(
      db,
      [usageEvent({ atMs: at('20T09:30'), model: 'main', quantities, cost: null, data: { parts } })],
      NOW,
    );
    for (const period of [november, { startMs: at('20T09:15'), endMs: at('20T09:45') }]) {
      const [all] = await readUsage(db, { period, groupBy: [], zone: 'UTC', customer: 'acme' });
      expect(all).toMatchObject({ quantities, costs: [], events: 1n, unpriced: 1n });
    }
    expect(await verifyRollups(db, { startMs: at('20T00:00'), endMs: at('21T00:00') })).toEqual([]);
  });

  it('is exact for periods that begin and end within an hour, half-open', async () => {
    const times = [
      '20T08:59:59.999',
      '20T09:10',
      '20T09:10:00.001',
      '20T10:30',
      '20T11:59:59.999',
      '20T12:05',
      '20T13:00',
    ];
    await ingest(
      db,
      times.map((time, i) => used(time, `${10 ** i}`)),
      NOW,
    );
    const between = (from: string, to: string) => callsOf({ startMs: at(from), endMs: at(to) });
    expect(await between('20T09:00', '20T13:00')).toEqual(['111110']);
    expect(await between('20T09:10', '20T12:05')).toEqual(['11110']);
    expect(await between('20T09:10:00.001', '20T12:05:00.001')).toEqual(['111100']);
    expect(await between('20T09:05', '20T09:10')).toEqual([]);
    expect(await between('20T09:05', '20T09:10:00.001')).toEqual(['10']);
    expect(await between('20T09:05', '20T10:00')).toEqual(['110']);
    expect(await between('20T10:00', '20T10:30:00.001')).toEqual(['1000']);
    expect(await between('20T08:30', '20T13:30')).toEqual(['1111111']);
  });

  it('groups by the days of a zone, half-hour zones included, and by hours', async () => {
    // Midnight in Kolkata is 18:30 UTC.
    const times = ['19T18:29:59.999', '19T18:30', '20T18:29:59.999', '20T18:30'];
    await ingest(
      db,
      times.map((time, i) => used(time, `${10 ** i}`)),
      NOW,
    );
    const period = { startMs: at('18T18:30'), endMs: at('21T18:30') };
    const days = await readUsage(db, { period, groupBy: ['day'], zone: 'Asia/Kolkata', customer: 'acme' });
    expect(days.map((day) => [day.period.startMs, day.period.endMs, day.quantities.calls, day.events])).toEqual([
      [at('18T18:30'), at('19T18:30'), '1', 1n],
      [at('19T18:30'), at('20T18:30'), '110', 2n],
      [at('20T18:30'), at('21T18:30'), '1000', 1n],
    ]);
    expect(await callsOf(period, ['day'], 'UTC')).toEqual(['11', '1100']);
    expect(await callsOf({ startMs: at('19T18:00'), endMs: at('20T19:00') }, ['hour'])).toEqual(['11', '1100']);
    await expect(callsOf({ startMs: 0, endMs: NOW }, ['hour'])).rejects.toMatchObject({ code: 'validation_failed' });
  });

  it('sums what calls used since an instant, by customer or key, user, session and label', async () => {
    const usd = (amount: string) => ({ cost: { amount, currency: 'USD' } });
    const by = (user: string | null, labels: Record<string, string> = {}, session: string | null = null) => ({
      data: { user, labels, session },
    });
    await ingest(
      db,
      [
        used('20T09:10', '1', { ...usd('0.0000000001'), ...by('ann', { team: 'a' }, 's') }),
        used('20T09:20', '2', { ...usd('1.000000001'), key: 'other', ...by('ann') }),
        used('20T10:20', '4', { ...usd('2'), model: 'b', ...by(null, { team: 'a' }) }),
        used('20T10:20', '8', { cost: null, ...by('bob', { team: 'b' }) }),
      ],
      NOW,
    );
    const since = async (from: string, parts: PartFilter['parts'] = [], key: string | null = null) =>
      (await useSince(db, { customer: 'acme', key, fromMs: at(from), parts })).map(
        ({ model, events, quantities, costs }) => [model, events, quantities.calls, costs[0]?.amount],
      );
    const [main = ''] = (await since('01T00:00')).map(([model]) => String(model)).filter((model) => model !== 'b');
    expect(await since('01T00:00')).toEqual(
      [
        [main, 3n, '11', '1.0000000011'],
        ['b', 1n, '4', '2'],
      ].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
    );
    expect(await since('20T09:10:00.001', [], 'other')).toEqual([[main, 1n, '2', '1.000000001']]);
    expect(await since('01T00:00', [{ path: ['user'], value: 'ann' }])).toEqual([[main, 2n, '3', '1.0000000011']]);
    expect(await since('01T00:00', [{ path: ['user'], value: null }])).toEqual([['b', 1n, '4', '2']]);
    expect(await since('01T00:00', [{ path: ['session'], value: 's' }])).toEqual([[main, 1n, '1', '0.0000000001']]);
    const team = { path: ['labels', 'team'], value: 'a' };
    expect(await since('20T10:00', [team])).toEqual([['b', 1n, '4', '2']]);
    expect(await since('01T00:00', [team, { path: ['user'], value: 'ann' }])).toHaveLength(1);
    expect(await since('21T00:00')).toEqual([]);
  });

  it('finds every roll-up that is not the sum of its events', async () => {
    await ingest(db, [used('20T09:10', '1'), used('20T09:20', '2', { key: 'k' }), used('20T12:20', '2')], NOW);
    const period = { startMs: at('20T00:00'), endMs: at('20T12:00') };
    expect(await verifyRollups(db, period)).toEqual([]);
    await db.query(sql`update usage_hour set quantity = 3 where key = 'k'`);
    await db.query(sql`delete from cost_hour where key = 'key_prod' and hour = ${'2026-11-20T09:00:00Z'}`);
    await db.query(sql`update usage_hour set quantity = 0 where hour = ${'2026-11-20T12:00:00Z'}`);
    const differences = await verifyRollups(db, period);
    expect(differences.map(({ key, unit, rolled_up, recomputed }) => [key, unit, rolled_up, recomputed])).toEqual([
      ['k', 'calls', '3', '2'],
      ['key_prod', 'cost USD', null, '0.1'],
      ['key_prod', 'estimated', null, '0'],
      ['key_prod', 'events', null, '1'],
    ]);
    await expect(checkRollups(db, at('20T11:00'))).rejects.toMatchObject({ story: expect.stringContaining('acme k') });
    await expect(verifyRollups(db, { startMs: 1, endMs: 2 })).rejects.toThrow('whole hours');
  });
});
