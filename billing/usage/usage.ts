import type { Database } from '#billing/db/database.ts';
import { Fault } from '#core/fault.ts';
import type { MoneyJson } from '#core/money.ts';
import { calendarPeriod, cutIntoHours, formatInstant, HOUR_MS, type Period } from '#core/time.ts';
import {
  type CostRow,
  type DifferenceRow,
  listCostDifferences,
  listQuantityDifferences,
  type PartFilter,
  type QuantityRow,
  sumCosts,
  sumPartCosts,
  sumPartQuantities,
  sumQuantities,
  type UsageFilter,
} from './store.ts';

/** Days or hours that one question may ask about: a year of days, a month of hours. */
export const SLOTS_MAX = 750;

export const DIMENSIONS = ['customer', 'key', 'model', 'day', 'hour'] as const;
export type Dimension = (typeof DIMENSIONS)[number];

/** Stands for the cost of events whose price is unknown (ISO 4217: no currency). */
const NO_CURRENCY = 'XXX';

/** What was used: all of it, or by what the question groups by. Quantities of different units are never added. */
export interface UsageGroup {
  customer: string | null;
  key: string | null;
  model: string | null;
  period: Period;
  quantities: Record<string, string>;
  /** What the providers charge for it, by currency. */
  costs: MoneyJson[];
  events: bigint;
  /** How many of the events hold an estimate of ours, and how many have no known cost. */
  estimated: bigint;
  unpriced: bigint;
}

export interface UsageQuestion extends UsageFilter {
  period: Period;
  groupBy: readonly Dimension[];
  /** Whose days. */
  zone: string;
}

/** Exact for any period, down to the millisecond; live, since the roll-ups are written with the events. */
export async function readUsage(db: Database, question: UsageQuestion): Promise<UsageGroup[]> {
  const by = new Set(question.groupBy);
  const periods = periodsOf(question.period, by.has('hour') ? 'hour' : by.has('day') ? 'day' : null, question.zone);
  const slots = periods.map(cutIntoHours);
  const split = { customer: by.has('customer'), key: by.has('key'), model: by.has('model') };
  const groups = new Map<string, UsageGroup>();
  const groupOf = (row: QuantityRow | CostRow): UsageGroup => {
    const { customer, key, model } = row;
    const name = JSON.stringify([row.slot, customer, key, model]);
    const period = periods[row.slot];
    if (!period) throw new Error(`no slot ${row.slot}`);
    const nothing = { quantities: {}, costs: [], events: 0n, estimated: 0n, unpriced: 0n };
    const group = groups.get(name) ?? { customer, key, model, period, ...nothing };
    groups.set(name, group);
    return group;
  };
  // Costs first: every event has a row there, with quantities or without.
  for (const row of await sumCosts(db, question, slots, split)) {
    const group = groupOf(row);
    group.events += row.events;
    group.estimated += row.estimated;
    if (row.currency === NO_CURRENCY) group.unpriced += row.events;
    else group.costs.push({ amount: plain(row.cost), currency: row.currency });
  }
  for (const row of await sumQuantities(db, question, slots, split)) {
    groupOf(row).quantities[row.unit] = plain(row.quantity);
  }
  return [...groups.values()];
}

/** What calls have used since an instant, by model: what a limit's counter has used before the counter existed. */
export interface ModelUse {
  model: string;
  events: bigint;
  quantities: Record<string, string>;
  costs: MoneyJson[];
}

export async function useSince(db: Database, filter: PartFilter): Promise<ModelUse[]> {
  const found = new Map<string, ModelUse>();
  const useOf = (model: string): ModelUse => {
    const use = found.get(model) ?? { model, events: 0n, quantities: {}, costs: [] };
    found.set(model, use);
    return use;
  };
  const { customer, key, fromMs, parts } = filter;
  if (parts.length === 0) {
    const period = { startMs: fromMs, endMs: END_OF_TIME_MS };
    const groups = await readUsage(db, { customer, key: key ?? undefined, period, groupBy: ['model'], zone: 'UTC' });
    for (const { model, events, quantities, costs } of groups) {
      if (model !== null) Object.assign(useOf(model), { events, quantities, costs });
    }
    return [...found.values()];
  }
  for (const { model, currency, cost, events } of await sumPartCosts(db, filter)) {
    const use = useOf(model);
    use.events += events;
    if (currency !== NO_CURRENCY) use.costs.push({ amount: plain(cost), currency });
  }
  for (const { model, unit, quantity } of await sumPartQuantities(db, filter)) {
    useOf(model).quantities[unit] = plain(quantity);
  }
  return [...found.values()];
}

const END_OF_TIME_MS = Date.UTC(9000, 0);

/**
 * Recomputes the roll-ups of whole hours from the events and gives every figure that is another. Empty unless something
 * beside the ingest wrote to the tables, or partitions of the period were dropped.
 */
export async function verifyRollups(db: Database, period: Period, limit = 1_000): Promise<DifferenceRow[]> {
  if (period.startMs % HOUR_MS !== 0 || period.endMs % HOUR_MS !== 0) throw new RangeError('not whole hours');
  return [...(await listQuantityDifferences(db, period, limit)), ...(await listCostDifferences(db, period, limit))];
}

/** The same for the last two whole hours, as a job: a difference is a failure that somebody must look into. */
export async function checkRollups(db: Database, nowMs: number): Promise<void> {
  const endMs = nowMs - (nowMs % HOUR_MS);
  const differences = await verifyRollups(db, { startMs: endMs - 2 * HOUR_MS, endMs });
  const [first] = differences;
  if (!first) return;
  throw new Fault('internal', {
    story: `${differences.length} sums are not those of their events; the first: ${first.customer} ${first.key} ${first.model} ${first.unit} at ${formatInstant(first.hour)}: ${first.rolled_up}, recomputed ${first.recomputed}`,
  });
}

/** The days of the zone or the hours that a period touches, cut to it. */
function periodsOf(period: Period, unit: 'day' | 'hour' | null, zone: string): Period[] {
  if (unit === null) return [period];
  const periods: Period[] = [];
  for (let startMs = period.startMs; startMs < period.endMs; ) {
    const next = unit === 'day' ? calendarPeriod('day', startMs, zone).endMs : startMs - (startMs % HOUR_MS) + HOUR_MS;
    const endMs = Math.min(next, period.endMs);
    if (periods.length === SLOTS_MAX) {
      const detail = `At most ${SLOTS_MAX} days or hours are answered at once.`;
      throw new Fault('validation_failed', { issues: [{ parameter: 'to', detail }] });
    }
    periods.push({ startMs, endMs });
    startMs = endMs;
  }
  return periods;
}

/** Decimal text without the zeros that Postgres keeps behind the point. */
function plain(decimal: string): string {
  return decimal.includes('.') ? decimal.replace(/\.?0+$/, '') : decimal;
}
