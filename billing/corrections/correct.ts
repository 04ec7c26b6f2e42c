import type { Database } from '#billing/db/database.ts';
import { shareCustomerLocks } from '#billing/db/lock.ts';
import type { Correction, StorableEvent } from '#billing/events/event.ts';
import { recordLateEvents } from '#billing/late-usage/late-usage.ts';
import { measure, measuredRowOf } from '#billing/measurements/measure.ts';
import type { Gauge } from '#billing/meters/measured.ts';
import {
  type AppliedCorrection,
  type CorrectionRow,
  claimCorrections,
  type HistoryRow,
  insertCorrections,
  insertRevisions,
  listTargetCustomers,
  lockTargets,
  type MovedEvent,
  moveEvents,
  type RevisionRow,
  selectCorrectionsOf,
  selectHistory,
  type TargetRow,
} from './store.ts';

export type { CorrectionRow, HistoryRow };

/** accepted: kept, and applied unless a later one had decided. taken: its id was there before. unknown_event: its event is not here (yet). */
export type CorrectionOutcome = 'accepted' | 'taken' | 'unknown_event';

/** What stands of an event while corrections are applied to it, and which of them decided that. */
interface Standing {
  revision: number;
  live: Omit<RevisionRow, 'source' | 'id' | 'revision' | 'sign' | 'live'> | null;
  place: { customer: string; timeMs: number };
  /** When the event was first said to have happened. */
  firstMs: number;
  decided: { timeMs: number; id: string; source: string } | null;
}

/** What rows that are added are measured by, and what finds the cost of an event that comes without one. */
export interface Correcting {
  gauges: readonly Gauge[];
  costed: (event: StorableEvent) => StorableEvent;
}

/**
 * Applies corrections of different ids, in the caller's transaction. Of several for one event the latest by its own time
 * stands (then by id and source), so that the order in which they come does not matter.
 */
export async function correctEvents(
  tx: Database,
  corrections: readonly Correction[],
  { gauges, costed }: Correcting,
  nowMs: number,
): Promise<CorrectionOutcome[]> {
  const customers = new Set(await customersCorrected(tx, corrections));
  await shareCustomerLocks(tx, [...customers]);
  const targets = new Map((await lockTargets(tx, corrections)).map((row) => [keyOf(row.source, row.id), row]));
  // Moved to another customer meanwhile: no row of it moves again before this ends.
  const moved = [...targets.values()].map((row) => row.customer).filter((customer) => !customers.has(customer));
  if (moved.length > 0) await shareCustomerLocks(tx, moved);
  const known = corrections.filter(({ targetSource, targetId }) => targets.has(keyOf(targetSource, targetId)));
  const free = new Set((await claimCorrections(tx, known)).map((at) => known[at]));

  const standings = new Map([...targets].map(([key, row]) => [key, standingOf(row)]));
  const applied: AppliedCorrection[] = [];
  const rows: RevisionRow[] = [];
  for (const correction of [...free].filter((each) => each !== undefined).sort(compareTimes)) {
    const standing = standings.get(keyOf(correction.targetSource, correction.targetId));
    if (standing) applied.push(apply(correction, standing, rows, costed));
  }
  if (applied.length > 0) await insertCorrections(tx, applied, nowMs);
  if (rows.length > 0) {
    for (const row of rows)
      row.live = row.sign === 1 && row.revision === standings.get(keyOf(row.source, row.id))?.revision;
    await moveEvents(tx, movesOf(targets, standings, new Set(rows.map((row) => keyOf(row.source, row.id)))));
    await insertRevisions(tx, rows, nowMs);
    await recordLateEvents(tx, rows, nowMs);
    await measure(tx, gauges, rows.map(measuredRowOf));
  }
  return corrections.map((correction) => {
    if (free.has(correction)) return 'accepted';
    return targets.has(keyOf(correction.targetSource, correction.targetId)) ? 'taken' : 'unknown_event';
  });
}

/** Whose events they are, and whose they will be. */
export async function customersCorrected(tx: Database, corrections: readonly Correction[]): Promise<string[]> {
  const named = corrections.flatMap(({ event }) => (event ? [event.customer] : []));
  return [...named, ...(await listTargetCustomers(tx, corrections))];
}

function apply(
  correction: Correction,
  standing: Standing,
  rows: RevisionRow[],
  costed: Correcting['costed'],
): AppliedCorrection {
  const { timeMs, id, source, targetSource, targetId, event, isTimed } = correction;
  if (standing.decided && compareTimes(correction, standing.decided) < 0) {
    return { correction, revision: null, from: null };
  }
  const from = standing.live ? standing.place : null;
  const target = { source: targetSource, id: targetId, live: false };
  if (standing.live) rows.push({ ...target, ...standing.live, revision: ++standing.revision, sign: -1 });
  // Not the last place: the order in which corrections come must not matter. By the prices of when it happened.
  standing.live = event && contentsOf(costed({ ...event, timeMs: isTimed ? event.timeMs : standing.firstMs }));
  standing.decided = { timeMs, id, source };
  if (standing.live) {
    rows.push({ ...target, ...standing.live, revision: ++standing.revision, sign: 1 });
    standing.place = { customer: standing.live.customer, timeMs: standing.live.timeMs };
  }
  return { correction, revision: standing.revision, from };
}

function standingOf(row: TargetRow): Standing {
  const { type, key, model, body } = row;
  const place = { customer: row.customer, timeMs: row.time };
  const isLive = type !== null && key !== null && model !== null && body !== null;
  return {
    revision: row.revision,
    place,
    firstMs: row.first_at,
    live: isLive ? { type, key, model, body, ...place } : null,
    decided:
      row.decided_at === null
        ? null
        : { timeMs: row.decided_at, id: row.decided_by ?? '', source: row.decided_by_source ?? '' },
  };
}

function contentsOf({ type, timeMs, customer, key, model, body }: NonNullable<Correction['event']>) {
  return { type, timeMs, customer, key, model, body };
}

function movesOf(
  targets: ReadonlyMap<string, TargetRow>,
  standings: ReadonlyMap<string, Standing>,
  changed: ReadonlySet<string>,
): MovedEvent[] {
  return [...targets].flatMap(([key, row]) => {
    const standing = standings.get(key);
    if (!standing || !changed.has(key)) return [];
    const { source, id } = row;
    const from = { customer: row.customer, timeMs: row.time, revision: row.revision };
    return [{ source, id, from, to: { ...standing.place, revision: standing.revision } }];
  });
}

interface Place {
  timeMs: number;
  id: string;
  source: string;
}

function compareTimes(a: Place, b: Place): number {
  return a.timeMs - b.timeMs || compareText(a.id, b.id) || compareText(a.source, b.source);
}

/** By bytes, as the database compares these columns: UTF-16 would put what is beyond U+FFFF elsewhere. */
function compareText(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function keyOf(source: string, id: string): string {
  return `${source}\u0000${id}`;
}

export async function listCorrectionsOf(db: Database, id: string): Promise<CorrectionRow[]> {
  return await selectCorrectionsOf(db, id);
}

export async function listHistory(db: Database, id: string): Promise<HistoryRow[]> {
  return await selectHistory(db, id);
}
