import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Database, getRow, sql } from '#billing/db/database.ts';
import { migrate } from '#billing/db/migrate.ts';
import { pgliteDatabase } from '#billing/db/pglite.ts';
import { postgresDatabase } from '#billing/db/postgres.ts';
import { ingest } from '#billing/events/ingest.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { createTestDatabase } from '../servers/postgres.ts';
import { DATABASE_KINDS, type DatabaseKind } from '../support/database.ts';
import { BATCH_EVENTS, BATCHES, batchOf, NOW } from './ingest.ts';

const PROGRAM = fileURLToPath(new URL('ingest.child.ts', import.meta.url));
const KILLS: Readonly<Record<DatabaseKind, number>> = { postgres: 7, pglite: 4 };

/** Where a process can find the database after the one before it was killed. */
async function placeOf(
  kind: DatabaseKind,
): Promise<{ place: string; open(): Promise<Database>; remove(): Promise<void> }> {
  if (kind === 'postgres') {
    const { url, drop } = await createTestDatabase();
    return { place: url, open: async () => postgresDatabase({ url }), remove: drop };
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'weir-pglite-'));
  return { place: dataDir, open: () => pgliteDatabase({ dataDir }), remove: () => rm(dataDir, { recursive: true }) };
}

/** Runs the child from a batch on, kills it in the middle, and gives how far it said to have come. */
async function runAndKill(place: string, first: number, linesMax: number): Promise<number> {
  const child: ChildProcess = spawn(process.execPath, [PROGRAM, place, `${first}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  if (!child.stdout) throw new Error('no output');
  let next = first;
  let lines = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line !== 'ready') next = Number.parseInt(line, 10) + 1;
    lines++;
    if (lines > linesMax) child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  expect(child.signalCode).toBe('SIGKILL');
  return next;
}

describe.each(DATABASE_KINDS)('an ingest into %s whose process is killed', (kind) => {
  it('has kept what it said it kept, and counts exactly once what is sent again', { timeout: 180_000 }, async () => {
    const { place, open, remove } = await placeOf(kind);
    let said = 0;
    for (let kill = 0; kill < KILLS[kind]; kill++) {
      // The sender repeats the last batch that was confirmed too: its confirmation may not have reached it.
      const came = await runAndKill(place, Math.max(0, said - 1), Math.trunc(Math.random() * 12));
      said = Math.max(said, came);
    }
    const db = await open();
    await migrate(db);
    const kept = await getRow<{ count: bigint }>(db, sql`select count(*) from event`);
    expect(kept.count).toBeGreaterThanOrEqual(BigInt(said * BATCH_EVENTS));
    expect(await verifyRollups(db, { startMs: 0, endMs: Date.UTC(2030, 0) })).toEqual([]);

    for (let n = 0; n < BATCHES; n += 50) {
      const events = Array.from({ length: 50 }, (_, i) => batchOf(n + i)).flat();
      const results = await ingest(db, events, NOW);
      expect(results.every((result) => result.status === 'accepted' || result.status === 'duplicate')).toBe(true);
    }
    const total = BATCHES * BATCH_EVENTS;
    expect(
      await getRow(
        db,
        sql`select (select count(*) from event) events, (select sum(events)::int8 from cost_hour) counted,
              (select trim_scale(sum(quantity)) from usage_hour where unit = 'audio_seconds') seconds`,
      ),
    ).toEqual({ events: BigInt(total), counted: BigInt(total), seconds: `${total / 10}` });
    expect(await verifyRollups(db, { startMs: 0, endMs: Date.UTC(2030, 0) })).toEqual([]);
    await db.close();
    await remove();
  });
});
