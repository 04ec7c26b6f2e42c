import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Database } from '#billing/db/database.ts';
import { migrate } from '#billing/db/migrate.ts';
import { pgliteDatabase } from '#billing/db/pglite.ts';
import { postgresDatabase } from '#billing/db/postgres.ts';
import { ingest } from '#billing/events/ingest.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { createTestDatabase } from '../servers/postgres.ts';
import { DATABASE_KINDS, type DatabaseKind } from '../support/database.ts';
import { NOW } from './ingest.ts';
import { BATCH, STOOD, stateOf } from './ingest-steps.ts';

const PROGRAM = fileURLToPath(new URL('ingest-steps.child.ts', import.meta.url));
const ALL = { startMs: 0, endMs: Date.UTC(2030, 0) };
const TABLES = 'event, event_id, event_correction, event_conflict, event_parked, usage_hour, cost_hour';

/** Of some fifty steps a few, every run others; WEIR_KILLS=100 takes them all. */
const KILLS = process.env.WEIR_KILLS === undefined ? undefined : Number.parseInt(process.env.WEIR_KILLS, 10);
const STEPS_MAX: Readonly<Record<DatabaseKind, number>> = { postgres: KILLS ?? 8, pglite: KILLS ?? 2 };

async function placeOf(kind: DatabaseKind): Promise<{ place: string; open(): Promise<Database> }> {
  if (kind === 'postgres') {
    const { url, drop } = await createTestDatabase();
    onTestFinished(drop);
    return { place: url, open: async () => postgresDatabase({ url }) };
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'weir-pglite-'));
  onTestFinished(() => rm(dataDir, { recursive: true }));
  return { place: dataDir, open: () => pgliteDatabase({ dataDir }) };
}

/** Undefined when it was killed; else how many steps there were. */
async function runUntil(place: string, step: number): Promise<number | undefined> {
  const child = spawn(process.execPath, [PROGRAM, place, `${step}`], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  let said = '';
  child.stdout.on('data', (data: Buffer) => {
    said += data.toString();
  });
  await once(child, 'close');
  if (child.signalCode === 'SIGKILL') return undefined;
  expect(child.exitCode).toBe(0);
  return Number.parseInt(said, 10);
}

describe.each(DATABASE_KINDS)('an ingest into %s that is killed at a step', (kind) => {
  it('has done all of its batch or nothing, and ends at the same when it is sent again', {
    timeout: 300_000,
  }, async () => {
    const { place, open } = await placeOf(kind);
    const work = async <T>(with_: (db: Database) => Promise<T>): Promise<T> => {
      const db = await open();
      try {
        return await with_(db);
      } finally {
        await db.close();
      }
    };
    const reset = async (db: Database) => {
      await db.script(`truncate ${TABLES}`);
      await ingest(db, STOOD, NOW);
      return stateOf(db);
    };
    const before = await work(async (db) => {
      await migrate(db);
      return reset(db);
    });
    const steps = await runUntil(place, Number.MAX_SAFE_INTEGER);
    if (steps === undefined) throw new Error('it was killed at no step');
    expect(steps).toBeGreaterThan(20);
    const after = await work(async (db) => {
      const state = await stateOf(db);
      await reset(db);
      return state;
    });
    expect(after).not.toEqual(before);

    const chosen = Array.from({ length: steps }, (_, step) => step);
    while (chosen.length > STEPS_MAX[kind]) chosen.splice(Math.trunc(Math.random() * chosen.length), 1);
    for (const step of new Set([...chosen, steps - 1])) {
      expect(await runUntil(place, step), `step ${step}`).toBeUndefined();
      await work(async (db) => {
        // The last step is after the commit, before the answer.
        expect(await stateOf(db), `after step ${step} of ${steps}`).toEqual(step === steps - 1 ? after : before);
        await ingest(db, BATCH, NOW);
        expect(await stateOf(db), `sent again after step ${step}`).toEqual(after);
        expect(await verifyRollups(db, ALL)).toEqual([]);
        await reset(db);
      });
    }
  });
});
