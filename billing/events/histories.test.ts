import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, sql } from '#billing/db/database.ts';
import { makePartitions } from '#billing/db/partitions.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { add, formatExact, getExact } from '#core/exact.ts';
import type { UsageEvent } from '#core/usage-event.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { type IngestResult, ingest } from './ingest.ts';

/**
 * Random histories against a naive oracle: however the same events are cut into batches, ordered, repeated, retried,
 * mixed with other bodies of the same ids and spread over writers, every id counts once, and the roll-ups are the sum.
 */
const NOW = Date.UTC(2026, 10, 20, 12);
const HOUR_MS = 3_600_000;

/** Few of everything, so that histories meet in the same ids and the same roll-ups. */
const event = fc
  .record({
    id: fc.integer({ min: 0, max: 30 }),
    /** Of one id, different bodies: the first to arrive stays. */
    body: fc.integer({ min: 0, max: 2 }),
    source: fc.constantFrom('/a', '/b'),
  })
  .map(({ id, body, source }) => {
    const seed = id * 3 + body;
    return usageEvent({
      id: `req_${id}`,
      source,
      customer: `c${seed % 3}`,
      key: `k${seed % 2}`,
      model: `m${seed % 2}`,
      // Around the ends of an hour, and in a month without a partition.
      atMs: seed % 7 === 0 ? Date.UTC(2026, 2, 3) : NOW - (seed % 5) * (HOUR_MS / 2) - (seed % 2),
      quantities: { calls: '1', output_tokens: `${seed}`, audio_seconds: `0.${seed}1` },
      cost: seed % 4 === 0 ? null : { amount: `0.0000000${seed}1`, currency: seed % 3 === 0 ? 'EUR' : 'USD' },
      data: { usage_status: seed % 5 === 0 ? 'estimated' : 'final' },
    });
  });

/** Of each writer, the batches that it sends one after the other; some it sends twice, as after an answer that was lost. */
const batch = fc.record({ events: fc.array(event, { maxLength: 25 }), sends: fc.constantFrom(1, 1, 2) });
const history = (writers: number) =>
  fc.array(fc.array(batch, { minLength: 1, maxLength: 5 }), { minLength: writers, maxLength: writers });

type History = readonly (readonly { events: readonly UsageEvent[]; sends: number }[])[];

async function play(db: Database, written: History): Promise<{ sent: UsageEvent; result: IngestResult }[]> {
  const outcomes: { sent: UsageEvent; result: IngestResult }[] = [];
  await Promise.all(
    written.map(async (batches) => {
      for (const { events, sends } of batches) {
        for (let i = 0; i < sends; i++) {
          const results = await ingest(db, events, NOW);
          events.forEach((sent, at) => {
            outcomes.push({ sent, result: results[at] as IngestResult });
          });
        }
      }
    }),
  );
  return outcomes;
}

const idOf = (sent: UsageEvent) => `${sent.source} ${sent.id}`;
const textOf = (sent: UsageEvent) => JSON.stringify(sent);

/** The sums over the accepted events, added one by one. */
function naiveSums(accepted: readonly UsageEvent[]): Record<string, string> {
  const sums = new Map<string, string>();
  const plus = (name: string, amount: string) =>
    sums.set(name, formatExact(add(getExact(sums.get(name) ?? '0'), getExact(amount))));
  for (const { subject, time, data } of accepted) {
    const place = `${subject} ${time.slice(0, 13)} ${data.key} ${data.model}`;
    for (const [unit, quantity] of Object.entries(data.quantities))
      if (quantity !== '0') plus(`${place} ${unit}`, quantity);
    plus(`${place} ${data.cost?.currency ?? 'XXX'}`, data.cost?.amount ?? '0');
    plus(`${place} events`, '1');
  }
  return Object.fromEntries([...sums].sort());
}

async function storedSums(db: Database): Promise<Record<string, string>> {
  const rows = await db.query<{
    customer: string;
    hour: number;
    key: string;
    model: string;
    name: string;
    sum: string;
  }>(sql`
    select customer, hour, key, model, unit as name, quantity as sum from usage_hour
    union all select customer, hour, key, model, currency, cost from cost_hour
    union all select customer, hour, key, model, 'events', sum(events) from cost_hour group by 1, 2, 3, 4`);
  const sums = rows.map(({ customer, hour, key, model, name, sum }): [string, string] => {
    return [
      `${customer} ${new Date(hour).toISOString().slice(0, 13)} ${key} ${model} ${name}`,
      formatExact(getExact(sum)),
    ];
  });
  return Object.fromEntries(sums.sort());
}

async function check(db: Database, written: History): Promise<void> {
  await db.script('truncate event, event_id, event_conflict, usage_hour, cost_hour');
  const outcomes = await play(db, written);

  // Of each id exactly one body was accepted, once; its repeats are duplicates and every other body a conflict.
  const accepted = new Map<string, UsageEvent>();
  for (const { sent, result } of outcomes) {
    if (result.status !== 'accepted') continue;
    expect(accepted.has(idOf(sent)), `${idOf(sent)} was accepted twice`).toBe(false);
    accepted.set(idOf(sent), sent);
  }
  const conflicts = new Set<string>();
  for (const { sent, result } of outcomes) {
    const first = accepted.get(idOf(sent));
    if (!first) throw new Error(`${idOf(sent)} was never accepted`);
    const same = textOf(first) === textOf(sent);
    expect(result.status === 'accepted' ? 'duplicate' : result.status).toBe(same ? 'duplicate' : 'conflict');
    if (!same) conflicts.add(textOf(sent));
  }

  const stored = await db.query<{ body: UsageEvent }>(sql`select body from event`);
  expect(new Set(stored.map(({ body }) => idOf(body)))).toEqual(new Set(accepted.keys()));
  expect(stored).toHaveLength(accepted.size);
  expect(await db.query(sql`select count(*) from event_conflict`)).toEqual([{ count: BigInt(conflicts.size) }]);
  expect(await storedSums(db)).toEqual(naiveSums([...accepted.values()]));
  expect(await verifyRollups(db, { startMs: 0, endMs: Date.UTC(2030, 0) })).toEqual([]);
}

describe.each(DATABASE_KINDS)('histories of events on %s', (kind) => {
  // PGlite does one thing at a time, and takes it.
  const numRuns = kind === 'postgres' ? 30 : 10;
  let test: TestDatabase;
  beforeAll(async () => {
    test = await testDatabase(kind);
    await makePartitions(test.db, NOW, 0);
  });
  afterAll(() => test.drop());

  it('count every id once, from one writer', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(history(1), (written) => check(test.db, written)),
      { numRuns },
    );
  });

  it('count every id once, from four writers at a time', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(history(4), (written) => check(test.db, written)),
      { numRuns },
    );
  });
});
