import { z } from '@hono/zod-openapi';
import { decodeCursor, instantOfCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { GATEWAYS, OPERATORS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Instant, InstantIn } from '#billing/http/schema.ts';
import { Fault } from '#core/fault.ts';
import { formatInstant } from '#core/time.ts';
import { ID_CHARS_MAX } from './event.ts';
import { ingest, retryParked } from './ingest.ts';
import { type EventRow, selectConflicts, selectEvents, selectEventsOfId, selectParked } from './store.ts';

/** A batch is one transaction: large enough to be cheap, small enough to be quick. */
export const BATCH_EVENTS_MAX = 5_000;
export const BATCH_BYTES_MAX = 16 * 1024 * 1024;

const CloudEvent = z
  .looseObject({
    specversion: z.literal('1.0'),
    id: z.string(),
    source: z.string(),
    type: z.string().openapi({ example: 'weir.usage.v1' }),
  })
  .openapi('CloudEvent', { description: 'A CloudEvent 1.0 in structured mode.' });

const EventsIn = z.union([CloudEvent, z.array(z.unknown()).min(1).max(BATCH_EVENTS_MAX)]).openapi('EventsIn', {
  description: 'One CloudEvent or an array of them (application/cloudevents+json, …-batch+json, or application/json).',
});

const Result = z
  .object({
    source: z.string().nullable(),
    id: z.string().nullable(),
    status: z.enum(['accepted', 'duplicate', 'conflict', 'parked']),
    reason: z.enum(['malformed', 'unknown_type', 'time_out_of_range']).optional(),
    detail: z.string().optional(),
  })
  .openapi('IngestResult');
const Results = z
  .object({ results: z.array(Result).openapi({ description: 'One for each event, in their order.' }) })
  .openapi('IngestResults');

const EventJson = z
  .object({ event: z.looseObject({}).openapi({ description: 'As it was sent.' }), received_at: Instant })
  .openapi('Event');
const EventPage = pageSchema('Event', EventJson);

const ConflictJson = z
  .object({ source: z.string(), id: z.string(), received_at: Instant, event: z.looseObject({}) })
  .openapi('EventConflict');
const ConflictPage = pageSchema('EventConflict', ConflictJson);

const ParkedReason = z.enum(['malformed', 'unknown_type', 'time_out_of_range']);
const ParkedJson = z
  .object({
    source: z.string().nullable(),
    id: z.string().nullable(),
    reason: ParkedReason,
    detail: z.string(),
    received_at: Instant,
    body: z.string().openapi({ description: 'What was sent, as text: it need not even be JSON.' }),
  })
  .openapi('ParkedEvent');
const ParkedPage = pageSchema('ParkedEvent', ParkedJson);

const text = z.string().min(1).max(256);

export function eventRoutes(api: Api): void {
  api.route({
    method: 'post',
    path: '/v1/events',
    noun: 'events',
    summary: 'Take usage events',
    description:
      'Each event is counted once, by its source and id, however often it is sent. In a batch every event stands alone: ' +
      'one that cannot be counted is kept with its reason and stops no other. A single event whose id is taken by ' +
      'another body is answered with event_conflict; in a batch its result says so. Conflicts are listed either way.',
    roles: GATEWAYS,
    body: EventsIn,
    bodyBytesMax: BATCH_BYTES_MAX,
    answer: Results,
    run: async ({ db, body, nowMs }) => ({ results: await ingest(db, Array.isArray(body) ? body : [body], nowMs) }),
    refusal: (answer, body) => {
      const isConflict = !Array.isArray(body) && answer.results[0]?.status === 'conflict';
      return isConflict ? new Fault('event_conflict') : undefined;
    },
  });

  api.route({
    method: 'get',
    path: '/v1/events',
    noun: 'events',
    summary: 'List usage events, newest first',
    roles: READERS,
    query: z.strictObject({
      ...pageQuery,
      customer: text.optional(),
      key: text.optional(),
      model: text.optional(),
      from: InstantIn.optional(),
      to: InstantIn.optional(),
    }),
    answer: EventPage,
    run: async ({ db, query }) => {
      const { customer, key, model, from: fromMs, to: toMs, limit } = query;
      const place = decodeCursor(query.cursor, 3);
      const after = place && { time: instantOfCursor(place[0]), source: place[1] ?? '', id: place[2] ?? '' };
      const rows = await selectEvents(db, { customer, key, model, fromMs, toMs, after, limit: limit + 1 });
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
      const rows = await selectConflicts(db, { beforeSeq: seqOf(cursor), limit: limit + 1 });
      return pageOf(
        rows,
        limit,
        (row) => [row.seq.toString()],
        ({ source, id, received_at, body }) => ({
          ...{ source, id, received_at: formatInstant(received_at) },
          event: JSON.parse(body),
        }),
      );
    },
  });

  api.route({
    method: 'get',
    path: '/v1/events/parked',
    noun: 'events',
    summary: 'List what was sent and could not be counted, newest first',
    roles: READERS,
    query: z.strictObject({ ...pageQuery, reason: ParkedReason.optional() }),
    answer: ParkedPage,
    run: async ({ db, query: { limit, cursor, reason } }) => {
      const rows = await selectParked(db, { reason, beforeSeq: seqOf(cursor), limit: limit + 1 });
      return pageOf(
        rows,
        limit,
        (row) => [row.seq.toString()],
        (row) => ({ ...row, received_at: formatInstant(row.received_at) }),
      );
    },
  });

  api.route({
    method: 'post',
    path: '/v1/events/parked/retry',
    noun: 'events',
    summary: 'Try everything that is parked again',
    description: 'After an upgrade that knows a newer type, for instance. What can be counted by now leaves the list.',
    roles: OPERATORS,
    answer: z.object({ counted: z.int() }).openapi('ParkedRetry'),
    run: async ({ db, nowMs }) => ({ counted: await retryParked(db, nowMs) }),
  });

  api.route({
    method: 'get',
    path: '/v1/events/{id}',
    noun: 'events',
    summary: 'Get the events of an id',
    description: 'One as a rule: ids are unique within their source.',
    roles: READERS,
    params: z.strictObject({ id: z.string().min(1).max(ID_CHARS_MAX) }),
    answer: z.object({ data: z.array(EventJson) }).openapi('EventsOfId'),
    run: async ({ db, params }) => {
      const rows = await selectEventsOfId(db, params.id);
      if (rows.length === 0) throw new Fault('not_found', { detail: `There is no event ${params.id}.` });
      return { data: rows.map(eventToJson) };
    },
  });
}

function eventToJson(row: EventRow): z.input<typeof EventJson> {
  return { event: row.body, received_at: formatInstant(row.received_at) };
}

/** The number in the cursor of a list that is ordered by it. */
function seqOf(cursor: string | undefined): bigint | undefined {
  const [seq] = decodeCursor(cursor, 1) ?? [];
  if (seq === undefined) return undefined;
  if (!/^\d{1,18}$/.test(seq)) {
    throw new Fault('validation_failed', {
      issues: [{ parameter: 'cursor', detail: 'This is no cursor of this list.' }],
    });
  }
  return BigInt(seq);
}
