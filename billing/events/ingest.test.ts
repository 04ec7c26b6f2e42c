import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, sql } from '#billing/db/database.ts';
import { makePartitions } from '#billing/db/partitions.ts';
import { listParked } from '#billing/parked-events/parked-event.ts';
import { retryParked } from '#billing/parked-events/retry.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { ingest } from './ingest.ts';
import { selectConflicts, selectEventsOfId } from './store.ts';

const NOW = Date.UTC(2026, 10, 20, 12);

describe.each(DATABASE_KINDS)('ingest on %s', (kind) => {
  let test: TestDatabase;
  let db: Database;
  beforeAll(async () => {
    test = await testDatabase(kind);
    db = test.db;
  });
  afterAll(() => test.drop());
  beforeEach(() =>
    db.script('truncate event, event_id, event_conflict, event_parked, usage_hour, cost_hour restart identity'),
  );

  const statuses = async (values: readonly unknown[], to = db) =>
    (await ingest(to, values, NOW)).map((result) => result.status);
  const usage = () =>
    db.query(sql`select customer, hour, key, model, unit, quantity from usage_hour order by 1, 2, 3, 4, 5`);
  const costs = () =>
    db.query(sql`select customer, currency, cost, events, estimated from cost_hour order by customer, currency`);
  const conflicts = async () =>
    (await selectConflicts(db, { beforeSeq: undefined, limit: 10 })).map((row) => JSON.parse(row.body));
  const parked = () => listParked(db, { reason: undefined, template: undefined, beforeSeq: undefined, limit: 10 });

  it('stores an event and sums its quantities and its cost by the hour', async () => {
    const event = usageEvent({ quantities: { calls: '1', audio_seconds: '0.1', output_tokens: '0' } });
    expect(await ingest(db, [event], NOW)).toEqual([{ source: event.source, id: event.id, status: 'accepted' }]);
    const [row] = await selectEventsOfId(db, event.id);
    expect({ ...row, body: JSON.parse(row?.body ?? '') }).toEqual({
      source: event.source,
      id: event.id,
      customer: 'acme',
      time: Date.parse(event.time),
      received_at: NOW,
      body: event,
    });
    const place = { customer: 'acme', hour: Date.UTC(2026, 10, 20, 9), key: 'key_prod', model: 'gpt-4o-mini' };
    expect(await usage()).toEqual([
      { ...place, unit: 'audio_seconds', quantity: '0.1' },
      { ...place, unit: 'calls', quantity: '1' },
    ]);
    expect(await costs()).toEqual([
      { customer: 'acme', currency: 'USD', cost: '0.0004068', events: 1n, estimated: 0n },
    ]);
  });

  it('adds decimals exactly, where binary floats would not', async () => {
    const events = Array.from({ length: 10 }, () =>
      usageEvent({
        quantities: { audio_seconds: '0.1' },
        cost: { amount: '0.00000000000000000000000000001', currency: 'USD' },
      }),
    );
    await ingest(db, events, NOW);
    expect(await usage()).toMatchObject([{ quantity: '1.0' }]);
    expect(await costs()).toMatchObject([{ cost: '0.00000000000000000000000000010' }]);
  });

  it('parks what is nested however deep, and counts the others of its batch', async () => {
    const nest = (depth: number) => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`);
    const deep = [33, 1_000, 200_000].map((depth) => {
      const event = usageEvent();
      return { ...event, data: { ...event.data, raw_usage: nest(depth) } };
    });
    expect(await statuses([...deep, usageEvent()])).toEqual(['parked', 'parked', 'parked', 'accepted']);
    // What is left of one is never taken for the event that it was.
    expect(await retryParked(db, NOW)).toBe(0);
  });

  it('counts an event once, however often it is sent', async () => {
    const event = usageEvent();
    const reordered = Object.fromEntries(Object.entries(event).reverse());
    expect(await statuses([event, event, reordered])).toEqual(['accepted', 'duplicate', 'duplicate']);
    expect(await statuses([event])).toEqual(['duplicate']);
    expect(await db.transaction((tx) => statuses([reordered], tx))).toEqual(['duplicate']);
    expect(await usage()).toMatchObject([
      { unit: 'cache_read_tokens', quantity: '1024' },
      { unit: 'calls', quantity: '1' },
      { unit: 'input_tokens', quantity: '1200' },
      { unit: 'output_tokens', quantity: '250' },
    ]);
    expect(await costs()).toMatchObject([{ events: 1n }]);
    expect(await conflicts()).toEqual([]);
  });

  it('keeps the first body of an id and lists every other one, once', async () => {
    const first = usageEvent({ id: 'req_1', quantities: { calls: '1' } });
    const other = usageEvent({ id: 'req_1', quantities: { calls: '7' } });
    const later = usageEvent({ id: 'req_1', quantities: { calls: '1' }, atMs: NOW });
    expect(await statuses([first, other])).toEqual(['accepted', 'conflict']);
    expect(await statuses([other, first, later, other])).toEqual(['conflict', 'duplicate', 'conflict', 'conflict']);
    expect(await usage()).toMatchObject([{ quantity: '1' }]);
    expect(await conflicts()).toEqual([later, other]);
  });

  it('takes one id from several sources as several events', async () => {
    expect(await statuses(['/a', '/b'].map((source) => usageEvent({ id: 'req_1', source })))).toEqual([
      'accepted',
      'accepted',
    ]);
    expect(await selectEventsOfId(db, 'req_1')).toHaveLength(2);
    expect(await costs()).toMatchObject([{ events: 2n }]);
  });

  it('parks what is malformed with its reason, and takes the rest of the batch', async () => {
    const good = usageEvent();
    const { id: _, ...nameless } = usageEvent();
    const deep = usageEvent();
    for (let i = 0; i < 40; i++) deep.data.raw_usage = [deep.data.raw_usage];
    const bad = [
      null,
      'no { json',
      [],
      {},
      nameless,
      deep,
      { ...usageEvent(), subject: 'somebody else' },
      usageEvent({ quantities: { calls: '-1' } }),
      usageEvent({ quantities: { calls: '1e9' } }),
      usageEvent({ quantities: { calls: '1'.repeat(19) } }),
      usageEvent({ cost: { amount: '1', currency: 'usd' } }),
      usageEvent({ customer: 'x'.repeat(129) }),
      usageEvent({ data: { raw_usage: 'x'.repeat(300_000) } }),
      // Its parts do not come to what it says.
      usageEvent({
        quantities: { calls: '2' },
        data: { parts: [{ model: 'a', quantities: { calls: '1' }, cost: null }] },
      }),
    ];
    const results = await ingest(db, [...bad, good], NOW);
    expect(results.map((result) => result.status)).toEqual([...bad.map(() => 'parked'), 'accepted']);
    const rows = await parked();
    expect(rows.every((row) => row.reason === 'malformed' && row.detail !== '')).toBe(true);
    expect(results[7]).toMatchObject({ detail: expect.stringContaining('#/data/quantities/calls: is no') });
    expect(await db.query(sql`select count(*) from event_parked`)).toEqual([{ count: 14n }]);
    await ingest(db, bad, NOW);
    expect(await db.query(sql`select count(*) from event_parked`)).toEqual([{ count: 14n }]);
    expect(await costs()).toMatchObject([{ events: 1n }]);
  });

  it('parks events of a newer type, and counts them once it knows the type', async () => {
    const event = usageEvent();
    const newer = { ...event, type: 'weir.usage.v9' };
    expect(await ingest(db, [newer], NOW)).toMatchObject([{ status: 'parked', reason: 'unknown_type' }]);
    expect(await retryParked(db, NOW)).toBe(0);
    expect(await parked()).toMatchObject([{ id: event.id, source: event.source, body: expect.stringContaining('v9') }]);
    await db.query(sql`update event_parked set body = replace(body, 'v9', 'v1')`);
    expect(await retryParked(db, NOW)).toBe(1);
    expect(await parked()).toEqual([]);
    expect(await statuses([event])).toEqual(['duplicate']);
  });

  it('parks events whose clock is wrong, until their time has come', async () => {
    const ahead = usageEvent({ atMs: NOW + 48 * 3_600_000 });
    const before = usageEvent({ atMs: Date.UTC(1999, 0, 1) });
    expect(await ingest(db, [ahead, before], NOW)).toMatchObject([
      { status: 'parked', reason: 'time_out_of_range' },
      { status: 'parked', reason: 'time_out_of_range' },
    ]);
    expect(await retryParked(db, NOW + 47 * 3_600_000)).toBe(1);
    expect(await parked()).toMatchObject([{ id: before.id }]);
  });

  it('loses no event to text that Postgres cannot hold', async () => {
    const event = usageEvent({
      key: 'k\u0000',
      model: 'm\ud800',
      data: { user: '\u0000', labels: { '\udfff': '\\u0000' } },
    });
    expect(await statuses([event, event])).toEqual(['accepted', 'duplicate']);
    const [row] = await selectEventsOfId(db, event.id);
    expect(JSON.parse(row?.body ?? '')).toMatchObject({
      data: { key: 'k\ufffd', model: 'm\ufffd', user: '\ufffd', labels: { '\ufffd': '\\u0000' } },
    });
  });

  it('parks the one row that the database refuses, and takes the others', async () => {
    const events = Array.from({ length: 7 }, (_, i) => usageEvent({ key: i === 4 ? 'refused' : 'key' }));
    await db.script(`
      create function refuse() returns trigger language plpgsql as
        $$ begin raise exception 'no' using errcode = '22003'; end $$;
      create trigger refuse before insert on usage_hour for each row when (new.key = 'refused') execute function refuse()`);
    try {
      const results = await ingest(db, events, NOW);
      expect(results.map((result) => result.status)).toEqual(events.map((_, i) => (i === 4 ? 'parked' : 'accepted')));
      expect(await parked()).toMatchObject([{ id: events[4]?.id, reason: 'malformed' }]);
      expect(await costs()).toMatchObject([{ events: 6n }]);
      expect(await selectEventsOfId(db, events[4]?.id ?? '')).toEqual([]);
    } finally {
      await db.script('drop trigger refuse on usage_hour; drop function refuse()');
    }
  });

  it('leaves nothing of a batch that fails', async () => {
    await db.script(`create trigger fail before insert on cost_hour for each row execute function
      suppress_redundant_updates_trigger()`); // which fails on inserts
    await expect(ingest(db, [usageEvent(), {}], NOW)).rejects.toThrow();
    await db.script('drop trigger fail on cost_hour');
    expect(await db.query(sql`select count(*) from event_id`)).toEqual([{ count: 0n }]);
    expect(await parked()).toEqual([]);
    expect(await usage()).toEqual([]);
  });

  it('says unknown currency for events without a cost, and counts the estimated ones', async () => {
    await ingest(
      db,
      [usageEvent({ cost: null }), usageEvent({ data: { usage_status: 'estimated' } }), usageEvent()],
      NOW,
    );
    expect(await costs()).toEqual([
      { customer: 'acme', currency: 'USD', cost: '0.0008136', events: 2n, estimated: 1n },
      { customer: 'acme', currency: 'XXX', cost: '0', events: 1n, estimated: 0n },
    ]);
  });

  it('takes events of months without a partition, and moves them into their own', async () => {
    const events = [Date.UTC(2026, 9, 31, 23, 59, 59, 999), Date.UTC(2026, 10, 1), Date.UTC(2021, 0, 1)].map((atMs) =>
      usageEvent({ atMs }),
    );
    expect(await statuses(events)).toEqual(['accepted', 'accepted', 'accepted']);
    const places = () => db.query(sql`select tableoid::regclass::text as place from event order by time`);
    expect(await places()).toEqual([{ place: 'event_other' }, { place: 'event_other' }, { place: 'event_other' }]);
    expect(await makePartitions(db, NOW, 2)).toBe(5);
    expect(await makePartitions(db, NOW, 2)).toBe(0);
    expect(await places()).toEqual([
      { place: 'event_2021_01' },
      { place: 'event_2026_10' },
      { place: 'event_2026_11' },
    ]);
    expect(await statuses([...events, usageEvent()])).toEqual(['duplicate', 'duplicate', 'duplicate', 'accepted']);
    expect((await places()).at(-1)).toEqual({ place: 'event_2026_11' });
  });
});
