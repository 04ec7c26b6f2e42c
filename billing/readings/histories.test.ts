import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '#billing/db/database.ts';
import { makePartitions } from '#billing/db/partitions.ts';
import { CORRECTION_TYPE } from '#billing/events/event-schema.ts';
import { ingest } from '#billing/events/ingest.ts';
import { createMeter, gaugeOfMeter, getMeter } from '#billing/meters/meter.ts';
import { meterTerms } from '#config/meter-terms.ts';
import { HOUR_MS, MINUTE_MS, type Period } from '#core/time.ts';
import type { UsageEvent } from '#core/usage-event.ts';
import { DATABASE_KINDS, type TestDatabase, testDatabase } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { readMeter } from './reading.ts';

/**
 * Random histories against an oracle that knows nothing of slots, points, revisions or expressions: events in any order
 * and batches, some twice, from several writers at a time, then corrections and deletions; every aggregation over
 * periods that begin and end anywhere must be what a look at the events that are left gives.
 */
const NOW = Date.UTC(2026, 10, 20, 12);
const START = NOW - 6 * HOUR_MS;

/** Thousandths, so that the oracle can count in whole numbers. */
interface Fact {
  atMs: number;
  value: bigint;
  change: bigint;
  item: string;
  op: 'add' | 'remove';
  region: string | null;
}

const fact: fc.Arbitrary<Fact> = fc
  .record({
    // Around the ends of slots, and many at one instant.
    slot: fc.integer({ min: 0, max: 23 }),
    offsetMs: fc.constantFrom(0, 0, 1, 7 * MINUTE_MS, 15 * MINUTE_MS - 1),
    value: fc.integer({ min: 0, max: 5_000 }),
    change: fc.integer({ min: -3_000, max: 3_000 }),
    item: fc.constantFrom('a', 'b', 'c'),
    op: fc.constantFrom('add' as const, 'add' as const, 'remove' as const),
    region: fc.constantFrom('eu', 'us', null),
  })
  .map(({ slot, offsetMs, value, change, ...rest }) => ({
    ...rest,
    atMs: START + slot * 15 * MINUTE_MS + offsetMs,
    value: BigInt(value),
    change: BigInt(change),
  }));

const sent = fc.record({ id: fc.integer({ min: 0, max: 40 }), fact });
const changed = fc.record({
  id: fc.integer({ min: 0, max: 40 }),
  at: fc.integer({ min: 0, max: 9 }),
  fact: fc.option(fact),
});
const writers = <T>(each: fc.Arbitrary<T>) =>
  fc.array(fc.array(fc.array(each, { maxLength: 8 }), { maxLength: 3 }), { minLength: 1, maxLength: 3 });
const instantOfDay = fc
  .integer({ min: -30, max: 6 * 60 + 30 })
  .chain((minute) => fc.constantFrom(0, 0, 1, 59_999).map((ms) => START + minute * MINUTE_MS + ms));
const periodsOf = fc
  .uniqueArray(instantOfDay, { minLength: 2, maxLength: 4 })
  .map((instants) => [...instants].sort((a, b) => a - b))
  .map((instants) => instants.slice(1).map((endMs, i): Period => ({ startMs: instants[i] ?? 0, endMs })));

const thousandths = (value: bigint) => {
  const digits = (value < 0n ? -value : value).toString().padStart(4, '0');
  return `${value < 0n ? '-' : ''}${digits.slice(0, -3)}.${digits.slice(-3)}`;
};

const eventOf = (customer: string, id: number, { atMs, value, change, item, op, region }: Fact): UsageEvent =>
  usageEvent({
    id: `e${id}`,
    source: '/app',
    customer,
    atMs,
    quantities: {},
    properties: {
      value: thousandths(value),
      change: thousandths(change),
      item,
      op,
      ...(region === null ? {} : { region }),
    },
  });

const METERS = {
  count: { aggregation: 'count', filter: 'properties.value >= 1' },
  sum: { aggregation: 'sum', value: 'properties.value' },
  max: { aggregation: 'max', value: 'properties.value' },
  min: { aggregation: 'min', value: 'properties.value' },
  average: { aggregation: 'average', value: 'properties.value' },
  unique: { aggregation: 'unique', value: 'properties.item' },
  latest: { aggregation: 'latest', value: 'properties.value' },
  peaks: { aggregation: 'max', value: 'properties.value', window: 'hour', combine: 'sum' },
  minutes: { aggregation: 'sum', value: 'properties.value', window: 'minute', combine: 'max' },
  level: { aggregation: 'latest', value: 'properties.value', recurring: true },
  gauge: { aggregation: 'time_weighted', value: 'properties.value', recurring: true },
  flow: { aggregation: 'time_weighted', value: 'properties.change', values: 'changes', recurring: true },
  running: { aggregation: 'sum', value: 'properties.change', recurring: true },
  seats: { aggregation: 'sum', value: 'properties.change', recurring: true, proration: 'by_second' },
  active: { aggregation: 'unique', value: 'properties.item', operation: 'properties.op', recurring: true },
} as const;
type Name = keyof typeof METERS;

/** A figure as a fraction; the oracle does not shorten it. */
type Figure = readonly [num: bigint, den: bigint];
const total = (values: readonly bigint[]) => values.reduce((a, b) => a + b, 0n);
const most = (values: readonly bigint[]) => values.toSorted((a, b) => (a < b ? -1 : 1)).at(-1) ?? 0n;
const least = (values: readonly bigint[]) => values.toSorted((a, b) => (a < b ? -1 : 1))[0] ?? 0n;
const atLeastNothing = (value: bigint) => (value < 0n ? 0n : value);

/** `facts` in order; undefined where there is nothing to read. */
function oracle(name: Name, facts: readonly Fact[], { startMs, endMs }: Period): Figure | undefined {
  const within = facts.filter(({ atMs }) => atMs >= startMs && atMs < endMs);
  const until = (ms: number) => facts.filter(({ atMs }) => atMs <= ms);
  const before = facts.filter(({ atMs }) => atMs < startMs);
  const values = within.map(({ value }) => value);
  const windows = (lengthMs: number) =>
    [...Map.groupBy(within, ({ atMs }) => atMs - (atMs % lengthMs)).values()].map((some) =>
      some.map(({ value }) => value),
    );
  const last = facts.filter(({ atMs }) => atMs < endMs).at(-1);
  // The level between two neighbouring instants, weighted by what lies between them.
  const weighted = (levelAt: (ms: number) => bigint): Figure => {
    const instants = [startMs, ...new Set(within.map(({ atMs }) => atMs)), endMs].sort((a, b) => a - b);
    const areas = instants
      .slice(1)
      .map((ms, i) => atLeastNothing(levelAt(instants[i] ?? 0)) * BigInt(ms - (instants[i] ?? 0)));
    return [total(areas), 1_000n * BigInt(endMs - startMs)];
  };
  const changes = (some: readonly Fact[]) => total(some.map(({ change }) => change));
  const started = last !== undefined;
  switch (name) {
    case 'count': {
      const big = within.filter(({ value }) => value >= 1_000n).length;
      return big === 0 ? undefined : [BigInt(big), 1n];
    }
    case 'sum':
      return values.length === 0 ? undefined : [total(values), 1_000n];
    case 'max':
      return values.length === 0 ? undefined : [most(values), 1_000n];
    case 'min':
      return values.length === 0 ? undefined : [least(values), 1_000n];
    case 'average':
      return values.length === 0 ? undefined : [total(values), 1_000n * BigInt(values.length)];
    case 'unique': {
      const items = new Set(within.map(({ item }) => item)).size;
      return items === 0 ? undefined : [BigInt(items), 1n];
    }
    case 'latest':
      return values.length === 0 ? undefined : [values.at(-1) ?? 0n, 1_000n];
    case 'peaks':
      return values.length === 0 ? undefined : [total(windows(HOUR_MS).map(most)), 1_000n];
    case 'minutes':
      return values.length === 0 ? undefined : [most(windows(MINUTE_MS).map(total)), 1_000n];
    case 'level':
      return last && [last.value, 1_000n];
    case 'gauge':
      return started ? weighted((ms) => until(ms).at(-1)?.value ?? 0n) : undefined;
    case 'flow':
      return started ? weighted((ms) => changes(until(ms))) : undefined;
    case 'running':
      return started ? [atLeastNothing(changes(facts.filter(({ atMs }) => atMs < endMs))), 1_000n] : undefined;
    case 'seats': {
      if (!started) return undefined;
      let height = atLeastNothing(changes(before));
      let area = height * BigInt(endMs - startMs);
      within.forEach(({ atMs }, i) => {
        const level = changes([...before, ...within.slice(0, i + 1)]);
        if (level <= height) return;
        area += (level - height) * BigInt(endMs - atMs);
        height = level;
      });
      return [area, 1_000n * BigInt(endMs - startMs)];
    }
    case 'active': {
      const items = ['a', 'b', 'c'];
      const there = items.filter((item) => before.filter((one) => one.item === item).at(-1)?.op === 'add');
      const added = within.filter(({ op }) => op === 'add').map(({ item }) => item);
      if (within.length === 0 && there.length === 0) return undefined;
      return [BigInt(new Set([...there, ...added]).size), 1n];
    }
  }
}

interface History {
  first: { id: number; fact: Fact }[][][];
  later: { events: { id: number; fact: Fact }[][][]; corrections: { id: number; at: number; fact: Fact | null }[][][] };
  periods: Period[];
}

async function play(db: Database, customer: string, { first, later }: History): Promise<Map<number, Fact>> {
  const bodies = new Map<number, Fact>();
  const claim = (id: number, of: Fact) => {
    const known = bodies.get(id) ?? of;
    bodies.set(id, known);
    return eventOf(customer, id, known);
  };
  const send = (batches: unknown[][][]) =>
    Promise.all(
      batches.map(async (writer) => {
        // Twice, as after an answer that was lost.
        for (const batch of writer)
          for (const status of ['accepted', 'duplicate']) {
            const results = await ingest(db, batch, NOW);
            expect(results.filter((one) => one.status !== status && one.status !== 'duplicate')).toEqual([]);
          }
      }),
    );
  await send(first.map((writer) => writer.map((batch) => batch.map(({ id, fact: of }) => claim(id, of)))));
  const known = new Set(bodies.keys());
  const decided = new Map<number, { at: string; fact: Fact | null }>();
  const corrections = later.corrections.map((writer, w) =>
    writer.map((batch, b) =>
      batch.flatMap(({ id, at, fact: of }, i) => {
        if (!known.has(id)) return [];
        const name = `c${w}-${b}-${i}`;
        const timeMs = NOW - 1_000 + at;
        const place = `${timeMs} ${name}`;
        if (place > (decided.get(id)?.at ?? '')) decided.set(id, { at: place, fact: of });
        const event = of && eventOf(customer, id, of);
        return [
          {
            ...{ specversion: '1.0', id: `${customer} ${name}`, source: '/app', type: CORRECTION_TYPE },
            ...{ subject: customer, time: new Date(timeMs).toISOString() },
            data: { source: '/app', id: `e${id}`, reason: 'it was wrong', event },
          },
        ];
      }),
    ),
  );
  await send([
    ...later.events.map((writer) => writer.map((batch) => batch.map(({ id, fact: of }) => claim(id, of)))),
    ...corrections,
  ]);
  for (const [id, { fact: of }] of decided) {
    if (of) bodies.set(id, of);
    else bodies.delete(id);
  }
  return bodies;
}

const compareText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

async function check(db: Database, customer: string, history: History): Promise<void> {
  await db.script(
    'truncate event, event_id, event_correction, event_conflict, event_parked, usage_hour, cost_hour, meter_roll_up, meter_point, meter_problem',
  );
  const left = [...(await play(db, customer, history))].sort(
    ([a, one], [b, other]) => one.atMs - other.atMs || compareText(`e${a}`, `e${b}`),
  );
  for (const name of Object.keys(METERS) as Name[]) {
    const readings = await readMeter(db, gaugeOfMeter(await getMeter(db, name)), {
      customer,
      periods: history.periods,
      zone: 'UTC',
    });
    const found = new Set(readings);
    for (const [i, period] of history.periods.entries()) {
      for (const region of ['eu', 'us', null]) {
        const facts = left.map(([, one]) => one).filter((one) => one.region === region);
        const wanted = oracle(name, facts, period);
        const reading = readings.find((one) => one.period === i && one.dimensions[0] === region);
        if (reading) found.delete(reading);
        const place = `${name} of ${region} in period ${i}`;
        if (!wanted) expect(reading?.measured.num ?? 0n, place).toBe(0n);
        else {
          if (!reading) throw new Error(`${place} is missing`);
          expect(reading.measured.num * wanted[1], place).toBe(wanted[0] * reading.measured.den);
        }
      }
    }
    expect(found.size, `${name} of something else`).toBe(0);
  }
}

describe.each(DATABASE_KINDS)('histories of events and meters on %s', (kind) => {
  const numRuns = Number.parseInt(process.env.WEIR_HISTORIES ?? (kind === 'postgres' ? '25' : '8'), 10);
  let test: TestDatabase;
  beforeAll(async () => {
    test = await testDatabase(kind);
    await makePartitions(test.db, NOW, 0);
    for (const [id, terms] of Object.entries(METERS)) {
      await createMeter(
        test.db,
        { id, name: id, terms: meterTerms.parse({ ...terms, dimensions: ['properties.region'] }) },
        NOW,
      );
    }
  });
  afterAll(() => test.drop());

  it('give every figure that the events which are left give', { timeout: 240_000 }, async () => {
    const history: fc.Arbitrary<History> = fc.record({
      first: writers(sent),
      later: fc.record({ events: writers(sent), corrections: writers(changed) }),
      periods: periodsOf,
    });
    await fc.assert(
      fc.asyncProperty(history, (given) => check(test.db, 'acme', given)),
      { numRuns, endOnFailure: true },
    );
  });
});
