import type { Database } from '#billing/db/database.ts';
import { readOneSnapshot } from '#billing/db/lock.ts';
import type { Gauge } from '#billing/meters/measured.ts';
import { gaugesInForce } from '#billing/meters/meter.ts';
import { formatExact } from '#core/exact.ts';
import { HOUR_MS, type Period } from '#core/time.ts';
import { sheetOf } from './measure.ts';
import { listCustomersIn, listPlaces, type PlaceRow } from './store.ts';

/** A figure that is not what its events give. */
export interface Difference {
  customer: string;
  hour: number;
  /** The version of the meter, and which of its figures. */
  unit: string;
  rolled_up: string | null;
  recomputed: string | null;
}

/**
 * What meters measured in whole hours against their events, of one customer or of all, an hour of a customer at a time:
 * each as of one moment, unless the caller keeps every other writer away (`alone`).
 */
export async function verifyMeasurements(
  db: Database,
  period: Period,
  { customer, limit, alone }: { customer: string | null; limit: number; alone: boolean },
): Promise<Difference[]> {
  const gauges = await db.transaction((tx) => gaugesInForce(tx));
  const found: Difference[] = [];
  if (gauges.length === 0) return found;
  for (let hour = period.startMs; hour < period.endMs; hour += HOUR_MS) {
    const customers = customer === null ? await listCustomersIn(db, hour, hour + HOUR_MS) : [customer];
    for (const one of customers) {
      for (const gauge of gauges) {
        const look = async (tx: Database) => {
          if (!alone) await readOneSnapshot(tx);
          return differencesOf(tx, gauge, one, hour);
        };
        found.push(...(await (alone ? look(db) : db.transaction(look))));
        if (found.length >= limit) return found.slice(0, limit);
      }
    }
  }
  return found;
}

async function differencesOf(tx: Database, gauge: Gauge, customer: string, hour: number): Promise<Difference[]> {
  const stored = new Map(
    (await listPlaces(tx, gauge, customer, hour, hour + HOUR_MS)).map((row) => [placeOf(row), row.figure]),
  );
  const given = new Map<string, string>();
  const sheet = await sheetOf(tx, gauge, customer, hour, hour + HOUR_MS);
  for (const { place, events, total, least, greatest } of sheet.rollUps.values()) {
    if (events === 0n) continue;
    const extremes = [least, greatest].map((value) => (value ? formatExact(value) : ''));
    given.set(placeOf({ ...place, at: place.slotMs, event: '' }), [events, formatExact(total), ...extremes].join(' '));
  }
  const takenBack = new Map(
    sheet.takenBack.map((row) => [`${row.source} ${row.id} ${row.revision - 1}`, row.revision]),
  );
  for (const { timeMs: at, source, id, revision, part, dimensions, item, value, operation } of sheet.points) {
    const event = `${source} ${id} ${revision}`;
    const figure = [value, operation, takenBack.get(event) ?? ''].join(' ');
    given.set(placeOf({ at, dimensions, item, event: `${event} ${part}` }), figure);
  }
  const places = [...new Set([...stored.keys(), ...given.keys()])].filter(
    (place) => stored.get(place) !== given.get(place),
  );
  return places.map((place) => ({
    customer,
    hour,
    unit: `${gauge.meter}@${gauge.version} ${place}`,
    rolled_up: stored.get(place) ?? null,
    recomputed: given.get(place) ?? null,
  }));
}

function placeOf({ at, dimensions, item, event }: Omit<PlaceRow, 'figure'>): string {
  return [new Date(at).toISOString(), dimensions, item, event].filter((part) => part !== '').join(' ');
}
