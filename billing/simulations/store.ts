import { type Database, findRow, instant, json, sql } from '#billing/db/database.ts';
import { type Exact, exactOfNumeric } from '#core/exact.ts';
import type { SimulationQuestion } from './question.ts';

export interface SimulationRow {
  id: string;
  state: 'queued' | 'running' | 'done' | 'failed';
  question: unknown;
  error: string | null;
  created_at: number;
  started_at: number | null;
  finished_at: number | null;
  /** How many there are to compute; null before it began. */
  customers: number | null;
  /** How many are done. */
  done: bigint;
}

const SIMULATION = sql`
  select id, state, question, error, created_at, started_at, finished_at, customers,
         (select count(*) from simulation_customer where simulation_id = simulation.id) as done
  from simulation`;

export async function insertSimulation(
  db: Database,
  id: string,
  question: SimulationQuestion,
  nowMs: number,
): Promise<void> {
  await db.query(sql`
    insert into simulation (id, state, question, created_at)
    values (${id}, 'queued', ${json(question)}, ${instant(nowMs)})`);
}

export async function findSimulation(db: Database, id: string): Promise<SimulationRow | undefined> {
  return findRow<SimulationRow>(db, sql`${SIMULATION} where id = ${id}`);
}

export async function findOpenSimulation(db: Database): Promise<SimulationRow | undefined> {
  return findRow<SimulationRow>(
    db,
    sql`${SIMULATION} where state in ('queued', 'running') order by created_at, id limit 1`,
  );
}

/** Latest first. */
export async function listSimulations(
  db: Database,
  page: { before: string | undefined; count: number },
): Promise<SimulationRow[]> {
  const before = page.before ?? null;
  return db.query<SimulationRow>(sql`
    ${SIMULATION} where ${before}::text is null or id < ${before} order by id desc limit ${page.count}`);
}

export async function updateSimulationStarted(
  db: Database,
  id: string,
  customers: number,
  nowMs: number,
): Promise<void> {
  await db.query(sql`
    update simulation
    set state = 'running', customers = ${customers}, started_at = coalesce(started_at, ${instant(nowMs)}::timestamptz)
    where id = ${id}`);
}

export async function updateSimulationFinished(
  db: Database,
  id: string,
  error: string | null,
  nowMs: number,
): Promise<void> {
  await db.query(sql`
    update simulation set state = ${error === null ? 'done' : 'failed'}, error = ${error}, finished_at = ${instant(nowMs)}
    where id = ${id}`);
}

/** Those with a period that begins in the span, in order. */
export async function listCustomersToSimulate(
  db: Database,
  { fromMs, toMs, customers = null }: { fromMs: number; toMs: number; customers?: string[] | null | undefined },
): Promise<string[]> {
  const rows = await db.query<{ customer_id: string }>(sql`
    select distinct customer_id from subscription_period
    where start_at >= ${instant(fromMs)} and start_at < ${instant(toMs)}
      and (${customers}::text[] is null or customer_id = any(${customers}::text[]))
    order by customer_id`);
  return rows.map((row) => row.customer_id);
}

export async function listSimulatedCustomers(db: Database, id: string): Promise<string[]> {
  const rows = await db.query<{ customer_id: string }>(sql`
    select customer_id from simulation_customer where simulation_id = ${id}`);
  return rows.map((row) => row.customer_id);
}

export interface SimulationCustomerRow {
  customer_id: string;
  currency: string;
  periods: number;
  revenue_before_nanos: bigint;
  revenue_after_nanos: bigint;
  cost_before: Exact;
  cost_after: Exact;
  uncosted: string[];
  unrated: string[];
}

/** Costs in plain decimal notation. */
export async function insertSimulationCustomer(
  db: Database,
  id: string,
  row: Omit<SimulationCustomerRow, 'cost_before' | 'cost_after'> & { cost_before: string; cost_after: string },
): Promise<void> {
  await db.query(sql`
    insert into simulation_customer
      (simulation_id, customer_id, currency, periods, revenue_before_nanos, revenue_after_nanos, cost_before,
       cost_after, uncosted, unrated)
    values (${id}, ${row.customer_id}, ${row.currency}, ${row.periods}, ${row.revenue_before_nanos},
            ${row.revenue_after_nanos}, ${row.cost_before}, ${row.cost_after},
            ${json(row.uncosted)}, ${json(row.unrated)})
    on conflict do nothing`);
}

type Raw<Row, Fields extends keyof Row> = Omit<Row, Fields> & Record<Fields, string>;
type Figures = 'revenue_before_nanos' | 'revenue_after_nanos' | 'cost_before' | 'cost_after';

export async function listSimulationCustomers(
  db: Database,
  id: string,
  page: { after: string; count: number },
): Promise<SimulationCustomerRow[]> {
  const rows = await db.query<Raw<SimulationCustomerRow, Figures>>(sql`
    select customer_id, currency, periods, revenue_before_nanos, revenue_after_nanos, cost_before, cost_after,
           uncosted, unrated
    from simulation_customer where simulation_id = ${id} and customer_id > ${page.after}
    order by customer_id limit ${page.count}`);
  return rows.map((row) => ({ ...row, ...figuresOf(row) }));
}

export interface SimulationTotalRow {
  currency: string;
  customers: bigint;
  revenue_before_nanos: bigint;
  revenue_after_nanos: bigint;
  cost_before: Exact;
  cost_after: Exact;
}

/** By the currency of the customers. */
export async function sumSimulation(db: Database, id: string): Promise<SimulationTotalRow[]> {
  const rows = await db.query<Raw<SimulationTotalRow, Figures>>(sql`
    select currency, count(*) as customers, sum(revenue_before_nanos) as revenue_before_nanos,
           sum(revenue_after_nanos) as revenue_after_nanos, sum(cost_before) as cost_before,
           sum(cost_after) as cost_after
    from simulation_customer where simulation_id = ${id} group by currency order by currency`);
  return rows.map((row) => ({ ...row, ...figuresOf(row) }));
}

function figuresOf(row: Record<Figures, string>) {
  return {
    revenue_before_nanos: BigInt(row.revenue_before_nanos),
    revenue_after_nanos: BigInt(row.revenue_after_nanos),
    cost_before: exactOfNumeric(row.cost_before),
    cost_after: exactOfNumeric(row.cost_after),
  };
}
