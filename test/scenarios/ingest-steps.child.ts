import { pgliteDatabase } from '#billing/db/pglite.ts';
import { postgresDatabase } from '#billing/db/postgres.ts';
import { ingest } from '#billing/events/ingest.ts';
import { NOW } from './ingest.ts';
import { BATCH, stepping } from './ingest-steps.ts';

/** Takes the batch and kills itself at a step of it: node ingest-steps.child.ts URL|FOLDER STEP. Says when it was not. */
const [place, stop] = process.argv.slice(2);
if (!place || !stop) throw new Error('usage: ingest-steps.child.ts URL|FOLDER STEP');
const db = place.startsWith('postgres:') ? postgresDatabase({ url: place }) : await pgliteDatabase({ dataDir: place });
let steps = 0;
await ingest(
  stepping(db, () => {
    if (steps++ === Number.parseInt(stop, 10)) process.kill(process.pid, 'SIGKILL');
  }),
  BATCH,
  NOW,
);
process.stdout.write(`${steps}\n`);
await db.close();
