import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, sql } from '#billing/db/database.ts';
import { ingest } from '#billing/events/ingest.ts';
import { createMeter } from '#billing/meters/meter.ts';
import { retryParked } from '#billing/parked-events/retry.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { meterTerms } from '#config/meter-terms.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { listCorrectionsOf, listHistory } from './correct.ts';

const NOW = Date.UTC(2026, 10, 20, 12);
const ALL = { startMs: 0, endMs: Date.UTC(2030, 0) };

function correction(
  id: string,
  event: { source: string; id: string },
  parts: { event: object | null; time?: string; reason?: string },
) {
  return {
    ...{ specversion: '1.0', id, source: '/fixes', type: 'weir.correction.v1' },
    ...(parts.time ? { time: parts.time } : {}),
    data: { source: event.source, id: event.id, reason: parts.reason ?? 'miscounted', event: parts.event },
  };
}

describe.each(DATABASE_KINDS)('a correction on %s', (kind) => {
  let test: TestDatabase;
  let db: Database;
  beforeAll(async () => {
    test = await testDatabase(kind);
    db = test.db;
  });
  afterAll(() => test.drop());
  beforeEach(() =>
    db.script('truncate event, event_id, event_conflict, event_parked, event_correction, usage_hour, cost_hour'),
  );

  const statuses = async (values: readonly unknown[]) => (await ingest(db, values, NOW)).map((result) => result.status);
  /** What counts: by roll-up, without what came to nothing. */
  const usage = () =>
    db.query(sql`select customer, hour, key, model, unit, trim_scale(quantity) as quantity from usage_hour
                 where quantity <> 0 order by 1, 2, 3, 4, 5`);
  const live = async () =>
    (await db.query<{ body: object }>(sql`select body from event where live order by time, source, id`)).map(
      (row) => row.body,
    );

  it('replaces an event where it stood, and moves it where it now stands', async () => {
    const event = usageEvent({ id: 'a', quantities: { output_tokens: '10' } });
    const right = usageEvent({
      ...{ id: 'a', customer: 'other', model: 'gpt-4o', atMs: NOW - 86_400_000 },
      quantities: { output_tokens: '7' },
    });
    const fix = correction('fix-1', event, { event: right });
    expect(await statuses([event, fix, fix])).toEqual(['accepted', 'accepted', 'duplicate']);
    expect(await usage()).toMatchObject([{ customer: 'other', model: 'gpt-4o', unit: 'output_tokens', quantity: '7' }]);
    expect(await live()).toEqual([right]);
    expect((await listHistory(db, 'a')).map(({ revision, sign, body }) => [revision, sign, JSON.parse(body)])).toEqual([
      [0, 1, event],
      [1, -1, event],
      [2, 1, right],
    ]);
    expect(await listCorrectionsOf(db, 'a')).toMatchObject([{ id: 'fix-1', reason: 'miscounted', revision: 2 }]);
    expect(await verifyRollups(db, ALL)).toEqual([]);
    // What was first taken is known still: its repeat changes nothing, and another body is a conflict.
    expect(await statuses([event, fix, right])).toEqual(['duplicate', 'duplicate', 'conflict']);
    expect(await live()).toEqual([right]);
  });

  it('leaves an event at its instant where it does not say another, whatever came between', async () => {
    const { time: _, ...untimed } = usageEvent({ id: 'a', quantities: { calls: '2' } });
    const moved = usageEvent({ id: 'a', atMs: NOW - 86_400_000, quantities: { calls: '3' } });
    const right = { ...untimed, data: { ...untimed.data, quantities: { calls: '4' } } };
    await statuses([untimed]);
    const later = NOW + 7_200_000;
    const take = (value: object) => ingest(db, [value], later);
    await take(correction('c1', untimed, { event: moved, time: '2026-11-20T13:00:00Z' }));
    await take(correction('c2', untimed, { event: right, time: '2026-11-20T13:30:00Z' }));
    expect(await usage()).toMatchObject([{ hour: NOW, unit: 'calls', quantity: '4' }]);
    await take(correction('c3', untimed, { event: { ...right }, time: '2026-11-20T13:45:00Z' }));
    expect(await usage()).toMatchObject([{ hour: NOW, unit: 'calls', quantity: '4' }]);
    expect(await verifyRollups(db, ALL)).toEqual([]);
  });

  it('deletes an event and keeps it in its history; a later one brings it back', async () => {
    const event = usageEvent({ id: 'a' });
    await statuses([event]);
    const deleted = correction('del', event, { event: null, time: '2026-11-20T10:00:00Z', reason: 'a test call' });
    expect(await statuses([deleted])).toEqual(['accepted']);
    expect(await live()).toEqual([]);
    expect(await usage()).toEqual([]);
    expect(await db.query(sql`select sum(events)::int8 as events from cost_hour`)).toEqual([{ events: 0n }]);
    expect(await verifyRollups(db, ALL)).toEqual([]);
    const back = correction('back', event, { event, time: '2026-11-20T11:00:00Z', reason: 'it was none' });
    expect(await statuses([back])).toEqual(['accepted']);
    expect(await live()).toEqual([event]);
    expect(await verifyRollups(db, ALL)).toEqual([]);
  });

  it('waits for its event, and names each thing that is wrong with it', async () => {
    const event = usageEvent({ id: 'a', quantities: { calls: '2' } });
    const early = correction('early', event, { event: usageEvent({ id: 'a', quantities: { calls: '3' } }) });
    expect(await ingest(db, [early], NOW)).toMatchObject([{ status: 'parked', reason: 'unknown_event' }]);
    expect(await retryParked(db, NOW)).toBe(0);
    await statuses([event]);
    expect(await retryParked(db, NOW + 3_600_000)).toBe(1);
    expect(await usage()).toMatchObject([{ unit: 'calls', quantity: '3' }]);

    const wrong = [
      correction('w1', event, { event: usageEvent({ id: 'b' }) }),
      correction('w2', event, { event: usageEvent({ id: 'a', quantities: { calls: 'x' } }) }),
      correction('w3', event, { event: early }),
      { ...correction('w4', event, { event: null }), data: { source: event.source, id: event.id, event: null } },
    ];
    expect((await ingest(db, wrong, NOW)).map((result) => 'issues' in result && result.issues[0]?.pointer)).toEqual([
      ...['#/data/event', '#/data/event/data/quantities/calls', '#/data/event', '#/data/reason'],
    ]);
  });

  it('that the database refuses is parked alone', async () => {
    const events = ['a', 'b', 'c'].map((id) => usageEvent({ id, quantities: { calls: '1' } }));
    await statuses(events);
    await db.script(`
      create function refuse() returns trigger language plpgsql as
        $$ begin raise exception 'no' using errcode = '22003'; end $$;
      create trigger refuse before insert on usage_hour for each row when (new.key = 'refused') execute function refuse()`);
    try {
      const fixes = events.map((event, i) =>
        correction(`fix-${i}`, event, {
          event: usageEvent({ id: event.id, key: i === 1 ? 'refused' : 'key', quantities: { calls: '5' } }),
        }),
      );
      expect(await statuses(fixes)).toEqual(['accepted', 'parked', 'accepted']);
    } finally {
      await db.script('drop trigger refuse on usage_hour; drop function refuse()');
    }
    expect(await usage()).toMatchObject([{ quantity: '10' }, { quantity: '1' }]);
    expect(await verifyRollups(db, ALL)).toEqual([]);
  });

  it('leaves the same whatever order corrections come in, how they are cut into batches and how often they are sent', {
    timeout: 120_000,
  }, async () => {
    const events = ['a', 'b'].map((id) => usageEvent({ id, quantities: { calls: '1' } }));
    const bodies = [
      null,
      { customer: 'c1', quantities: { calls: '2' } },
      { customer: 'c2', atMs: NOW - 7_200_000, quantities: { audio_seconds: '0.1' } },
      { customer: 'c1', model: 'm2', quantities: { calls: '3' }, cost: null },
    ];
    const all = events.flatMap((event) =>
      bodies.map((body, i) =>
        correction(`${event.id}-${i}`, event, {
          event: body && usageEvent({ ...body, id: event.id }),
          // Two at one instant, which their ids decide between.
          time: new Date(NOW - 60_000 * (i >> 1)).toISOString(),
        }),
      ),
    );
    const order = fc.shuffledSubarray(
      [...events, ...all, ...events, ...all].map((_, i) => i),
      { minLength: 20 },
    );
    let first: unknown;
    await fc.assert(
      fc.asyncProperty(
        order,
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 20, maxLength: 20 }),
        async (at, cuts) => {
          await db.script('truncate event, event_id, event_parked, event_correction, usage_hour, cost_hour');
          const sent = at.map((i) => [...events, ...all, ...events, ...all][i]);
          for (let from = 0, n = 0; from < sent.length; n++) {
            const size = cuts[n] ?? 7;
            await ingest(db, sent.slice(from, from + size), NOW);
            from += size;
          }
          await retryParked(db, NOW);
          const now = { live: await live(), usage: await usage() };
          first ??= now;
          expect(now).toEqual(first);
          expect(await verifyRollups(db, ALL)).toEqual([]);
          expect(await db.query(sql`select count(*) from event_correction`)).toEqual([{ count: 8n }]);
        },
      ),
      { numRuns: kind === 'postgres' ? 15 : 8 },
    );
  });

  it('waits for others that correct events of the customer and bring new ones, and never in a circle', async () => {
    const peak = {
      id: 'peak',
      name: 'Peak',
      terms: meterTerms.parse({ aggregation: 'max', value: 'properties.size' }),
    };
    await db.transaction((tx) => createMeter(tx, peak, NOW));
    const event = (sender: number, at: number, size: number) =>
      usageEvent({ id: `e${sender}-${at}`, atMs: NOW - (((at + sender) % 4) + 1) * 3_600_000, properties: { size } });
    let tries = 0;
    const senders = Array.from({ length: 6 }, async (_, sender) => {
      for (let at = 1; at <= 4; at++) {
        const before = event(sender, at - 1, 3);
        const fix = at > 1 ? [correction(`f${sender}-${at}`, before, { event: before })] : [];
        await db.transaction(async (tx) => {
          tries++;
          await ingest(tx, [event(sender, at, 9), ...fix], NOW);
        });
      }
    });
    await Promise.all(senders);
    expect(tries).toBe(24);
    expect(await verifyRollups(db, { startMs: NOW - 5 * 3_600_000, endMs: NOW })).toEqual([]);
  });
});
