import { z } from '@hono/zod-openapi';
import { ROW_TYPES, type Rows, readRows } from '#billing/event-formats/read-rows.ts';
import {
  answerOf,
  BATCH_BYTES_MAX,
  BATCH_EVENTS_MAX,
  Results,
  RowsIn,
  refusalOf,
  resultsQuery,
} from '#billing/events/batch.ts';
import { take } from '#billing/events/ingest.ts';
import { decodeCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { EDITORS, GATEWAYS, OPERATORS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, Instant, idParams, Name } from '#billing/http/schema.ts';
import { Fault } from '#core/fault.ts';
import type { PriceBook } from '#core/price.ts';
import { formatInstant } from '#core/time.ts';
import { Mapping } from './mapping.ts';
import { PREVIEW_ROWS_MAX, preview } from './preview.ts';
import { getTemplate, listTemplates, putTemplate, readerOf, removeTemplate, type Template } from './template.ts';

const JsonSchema = z.looseObject({}).openapi({ description: 'A JSON Schema that each row must meet.' });

const TemplateFields = z
  .strictObject({ name: Name, schema: JsonSchema.nullable().default(null), mapping: Mapping })
  .openapi('TemplateIn');

const TemplateJson = z
  .object({
    id: z.string(),
    name: z.string(),
    schema: z.looseObject({}).nullable(),
    mapping: Mapping,
    created_at: Instant,
    updated_at: Instant,
  })
  .openapi('Template');

const PreviewIn = z
  .strictObject({
    template: TemplateFields.optional().openapi({
      description: 'A template that is not stored; without it the stored one.',
    }),
    rows: z.array(z.unknown()).min(1).max(PREVIEW_ROWS_MAX).optional(),
    text: z
      .string()
      .max(256 * 1024)
      .optional()
      .openapi({ description: 'Rows as NDJSON or CSV, as they would be sent.' }),
    format: z.enum(['application/x-ndjson', 'text/csv']).default('application/x-ndjson'),
  })
  .refine(({ rows, text }) => (rows === undefined) !== (text === undefined), 'Wants either rows or text.')
  .openapi('TemplatePreviewIn');

const PreviewJson = z
  .object({
    matched: z.int().openapi({ description: 'How many rows would be events.' }),
    unused_places: z.array(z.string()).openapi({ description: 'Places of the mapping that no row has.' }),
    rows: z.array(
      z.object({
        raw: z.unknown(),
        event: z.looseObject({}).nullable().openapi({ description: 'The event that the row would be.' }),
        errors: z.array(z.object({ pointer: z.string().optional(), detail: z.string() })),
      }),
    ),
  })
  .openapi('TemplatePreview');

export function templateRoutes(api: Api, priceBook: () => PriceBook): void {
  api.route({
    method: 'put',
    path: '/v1/templates/{id}',
    noun: 'templates',
    summary: 'Create or replace a template: how rows of a format of your own become events',
    description:
      'What was read before stays as it is. Rows that are parked are read with the new template when they are tried ' +
      'again. A mapping names places in a row and evaluates nothing; a schema may not have pattern, uniqueItems or $ref.',
    roles: OPERATORS,
    params: idParams,
    body: TemplateFields,
    answer: TemplateJson,
    run: async ({ db, params, body, nowMs }) => {
      const { name, schema, mapping } = body;
      return toJson(await putTemplate(db, { id: params.id, name, rowSchema: schema, mapping }, nowMs));
    },
  });

  api.route({
    method: 'get',
    path: '/v1/templates',
    noun: 'templates',
    summary: 'List templates',
    roles: READERS,
    query: z.strictObject(pageQuery),
    answer: pageSchema('Template', TemplateJson),
    run: async ({ db, query: { limit, cursor } }) => {
      const [after = ''] = decodeCursor(cursor, 1) ?? [];
      return pageOf(await listTemplates(db, after, limit + 1), limit, (row) => [row.id], toJson);
    },
  });

  api.route({
    method: 'get',
    path: '/v1/templates/{id}',
    noun: 'templates',
    summary: 'Get a template',
    roles: READERS,
    params: idParams,
    answer: TemplateJson,
    run: async ({ db, params }) => toJson(await getTemplate(db, params.id)),
  });

  api.route({
    method: 'delete',
    path: '/v1/templates/{id}',
    noun: 'templates',
    summary: 'Delete a template',
    description: 'Its events stay. Rows that it left parked stay parked.',
    roles: OPERATORS,
    params: idParams,
    answer: z.object({}).openapi('TemplateDeleted'),
    run: async ({ db, params }) => {
      await removeTemplate(db, params.id);
      return {};
    },
  });

  api.route({
    method: 'post',
    path: '/v1/templates/{id}/preview',
    noun: 'templates',
    summary: 'See what rows would become, without counting any',
    roles: EDITORS,
    params: idParams,
    body: PreviewIn,
    answer: PreviewJson,
    run: async ({ db, params, body, nowMs }) => {
      const { template, rows, text = '', format } = body;
      const of = template
        ? { id: params.id, row_schema: template.schema, mapping: template.mapping }
        : await getTemplate(db, params.id);
      const given = rows ?? readRows(new TextEncoder().encode(text), new Headers({ 'content-type': format })).values;
      return preview(of, given.slice(0, PREVIEW_ROWS_MAX), nowMs);
    },
  });

  api.route({
    method: 'post',
    path: '/v1/templates/{id}/events',
    noun: 'templates',
    summary: 'Take rows of a format of your own',
    description:
      'JSON, NDJSON or CSV. Each row stands alone: one that the template cannot read is kept with its reason. Where it ' +
      'can read none of several, the answer is template_matches_nothing.',
    roles: GATEWAYS,
    params: idParams,
    query: z.strictObject(resultsQuery),
    body: RowsIn,
    formats: {
      types: ROW_TYPES,
      read: (bytes, headers) => readRows(bytes, headers),
      schema: z.union([z.looseObject({}), z.array(z.looseObject({})).min(1).max(BATCH_EVENTS_MAX)]),
    },
    bodyBytesMax: BATCH_BYTES_MAX,
    answer: Results,
    run: async ({ db, params, body, query, nowMs }) => {
      const read = readerOf(await getTemplate(db, Id.parse(params.id)));
      const events = body.values.map((row) => read(row, nowMs));
      return answerOf(await take(db, events, nowMs, priceBook()), body, query.results);
    },
    refusal: (answer, rows) => refusalOf(answer, rows) ?? nothingMatched(answer, rows),
  });
}

function nothingMatched(answer: z.output<typeof Results>, rows: Rows): Fault | undefined {
  if (answer.parked < rows.values.length) return undefined;
  const issues = answer.results
    .slice(0, 20)
    .flatMap(({ errors = [] }) => errors.map(({ pointer = '#', detail }) => ({ pointer, detail })));
  return new Fault('template_matches_nothing', { detail: 'The rows are kept among the parked events.', issues });
}

function toJson(row: Template): z.input<typeof TemplateJson> {
  const { id, name, row_schema, mapping, created_at, updated_at } = row;
  return {
    ...{ id, name, schema: row_schema, mapping: Mapping.parse(mapping) },
    ...{ created_at: formatInstant(created_at), updated_at: formatInstant(updated_at) },
  };
}
