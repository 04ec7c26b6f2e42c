/**
 * How long it takes to rate what is kept event by event, and how that grows: the latest value, seats whose changes go
 * back years, and a percentage with a minimum for each event. `node bench/levels.ts [points]`; a private server.
 */
import { performance } from 'node:perf_hooks';
import { billedPartsOf } from '#billing/billed-usage/billed-usage.ts';
import { type Database, instant, sql } from '#billing/db/database.ts';
import { migrate } from '#billing/db/migrate.ts';
import { postgresDatabase } from '#billing/db/postgres.ts';
import { gaugeOf } from '#billing/meters/measured.ts';
import { DEFAULT_POLICIES } from '#billing/rating/policies.ts';
import { readMeter } from '#billing/readings/reading.ts';
import { meterTerms } from '#config/meter-terms.ts';
import { createTestDatabase, startPostgres } from '#test/servers/postgres.ts';

const MOST = Number.parseInt(process.argv[2] ?? '1000000', 10);
const START = Date.UTC(2026, 9, 1);
const END = Date.UTC(2026, 10, 1);
const YEARS_BEFORE = Date.UTC(2023, 9, 1);

async function loadPoints(db: Database, meter: string, count: number, fromMs: number, toMs: number): Promise<void> {
  await db.query(sql`
    insert into meter_point (meter, version, customer, time, source, id, revision, part, dimensions, value, item, operation)
    select ${meter}, 1, 'acme', ${instant(fromMs)}::timestamptz
        + n * ((${instant(toMs)}::timestamptz - ${instant(fromMs)}::timestamptz) / ${count}::int8),
      '/load', ${meter} || n, 0, 0, '[]', 1 + n % 7, case when ${meter}::text = 'seats' then 'seat-' || n % 500 else '' end,
      case when n % 3 = 0 then 'remove' else 'add' end
    from generate_series(0, ${count}::int8 - 1) as n`);
}

async function loadEvents(db: Database, count: number): Promise<void> {
  await db.query(sql`
    insert into event (source, id, type, time, customer, key, model, received_at, body)
    select '/load', 'e' || n, 'weir.usage.v1',
      ${instant(START)}::timestamptz + n * ((${instant(END)}::timestamptz - ${instant(START)}::timestamptz) / ${count}::int8),
      'acme', '', 'm', ${instant(END)},
      jsonb_build_object('data', jsonb_build_object('quantities', jsonb_build_object('payments', '10.5')))
    from generate_series(0, ${count}::int8 - 1) as n`);
}

async function timed(what: string, work: () => Promise<unknown>): Promise<void> {
  await work();
  const startedAt = performance.now();
  await work();
  console.log(`${what}: ${Math.round(performance.now() - startedAt)} ms`);
}

const server = await startPostgres();
const made = await createTestDatabase(server.url);
const db = postgresDatabase({ url: made.url });
try {
  await migrate(db);
  const month = { customer: 'acme', periods: [{ startMs: START, endMs: END }], zone: 'UTC' };
  const seats = { aggregation: 'unique', value: 'properties.seat', operation: 'properties.op', recurring: true };
  const gauges = {
    latest: gaugeOf('latest', 1, meterTerms.parse({ aggregation: 'latest', value: 'properties.size' })),
    seats: gaugeOf('seats', 1, meterTerms.parse(seats)),
    level: gaugeOf('level', 1, meterTerms.parse({ aggregation: 'sum', value: 'properties.n', recurring: true })),
  };
  for (const count of [MOST / 10, MOST]) {
    await db.script('truncate meter_point; truncate event');
    await loadPoints(db, 'latest', count, START, END);
    for (const meter of ['seats', 'level']) {
      await loadPoints(db, meter, count, YEARS_BEFORE, START);
      await loadPoints(db, meter, 1_000, START, END);
    }
    await loadEvents(db, count);
    await db.script('analyze meter_point; analyze event');
    await timed(`latest of ${count} points in a month`, () => readMeter(db, gauges.latest, month));
    await timed(`seats after ${count} changes before the month`, () => readMeter(db, gauges.seats, month));
    await timed(`level after ${count} changes before the month`, () => readMeter(db, gauges.level, month));
    const period = {
      ...{ subscription_id: 'sub', period_index: 0, customer_id: 'acme', plan_id: 'plan', plan_version: 1 },
      ...{ policies: DEFAULT_POLICIES, zone: 'UTC', start_at: START, end_at: END },
      ...{ whole_start_at: START, whole_end_at: END, closed_at: null },
    };
    const cut = { instants: [], dimensions: [], window: null, carried: null, events: true };
    const line = { unit: 'payments', models: ['m'] };
    await timed(`percentage with a minimum over ${count} events`, () =>
      billedPartsOf(db, period, line, { cut, currency: 'USD', lateSeq: 0n }),
    );
  }
} finally {
  await db.close();
  await made.drop();
  await server.stop();
}
