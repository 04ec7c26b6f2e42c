import type { Database } from '#billing/db/database.ts';
import { Fault } from '#core/fault.ts';
import { UNITS } from '#core/quantity.ts';
import { findMeter, insertMeter, listCustomMeters, type MeterRow } from './store.ts';

/**
 * What is read from usage to be priced: the sum of a unit's quantities, or the count of calls. Every unit that Weir
 * meters has a meter of its name; more can be made for units that gateways of one's own report.
 */
export interface Meter {
  id: string;
  name: string;
  aggregation: 'sum' | 'count';
  unit: string;
  built_in: boolean;
}

/** Each call carries the quantity 1 of this unit, so that counting calls is a sum like the others. */
export const COUNTED_UNIT = 'calls';

export const BUILT_IN_METERS: readonly Meter[] = UNITS.map((unit) => ({
  id: unit,
  name: unit.replaceAll('_', ' '),
  aggregation: unit === COUNTED_UNIT ? 'count' : 'sum',
  unit,
  built_in: true,
}));

export async function findMeterById(db: Database, id: string): Promise<Meter | undefined> {
  const builtIn = BUILT_IN_METERS.find((meter) => meter.id === id);
  if (builtIn) return builtIn;
  const row = await findMeter(db, id);
  return row && meterOf(row);
}

export async function getMeter(db: Database, id: string): Promise<Meter> {
  const meter = await findMeterById(db, id);
  if (!meter) throw new Fault('not_found', { detail: `There is no meter ${id}.` });
  return meter;
}

/** Making the same meter again is making it once; meters never change, since prices of the past refer to them. */
export async function createMeter(
  tx: Database,
  wanted: { id: string; name: string; aggregation: 'sum' | 'count'; unit: string },
  nowMs: number,
): Promise<Meter> {
  const taken = BUILT_IN_METERS.some((meter) => meter.id === wanted.id) || !(await insertMeter(tx, wanted, nowMs));
  const meter = await getMeter(tx, wanted.id);
  const same = meter.name === wanted.name && meter.aggregation === wanted.aggregation && meter.unit === wanted.unit;
  if (taken && !same) throw new Fault('already_exists', { detail: `A meter ${wanted.id} exists.` });
  return meter;
}

export async function listMeters(db: Database): Promise<Meter[]> {
  return [...BUILT_IN_METERS, ...(await listCustomMeters(db)).map(meterOf)];
}

function meterOf(row: MeterRow): Meter {
  return { ...row, built_in: false };
}
