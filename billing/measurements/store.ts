import { type Database, findRow, instant, prepared, type Sql, sql } from '#billing/db/database.ts';

export interface RollUpRow {
  meter: string;
  version: number;
  customer: string;
  slotMs: number;
  dimensions: string;
  item: string;
  events: bigint;
  total: string;
  least: string | null;
  greatest: string | null;
}

/** Adds to what is there; in sorted order, so that concurrent batches wait for each other and do not deadlock. */
export async function addToRollUps(db: Database, rows: readonly RollUpRow[]): Promise<void> {
  const statement = sql`
    insert into meter_roll_up as r
      (meter, version, customer, slot, dimensions, item, events, total, least, greatest)
    select meter, version, customer, slot, dimensions, item, events, total, least, greatest
    from ${rollUpsGiven(rows)}
    order by meter collate "C", version, customer collate "C", slot, dimensions collate "C", item collate "C"
    on conflict (meter, version, customer, slot, dimensions, item) do update
      set events = r.events + excluded.events, total = r.total + excluded.total,
          least = least(r.least, excluded.least), greatest = greatest(r.greatest, excluded.greatest)`;
  await db.query(prepared('add_to_meter_roll_ups', statement));
  if (rows.every((row) => row.events > 0n)) return;
  await db.query(sql`
    delete from meter_roll_up as r using ${rollUpsGiven(rows)}
    where r.meter = given.meter and r.version = given.version and r.customer = given.customer
      and r.slot = given.slot and r.dimensions = given.dimensions and r.item = given.item and r.events = 0`);
}

function rollUpsGiven(rows: readonly RollUpRow[]): Sql {
  return sql`
    unnest(
      ${rows.map((row) => row.meter)}::text[], ${rows.map((row) => row.version)}::int4[],
      ${rows.map((row) => row.customer)}::text[], ${rows.map((row) => instant(row.slotMs))}::timestamptz[],
      ${rows.map((row) => row.dimensions)}::text[], ${rows.map((row) => row.item)}::text[],
      ${rows.map((row) => row.events)}::int8[], ${rows.map((row) => row.total)}::numeric[],
      ${rows.map((row) => row.least)}::numeric[], ${rows.map((row) => row.greatest)}::numeric[]
    ) as given (meter, version, customer, slot, dimensions, item, events, total, least, greatest)`;
}

export interface PointRow {
  meter: string;
  version: number;
  customer: string;
  timeMs: number;
  source: string;
  id: string;
  revision: number;
  part: number;
  dimensions: string;
  value: string;
  item: string;
  operation: 'add' | 'remove';
}

export async function insertPoints(db: Database, rows: readonly PointRow[]): Promise<void> {
  await db.query(sql`
    insert into meter_point
      (meter, version, customer, time, source, id, revision, part, dimensions, value, item, operation)
    select * from unnest(
      ${rows.map((row) => row.meter)}::text[], ${rows.map((row) => row.version)}::int4[],
      ${rows.map((row) => row.customer)}::text[], ${rows.map((row) => instant(row.timeMs))}::timestamptz[],
      ${rows.map((row) => row.source)}::text[], ${rows.map((row) => row.id)}::text[],
      ${rows.map((row) => row.revision)}::int4[], ${rows.map((row) => row.part)}::int4[],
      ${rows.map((row) => row.dimensions)}::text[], ${rows.map((row) => row.value)}::numeric[],
      ${rows.map((row) => row.item)}::text[], ${rows.map((row) => row.operation)}::text[]
    ) as given order by 1, 2, 3, 4, 5, 6, 7, 8`);
}

export interface TakenBackRow {
  meter: string;
  version: number;
  customer: string;
  timeMs: number;
  source: string;
  id: string;
  /** Of the row that takes back; the one before it is taken back. */
  revision: number;
}

export async function updatePointsTakenBack(db: Database, rows: readonly TakenBackRow[]): Promise<void> {
  await db.query(sql`
    update meter_point as point set taken_back = given.revision
    from unnest(
      ${rows.map((row) => row.meter)}::text[], ${rows.map((row) => row.version)}::int4[],
      ${rows.map((row) => row.customer)}::text[], ${rows.map((row) => instant(row.timeMs))}::timestamptz[],
      ${rows.map((row) => row.source)}::text[], ${rows.map((row) => row.id)}::text[],
      ${rows.map((row) => row.revision)}::int4[]
    ) as given (meter, version, customer, time, source, id, revision)
    where point.meter = given.meter and point.version = given.version and point.customer = given.customer
      and point.time = given.time and point.source = given.source and point.id = given.id
      and point.revision = given.revision - 1`);
}

export interface ProblemRow {
  meter: string;
  version: number;
  source: string;
  id: string;
  revision: number;
  customer: string;
  timeMs: number;
  detail: string;
}

export async function insertProblems(db: Database, rows: readonly ProblemRow[]): Promise<void> {
  await db.query(sql`
    insert into meter_problem (meter, version, source, id, revision, customer, time, detail)
    select * from unnest(
      ${rows.map((row) => row.meter)}::text[], ${rows.map((row) => row.version)}::int4[],
      ${rows.map((row) => row.source)}::text[], ${rows.map((row) => row.id)}::text[],
      ${rows.map((row) => row.revision)}::int4[], ${rows.map((row) => row.customer)}::text[],
      ${rows.map((row) => instant(row.timeMs))}::timestamptz[], ${rows.map((row) => row.detail)}::text[]
    ) as given
    on conflict do nothing`);
}

/** Problems of rows that were taken back are no more. */
export async function deleteProblemsTakenBack(
  db: Database,
  rows: readonly Pick<TakenBackRow, 'source' | 'id' | 'revision'>[],
): Promise<void> {
  await db.query(sql`
    delete from meter_problem as problem
    using unnest(
      ${rows.map((row) => row.source)}::text[], ${rows.map((row) => row.id)}::text[],
      ${rows.map((row) => row.revision)}::int4[]
    ) as given (source, id, revision)
    where problem.source = given.source and problem.id = given.id and problem.revision = given.revision - 1`);
}

/** Everything that a version measured of a customer in a span, to be measured anew. */
export async function deleteMeasured(
  db: Database,
  of: { meter: string; version: number; customer: string; fromMs: number; toMs: number },
): Promise<void> {
  const [from, to] = [instant(of.fromMs), instant(of.toMs)];
  await db.query(sql`
    delete from meter_roll_up where meter = ${of.meter} and version = ${of.version} and customer = ${of.customer}
      and slot >= ${from} and slot < ${to}`);
  await db.query(sql`
    delete from meter_point where meter = ${of.meter} and version = ${of.version} and customer = ${of.customer}
      and time >= ${from} and time < ${to}`);
  await db.query(sql`
    delete from meter_problem where meter = ${of.meter} and version = ${of.version} and customer = ${of.customer}
      and time >= ${from} and time < ${to}`);
}

export interface StoredEvent {
  source: string;
  id: string;
  revision: number;
  sign: number;
  type: string;
  time: number;
  customer: string;
  /** False of what was taken back, and of what takes back. */
  live: boolean;
  /** As text: numbers of events may be longer than JSON.parse can hold. */
  body: string;
}

/** All rows of a customer's events of a type, the taken back ones too, in the order of (time, source, id, revision). */
export async function listEventRows(
  db: Database,
  of: { customer: string; type: string; fromMs: number; toMs: number },
  after: StoredEvent | undefined,
  count: number,
): Promise<StoredEvent[]> {
  const place = after
    ? sql`(time, source, id, revision) > (${instant(after.time)}::timestamptz, ${after.source}::text, ${after.id}::text, ${after.revision}::int4)`
    : sql`true`;
  return db.query<StoredEvent>(sql`
    select source, id, revision, sign, type, time, customer, live, body::text as body from event
    where customer = ${of.customer} and type = ${of.type} and time >= ${instant(of.fromMs)}
      and time < ${instant(of.toMs)} and ${place}
    order by time, source, id, revision limit ${count}`);
}

/** Who has events in an hour. */
export async function listCustomersIn(db: Database, fromMs: number, toMs: number): Promise<string[]> {
  const rows = await db.query<{ customer: string }>(sql`
    select distinct customer from event
    where time >= ${instant(fromMs)} and time < ${instant(toMs)} and customer <> '' order by customer`);
  return rows.map((row) => row.customer);
}

/** The hour after an instant in which there are events, if any. */
export async function findHourFrom(db: Database, fromMs: number): Promise<number | undefined> {
  const row = await findRow<{ hour: number }>(
    db,
    sql`select date_trunc('hour', time, 'UTC') as hour from event where time >= ${instant(fromMs)} order by time limit 1`,
  );
  return row?.hour;
}

export interface PlaceRow {
  at: number;
  dimensions: string;
  item: string;
  /** Of a point: source, id, revision and part. */
  event: string;
  figure: string;
}

/** What a version holds of a customer in a span, slot by slot and point by point, each with its figures as one text. */
export async function listPlaces(
  db: Database,
  of: { meter: string; version: number },
  customer: string,
  fromMs: number,
  toMs: number,
): Promise<PlaceRow[]> {
  const [from, to] = [instant(fromMs), instant(toMs)];
  return db.query<PlaceRow>(sql`
    select slot as at, dimensions, item, '' as event,
      concat_ws(' ', events, trim_scale(total), coalesce(trim_scale(least)::text, ''),
        coalesce(trim_scale(greatest)::text, '')) as figure
    from meter_roll_up
    where meter = ${of.meter} and version = ${of.version} and customer = ${customer} and slot >= ${from} and slot < ${to}
    union all
    select time, dimensions, item, concat_ws(' ', source, id, revision, part),
      concat_ws(' ', trim_scale(value), operation, coalesce(taken_back::text, ''))
    from meter_point
    where meter = ${of.meter} and version = ${of.version} and customer = ${customer} and time >= ${from} and time < ${to}`);
}
