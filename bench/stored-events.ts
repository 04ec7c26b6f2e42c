/**
 * Whether the cost of an event grows with what is stored: takes batches at 100,000, 1, 3 and 10 million stored events,
 * with ids that sort by time (ours) and ids that do not (other people's), and prints the curve; at the end, how long the
 * page of usage by model and day takes for a customer that has all of them.
 * `node bench/stored-events.ts [events] [seconds]`; a private server with fsync on.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { performance } from 'node:perf_hooks';
import { type Database, getRow, instant, sql } from '#billing/db/database.ts';
import { migrate } from '#billing/db/migrate.ts';
import { makePartitions } from '#billing/db/partitions.ts';
import { postgresDatabase } from '#billing/db/postgres.ts';
import { ingest } from '#billing/events/ingest.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { readUsage } from '#billing/usage/usage.ts';
import { newId } from '#core/id.ts';
import { createTestDatabase, startPostgres } from '#test/servers/postgres.ts';
import { usageEvent } from '#test/support/usage-events.ts';

const MOST = Number.parseInt(process.argv[2] ?? '10000000', 10);
const SECONDS = Number.parseInt(process.argv[3] ?? '5', 10);
const SETTINGS = ['shared_buffers=2GB', 'max_wal_size=8GB', 'checkpoint_timeout=15min'];
const CUSTOMERS = 200;
const BATCH = 1_000;
const CHUNK = 50_000;
const BIG = 'big';
const DAYS = 28;
const DAY_MS = 86_400_000;
const TICKS_PER_SECOND = 100;

type Ids = 'sorted' | 'random';

/**
 * Stores events of one customer over four weeks as fast as the server can: rows and indexes are as the ingest leaves
 * them, bodies are one for each model, and the roll-ups are computed from the numbers that the bodies hold.
 */
async function load(db: Database, from: number, to: number, startMs: number): Promise<void> {
  for (let first = from; first < to; first += CHUNK) {
    const last = Math.min(first + CHUNK, to) - 1;
    await db.query(sql`
      with body as materialized (
        select model, jsonb_build_object('specversion', '1.0', 'source', '/load', 'type', 'weir.usage.v1',
          'subject', ${BIG}::text, 'data', jsonb_build_object('customer', ${BIG}::text, 'key', 'key-' || model % 5,
            'model', 'model-' || model, 'usage_status', 'final', 'labels', jsonb_build_object('team', 'search'),
            'wire', 'openai-chat', 'endpoint', '/v1/chat/completions', 'upstream', 'openai', 'provider', 'openai',
            'cost', jsonb_build_object('amount', '0.0004', 'currency', 'USD'),
            'quantities', jsonb_build_object('calls', '1', 'input_tokens', '1200', 'output_tokens', '250'))) as body
        from generate_series(0, 19) model
      ), fresh as materialized (
        select '/load' collate "C" source,
          case when n % 2 = 0 then md5(n::text) else 'req_' || lpad(n::text, 26, '0') end collate "C" id,
          ${instant(startMs)}::timestamptz + n * (interval '28 days' / ${MOST}::int8) as time,
          ('key-' || n % 5) collate "C" as key, ('model-' || n % 20) collate "C" model, body
        from generate_series(${first}::int8, ${last}::int8) n join body on body.model = n % 20
      ), claimed as (
        insert into event_id (source, id, hash, time, customer)
        select source, id, sha256(id::bytea), time, ${BIG} from fresh
      ), stored as (
        insert into event (source, id, type, time, customer, key, model, received_at, body)
        select source, id, 'weir.usage.v1', time, ${BIG}, key, model, time, body from fresh
      ), hours as materialized (
        select date_trunc('hour', time, 'UTC') as hour, key, model, count(*) as events from fresh group by 1, 2, 3
      ), measured as (
        insert into usage_hour as u (customer, hour, key, model, unit, quantity)
        select ${BIG}, hour, key, model, unit, events * each
        from hours, (values ('calls', 1), ('input_tokens', 1200), ('output_tokens', 250)) per (unit, each)
        on conflict (customer, hour, key, model, unit) do update set quantity = u.quantity + excluded.quantity
      )
      insert into cost_hour as c (customer, hour, key, model, currency, cost, events, estimated)
      select ${BIG}, hour, key, model, 'USD', events * 0.0004, events, 0 from hours
      on conflict (customer, hour, key, model, currency) do update
        set cost = c.cost + excluded.cost, events = c.events + excluded.events`);
  }
}

/** The figures of the load are those of its events. */
async function assertRolledUp(db: Database, startMs: number): Promise<void> {
  const [wrong] = await verifyRollups(db, { startMs, endMs: startMs + DAYS * DAY_MS });
  if (wrong) throw new Error(`the load is not rolled up: ${JSON.stringify(wrong.unit)}`);
}

interface Figure {
  rate: number;
  wallUs: number;
  serverUs: number;
}

/** Takes batches for a while: events each second, and what an event costs by the clock and in the server's processor time. */
async function measure(db: Database, ids: Ids): Promise<Figure> {
  const atMs = Date.now();
  const batchOf = (): unknown[] =>
    Array.from({ length: BATCH }, () => {
      const customer = `customer-${Math.trunc(Math.random() * CUSTOMERS)}`;
      const [key, model] = [`${customer}-${Math.trunc(Math.random() * 2)}`, `gpt-4o-${Math.trunc(Math.random() * 3)}`];
      return usageEvent({ id: ids === 'random' ? randomUUID() : newId('req', Date.now()), atMs, customer, key, model });
    });
  await ingest(db, batchOf(), Date.now());
  const ready = Array.from({ length: 20 }, batchOf);
  let [events, spentMs] = [0, 0];
  const cpu = await serverCpu(db);
  while (spentMs < SECONDS * 1000) {
    const batch = ready.pop() ?? batchOf();
    const start = performance.now();
    const results = await ingest(db, batch, Date.now());
    spentMs += performance.now() - start;
    if (results.some(({ status }) => status !== 'accepted')) throw new Error('miscounted');
    events += batch.length;
  }
  const serverUs = ((await serverCpu(db)) - cpu) / events;
  return { rate: (events / spentMs) * 1000, wallUs: (spentMs * 1000) / events, serverUs };
}

/** Processor time of all processes of the server, in microseconds. */
async function serverCpu(db: Database): Promise<number> {
  const rows = await db.query<{ pid: number }>(sql`select pid from pg_stat_activity`);
  let ticks = 0;
  for (const { pid } of rows) {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return (ticks * 1_000_000) / TICKS_PER_SECOND;
}

/** The page of usage by model and day: the middle and the slowest of some looks. */
async function page(db: Database, startMs: number): Promise<string> {
  const times: number[] = [];
  let rows = 0;
  for (let i = 0; i < 7; i++) {
    const start = performance.now();
    const period = { startMs, endMs: startMs + DAYS * DAY_MS };
    rows = (await readUsage(db, { customer: BIG, period, groupBy: ['model', 'day'], zone: 'Europe/Paris' })).length;
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return `usage by model and day of ${rows} rows: middle ${times[3]?.toFixed(0)} ms, slowest ${times.at(-1)?.toFixed(0)} ms`;
}

const server = await startPostgres({ durable: true, settings: SETTINGS });
try {
  const { url, drop } = await createTestDatabase(server.url);
  const db = postgresDatabase({ url });
  await migrate(db);
  const startMs = Date.now() - (Date.now() % DAY_MS) - DAYS * DAY_MS;
  await makePartitions(db, startMs, 2);
  console.log(
    `${cpus().length} cores, Node ${process.versions.node}; one writer, ${BATCH} events a transaction, ${SETTINGS.join(', ')}`,
  );
  console.log('| stored events | ids | events/s | us an event | us of the server | bytes an event |');
  console.log('|---|---|---|---|---|---|');
  let stored = 0;
  for (const wanted of [100_000, 1_000_000, 3_000_000, MOST].filter(
    (count, i, all) => count <= MOST && all.indexOf(count) === i,
  )) {
    await load(db, stored, wanted, startMs);
    if (stored === 0) await assertRolledUp(db, startMs);
    stored = wanted;
    await db.script('analyze event_id; checkpoint');
    const size = await getRow<{ bytes: bigint }>(
      db,
      sql`select sum(pg_total_relation_size(oid))::int8 bytes from pg_class where relname like 'event%' and relkind = 'r'`,
    );
    for (const ids of ['sorted', 'random'] as const) {
      const { rate, wallUs, serverUs } = await measure(db, ids);
      const figures = [rate, wallUs, serverUs].map((figure) => Math.round(figure).toLocaleString('en'));
      console.log(
        `| ${stored.toLocaleString('en')} | ${ids} | ${figures.join(' | ')} | ${size.bytes / BigInt(stored)} |`,
      );
    }
  }
  await db.script('analyze');
  console.log(await page(db, startMs));
  await db.close();
  await drop();
} finally {
  await server.stop();
}
