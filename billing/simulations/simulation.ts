import type { Database } from '#billing/db/database.ts';
import { type Period, periodsBegunIn } from '#billing/subscriptions/period.ts';
import { add, type Exact, multiply, ZERO } from '#core/exact.ts';
import { Fault, reasonOf } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';
import { formatNanos } from '#core/price.ts';
import { type Comparison, comparePeriod } from './compare.ts';
import { type SimulationQuestion, simulationQuestion } from './question.ts';
import {
  findOpenSimulation,
  findSimulation,
  insertSimulation,
  insertSimulationCustomer,
  listCustomersToSimulate,
  listSimulatedCustomers,
  type SimulationRow,
  updateSimulationFinished,
  updateSimulationStarted,
} from './store.ts';

/**
 * A simulation rates recorded usage again under other plans, models or costs: a job that writes a row per customer, in a
 * transaction each, so that it can be watched, and goes on where it was when it is interrupted.
 */
export async function createSimulation(
  tx: Database,
  question: SimulationQuestion,
  nowMs: number,
): Promise<SimulationRow> {
  const id = newId('sim', nowMs);
  await insertSimulation(tx, id, question, nowMs);
  return getSimulation(tx, id);
}

export async function getSimulation(db: Database, id: string): Promise<SimulationRow> {
  const row = await findSimulation(db, id);
  if (!row) throw new Fault('not_found', { detail: `There is no simulation ${id}.` });
  return row;
}

/** Runs what is queued or was interrupted, the earliest first. Gives how many it finished. */
export async function runSimulations(db: Database, nowMs: number): Promise<number> {
  for (let finished = 0; ; finished++) {
    const open = await findOpenSimulation(db);
    if (!open) return finished;
    let error: string | null = null;
    try {
      await runSimulation(db, open, nowMs);
    } catch (thrown) {
      // Tried again by the next run.
      if (thrown instanceof Fault && thrown.code === 'database_unavailable') throw thrown;
      error = thrown instanceof Fault ? (thrown.detail ?? thrown.code) : reasonOf(thrown);
    }
    await updateSimulationFinished(db, open.id, error, nowMs);
  }
}

async function runSimulation(db: Database, { id, question }: SimulationRow, nowMs: number): Promise<void> {
  const asked = simulationQuestion.parse(question);
  const customers = await listCustomersToSimulate(db, asked);
  await updateSimulationStarted(db, id, customers.length, nowMs);
  const done = new Set(await listSimulatedCustomers(db, id));
  for (const customer_id of customers) {
    if (done.has(customer_id)) continue;
    await db.transaction(async (tx) => {
      const periods = await periodsBegunIn(tx, customer_id, asked.fromMs, asked.toMs);
      const row = await compareCustomer(tx, customer_id, periods, asked);
      if (row) await insertSimulationCustomer(tx, id, row);
    });
  }
}

async function compareCustomer(
  db: Database,
  customer: string,
  periods: readonly Period[],
  question: SimulationQuestion,
): Promise<Parameters<typeof insertSimulationCustomer>[2] | undefined> {
  const compared: Comparison[] = [];
  for (const period of periods) compared.push(await comparePeriod(db, period, question));
  const [first] = compared;
  if (!first) return undefined;
  // A customer is billed in one currency at a time; periods in another one are a simulation of their own.
  const same = compared.filter(({ currency }) => currency === first.currency);
  const total = (of: (one: Comparison) => bigint) => same.reduce((sum, one) => sum + of(one), 0n);
  const exactly = (of: (one: Comparison) => Exact) => same.reduce((sum, one) => add(sum, of(one)), ZERO);
  const texts = (of: (one: Comparison) => string[]) => [...new Set(same.flatMap(of))].sort();
  return {
    customer_id: customer,
    currency: first.currency,
    periods: same.length,
    revenue_before_nanos: total((one) => one.revenueBefore),
    revenue_after_nanos: total((one) => one.revenueAfter),
    cost_before: decimal(exactly((one) => one.costBefore)),
    cost_after: decimal(exactly((one) => one.costAfter)),
    uncosted: texts((one) => one.uncosted),
    unrated: texts((one) => one.unrated),
  };
}

/** To as many decimals as costs have: a price for 7 units has no last one. */
function decimal(cost: Exact): string {
  return formatNanos(multiply(cost, { num: NANOS_PER_UNIT, den: 1n }));
}
