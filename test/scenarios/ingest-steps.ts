import { type Database, sql } from '#billing/db/database.ts';
import { usageEvent } from '../support/usage-events.ts';
import { NOW } from './ingest.ts';

/**
 * A batch with something of everything: new events, repeats, a conflict, a malformed row, a type of one's own, corrections
 * that replace, move and delete. `STOOD` is there before it.
 */
const stood = ['s1', 's2', 's3', 's4'].map((id) =>
  usageEvent({ id, quantities: { calls: '1', audio_seconds: '0.1' } }),
);
export const STOOD: readonly unknown[] = stood;

const correction = (id: string, target: string, event: object | null) => ({
  ...{ specversion: '1.0', id, source: '/fixes', type: 'weir.correction.v1', time: '2026-11-20T11:00:00Z' },
  data: { source: '/weir/gateway', id: target, reason: 'wrong', event },
});

export const BATCH: readonly unknown[] = [
  ...Array.from({ length: 12 }, (_, i) =>
    usageEvent({
      id: `b${i}`,
      customer: `c${i % 3}`,
      atMs: NOW - i * 1_800_000,
      quantities: { calls: '1', audio_seconds: '0.1' },
    }),
  ),
  stood[0],
  usageEvent({ id: 's2', quantities: { calls: '9' } }),
  { ...usageEvent({ id: 'bad' }), time: 'soon' },
  { specversion: '1.0', id: 't1', source: '/desk', type: 'ticket.resolved', subject: 'c1', data: { minutes: 7 } },
  correction('f1', 's1', usageEvent({ id: 's1', customer: 'c9', quantities: { calls: '5' } })),
  correction('f2', 's3', null),
  correction('f3', 'b1', usageEvent({ id: 'b1', customer: 'c1', quantities: { calls: '2' } })),
  correction('f4', 'nowhere', null),
];

/** Counts the steps of a database, and says before each and after each commit which it is. */
export function stepping(db: Database, step: () => void): Database {
  return {
    query: async (statement) => {
      step();
      return await db.query(statement);
    },
    script: async (text) => {
      step();
      await db.script(text);
    },
    transaction: async (work) => {
      step();
      const result = await db.transaction(async (tx) => {
        const done = await work(stepping(tx, step));
        step();
        return done;
      });
      step();
      return result;
    },
    close: () => db.close(),
  };
}

/** All that a batch leaves behind, but for numbers that a database gives by itself. */
export async function stateOf(db: Database): Promise<Record<string, unknown[]>> {
  return {
    events:
      await db.query(sql`select source, id, revision, sign::int4 as sign, live, type, time, customer, key, model, body
                               from event order by id, source, revision`),
    ids: await db.query(
      sql`select source, id, encode(hash, 'hex') as hash, time, customer, revision from event_id order by id, source`,
    ),
    corrections: await db.query(
      sql`select source, id, target_id, reason, deletes, revision from event_correction order by id`,
    ),
    conflicts: await db.query(sql`select source, id, body from event_conflict order by id`),
    parked: await db.query(sql`select source, id, reason, detail, body from event_parked order by id, reason`),
    usage: await db.query(sql`select customer, hour, key, model, unit, trim_scale(quantity) as quantity from usage_hour
                              order by 1, 2, 3, 4, 5`),
    costs: await db.query(sql`select customer, hour, key, model, currency, trim_scale(cost) as cost, events, estimated
                              from cost_hour order by 1, 2, 3, 4, 5`),
  };
}
