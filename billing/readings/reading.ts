import type { Database } from '#billing/db/database.ts';
import { eventRowOf } from '#billing/measurements/measure.ts';
import { fieldsOf, type Gauge, measureEvent } from '#billing/meters/measured.ts';
import { add, compare, divide, type Exact, exact, exactOfNumeric, formatExact, ZERO } from '#core/exact.ts';
import { calendarPeriod, cutIntoSlots, HOUR_MS, MINUTE_MS, type Period } from '#core/time.ts';
import { type Level, NO_LEVEL, type Point, readLevel } from './levels.ts';
import { roundQuantity } from './rounding.ts';
import {
  type Billed,
  listItemsBefore,
  listLastPointsIn,
  listLateSlots,
  listLevelsBefore,
  listPointsIn,
  listProblems,
  listStandingEvents,
  type PartRow,
  type StandingEvent,
  type StoredPoint,
  sumMeasured,
} from './store.ts';

/**
 * What a meter reads: the one function through which the usage page, the preview and the invoice come to the quantity of
 * a meter. Exact for every period, down to the millisecond: whole slots from the roll-up, the rest from the events.
 */
export interface MeterQuestion {
  customer: string;
  /** In order, and without gaps. Each gets readings of its own. */
  periods: readonly Period[];
  /** Whose days windows of a day are, and shares by day are counted in. */
  zone: string;
  /** What shares of a period are counted in: the whole interval, where the period is a part of one. */
  whole?: Period;
  /** As this period is billed: without what came after that, and with what was taken back after it. */
  asBilled?: Billed | undefined;
}

export interface MeterReading {
  /** Which of the periods. */
  period: number;
  /** The values of the meter's dimensions, in their order; null where an event has none. */
  dimensions: readonly (string | null)[];
  /** Rounded as the meter says: what is priced. */
  quantity: Exact;
  measured: Exact;
  /** Of a level: what stands at the end of the period. */
  level: Exact | null;
}

export async function readMeter(db: Database, gauge: Gauge, question: MeterQuestion): Promise<MeterReading[]> {
  if (gauge.kept === 'unit') throw new RangeError(`${gauge.meter} is read with the usage of units`);
  const read = gauge.kept === 'points' ? await readPoints(db, gauge, question) : await readRollUps(db, gauge, question);
  return read
    .map((reading) => ({ ...reading, quantity: roundQuantity(reading.measured, gauge.terms.rounding) }))
    .sort((a, b) => a.period - b.period || compareText(JSON.stringify(a.dimensions), JSON.stringify(b.dimensions)));
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

type Unrounded = Omit<MeterReading, 'quantity'>;

async function readRollUps(db: Database, gauge: Gauge, question: MeterQuestion): Promise<Unrounded[]> {
  const windows = question.periods.flatMap((period, index) =>
    windowsOf(gauge, period, question.zone).map((window) => ({ index, window })),
  );
  const late = question.asBilled ? await listLateSlots(db, question.asBilled, gauge.slotMs) : [];
  const wholes: Part[] = [];
  const edges: Part[] = [];
  for (const [at, { window }] of windows.entries()) {
    const cut = cutIntoSlots(window, gauge.slotMs);
    edges.push(...cut.edges.map((period) => ({ at, period })));
    for (const part of without(cut.whole, late, gauge.slotMs)) (part.late ? edges : wholes).push({ at, period: part });
  }
  const extra: PartRow[] = [];
  for (const run of runsOf(edges)) extra.push(...(await measureRun(db, gauge, question, run)));
  const rows = await sumMeasured(db, gauge, question.customer, wholes, extra);

  const groups = new Map<string, { period: number; dimensions: string; windows: Exact[] }>();
  for (const row of rows) {
    const value = aggregateOf(gauge, row);
    const period = windows[row.at]?.index;
    if (value === null || period === undefined) continue;
    const key = `${period} ${row.dimensions}`;
    const group = groups.get(key) ?? { period, dimensions: row.dimensions, windows: [] };
    group.windows.push(value);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ period, dimensions, windows: values }) => ({
    period,
    dimensions: JSON.parse(dimensions),
    measured: combine(values, gauge.terms.combine ?? 'sum'),
    level: null,
  }));
}

/** Windows are cut at the ends of the period; an hour or a minute is one of UTC, so that each is there once whatever the clocks do. */
function windowsOf(gauge: Gauge, period: Period, zone: string): Period[] {
  const { window } = gauge.terms;
  if (window === undefined) return [period];
  const lengthMs = window === 'hour' ? HOUR_MS : MINUTE_MS;
  const windows: Period[] = [];
  for (let startMs = period.startMs; startMs < period.endMs; ) {
    const next =
      window === 'day' ? calendarPeriod('day', startMs, zone).endMs : startMs - (startMs % lengthMs) + lengthMs;
    const endMs = Math.min(next, period.endMs);
    windows.push({ startMs, endMs });
    startMs = endMs;
  }
  return windows;
}

/** A period in parts: the slots that late rows fall into, and what is between them. */
function without(period: Period, lateSlots: readonly number[], slotMs: number): (Period & { late: boolean })[] {
  const parts: (Period & { late: boolean })[] = [];
  let startMs = period.startMs;
  for (const slot of lateSlots) {
    if (slot < period.startMs || slot >= period.endMs) continue;
    if (slot > startMs) parts.push({ startMs, endMs: slot, late: false });
    parts.push({ startMs: slot, endMs: slot + slotMs, late: true });
    startMs = slot + slotMs;
  }
  if (startMs < period.endMs) parts.push({ startMs, endMs: period.endMs, late: false });
  return parts;
}

const EVENTS_PAGE = 2_000;

interface Part {
  /** The number of its window. */
  at: number;
  period: Period;
}

/** Parts that lie side by side are read at once. */
function runsOf(parts: readonly Part[]): Part[][] {
  const runs: Part[][] = [];
  for (const part of [...parts].sort((a, b) => a.period.startMs - b.period.startMs)) {
    const run = runs.at(-1);
    if (run?.at(-1)?.period.endMs === part.period.startMs) run.push(part);
    else runs.push([part]);
  }
  return runs;
}

/** What parts of slots come to, from their events. */
async function measureRun(
  db: Database,
  gauge: Gauge,
  { customer, asBilled }: MeterQuestion,
  run: readonly Part[],
): Promise<PartRow[]> {
  const [startMs, endMs] = [run[0]?.period.startMs ?? 0, run.at(-1)?.period.endMs ?? 0];
  const of = { customer, type: gauge.terms.event_type, startMs, endMs };
  const sums = new Map<string, Omit<PartRow, 'total' | 'least' | 'greatest'> & Extremes>();
  let place = 0;
  let after: StandingEvent | undefined;
  do {
    const page = await listStandingEvents(db, of, asBilled, after, EVENTS_PAGE);
    for (const event of page) {
      while (event.time >= (run[place]?.period.endMs ?? endMs)) place++;
      const at = run[place]?.at ?? 0;
      for (const measured of measureEvent(gauge, fieldsOf(eventRowOf(event)))) {
        if ('problem' in measured) continue;
        const { dimensions, item, value } = measured;
        const key = JSON.stringify([at, dimensions, item]);
        const before = sums.get(key);
        if (!before) {
          sums.set(key, { at, dimensions, item, events: 1n, total: value, least: value, greatest: value });
          continue;
        }
        before.events += 1n;
        before.total = add(before.total, value);
        if (compare(value, before.least) < 0) before.least = value;
        if (compare(value, before.greatest) > 0) before.greatest = value;
      }
    }
    after = page.length < EVENTS_PAGE ? undefined : page.at(-1);
  } while (after);
  return [...sums.values()].map((sum) => ({
    ...sum,
    ...{ total: formatExact(sum.total), least: formatExact(sum.least), greatest: formatExact(sum.greatest) },
  }));
}

interface Extremes {
  total: Exact;
  least: Exact;
  greatest: Exact;
}

/** A page of the events that count, in the order of time, source and id. */
export async function listMeasuredEvents(
  db: Database,
  of: { customer: string; type: string } & Period,
  asBilled: Billed | undefined,
  after: { time: number; source: string; id: string } | undefined,
): Promise<StandingEvent[]> {
  return listStandingEvents(db, of, asBilled, after, EVENTS_PAGE);
}

function aggregateOf(
  gauge: Gauge,
  row: { events: bigint; items: bigint; total: string; least: string | null; greatest: string | null },
): Exact | null {
  const whole = (count: bigint): Exact => ({ num: count, den: 1n });
  switch (gauge.terms.aggregation) {
    case 'count':
      return whole(row.events);
    case 'unique':
      return whole(row.items);
    case 'sum':
      return exactOfNumeric(row.total);
    case 'average':
      return divide(exactOfNumeric(row.total), whole(row.events));
    case 'max':
      return row.greatest === null ? null : exactOfNumeric(row.greatest);
    case 'min':
      return row.least === null ? null : exactOfNumeric(row.least);
    default:
      throw new RangeError(`${gauge.terms.aggregation} is not kept in a roll-up`);
  }
}

/** Windows without events are none: an average is over those that have some. */
function combine(values: readonly Exact[], how: 'sum' | 'max' | 'min' | 'average'): Exact {
  const [first = ZERO] = values;
  switch (how) {
    case 'max':
      return values.reduce((a, b) => (compare(b, a) > 0 ? b : a), first);
    case 'min':
      return values.reduce((a, b) => (compare(b, a) < 0 ? b : a), first);
    default: {
      const total = values.reduce(add, ZERO);
      return how === 'sum' ? total : exact(total.num, total.den * BigInt(values.length));
    }
  }
}

async function readPoints(db: Database, gauge: Gauge, question: MeterQuestion): Promise<Unrounded[]> {
  const { customer, periods, asBilled, zone } = question;
  const [first] = periods;
  if (!first) return [];
  const levels = gauge.terms.recurring ? await levelsBefore(db, gauge, customer, first.startMs, asBilled) : new Map();
  const listPoints = gauge.terms.aggregation === 'latest' ? listLastPointsIn : listPointsIn;
  const points = new Map<string, StoredPoint[]>();
  for (const point of await listPoints(db, gauge, customer, periods, asBilled)) {
    const of = points.get(point.dimensions) ?? [];
    of.push(point);
    points.set(point.dimensions, of);
  }
  const readings: Unrounded[] = [];
  for (const dimensions of new Set([...levels.keys(), ...points.keys()])) {
    let level: Level = levels.get(dimensions) ?? NO_LEVEL;
    const all = points.get(dimensions) ?? [];
    for (const [index, period] of periods.entries()) {
      const within = all.filter(({ time }) => time >= period.startMs && time < period.endMs).map(pointOf);
      const before = gauge.terms.recurring ? level : NO_LEVEL;
      const read = readLevel(gauge.terms, before, within, { period, whole: question.whole ?? period, zone });
      level = read.after;
      if (read.quantity === null) continue;
      const stands = gauge.terms.aggregation === 'unique' ? { num: BigInt(level.items.size), den: 1n } : level.value;
      readings.push({ period: index, dimensions: JSON.parse(dimensions), measured: read.quantity, level: stands });
    }
  }
  return readings;
}

function pointOf({ time, value, item, operation }: StoredPoint): Point {
  return { atMs: time, value: exactOfNumeric(value), item, operation };
}

/** What stands when a span begins, from everything that happened before. */
async function levelsBefore(
  db: Database,
  gauge: Gauge,
  customer: string,
  atMs: number,
  asBilled: Billed | undefined,
): Promise<Map<string, Level>> {
  const levels = new Map<string, Level>();
  if (gauge.terms.aggregation === 'unique') {
    for (const { dimensions, items } of await listItemsBefore(db, gauge, customer, atMs, asBilled)) {
      levels.set(dimensions, { value: null, items: new Set(items) });
    }
    return levels;
  }
  const changes = gauge.terms.aggregation === 'sum' || gauge.terms.values === 'changes';
  for (const { dimensions, value } of await listLevelsBefore(db, gauge, customer, atMs, changes, asBilled)) {
    levels.set(dimensions, { value: exactOfNumeric(value), items: new Set() });
  }
  return levels;
}

export type { Billed };
export { listProblems };
