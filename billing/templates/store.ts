import { type Database, findRow, instant, json, sql } from '#billing/db/database.ts';

export interface TemplateRow {
  id: string;
  name: string;
  row_schema: Record<string, unknown> | null;
  /** As it was given: parsed again when it is used. */
  mapping: unknown;
  created_at: number;
  updated_at: number;
}

export interface TemplateFields {
  id: string;
  name: string;
  rowSchema: Record<string, unknown> | null;
  mapping: unknown;
}

/** True when it is new; one that is there is replaced. */
export async function upsertTemplate(db: Database, fields: TemplateFields, nowMs: number): Promise<boolean> {
  const { id, name, rowSchema, mapping } = fields;
  const row = await findRow<{ created: boolean }>(
    db,
    sql`
      insert into event_template as t (id, name, row_schema, mapping, created_at, updated_at)
      values (${id}, ${name}, ${rowSchema === null ? null : json(rowSchema)}, ${json(mapping)}, ${instant(nowMs)},
              ${instant(nowMs)})
      on conflict (id) do update set name = excluded.name, row_schema = excluded.row_schema,
        mapping = excluded.mapping, updated_at = excluded.updated_at
      returning t.xmax = 0 as created`,
  );
  return row?.created === true;
}

export async function findTemplate(db: Database, id: string): Promise<TemplateRow | undefined> {
  return await findRow<TemplateRow>(
    db,
    sql`select id, name, row_schema, mapping, created_at, updated_at from event_template where id = ${id}`,
  );
}

export async function selectTemplates(db: Database, after: string, limit: number): Promise<TemplateRow[]> {
  return await db.query<TemplateRow>(sql`
    select id, name, row_schema, mapping, created_at, updated_at from event_template
    where id collate "C" > ${after}::text order by id collate "C" limit ${limit}`);
}

/** False when there was none. */
export async function deleteTemplate(db: Database, id: string): Promise<boolean> {
  const rows = await db.query(sql`delete from event_template where id = ${id} returning id`);
  return rows.length === 1;
}
