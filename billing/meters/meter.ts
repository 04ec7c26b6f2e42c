import type { Database } from '#billing/db/database.ts';
import { lockMeters, shareMeterLock } from '#billing/db/lock.ts';
import { isUnitMeter, type MeterTerms, meterTerms } from '#config/meter-terms.ts';
import { canonicalJson } from '#core/canonical-json.ts';
import { Fault } from '#core/fault.ts';
import { UNITS } from '#core/quantity.ts';
import { type Gauge, gaugeOf } from './measured.ts';
import {
  findMeter,
  getFeedPosition,
  insertMeter,
  insertMeterVersion,
  listLiveVersions,
  listMeterRows,
  listMetersOfConfig,
  listMeterVersions,
  listUnmeasured,
  lockMeter,
  type MeterRow,
  updateFeed,
  updateMeter,
  updateMeterRemoved,
  updateUnmeasured,
} from './store.ts';

/**
 * What is read from usage to be priced: a filter over events and how they add up. Every unit that Weir meters has a
 * meter of its name, the sum of its quantities; more can be made. A change makes a new version; a price names the
 * version that was the latest when its plan's version was made, so a changed meter never changes what a period bills
 * whose plan was made before.
 */
export interface Meter extends Omit<MeterRow, 'managed_by'> {
  managed_by: 'weir' | 'api' | 'config';
  /** What prices of it read: the unit that it is the sum of, or `ID@VERSION`. */
  unit: string;
}

/** Each call carries the quantity 1 of this unit, so that counting calls is a sum like the others. */
export const COUNTED_UNIT = 'calls';

export const BUILT_IN_METERS: readonly Meter[] = UNITS.map((unit) => ({
  id: unit,
  name: unit.replaceAll('_', ' '),
  version: 1,
  terms: meterTerms.parse({ aggregation: unit === COUNTED_UNIT ? 'count' : 'sum', unit }),
  managed_by: 'weir',
  unit,
  created_at: 0,
  changed_at: 0,
  removed_at: null,
  unmeasured_from: null,
  unmeasured_to: null,
}));

const BUILT_IN = new Map(BUILT_IN_METERS.map((meter) => [meter.id, meter]));

export async function findMeterById(
  db: Database,
  id: string,
  version: number | null = null,
): Promise<Meter | undefined> {
  const builtIn = BUILT_IN.get(id);
  if (builtIn) return version === null || version === builtIn.version ? builtIn : undefined;
  const row = await findMeter(db, id, version);
  return row && meterOf(row);
}

export async function getMeter(db: Database, id: string, version: number | null = null): Promise<Meter> {
  const meter = await findMeterById(db, id, version);
  if (meter) return meter;
  throw new Fault('not_found', {
    detail: `There is no ${version === null ? '' : `version ${version} of `}meter ${id}.`,
  });
}

export async function listMeters(db: Database): Promise<Meter[]> {
  return [...BUILT_IN_METERS, ...(await listMeterRows(db)).map(meterOf)];
}

export async function listVersions(db: Database, id: string): Promise<Meter[]> {
  const builtIn = BUILT_IN.get(id);
  return builtIn ? [builtIn] : (await listMeterVersions(db, id)).map(meterOf);
}

/** Making the same meter again is making it once. */
export async function createMeter(
  tx: Database,
  wanted: { id: string; name: string; terms: MeterTerms },
  nowMs: number,
): Promise<Meter> {
  const isFree = !BUILT_IN.has(wanted.id) && (await insertMeter(tx, { ...wanted, managed_by: 'api' }, nowMs));
  if (isFree) return addVersion(tx, wanted.id, 1, wanted.terms, nowMs);
  const meter = await getMeter(tx, wanted.id);
  if (meter.name !== wanted.name || meter.managed_by !== 'api' || !isSame(meter.terms, wanted.terms)) {
    throw new Fault('already_exists', { detail: `A meter ${wanted.id} exists.` });
  }
  return meter;
}

/** Makes a new version, unless the terms are those of the latest one. Plans read it from their next version on. */
export async function changeMeter(
  tx: Database,
  wanted: { id: string; name: string; terms: MeterTerms },
  nowMs: number,
): Promise<Meter> {
  await lockMeter(tx, wanted.id);
  const meter = await getMeter(tx, wanted.id);
  if (meter.managed_by === 'weir')
    throw new Fault('state_conflict', { detail: `${wanted.id} is a meter of Weir's own.` });
  if (meter.managed_by === 'config') throw new Fault('managed_by_config', { detail: `It is the meter ${wanted.id}.` });
  return changeTo(tx, meter, { ...wanted, managed_by: 'api' }, nowMs);
}

async function changeTo(
  tx: Database,
  meter: Meter,
  wanted: { id: string; name: string; terms: MeterTerms; managed_by: 'api' | 'config' },
  nowMs: number,
): Promise<Meter> {
  await updateMeter(tx, wanted);
  // What was removed was not measured meanwhile.
  if (isSame(meter.terms, wanted.terms) && meter.removed_at === null) return getMeter(tx, wanted.id);
  return addVersion(tx, wanted.id, meter.version + 1, wanted.terms, nowMs);
}

/**
 * Brings the meters of the configuration into the database, as plans are brought: changed ones get a version, the same
 * again does nothing, and what is gone takes no new prices.
 */
export async function applyMeters(
  tx: Database,
  configs: readonly { id: string; name: string; terms: MeterTerms }[],
  nowMs: number,
): Promise<void> {
  for (const config of configs) {
    if (await insertMeter(tx, { ...config, managed_by: 'config' }, nowMs)) {
      await addVersion(tx, config.id, 1, config.terms, nowMs);
      continue;
    }
    await lockMeter(tx, config.id);
    await changeTo(tx, await getMeter(tx, config.id), { ...config, managed_by: 'config' }, nowMs);
  }
  const kept = new Set(configs.map((config) => config.id));
  const gone = (await listMetersOfConfig(tx)).filter((id) => !kept.has(id));
  if (gone.length > 0) await lockMeters(tx);
  for (const id of gone) await updateMeterRemoved(tx, id, nowMs);
  if (gone.length > 0) await updateFeed(tx);
}

/**
 * Called before prices name the versions of meters that are the latest: these are measured from then on for as long as a
 * price names them, whatever version comes next.
 */
export async function pinMeters(tx: Database, ids: readonly (string | null)[]): Promise<void> {
  if (ids.every((id) => id === null || BUILT_IN.has(id))) return;
  await lockMeters(tx);
  await updateFeed(tx);
}

/** From its commit on, every batch of events is measured by it; what was taken before, by a job. */
async function addVersion(tx: Database, id: string, version: number, terms: MeterTerms, nowMs: number): Promise<Meter> {
  const measures = !isUnitMeter(terms);
  await lockMeters(tx);
  await insertMeterVersion(tx, { id, version, terms, measures }, nowMs);
  if (measures) await updateFeed(tx);
  return getMeter(tx, id, version);
}

function meterOf(row: MeterRow): Meter {
  const unit = isUnitMeter(row.terms) ? (row.terms.unit ?? '') : `${row.id}@${row.version}`;
  return { ...row, unit };
}

let known: { position: string; gauges: readonly Gauge[] } | undefined;

/** What measures events now. Called first in a transaction that takes events: no version is made until it ends. */
export async function gaugesInForce(tx: Database): Promise<readonly Gauge[]> {
  await shareMeterLock(tx);
  const position = await getFeedPosition(tx);
  if (known?.position === position) return known.gauges;
  const versions = await listLiveVersions(tx);
  const gauges = versions
    .map((row) => gaugeOf(row.id, row.version, row.terms))
    .filter((gauge) => gauge.kept !== 'unit');
  known = { position, gauges };
  return gauges;
}

/** Versions that do not hold yet all that was taken before they were made. */
export async function unmeasuredVersions(db: Database): Promise<{ gauge: Gauge; fromMs: number; toMs: number }[]> {
  return (await listUnmeasured(db)).flatMap(({ id, version, terms, unmeasured_from: fromMs, unmeasured_to: toMs }) =>
    fromMs === null || toMs === null ? [] : [{ gauge: gaugeOf(id, version, terms), fromMs, toMs }],
  );
}

/** Null when all is measured. */
export async function markMeasured(db: Database, { meter, version }: Gauge, untilMs: number | null): Promise<void> {
  await updateUnmeasured(db, { id: meter, version }, untilMs);
}

/** Nothing is priced by a meter that does not hold everything yet. */
export function assertMeasured(meter: Meter): void {
  if (meter.unmeasured_from === null) return;
  throw new Fault('state_conflict', {
    detail: `Version ${meter.version} of meter ${meter.id} is still measuring what was taken before it was made.`,
  });
}

export function gaugeOfMeter(meter: Meter): Gauge {
  return gaugeOf(meter.id, meter.version, meter.terms);
}

/** The version of a meter that a price reads, by the `unit` of the price; undefined for units. */
export async function findMeterOfUnit(db: Database, unit: string): Promise<Meter | undefined> {
  const [, id, version] = /^(.*)@(\d{1,9})$/.exec(unit) ?? [];
  return id === undefined || version === undefined ? undefined : getMeter(db, id, Number.parseInt(version, 10));
}

function isSame(a: MeterTerms, b: MeterTerms): boolean {
  return canonicalJson(a) === canonicalJson(b);
}
