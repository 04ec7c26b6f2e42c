import { describe, expect, it, onTestFinished } from 'vitest';
import { getRow, sql } from '#billing/db/database.ts';
import { migrate } from '#billing/db/migrate.ts';
import { makePartitions } from '#billing/db/partitions.ts';
import { postgresDatabase } from '#billing/db/postgres.ts';
import { ingest } from '#billing/events/ingest.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { Fault } from '#core/fault.ts';
import { startPostgres } from '../servers/postgres.ts';
import { BATCH_EVENTS, BATCHES, batchOf, NOW } from './ingest.ts';
import { until } from './until.ts';

const WRITERS = 4;
const RESTARTS = Number.parseInt(process.env.WEIR_KILLS ?? '2', 10);

describe('a Postgres that is killed and comes back under load', () => {
  it('holds every event once when its senders send again what was not confirmed', { timeout: 180_000 }, async () => {
    const server = await startPostgres();
    onTestFinished(() => server.stop());
    const db = postgresDatabase({ url: server.url });
    onTestFinished(() => db.close());
    await migrate(db);
    await makePartitions(db, NOW);

    let [next, confirmed, failures] = [0, 0, 0];
    /** Each sends a batch until it is told that it is in, and never asks what became of it. */
    const write = async (): Promise<void> => {
      while (next < BATCHES) {
        const n = next++;
        for (let isIn = false; !isIn; ) {
          try {
            const results = await ingest(db, batchOf(n), NOW);
            expect(results.every(({ status }) => status === 'accepted' || status === 'duplicate')).toBe(true);
            isIn = true;
          } catch (thrown) {
            if (!(thrown instanceof Fault && thrown.code === 'database_unavailable')) throw thrown;
            failures++;
          }
        }
        confirmed++;
      }
    };
    const restart = async (): Promise<void> => {
      for (let i = 1; i <= RESTARTS; i++) {
        await until(() => confirmed >= (i * BATCHES) / (RESTARTS + 2), 'batches');
        await server.kill(i % 2 === 0 ? 'SIGKILL' : 'SIGQUIT');
        await server.restart();
      }
    };
    await Promise.all([restart(), ...Array.from({ length: WRITERS }, write)]);

    expect(failures).toBeGreaterThan(0);
    const total = BATCHES * BATCH_EVENTS;
    expect(
      await getRow(
        db,
        sql`select (select count(*) from event) events, (select count(*) from event_id) ids,
              (select sum(events)::int8 from cost_hour) counted,
              (select trim_scale(sum(quantity)) from usage_hour where unit = 'audio_seconds') seconds`,
      ),
    ).toEqual({ events: BigInt(total), ids: BigInt(total), counted: BigInt(total), seconds: `${total / 10}` });
    expect(await verifyRollups(db, { startMs: 0, endMs: Date.UTC(2030, 0) })).toEqual([]);
  });
});
