import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Database } from '#billing/db/database.ts';
import { makePartitions } from '#billing/db/partitions.ts';
import { ingest } from '#billing/events/ingest.ts';
import { measureThePast } from '#billing/measurements/measure.ts';
import { createMeter, gaugeOfMeter, getMeter } from '#billing/meters/meter.ts';
import { type MeterTerms, meterTerms } from '#config/meter-terms.ts';
import { formatExact } from '#core/exact.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { type MeterQuestion, readMeter } from './reading.ts';

const NOW = Date.UTC(2026, 10, 30, 23);
const at = (text: string) => Date.parse(`2026-11-${text}Z`);
const november = { startMs: at('01T00:00'), endMs: Date.UTC(2026, 11, 1) };

describe.each(DATABASE_KINDS)('meters on %s', (kind) => {
  let test: TestDatabase;
  let db: Database;
  beforeAll(async () => {
    test = await testDatabase(kind);
    db = test.db;
    await makePartitions(db, NOW, 1);
  });
  afterAll(() => test.drop());
  beforeEach(() =>
    db.script(
      'truncate event, event_id, usage_hour, cost_hour, meter cascade; truncate meter_roll_up, meter_point, meter_problem',
    ),
  );

  const make = (id: string, terms: Partial<MeterTerms>) =>
    createMeter(db, { id, name: id, terms: meterTerms.parse(terms) }, NOW);
  const used = (time: string, properties: Record<string, unknown>, parts: Parameters<typeof usageEvent>[0] = {}) =>
    usageEvent({ atMs: at(time), ...parts, properties });
  const send = async (...events: unknown[]) => {
    for (const result of await ingest(db, events, NOW)) expect(result).toMatchObject({ status: 'accepted' });
  };
  const read = async (id: string, question: Partial<MeterQuestion> = {}) => {
    const gauge = gaugeOfMeter(await getMeter(db, id));
    const readings = await readMeter(db, gauge, { customer: 'acme', periods: [november], zone: 'UTC', ...question });
    return readings.map(({ dimensions, quantity }) => [...dimensions, formatExact(quantity)].join(' '));
  };

  it('add up once what an event with parts has as a whole', async () => {
    const values = { took: 'duration_ms', tokens: 'quantities.output_tokens', size: 'properties.size' };
    for (const [id, value] of Object.entries(values)) {
      await make(id, { aggregation: 'sum', value, dimensions: ['model'] });
    }
    const event = used('03T10:00', { size: '5' }, { quantities: { output_tokens: '30' } });
    const parts = ['a', 'b'].map((model, i) => {
      return { model, quantities: { output_tokens: `${10 + 10 * i}` }, cost: null };
    });
    await send({ ...event, data: { ...event.data, duration_ms: 400, parts } });
    expect(await read('took')).toEqual(['a 400']);
    expect(await read('size')).toEqual(['a 5']);
    expect(await read('tokens')).toEqual(['a 10', 'b 20']);
  });

  it('aggregate in every way', async () => {
    for (const aggregation of ['sum', 'max', 'min', 'average', 'unique', 'latest'] as const) {
      await make(aggregation, { aggregation, value: 'properties.size' });
    }
    await make('count', { aggregation: 'count', value: 'properties.size' });
    await make('big', { aggregation: 'count', filter: 'properties.size >= 2.5' });
    await make('per-call', { aggregation: 'sum', value: 'quantities.output_tokens / 4 + properties.size' });
    await send(
      used('03T10:00', { size: '2.5' }),
      used('03T09:00', { size: 1.5 }),
      used('04T10:01', { size: 2.5 }),
      used('04T10:00', { size: '0.1' }),
      used('04T11:00', {}),
      used('04T11:00', { size: 7 }, { customer: 'another' }),
    );
    const figures = async () => {
      const all: Record<string, string[]> = {};
      for (const id of ['sum', 'max', 'min', 'average', 'unique', 'latest', 'count', 'big', 'per-call'])
        all[id] = await read(id);
      return all;
    };
    expect(await figures()).toEqual({
      sum: ['6.6'],
      max: ['2.5'],
      min: ['0.1'],
      average: ['1.65'],
      unique: ['3'],
      latest: ['2.5'],
      count: ['4'],
      big: ['2'],
      'per-call': ['256.6'],
    });
    expect(await read('sum', { periods: [{ startMs: at('03T09:00:00.001'), endMs: at('04T10:01') }] })).toEqual([
      '2.6',
    ]);
  });

  it('keep usage apart by dimensions', async () => {
    await make('items', {
      aggregation: 'unique',
      value: 'properties.item',
      dimensions: ['properties.region', 'model'],
    });
    await send(
      used('03T10:00', { item: '001', region: 'eu' }),
      used('03T11:00', { item: '001', region: 'us' }),
      used('03T12:00', { item: '002', region: 'us' }),
      used('03T12:00', { item: '002' }, { model: 'other' }),
    );
    expect(await read('items')).toEqual(['eu gpt-4o-mini 1', 'us gpt-4o-mini 2', ' other 1']);
  });

  it('measure by a job what was there before them', async () => {
    await send(used('03T10:00', { size: 1 }), used('03T10:20', { size: 2 }), used('20T10:00', { size: 4 }));
    const before = await make('late', { aggregation: 'sum', value: 'properties.size' });
    expect(before.unmeasured_from).toBe(at('03T10:00'));
    await send(used('03T10:05', { size: 8 }));
    expect(await measureThePast(db)).toBe(1);
    expect((await getMeter(db, 'late')).unmeasured_from).toBeNull();
    expect(await read('late')).toEqual(['15']);
  });
});
