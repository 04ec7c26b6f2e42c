import { z } from '@hono/zod-openapi';
import { listCorrectionsOf, listHistory } from '#billing/corrections/correct.ts';
import { parseExactObject } from '#billing/event-formats/exact-json.ts';
import { CLOUD_EVENT_TYPES, ROW_TYPES, readCloudEvents } from '#billing/event-formats/read-rows.ts';
import { decodeCursor, instantOfCursor, pageOf, pageQuery, pageSchema, seqOfCursor } from '#billing/http/page.ts';
import { GATEWAYS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Instant, InstantIn } from '#billing/http/schema.ts';
import { Fault } from '#core/fault.ts';
import type { PriceBook } from '#core/price.ts';
import { formatInstant } from '#core/time.ts';
import { answerOf, BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Results, RowsIn, refusalOf, resultsQuery } from './batch.ts';
import { ID_CHARS_MAX } from './event-schema.ts';
import { ingest } from './ingest.ts';
import { type EventRow, findFreeIds, selectConflicts, selectEvents, selectEventsOfId } from './store.ts';

const CloudEvent = z
  .looseObject({
    specversion: z.literal('1.0'),
    id: z.string(),
    source: z.string(),
    type: z.string().openapi({ example: 'weir.usage.v1' }),
    subject: z.string().optional().openapi({ description: 'The customer.' }),
    time: z.string().optional(),
    data: z.looseObject({}).optional(),
  })
  .openapi('CloudEvent', { description: 'A CloudEvent 1.0 in structured mode.' });

const EventsIn = z
  .union([CloudEvent, z.array(CloudEvent).min(1).max(BATCH_EVENTS_MAX)])
  .openapi('EventsIn', { description: 'One CloudEvent or an array of them.' });

const EventJson = z
  .object({
    event: z.looseObject({}).openapi({ description: 'As it was sent, or as it was corrected.' }),
    customer: z.string().nullable().openapi({ description: 'Whom it counts for; null where nobody is known.' }),
    time: Instant,
    received_at: Instant,
  })
  .openapi('Event');
const EventPage = pageSchema('Event', EventJson);

const ConflictJson = z
  .object({ source: z.string(), id: z.string(), received_at: Instant, event: z.looseObject({}) })
  .openapi('EventConflict');
const ConflictPage = pageSchema('EventConflict', ConflictJson);

const EventHistory = z
  .object({
    revisions: z
      .array(
        z.object({
          source: z.string(),
          revision: z.int(),
          counts: z.enum(['added', 'taken_back']),
          received_at: Instant,
          event: z.looseObject({}),
        }),
      )
      .openapi({ description: 'Every row of the events of this id: what was counted, taken back, and counted anew.' }),
    corrections: z.array(
      z.object({
        source: z.string(),
        id: z.string(),
        event_source: z.string(),
        time: Instant,
        received_at: Instant,
        reason: z.string(),
        deletes: z.boolean(),
        applied: z.boolean().openapi({ description: 'False where a correction of a later time had come before it.' }),
      }),
    ),
  })
  .openapi('EventHistory');

const text = z.string().min(1).max(256);
const idParams = z.strictObject({ id: z.string().min(1).max(ID_CHARS_MAX) });

export function eventRoutes(api: Api, priceBook: () => PriceBook): void {
  api.route({
    method: 'post',
    path: '/v1/events',
    noun: 'events',
    summary: 'Take events',
    description:
      'CloudEvents as JSON (one, or an array), NDJSON, CSV with a column for each attribute and data.… for what they ' +
      'hold, or in binary mode (ce- headers); gzip is taken. Each is counted once, by its source and id, however often ' +
      'it is sent. In a batch every event stands alone: one that cannot be counted is kept with its reason and stops ' +
      'no other. A single event whose id is taken by another body is answered with event_conflict, and one that is ' +
      'wrong with validation_failed; in a batch its result says so. Types of your own are for meters; ' +
      'weir.correction.v1 replaces or deletes an event.',
    roles: GATEWAYS,
    query: z.strictObject(resultsQuery),
    body: RowsIn,
    formats: { types: [...ROW_TYPES, ...CLOUD_EVENT_TYPES], read: readCloudEvents, schema: EventsIn },
    bodyBytesMax: BATCH_BYTES_MAX,
    answer: Results,
    run: async ({ db, body, query, nowMs }) =>
      answerOf(await ingest(db, body.values, nowMs, priceBook()), body, query.results),
    refusal: refusalOf,
  });

  api.route({
    method: 'post',
    path: '/v1/events/missing',
    noun: 'events',
    summary: 'Name the events that billing does not have',
    description:
      'Of these ids of a source, those that no event has come with. Gateways keep a copy of what they put into Redis ' +
      'until it is not among them any more.',
    roles: GATEWAYS,
    body: z.strictObject({ source: text, ids: z.array(z.string().min(1).max(ID_CHARS_MAX)).max(BATCH_EVENTS_MAX) }),
    answer: z.object({ missing: z.array(z.string()) }).openapi('MissingEvents'),
    run: async ({ db, body }) => ({ missing: await findFreeIds(db, body.source, body.ids) }),
  });

  api.route({
    method: 'get',
    path: '/v1/events',
    noun: 'events',
    summary: 'List events as they count now, newest first',
    roles: READERS,
    query: z.strictObject({
      ...pageQuery,
      customer: text.optional(),
      key: text.optional(),
      model: text.optional(),
      type: text.optional(),
      attributed: z.enum(['false']).optional().openapi({ description: 'Only events that name no customer.' }),
      from: InstantIn.optional(),
      to: InstantIn.optional(),
    }),
    answer: EventPage,
    run: async ({ db, query }) => {
      const { key, model, type, from: fromMs, to: toMs, limit } = query;
      const customer = query.attributed === 'false' ? '' : query.customer;
      const place = decodeCursor(query.cursor, 3);
      const after = place && { time: instantOfCursor(place[0]), source: place[1] ?? '', id: place[2] ?? '' };
      const rows = await selectEvents(db, { customer, key, model, type, fromMs, toMs, after, limit: limit + 1 });
      return pageOf(rows, limit, (row) => [formatInstant(row.time), row.source, row.id], eventToJson);
    },
  });

  api.route({
    method: 'get',
    path: '/v1/events/conflicts',
    noun: 'events',
    summary: 'List events whose id was taken by another body, newest first',
    roles: READERS,
    query: z.strictObject(pageQuery),
    answer: ConflictPage,
    run: async ({ db, query: { limit, cursor } }) => {
      const rows = await selectConflicts(db, { beforeSeq: seqOfCursor(cursor), limit: limit + 1 });
      return pageOf(
        rows,
        limit,
        (row) => [row.seq.toString()],
        ({ source, id, received_at, body }) => ({
          ...{ source, id, received_at: formatInstant(received_at) },
          event: parseExactObject(body),
        }),
      );
    },
  });

  api.route({
    method: 'get',
    path: '/v1/events/{id}',
    noun: 'events',
    summary: 'Get the events of an id',
    description: 'One as a rule: ids are unique within their source. One that was deleted is in its history alone.',
    roles: READERS,
    params: idParams,
    answer: z.object({ data: z.array(EventJson) }).openapi('EventsOfId'),
    run: async ({ db, params }) => {
      const rows = await selectEventsOfId(db, params.id);
      if (rows.length === 0) throw new Fault('not_found', { detail: `There is no event ${params.id}.` });
      return { data: rows.map(eventToJson) };
    },
  });

  api.route({
    method: 'get',
    path: '/v1/events/{id}/history',
    noun: 'events',
    summary: 'Get what became of the events of an id',
    roles: READERS,
    params: idParams,
    answer: EventHistory,
    run: async ({ db, params }) => {
      const [rows, corrections] = [await listHistory(db, params.id), await listCorrectionsOf(db, params.id)];
      if (rows.length === 0) throw new Fault('not_found', { detail: `There is no event ${params.id}.` });
      return {
        revisions: rows.map(({ source, revision, sign, received_at, body }) => ({
          ...{ source, revision, counts: sign > 0 ? ('added' as const) : ('taken_back' as const) },
          ...{ received_at: formatInstant(received_at), event: parseExactObject(body) },
        })),
        corrections: corrections.map(({ source, id, target_source, time, received_at, reason, deletes, revision }) => ({
          ...{ source, id, event_source: target_source, reason, deletes, applied: revision !== null },
          ...{ time: formatInstant(time), received_at: formatInstant(received_at) },
        })),
      };
    },
  });
}

function eventToJson(row: EventRow): z.input<typeof EventJson> {
  const { customer, time, received_at, body } = row;
  return {
    event: parseExactObject(body),
    customer: customer === '' ? null : customer,
    time: formatInstant(time),
    received_at: formatInstant(received_at),
  };
}
