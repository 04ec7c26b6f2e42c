import { type Database, findRow, instant, joinSql, type Sql, sql } from '#billing/db/database.ts';
import type { Period, SlotCut } from '#core/time.ts';

export interface UsageFilter {
  customer?: string | undefined;
  key?: string | undefined;
  model?: string | undefined;
}

/** A period on the hours, with the parts of its edges that lie on quarters of an hour where these are kept. */
export interface UsageCut extends SlotCut {
  readonly quarters?: readonly Period[];
}

/** From when on the usage of a customer is summed by the quarter of an hour too. */
export async function findQuartersFrom(db: Database, customer: string): Promise<number | null> {
  const row = await findRow<{ quarters_from: number | null }>(
    db,
    sql`select quarters_from from customer where id = ${customer}`,
  );
  return row?.quarters_from ?? null;
}

/** What sums are kept apart by, besides the period (its number is `slot`) and the unit. */
export interface UsageSplit {
  customer: boolean;
  key: boolean;
  model: boolean;
}

export interface QuantityRow {
  slot: number;
  customer: string | null;
  key: string | null;
  model: string | null;
  unit: string;
  quantity: string;
}

export async function sumQuantities(
  db: Database,
  filter: UsageFilter,
  slots: readonly UsageCut[],
  split: UsageSplit,
): Promise<QuantityRow[]> {
  const by = joinSql([...splitBy(split), sql`unit`], ', ');
  return await db.query<QuantityRow>(sql`
    select slot, ${splitColumns(split)}, unit, sum(quantity) quantity
    from (
      select whole.slot, used.*
      from ${wholes(slots)} whole cross join lateral (
        select ${by}, sum(quantity) quantity from usage_hour
        where hour >= whole.start_at and hour < whole.end_at and ${conditions(filter)} group by ${by}
      ) used
      union all
      select part.slot, used.*
      from ${quarters(slots)} part cross join lateral (
        select ${by}, sum(quantity) quantity from usage_quarter
        where quarter >= part.start_at and quarter < part.end_at and ${conditions(filter)} group by ${by}
      ) used
      union all
      select slot, ${by}, quantity
      from (
        select edge.slot, event.customer, event.key, q.model, q.unit, event.sign * q.quantity
        from ${edges(slots)} edge
        join event on time >= edge.start_at and time < edge.end_at
        cross join lateral usage_quantity(event.model, body -> 'data') q
        where type = 'weir.usage.v1'
      ) part (slot, customer, key, model, unit, quantity)
      where ${conditions(filter)}
    ) used
    group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5`);
}

export interface CostRow {
  slot: number;
  customer: string | null;
  key: string | null;
  model: string | null;
  /** XXX where the cost is unknown. */
  currency: string;
  cost: string;
  events: bigint;
  estimated: bigint;
}

export async function sumCosts(
  db: Database,
  filter: UsageFilter,
  slots: readonly UsageCut[],
  split: UsageSplit,
): Promise<CostRow[]> {
  const by = joinSql([...splitBy(split), sql`currency`], ', ');
  return await db.query<CostRow>(sql`
    select slot, ${splitColumns(split)}, currency, sum(cost) cost, sum(events)::int8 events,
      sum(estimated)::int8 estimated
    from (
      select whole.slot, costed.*
      from ${wholes(slots)} whole cross join lateral (
        select ${by}, sum(cost) cost, sum(events) events, sum(estimated) estimated from cost_hour
        where hour >= whole.start_at and hour < whole.end_at and ${conditions(filter)} group by ${by}
      ) costed
      union all
      select part.slot, costed.*
      from ${quarters(slots)} part cross join lateral (
        select ${by}, sum(cost) cost, sum(events) events, sum(estimated) estimated from cost_quarter
        where quarter >= part.start_at and quarter < part.end_at and ${conditions(filter)} group by ${by}
      ) costed
      union all
      select slot, ${by}, cost, events, estimated
      from (
        select edge.slot, event.customer, event.key, q.model, q.currency collate "C", event.sign * q.cost,
          event.sign * q.events, case when body #>> '{data,usage_status}' = 'estimated' then event.sign * q.events else 0 end
        from ${edges(slots)} edge
        join event on time >= edge.start_at and time < edge.end_at
        cross join lateral usage_cost(event.model, body -> 'data') q
        where type = 'weir.usage.v1'
      ) part (slot, customer, key, model, currency, cost, events, estimated)
      where ${conditions(filter)}
    ) costed
    group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5`);
}

/** The columns that the sums of a slot are kept apart by: all that is not asked for is summed where it is read. */
function splitBy(split: UsageSplit): Sql[] {
  const columns = { customer: sql`customer`, key: sql`key`, model: sql`model` };
  return (['customer', 'key', 'model'] as const).filter((name) => split[name]).map((name) => columns[name]);
}

function splitColumns(split: UsageSplit): Sql {
  return sql`${split.customer ? sql`customer` : sql`null::text`} customer,
    ${split.key ? sql`key` : sql`null::text`} as key, ${split.model ? sql`model` : sql`null::text`} model`;
}

function wholes(slots: readonly UsageCut[]): Sql {
  return periods(slots.map((slot, i) => ({ slot: i, period: slot.whole })));
}

function quarters(slots: readonly UsageCut[]): Sql {
  return periods(slots.flatMap((slot, i) => (slot.quarters ?? []).map((period) => ({ slot: i, period }))));
}

function edges(slots: readonly UsageCut[]): Sql {
  return periods(slots.flatMap((slot, i) => slot.edges.map((period) => ({ slot: i, period }))));
}

function periods(rows: readonly { slot: number; period: Period }[]): Sql {
  return sql`(
    select * from unnest(
      ${rows.map((row) => row.slot)}::int4[], ${rows.map((row) => instant(row.period.startMs))}::timestamptz[],
      ${rows.map((row) => instant(row.period.endMs))}::timestamptz[]
    ) given (slot, start_at, end_at)
  )`;
}

function conditions(filter: UsageFilter): Sql {
  const parts = [sql`true`];
  if (filter.customer !== undefined) parts.push(sql`customer = ${filter.customer}`);
  if (filter.key !== undefined) parts.push(sql`key = ${filter.key}`);
  if (filter.model !== undefined) parts.push(sql`model = ${filter.model}`);
  return joinSql(parts, ' and ');
}

/** What of an event a limit counts by: its user, its session or a label, and the value; null for events that have none. */
export interface EventPart {
  path: readonly string[];
  value: string | null;
}

export interface PartFilter {
  customer: string;
  key: string | null;
  fromMs: number;
  parts: readonly EventPart[];
}

export interface PartQuantityRow {
  model: string;
  unit: string;
  quantity: string;
}

/** By the events themselves, since roll-ups do not tell their users, sessions and labels apart. By the model of the event. */
export async function sumPartQuantities(db: Database, filter: PartFilter): Promise<PartQuantityRow[]> {
  return await db.query<PartQuantityRow>(sql`
    select event.model, q.unit, sum(event.sign * q.quantity) quantity
    from event cross join lateral usage_quantity(event.model, body -> 'data') q
    where ${partConditions(filter)}
    group by 1, 2 order by 1, 2`);
}

export interface PartCostRow {
  model: string;
  currency: string;
  cost: string;
  events: bigint;
}

export async function sumPartCosts(db: Database, filter: PartFilter): Promise<PartCostRow[]> {
  return await db.query<PartCostRow>(sql`
    select event.model, q.currency, sum(event.sign * q.cost) cost, sum(event.sign * q.events)::int8 events
    from event cross join lateral usage_cost(event.model, body -> 'data') q
    where ${partConditions(filter)}
    group by 1, 2 order by 1, 2`);
}

function partConditions({ customer, key, fromMs, parts }: PartFilter): Sql {
  const conditions = [sql`customer = ${customer} and time >= ${instant(fromMs)} and type = 'weir.usage.v1'`];
  if (key !== null) conditions.push(sql`key = ${key}`);
  for (const { path, value } of parts) {
    conditions.push(sql`body #>> ${['data', ...path]}::text[] is not distinct from ${value}::text`);
  }
  return joinSql(conditions, ' and ');
}

export interface UnknownCustomerRow {
  customer: string;
  events: bigint;
  first_hour: number;
  last_hour: number;
}

/** Customers that events name and that do not exist here: their usage is kept, and nobody is billed for it. */
export async function listUnknownCustomers(db: Database, limit: number): Promise<UnknownCustomerRow[]> {
  return await db.query<UnknownCustomerRow>(sql`
    select customer, sum(events)::int8 events, min(hour) first_hour, max(hour) last_hour
    from cost_hour where not exists (select from customer known where known.id collate "C" = cost_hour.customer)
    group by customer order by customer limit ${limit}`);
}
