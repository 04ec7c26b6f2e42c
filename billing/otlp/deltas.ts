import type { Database } from '#billing/db/database.ts';
import { compare, formatExact, getExact, subtract } from '#core/exact.ts';
import { type Point, seriesHash } from './points.ts';
import { deleteOldSeries, lockSeries, type SeriesRow, updateSeries } from './store.ts';

/** A series that was silent for so long begins anew. */
const SERIES_DAYS = 30;

/**
 * Points whose values are what came since the point before: those of cumulative series less the last value that is
 * known, under a lock of the series. What was seen already, or comes late, gives none.
 */
export async function deltasOf(tx: Database, points: readonly Point[], nowMs: number): Promise<Point[]> {
  const cumulative = points.filter((point) => point.cumulative && point.value !== undefined);
  if (cumulative.length === 0) return [...points];
  const hashes = new Map(cumulative.map((point) => [point, seriesHash(point)]));
  const firsts = new Map<string, string>();
  for (const [point, hash] of hashes) if (!firsts.has(hash)) firsts.set(hash, point.startNanos);
  const rows = await lockSeries(
    tx,
    [...firsts].map(([hash, startNanos]) => ({ hash, startNanos })),
    nowMs,
  );
  const series = new Map(rows.map((row) => [row.hash, row]));
  const changed = new Set<SeriesRow>();
  const deltas = new Map<Point, Point>();
  for (const point of [...cumulative].sort((a, b) => compareNanos(a.timeNanos, b.timeNanos))) {
    const row = series.get(hashes.get(point) ?? '');
    if (!row) throw new Error('a series is not there after it was made');
    const delta = advance(row, point);
    if (delta === undefined) continue;
    changed.add(row);
    deltas.set(point, { ...point, value: delta });
  }
  if (changed.size > 0) await updateSeries(tx, [...changed], nowMs);
  return points.flatMap((point) => (hashes.has(point) ? (deltas.get(point) ?? []) : [point]));
}

/** What a point adds to its series; undefined where it is not news. Moves the series on. */
function advance(row: SeriesRow, point: Point): string | undefined {
  const { startNanos, timeNanos, value = '0' } = point;
  const isRestart = compareNanos(startNanos, row.start_nanos) > 0;
  const isNews = compareNanos(startNanos, row.start_nanos) === 0 && compareNanos(timeNanos, row.time_nanos) > 0;
  if (!isRestart && !isNews) return undefined;
  // Without a known start, the first value says nothing of what came since.
  const isBaseline = startNanos === '0' && row.time_nanos === '-1';
  const [before, now] = [getExact(isRestart ? '0' : row.value), getExact(value)];
  const fell = compare(now, before) < 0;
  row.start_nanos = startNanos;
  row.time_nanos = timeNanos;
  row.value = value;
  if (isBaseline) return undefined;
  return formatExact(fell ? now : subtract(now, before));
}

function compareNanos(a: string, b: string): number {
  return compare(getExact(a), getExact(b));
}

/** As a job. */
export async function forgetSeries(db: Database, nowMs: number): Promise<void> {
  await deleteOldSeries(db, nowMs - SERIES_DAYS * 86_400_000);
}
