import type { z } from '@hono/zod-openapi';
import type { Database } from '#billing/db/database.ts';
import { issuesOfNoObject, type ParsedEvent, parkedEvent, parseEvent } from '#billing/events/event.ts';
import { cutText, storableJson } from '#billing/events/storable.ts';
import { isKind, parseTyped } from '#billing/typed-events/typed-event.ts';
import { Fault, type FaultIssue } from '#core/fault.ts';
import { Mapping, mapRow } from './mapping.ts';
import { compileRowSchema, type RowCheck } from './row-schema.ts';
import { deleteTemplate, findTemplate, selectTemplates, type TemplateRow, upsertTemplate } from './store.ts';

export type Template = TemplateRow;

/** Makes an event of a row, or says what is wrong with it. */
export type RowReader = (row: unknown, nowMs: number, receivedMs?: number) => ParsedEvent;

export interface NewTemplate {
  id: string;
  name: string;
  rowSchema: Record<string, unknown> | null;
  /** Not yet parsed, so that what is stored is what was sent. */
  mapping: z.input<typeof Mapping>;
}

/** Creates or replaces. What was read before stays as it is; what is parked is read with the new one when it is tried again. */
export async function putTemplate(db: Database, given: NewTemplate, nowMs: number): Promise<Template> {
  if (isKind(given.id)) {
    throw new Fault('already_exists', { detail: `${given.id} is a format that Weir has.` });
  }
  if (given.rowSchema) compileRowSchema(given.rowSchema, '#/schema');
  await upsertTemplate(db, given, nowMs);
  return await getTemplate(db, given.id);
}

export async function getTemplate(db: Database, id: string): Promise<Template> {
  const row = await findTemplate(db, id);
  if (!row) throw new Fault('not_found', { detail: `There is no template ${id}.` });
  return row;
}

export async function listTemplates(db: Database, after: string, limit: number): Promise<Template[]> {
  return await selectTemplates(db, after, limit);
}

export async function removeTemplate(db: Database, id: string): Promise<void> {
  if (!(await deleteTemplate(db, id))) throw new Fault('not_found', { detail: `There is no template ${id}.` });
}

/** The reader of a template, stored or not. */
export function readerOf(template: Pick<Template, 'id' | 'row_schema' | 'mapping'>): RowReader {
  const mapping = Mapping.parse(template.mapping);
  const check: RowCheck = template.row_schema ? compileRowSchema(template.row_schema, '#/schema') : () => [];
  return (row, nowMs, receivedMs = nowMs) => {
    const body = storableJson(row) ?? cutText(row);
    const parked = (issues: readonly FaultIssue[]) => parkedEvent(row, body, 'malformed', issues, template.id);
    const noObject = issuesOfNoObject(row);
    if (noObject.length > 0) return parked(noObject);
    const wrong = check(row);
    if (wrong.length > 0) return parked(wrong);
    const { event, issues } = mapRow(mapping, row, `/templates/${template.id}`);
    if (issues.length > 0) return parked(issues);
    const parsed = parseEvent(event, nowMs, receivedMs);
    // Parked as the row that was sent, so that a better template can read it.
    if (parsed.kind !== 'parked') return parsed;
    return {
      ...parkedEvent(row, body, parsed.reason, parsed.issues, template.id),
      source: parsed.source,
      id: parsed.id,
    };
  };
}

/** How parked rows are read again: by what they were read with first. A template that is gone reads nothing. */
export async function readersOf(
  db: Database,
  names: ReadonlySet<string>,
): Promise<(name: string) => RowReader | undefined> {
  const readers = new Map<string, RowReader>();
  for (const name of names) {
    if (isKind(name)) readers.set(name, (row, nowMs, receivedMs) => parseTyped(name, row, nowMs, receivedMs));
    else {
      const template = await findTemplate(db, name);
      if (template) readers.set(name, readerOf(template));
    }
  }
  return (name) => readers.get(name);
}
