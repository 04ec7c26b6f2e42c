import { type Database, findRow, getRow, instant, json, prepared, sql } from '#billing/db/database.ts';
import type { MeterTerms } from '#config/meter-terms.ts';

/** A meter as of one of its versions. */
export interface MeterRow {
  id: string;
  name: string;
  managed_by: 'api' | 'config';
  created_at: number;
  removed_at: number | null;
  version: number;
  terms: MeterTerms;
  /** When this version was made. */
  changed_at: number;
  /** What is not measured yet of what was taken before; null when all is. */
  unmeasured_from: number | null;
  unmeasured_to: number | null;
}

/** False when the id is taken. */
export async function insertMeter(
  db: Database,
  row: { id: string; name: string; managed_by: 'api' | 'config' },
  nowMs: number,
): Promise<boolean> {
  const rows = await db.query(sql`
    insert into meter (id, name, managed_by, created_at)
    values (${row.id}, ${row.name}, ${row.managed_by}, ${instant(nowMs)})
    on conflict (id) do nothing returning id`);
  return rows.length > 0;
}

/** Held to the end of the transaction: versions of one meter are made one after the other. */
export async function lockMeter(db: Database, id: string): Promise<void> {
  await db.query(sql`select id from meter where id = ${id} for update`);
}

export async function updateMeter(
  db: Database,
  row: { id: string; name: string; managed_by: 'api' | 'config' },
): Promise<void> {
  await db.query(sql`
    update meter set name = ${row.name}, managed_by = ${row.managed_by}, removed_at = null
    where id = ${row.id} and (name <> ${row.name} or managed_by <> ${row.managed_by} or removed_at is not null)`);
}

export async function updateMeterRemoved(db: Database, id: string, nowMs: number): Promise<void> {
  await db.query(sql`update meter set removed_at = ${instant(nowMs)} where id = ${id} and removed_at is null`);
}

export async function listMetersOfConfig(db: Database): Promise<string[]> {
  const rows = await db.query<{ id: string }>(sql`
    select id from meter where managed_by = 'config' and removed_at is null`);
  return rows.map((row) => row.id);
}

/** With what there is to measure of the events that are here already: none, where there are none. */
export async function insertMeterVersion(
  db: Database,
  row: { id: string; version: number; terms: MeterTerms; measures: boolean },
  nowMs: number,
): Promise<void> {
  await db.query(sql`
    insert into meter_version (meter_id, version, terms, created_at, unmeasured_from, unmeasured_to)
    select ${row.id}, ${row.version}, ${json(row.terms)}, ${instant(nowMs)},
      date_trunc('hour', first, 'UTC'), case when first is not null then last + interval '1 ms' end
    from (
      select case when ${row.measures}::bool then (select time from event order by time limit 1) end as first,
        case when ${row.measures}::bool then (select time from event order by time desc limit 1) end as last
    ) as taken`);
}

const METER = sql`
  select meter.id, meter.name, meter.managed_by, meter.created_at, meter.removed_at, meter_version.version,
    meter_version.terms, meter_version.created_at as changed_at, meter_version.unmeasured_from,
    meter_version.unmeasured_to
  from meter join meter_version on meter_version.meter_id = meter.id`;

const LATEST = sql`meter_version.version = (select max(version) from meter_version where meter_id = meter.id)`;

/** The latest version, or the one asked for. */
export async function findMeter(db: Database, id: string, version: number | null): Promise<MeterRow | undefined> {
  const which = version === null ? LATEST : sql`meter_version.version = ${version}`;
  return findRow<MeterRow>(db, sql`${METER} where meter.id = ${id} and ${which}`);
}

/** Each at its latest version. */
export async function listMeterRows(db: Database): Promise<MeterRow[]> {
  return db.query<MeterRow>(sql`${METER} where ${LATEST} order by meter.id`);
}

export async function listMeterVersions(db: Database, id: string): Promise<MeterRow[]> {
  return db.query<MeterRow>(sql`${METER} where meter.id = ${id} order by meter_version.version`);
}

/** Those that are measured when events are taken: the latest of each meter, and every version that a price names. */
export async function listLiveVersions(db: Database): Promise<MeterRow[]> {
  return db.query<MeterRow>(sql`
    ${METER}
    where (meter.removed_at is null and ${LATEST})
      or exists (select from price where price.unit = meter.id || '@' || meter_version.version)
    order by meter.id, meter_version.version`);
}

/** Changes whenever a version of a meter is made, in this database or another. */
export async function getFeedPosition(db: Database): Promise<string> {
  const row = await getRow<{ position: string }>(
    db,
    prepared('get_meter_feed', sql`select epoch || ' ' || version as position from meter_feed`),
  );
  return row.position;
}

export async function updateFeed(db: Database): Promise<void> {
  await db.query(sql`update meter_feed set version = version + 1`);
}

/** Versions that do not hold everything yet. */
export async function listUnmeasured(db: Database): Promise<MeterRow[]> {
  return db.query<MeterRow>(sql`
    ${METER} where meter_version.unmeasured_from is not null order by meter.id, meter_version.version`);
}

/** Null when all is measured. */
export async function updateUnmeasured(
  db: Database,
  of: { id: string; version: number },
  fromMs: number | null,
): Promise<void> {
  const from = fromMs === null ? null : instant(fromMs);
  await db.query(sql`
    update meter_version set unmeasured_from = ${from}::timestamptz,
      unmeasured_to = case when ${from}::timestamptz is not null then unmeasured_to end
    where meter_id = ${of.id} and version = ${of.version}`);
}
