import { type Database, findRow, sql } from './database.ts';

/** Partitions of this month and some ahead, and of every month that events came for. Gives how many it made. */
export async function makePartitions(db: Database, nowMs: number, monthsAhead = 3): Promise<number> {
  const now = new Date(nowMs);
  const months = new Set(await listStrayMonths(db));
  for (let i = 0; i <= monthsAhead; i++) months.add(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + i));
  let made = 0;
  for (const month of [...months].sort((a, b) => a - b)) if (await insertPartition(db, month)) made++;
  return made;
}

/** Months (UTC, epoch ms) of events that came when their partition was not made. */
async function listStrayMonths(db: Database): Promise<number[]> {
  const rows = await db.query<{ month: number }>(sql`
    select distinct date_trunc('month', time, 'UTC') as month from event_other order by month`);
  return rows.map((row) => row.month);
}

/**
 * Makes the partition of the month that begins at `monthMs`, and moves what came for it before; false when it is there.
 * Writers of other months go on meanwhile: only the default partition is locked, and not for long.
 */
async function insertPartition(db: Database, monthMs: number): Promise<boolean> {
  const start = new Date(monthMs);
  const end = new Date(Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + 1));
  const name = `event_${start.toISOString().slice(0, 7).replace('-', '_')}`;
  const [from, to] = [`timestamptz '${start.toISOString()}'`, `timestamptz '${end.toISOString()}'`];
  return await db.transaction(async (tx) => {
    await tx.query(sql`select pg_advisory_xact_lock(hashtextextended('event partition', 0))`);
    const made = await findRow<{ made: boolean }>(tx, sql`select to_regclass(${name}) is not null made`);
    if (made?.made) return false;
    await tx.script(`
      set local lock_timeout = '5s';
      create table ${name} (like event including all);
      lock table event_other in access exclusive mode;
      with moved as (delete from event_other where time >= ${from} and time < ${to} returning *)
        insert into ${name} select * from moved;
      alter table event attach partition ${name} for values from (${from}) to (${to})`);
    return true;
  });
}
