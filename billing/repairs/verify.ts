import type { Database } from '#billing/db/database.ts';
import { verifyMeasurements } from '#billing/measurements/verify.ts';
import { HOUR_MS, type Period } from '#core/time.ts';
import { type DifferenceRow, listCostDifferences, listQuantityDifferences, listQuarterDifferences } from './store.ts';

/** A figure that is not what its events give: a sum of a unit, a cost, or what a version of a meter holds. */
export type Difference = DifferenceRow;

/**
 * Recomputes the roll-ups of whole hours from the events and gives every figure that is another, of one customer or of
 * all. Empty unless something beside the ingest wrote to the tables, or partitions of the period were dropped.
 */
export async function verifyRollups(
  db: Database,
  period: Period,
  { customer = null, limit = 1_000, alone = false }: { customer?: string | null; limit?: number; alone?: boolean } = {},
): Promise<Difference[]> {
  if (period.startMs % HOUR_MS !== 0 || period.endMs % HOUR_MS !== 0) throw new RangeError('not whole hours');
  const sums = [
    ...(await listQuantityDifferences(db, period, customer, limit)),
    ...(await listCostDifferences(db, period, customer, limit)),
    ...(await listQuarterDifferences(db, period, customer, limit)),
  ];
  const measured = await verifyMeasurements(db, period, { customer, limit, alone });
  return [...sums, ...measured.map((difference) => ({ ...difference, key: '', model: '' }))];
}
