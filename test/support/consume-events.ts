import { postgresDatabase } from '#billing/db/postgres.ts';
import { startRedisConsumer } from '#billing/events/redis-consumer.ts';
import { SILENT } from '#core/log.ts';

/** The consumer as a process, to be killed: node consume-events.ts REDIS_URL NAMESPACE DATABASE_URL. Prints a line a batch. */
const [url, namespace, database] = process.argv.slice(2);
if (!url || !namespace || !database) throw new Error('usage: consume-events.ts REDIS_URL NAMESPACE DATABASE_URL');
const db = postgresDatabase({ url: database });
const consumer = startRedisConsumer({
  ...{ url, namespace, db, clock: Date.now, log: SILENT },
  batchMax: 40,
  claimIdleMs: 300,
  onBatch: (results) => process.stdout.write(`${results.length}\n`),
});
process.once('SIGTERM', async () => {
  await consumer.stop();
  await db.close();
});
