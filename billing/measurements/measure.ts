import type { Database } from '#billing/db/database.ts';
import { lockCustomer, lockExtremes } from '#billing/db/lock.ts';
import { parseExactObject } from '#billing/event-formats/exact-json.ts';
import { type Contribution, type EventRow, fieldsOf, type Gauge, measureEvent } from '#billing/meters/measured.ts';
import { markMeasured, unmeasuredVersions } from '#billing/meters/meter.ts';
import { add, compare, type Exact, formatExact, ZERO } from '#core/exact.ts';
import { HOUR_MS } from '#core/time.ts';
import {
  addToRollUps,
  deleteMeasured,
  deleteProblemsTakenBack,
  findHourFrom,
  insertPoints,
  insertProblems,
  listCustomersIn,
  listEventRows,
  type PointRow,
  type ProblemRow,
  type RollUpRow,
  type StoredEvent,
  type TakenBackRow,
  updatePointsTakenBack,
} from './store.ts';

/**
 * Meters measure events when they are taken, in the transaction that takes them. Where no meter but the sums of units is
 * defined, that is one read of one row for each batch.
 */

/**
 * Measures rows that were added to the events, in their order. Takes back what they take back: where that could have been
 * a maximum or a minimum, its slots are measured anew.
 */
export async function measure(tx: Database, gauges: readonly Gauge[], rows: readonly EventRow[]): Promise<void> {
  if (gauges.length === 0 || rows.length === 0) return;
  if (gauges.some(isExtreme)) {
    const customers = [...new Set(rows.map((row) => row.customer))];
    await lockExtremes(
      tx,
      customers,
      rows.some((row) => row.sign < 0),
    );
  }
  const sheet = newSheet();
  const anew = new Map<string, { gauge: Gauge; customer: string; slotMs: number }>();
  for (const row of rows) {
    if (row.customer === '') continue;
    const parts = fieldsOf(row);
    for (const gauge of gauges) {
      if (gauge.terms.event_type !== row.type) continue;
      if (row.sign < 0 && isExtreme(gauge)) {
        const slotMs = slotOf(gauge, row.timeMs);
        anew.set(`${gauge.meter} ${gauge.version} ${row.customer} ${slotMs}`, {
          gauge,
          customer: row.customer,
          slotMs,
        });
      }
      enter(sheet, gauge, row, parts);
    }
  }
  await write(tx, sheet);
  for (const { gauge, customer, slotMs } of anew.values()) {
    await measureAnew(tx, gauge, customer, slotMs, slotMs + gauge.slotMs);
  }
}

/** Of events that are taken back it cannot be said without the others what is left. */
export function isExtreme(gauge: Gauge): boolean {
  return gauge.kept === 'roll_up' && (gauge.terms.aggregation === 'max' || gauge.terms.aggregation === 'min');
}

function slotOf(gauge: Gauge, timeMs: number): number {
  return timeMs - (timeMs % gauge.slotMs);
}

/** What rows come to, before it is written. */
interface Sheet {
  rollUps: Map<string, Sums>;
  points: PointRow[];
  takenBack: TakenBackRow[];
  problems: ProblemRow[];
}

interface Sums {
  place: Pick<RollUpRow, 'meter' | 'version' | 'customer' | 'slotMs' | 'dimensions' | 'item'>;
  events: bigint;
  total: Exact;
  least: Exact | null;
  greatest: Exact | null;
}

function newSheet(): Sheet {
  return { rollUps: new Map(), points: [], takenBack: [], problems: [] };
}

function enter(sheet: Sheet, gauge: Gauge, row: EventRow, parts: ReturnType<typeof fieldsOf>): void {
  const { meter, version } = gauge;
  const { customer, timeMs, source, id, revision } = row;
  if (row.sign < 0) sheet.takenBack.push({ meter, version, customer, timeMs, source, id, revision });
  for (const measured of measureEvent(gauge, parts)) {
    if ('problem' in measured) {
      if (row.sign < 0) continue;
      sheet.problems.push({ meter, version, source, id, revision, customer, timeMs, detail: measured.problem });
    } else if (gauge.kept === 'roll_up') {
      addUp(sheet, { meter, version, customer, slotMs: slotOf(gauge, timeMs) }, measured, row.sign, isExtreme(gauge));
    } else if (row.sign > 0) {
      const { part, dimensions, item, operation } = measured;
      const value = formatExact(measured.value);
      sheet.points.push({
        meter,
        version,
        customer,
        timeMs,
        source,
        id,
        revision,
        part,
        dimensions,
        value,
        item,
        operation,
      });
    }
  }
}

function addUp(
  sheet: Sheet,
  at: Pick<RollUpRow, 'meter' | 'version' | 'customer' | 'slotMs'>,
  { dimensions, item, value }: Contribution,
  sign: number,
  extremes: boolean,
): void {
  const key = JSON.stringify([at.meter, at.version, at.customer, at.slotMs, dimensions, item]);
  const sums = sheet.rollUps.get(key) ?? {
    place: { ...at, dimensions, item },
    events: 0n,
    total: ZERO,
    least: null,
    greatest: null,
  };
  sheet.rollUps.set(key, sums);
  sums.events += BigInt(sign);
  sums.total = add(sums.total, sign < 0 ? { num: -value.num, den: value.den } : value);
  if (!extremes || sign < 0) return;
  if (!sums.least || compare(value, sums.least) < 0) sums.least = value;
  if (!sums.greatest || compare(value, sums.greatest) > 0) sums.greatest = value;
}

async function write(tx: Database, sheet: Sheet): Promise<void> {
  const rollUps = [...sheet.rollUps.values()].map(
    ({ place, events, total, least, greatest }): RollUpRow => ({
      ...place,
      events,
      total: formatExact(total),
      least: least && formatExact(least),
      greatest: greatest && formatExact(greatest),
    }),
  );
  if (rollUps.length > 0) await addToRollUps(tx, rollUps);
  if (sheet.points.length > 0) await insertPoints(tx, sheet.points);
  if (sheet.problems.length > 0) await insertProblems(tx, sheet.problems);
  // Last, since what takes back may stand in one batch with what it takes back.
  if (sheet.takenBack.length === 0) return;
  await updatePointsTakenBack(tx, sheet.takenBack);
  await deleteProblemsTakenBack(tx, sheet.takenBack);
}

const EVENTS_PAGE = 2_000;

/** Forgets what a version measured of a customer in whole slots, and measures it again from the events. */
export async function measureAnew(
  tx: Database,
  gauge: Gauge,
  customer: string,
  fromMs: number,
  toMs: number,
): Promise<void> {
  await deleteMeasured(tx, { meter: gauge.meter, version: gauge.version, customer, fromMs, toMs });
  await forEachPage(tx, gauge, customer, fromMs, toMs, async (page) => {
    const sheet = newSheet();
    enterPage(sheet, gauge, page);
    await write(tx, sheet);
  });
}

/** What the events of a customer come to in a span, without writing it. */
export async function sheetOf(
  db: Database,
  gauge: Gauge,
  customer: string,
  fromMs: number,
  toMs: number,
): Promise<Sheet> {
  const sheet = newSheet();
  await forEachPage(db, gauge, customer, fromMs, toMs, async (page) => enterPage(sheet, gauge, page));
  return sheet;
}

async function forEachPage(
  db: Database,
  gauge: Gauge,
  customer: string,
  fromMs: number,
  toMs: number,
  take: (page: readonly StoredEvent[]) => Promise<void>,
): Promise<void> {
  let after: StoredEvent | undefined;
  do {
    const page = await listEventRows(db, { customer, type: gauge.terms.event_type, fromMs, toMs }, after, EVENTS_PAGE);
    await take(page);
    after = page.length < EVENTS_PAGE ? undefined : page.at(-1);
  } while (after);
}

function enterPage(sheet: Sheet, gauge: Gauge, page: readonly StoredEvent[]): void {
  for (const event of page) {
    // A maximum cannot be taken back: what is no longer live never was one.
    if (isExtreme(gauge) && !event.live) continue;
    const row = eventRowOf(event);
    enter(sheet, gauge, row, fieldsOf(row));
  }
}

export function eventRowOf({ time, live: _, ...row }: StoredEvent): EventRow {
  return measuredRowOf({ ...row, timeMs: time });
}

/** A row by the text that is stored, so that its numbers are those that were sent. */
export function measuredRowOf(row: Omit<EventRow, 'body'> & { body: string }): EventRow {
  return { ...row, body: parseExactObject(row.body) };
}

/**
 * Measures what was taken before a version was made, an hour of a customer at a time and each in a transaction of its
 * own, so that it can stop anywhere and goes on there. Gives how many versions hold everything now.
 */
export async function measureThePast(db: Database): Promise<number> {
  let done = 0;
  for (const { gauge, ...left } of await unmeasuredVersions(db)) {
    let hour = await findHourFrom(db, left.fromMs);
    while (hour !== undefined && hour < left.toMs) {
      const [fromMs, toMs] = [hour, hour + HOUR_MS];
      for (const customer of await listCustomersIn(db, fromMs, toMs)) {
        await db.transaction(async (tx) => {
          await lockCustomer(tx, customer);
          await measureAnew(tx, gauge, customer, fromMs, toMs);
        });
      }
      await markMeasured(db, gauge, toMs);
      hour = await findHourFrom(db, toMs);
    }
    await markMeasured(db, gauge, null);
    done++;
  }
  return done;
}

export type { StoredEvent };
