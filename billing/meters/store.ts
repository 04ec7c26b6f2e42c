import { type Database, findRow, instant, sql } from '#billing/db/database.ts';

export interface MeterRow {
  id: string;
  name: string;
  aggregation: 'sum' | 'count';
  unit: string;
}

/** False when the id is taken. */
export async function insertMeter(db: Database, row: MeterRow, nowMs: number): Promise<boolean> {
  const rows = await db.query(sql`
    insert into meter (id, name, aggregation, unit, created_at)
    values (${row.id}, ${row.name}, ${row.aggregation}, ${row.unit}, ${instant(nowMs)})
    on conflict (id) do nothing returning id`);
  return rows.length > 0;
}

export async function findMeter(db: Database, id: string): Promise<MeterRow | undefined> {
  return findRow<MeterRow>(db, sql`select id, name, aggregation, unit from meter where id = ${id}`);
}

export async function listCustomMeters(db: Database): Promise<MeterRow[]> {
  return db.query<MeterRow>(sql`select id, name, aggregation, unit from meter order by id`);
}
