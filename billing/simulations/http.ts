import { z } from '@hono/zod-openapi';
import { decodeCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { ACCOUNTANTS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, Instant, InstantIn, idParams, MoneyJson } from '#billing/http/schema.ts';
import { PlanTermsJson } from '#billing/plans/plan-json.ts';
import { COST_CURRENCY } from '#config/catalogue.ts';
import { amountText, countText } from '#config/decimal-text.ts';
import { type Exact, exact, formatExact, subtract } from '#core/exact.ts';
import { type MoneyJson as MoneyText, moneyToJson, NANOS_PER_UNIT } from '#core/money.ts';
import { formatInstant, HOUR_MS } from '#core/time.ts';
import { createSimulation, getSimulation } from './simulation.ts';
import {
  listSimulationCustomers,
  listSimulations,
  type SimulationCustomerRow,
  type SimulationRow,
  type SimulationTotalRow,
  sumSimulation,
} from './store.ts';

const SPAN_MS_MAX = 400 * 24 * HOUR_MS;
const ROWS_MAX = 500;
const pattern = z.string().min(1).max(200);

const NewSimulation = z
  .strictObject({
    from: InstantIn,
    to: InstantIn,
    customers: z.array(Id).min(1).max(10_000).optional().openapi({ description: 'All, when absent.' }),
    plans: z
      .record(z.string().max(100), z.union([z.strictObject({ plan: Id }), z.strictObject({ terms: PlanTermsJson })]))
      .default({})
      .openapi({
        description: 'By the plan that a period had: another plan, or terms of one. `*` stands for any plan.',
      }),
    models: z
      .array(z.strictObject({ from: pattern, to: z.string().min(1).max(200) }))
      .max(ROWS_MAX)
      .default([])
      .openapi({ description: 'Calls of these models as if another had served them, in price and in cost.' }),
    costs: z
      .array(
        z.strictObject({ model: pattern, unit: z.string().max(64), amount: amountText, per: countText.default('1') }),
      )
      .max(ROWS_MAX)
      .default([])
      .openapi({
        description: `What units cost us, in ${COST_CURRENCY}. A model that is named has no other costs than these; one that another stands for has the catalogue's.`,
      }),
  })
  .refine(({ from, to }) => to > from && to - from <= SPAN_MS_MAX, {
    message: 'Wants to be after from, by 400 days at most.',
    path: ['to'],
  })
  .openapi('NewSimulation');

const figures = {
  revenue_before: MoneyJson,
  revenue_after: MoneyJson,
  cost_before: MoneyJson,
  cost_after: MoneyJson,
  margin_before: MoneyJson.nullable().openapi({ description: 'Null where revenue and cost are in two currencies.' }),
  margin_after: MoneyJson.nullable(),
};
const SimulationJson = z
  .object({
    id: z.string(),
    state: z.enum(['queued', 'running', 'done', 'failed']),
    progress: z.object({ done: z.int(), customers: z.int().nullable() }),
    error: z.string().nullable(),
    created_at: Instant,
    started_at: Instant.nullable(),
    finished_at: Instant.nullable(),
    totals: z.array(z.object({ currency: z.string(), customers: z.int(), ...figures })),
  })
  .openapi('Simulation');
const CustomerJson = z
  .object({
    customer: z.string(),
    periods: z.int(),
    ...figures,
    unrated: z.array(z.string()).openapi({ description: 'Model and unit of what no price would cover.' }),
    uncosted: z.array(z.string()).openapi({ description: 'Model and unit of what has no cost: the cost is more.' }),
  })
  .openapi('SimulationCustomer');

export function simulationRoutes(api: Api): void {
  api.route({
    method: 'post',
    path: '/v1/simulations',
    noun: 'simulations',
    summary: 'Rate recorded usage again under other plans, models or costs',
    description:
      'Every period that begins from `from` on and before `to`, whole. A job computes it, within a minute or so; nothing ' +
      'is billed. A period in another currency than that of the plan in its place stays as it is.',
    roles: ACCOUNTANTS,
    body: NewSimulation,
    answer: SimulationJson,
    status: 202,
    run: async ({ db, body: { from, to, ...asked }, nowMs }) =>
      toJson(await createSimulation(db, { fromMs: from, toMs: to, ...asked }, nowMs), []),
  });

  api.route({
    method: 'get',
    path: '/v1/simulations',
    noun: 'simulations',
    summary: 'List simulations, latest first',
    roles: READERS,
    query: z.strictObject(pageQuery),
    answer: pageSchema('Simulation', SimulationJson),
    run: async ({ db, query }) => {
      const before = decodeCursor(query.cursor, 1)?.[0];
      const rows = await listSimulations(db, { before, count: query.limit + 1 });
      const shown: z.input<typeof SimulationJson>[] = [];
      for (const row of rows.slice(0, query.limit)) shown.push(toJson(row, await sumSimulation(db, row.id)));
      const { next_cursor } = pageOf(
        rows,
        query.limit,
        (row) => [row.id],
        (row) => row,
      );
      return { data: shown, next_cursor };
    },
  });

  api.route({
    method: 'get',
    path: '/v1/simulations/{id}',
    noun: 'simulations',
    summary: 'Get a simulation with its progress and its sums so far',
    roles: READERS,
    params: idParams,
    answer: SimulationJson,
    run: async ({ db, params }) => toJson(await getSimulation(db, params.id), await sumSimulation(db, params.id)),
  });

  api.route({
    method: 'get',
    path: '/v1/simulations/{id}/customers',
    noun: 'simulations',
    summary: 'Revenue, cost and margin of each customer, before and after',
    roles: READERS,
    params: idParams,
    query: z.strictObject(pageQuery),
    answer: pageSchema('SimulationCustomer', CustomerJson),
    run: async ({ db, params, query }) => {
      await getSimulation(db, params.id);
      const after = decodeCursor(query.cursor, 1)?.[0] ?? '';
      const rows = await listSimulationCustomers(db, params.id, { after, count: query.limit + 1 });
      return pageOf(rows, query.limit, (row) => [row.customer_id], customerToJson);
    },
  });
}

function toJson(row: SimulationRow, totals: readonly SimulationTotalRow[]): z.input<typeof SimulationJson> {
  return {
    id: row.id,
    state: row.state,
    progress: { done: Number.parseInt(row.done.toString(), 10), customers: row.customers },
    error: row.error,
    created_at: formatInstant(row.created_at),
    started_at: row.started_at === null ? null : formatInstant(row.started_at),
    finished_at: row.finished_at === null ? null : formatInstant(row.finished_at),
    totals: totals.map((total) => ({
      currency: total.currency,
      customers: Number.parseInt(total.customers.toString(), 10),
      ...figuresOf(total),
    })),
  };
}

function customerToJson(row: SimulationCustomerRow): z.input<typeof CustomerJson> {
  const { customer_id: customer, periods, unrated, uncosted } = row;
  return { customer, periods, ...figuresOf(row), unrated, uncosted };
}

function figuresOf(row: SimulationTotalRow | SimulationCustomerRow) {
  const { currency, revenue_before_nanos: before, revenue_after_nanos: after, cost_before, cost_after } = row;
  const margin = (nanos: bigint, cost: Exact): MoneyText | null =>
    currency === COST_CURRENCY ? amountJson(subtract(exact(nanos, NANOS_PER_UNIT), cost), currency) : null;
  return {
    revenue_before: moneyToJson({ nanos: before, currency }),
    revenue_after: moneyToJson({ nanos: after, currency }),
    cost_before: amountJson(cost_before, COST_CURRENCY),
    cost_after: amountJson(cost_after, COST_CURRENCY),
    margin_before: margin(before, cost_before),
    margin_after: margin(after, cost_after),
  };
}

function amountJson(amount: Exact, currency: string): MoneyText {
  return { amount: formatExact(amount), currency };
}
