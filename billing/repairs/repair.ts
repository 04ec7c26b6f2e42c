import type { Database } from '#billing/db/database.ts';
import { lockCustomer } from '#billing/db/lock.ts';
import { measureAnew } from '#billing/measurements/measure.ts';
import { gaugesInForce } from '#billing/meters/meter.ts';
import { Fault } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import { formatInstant, HOUR_MS, type Period } from '#core/time.ts';
import {
  type CheckPlace,
  type FindingRow,
  findCheckPlace,
  findHourWithoutEvents,
  insertRepair,
  listFindingRows,
  listPlacesToCheck,
  listRepairRows,
  type RepairRow,
  replaceSums,
  type StoredDifference,
  updateCheckPlace,
  updateFindingsRepaired,
  upsertFinding,
} from './store.ts';
import { type Difference, verifyRollups } from './verify.ts';

/**
 * Sums and meters are written with their events and never differ from them, unless something else wrote to the tables.
 * Then nothing is put right in silence: a job finds it, the finding stays in sight, and an operator repairs it, with what
 * stood there before kept beside it.
 */
export type Finding = FindingRow;
export type Repair = RepairRow;

const DIFFERENCES_MAX = 1_000;

/** What one run may read; an hour of one customer is read whole. */
const READS_MAX = 1_000_000n;
/** Where nothing was looked at before. */
const FIRST_HOURS = 2;
const PLACES_PAGE = 1_000;

/**
 * Looks at whole hours, customer by customer, and goes on where the run before it stopped: events are read once for the
 * sums and once for each meter, up to `readsMax`. What differs is kept as a finding for each hour of a customer, and the
 * job fails, so that it is seen there too. Gives how much was read.
 */
export async function checkRollups(db: Database, nowMs: number, readsMax = READS_MAX): Promise<bigint> {
  const endMs = nowMs - (nowMs % HOUR_MS);
  const eachRead = 1n + BigInt((await db.transaction((tx) => gaugesInForce(tx))).length);
  const differences: Difference[] = [];
  let place: CheckPlace = (await findCheckPlace(db)) ?? { hour: endMs - FIRST_HOURS * HOUR_MS, customer: null };
  let reads = 0n;
  let isSpent = false;
  while (place.hour < endMs && !isSpent) {
    const period = { startMs: place.hour, endMs: place.hour + HOUR_MS };
    const page = await listPlacesToCheck(db, period, place.customer, PLACES_PAGE);
    for (const { customer, events } of page) {
      isSpent = reads > 0n && reads + events * eachRead > readsMax;
      if (isSpent) break;
      reads += events * eachRead;
      const found = await verifyRollups(db, period, { customer, limit: DIFFERENCES_MAX });
      await keepFindings(db, found, nowMs);
      differences.push(...found);
      place = { hour: place.hour, customer };
      await updateCheckPlace(db, place);
    }
    if (isSpent || page.length === PLACES_PAGE) continue;
    place = { hour: period.endMs, customer: null };
    await updateCheckPlace(db, place);
  }
  const [first] = differences;
  if (!first) return reads;
  throw new Fault('internal', {
    story: `${differences.length} figures are not those of their events; the first: ${first.customer} ${first.key} ${first.model} ${first.unit} at ${formatInstant(first.hour)}: ${first.rolled_up}, recomputed ${first.recomputed}`,
  });
}

/** All before it was looked at; undefined where nothing was. */
export async function findCheckedUntil(db: Database): Promise<number | undefined> {
  return (await findCheckPlace(db))?.hour;
}

async function keepFindings(db: Database, differences: readonly Difference[], nowMs: number): Promise<void> {
  const byHour = Map.groupBy(differences, ({ customer, hour }) => JSON.stringify([customer, hour]));
  for (const [place, some] of byHour) {
    const [customer, hour]: [string, number] = JSON.parse(place);
    await upsertFinding(db, { customer, hour, differences: some.map(stored) }, nowMs);
  }
}

/** Makes the sums and meters of whole hours of a customer anew from the events, while nothing else writes to them. */
export async function repairUsage(
  tx: Database,
  wanted: { customer: string; period: Period; reason: string; token: string },
  nowMs: number,
): Promise<Repair> {
  const { customer, period, reason, token } = wanted;
  const gauges = await gaugesInForce(tx);
  await lockCustomer(tx, customer);
  const gone = await findHourWithoutEvents(tx, customer, period);
  if (gone !== undefined) {
    throw new Fault('state_conflict', {
      detail: `The events of ${formatInstant(gone)} are no longer here: its sums are all that is left of them.`,
    });
  }
  const differences = await verifyRollups(tx, period, { customer, limit: DIFFERENCES_MAX, alone: true });
  await replaceSums(tx, customer, period);
  for (const gauge of gauges) await measureAnew(tx, gauge, customer, period.startMs, period.endMs);
  const repair: RepairRow = {
    ...{ id: newId('rep', nowMs), customer, from_at: period.startMs, to_at: period.endMs },
    ...{ reason, token, repaired_at: nowMs, differences: differences.map(stored) },
  };
  await insertRepair(tx, repair);
  await updateFindingsRepaired(tx, customer, period, repair.id);
  return repair;
}

function stored({ hour, key, model, unit, rolled_up, recomputed }: Difference): StoredDifference {
  return { hour: formatInstant(hour), key, model, unit, rolled_up, recomputed };
}

export { listFindingRows as listFindings, listRepairRows as listRepairs };
