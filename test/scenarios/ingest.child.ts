import { migrate } from '#billing/db/migrate.ts';
import { pgliteDatabase } from '#billing/db/pglite.ts';
import { postgresDatabase } from '#billing/db/postgres.ts';
import { ingest } from '#billing/events/ingest.ts';
import { BATCHES, batchOf, NOW } from './ingest.ts';

/** Ingests batch after batch, and says each one that it was told is in: node ingest.child.ts URL|FOLDER FIRST_BATCH. */
const [place, first] = process.argv.slice(2);
if (!place || !first) throw new Error('usage: ingest.child.ts URL|FOLDER FIRST_BATCH');
const db = place.startsWith('postgres:') ? postgresDatabase({ url: place }) : await pgliteDatabase({ dataDir: place });
await migrate(db);
process.stdout.write('ready\n');
for (let n = Number.parseInt(first, 10); n < BATCHES; n++) {
  await ingest(db, batchOf(n), NOW);
  process.stdout.write(`${n}\n`);
}
await db.close();
