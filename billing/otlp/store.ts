import { type Database, instant, sql } from '#billing/db/database.ts';

export interface SeriesRow {
  hash: string;
  /** Whole nanoseconds, and the value, as decimal text. */
  start_nanos: string;
  time_nanos: string;
  value: string;
}

/** Series that are new are there after it, with nothing seen of them (time -1); all are locked, in one order. */
export async function lockSeries(
  db: Database,
  series: readonly { hash: string; startNanos: string }[],
  nowMs: number,
): Promise<SeriesRow[]> {
  const [hashes, starts] = [series.map(({ hash }) => hash), series.map(({ startNanos }) => startNanos)];
  await db.query(sql`
    insert into otlp_series (hash, start_nanos, time_nanos, value, updated_at)
    select hash, start_nanos, -1, 0, ${instant(nowMs)}::timestamptz
    from unnest(${hashes}::text[], ${starts}::numeric[]) given (hash, start_nanos)
    order by hash collate "C" on conflict do nothing`);
  return await db.query<SeriesRow>(sql`
    select hash, start_nanos, time_nanos, value from otlp_series
    where hash = any(${hashes}::text[]) order by hash for update`);
}

export async function updateSeries(db: Database, rows: readonly SeriesRow[], nowMs: number): Promise<void> {
  await db.query(sql`
    update otlp_series set start_nanos = given.start_nanos, time_nanos = given.time_nanos, value = given.value,
      updated_at = ${instant(nowMs)}::timestamptz
    from unnest(
      ${rows.map((row) => row.hash)}::text[], ${rows.map((row) => row.start_nanos)}::numeric[],
      ${rows.map((row) => row.time_nanos)}::numeric[], ${rows.map((row) => row.value)}::numeric[]
    ) given (hash, start_nanos, time_nanos, value)
    where otlp_series.hash = given.hash`);
}

export async function deleteOldSeries(db: Database, beforeMs: number): Promise<void> {
  await db.query(sql`delete from otlp_series where updated_at < ${instant(beforeMs)}`);
}
