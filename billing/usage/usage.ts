import type { Database } from '#billing/db/database.ts';
import { Fault } from '#core/fault.ts';
import type { MoneyJson } from '#core/money.ts';
import { calendarPeriod, cutIntoHours, cutIntoSlots, HOUR_MS, MINUTE_MS, type Period, QUARTER_MS } from '#core/time.ts';
import {
  type CostRow,
  findQuartersFrom,
  type PartFilter,
  type QuantityRow,
  sumCosts,
  sumPartCosts,
  sumPartQuantities,
  sumQuantities,
  type UsageCut,
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
  const slots = await cutForUsage(db, question.customer, periods);
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

/** Hours, and what is left at the ends: by quarters of an hour where these are kept, else from the events. */
async function cutForUsage(
  db: Database,
  customer: string | undefined,
  periods: readonly Period[],
): Promise<readonly UsageCut[]> {
  const slots = periods.map(cutIntoHours);
  if (customer === undefined || slots.every(({ edges }) => edges.length === 0)) return slots;
  const fromMs = await findQuartersFrom(db, customer);
  if (fromMs === null) return slots;
  return slots.map(({ whole, edges }) => {
    const cuts = edges.map((edge) =>
      edge.startMs < fromMs
        ? { whole: { ...edge, endMs: edge.startMs }, edges: [edge] }
        : cutIntoSlots(edge, QUARTER_MS),
    );
    return { whole, quarters: cuts.map((cut) => cut.whole), edges: cuts.flatMap((cut) => cut.edges) };
  });
}

/** The days of the zone, the hours or the minutes that a period touches, cut to it. */
export function periodsOf(period: Period, unit: 'day' | 'hour' | 'minute' | null, zone: string): Period[] {
  if (unit === null) return [period];
  const periods: Period[] = [];
  for (let startMs = period.startMs; startMs < period.endMs; ) {
    const lengthMs = unit === 'minute' ? MINUTE_MS : HOUR_MS;
    const next =
      unit === 'day' ? calendarPeriod('day', startMs, zone).endMs : startMs - (startMs % lengthMs) + lengthMs;
    const endMs = Math.min(next, period.endMs);
    if (periods.length === SLOTS_MAX) {
      const detail = `At most ${SLOTS_MAX} days, hours or minutes are answered at once.`;
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
