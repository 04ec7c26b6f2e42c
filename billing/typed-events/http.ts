import { z } from '@hono/zod-openapi';
import { ROW_TYPES, readRows } from '#billing/event-formats/read-rows.ts';
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
import { GATEWAYS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import type { PriceBook } from '#core/price.ts';
import { KINDS, type Kind, parseTyped, TYPED } from './typed-event.ts';

const SUMMARIES: Readonly<Record<Kind, string>> = {
  completions: 'Take completions: tokens in and out of a model',
  images: 'Take images that were made',
  audio: 'Take audio: speech, transcription, translation',
  video: 'Take video that was made',
  tool_calls: 'Take tool calls',
  custom: 'Take events of types of your own',
};

/** One route for each kind of call, for those who have figures and no envelope. */
export function typedEventRoutes(api: Api, priceBook: () => PriceBook): void {
  for (const kind of KINDS) {
    api.route({
      method: 'post',
      path: `/v1/events/${kind}`,
      noun: 'events',
      summary: SUMMARIES[kind],
      description:
        'One object, an array of them, NDJSON, or CSV with a column for each field. Each is counted once by its id. ' +
        'Answered like POST /v1/events.',
      roles: GATEWAYS,
      query: z.strictObject(resultsQuery),
      body: RowsIn,
      formats: {
        types: ROW_TYPES,
        read: (bytes, headers) => readRows(bytes, headers),
        schema: z.union([TYPED[kind], z.array(TYPED[kind]).min(1).max(BATCH_EVENTS_MAX)]),
      },
      bodyBytesMax: BATCH_BYTES_MAX,
      answer: Results,
      run: async ({ db, body, query, nowMs }) => {
        const events = body.values.map((row) => parseTyped(kind, row, nowMs));
        return answerOf(await take(db, events, nowMs, priceBook()), body, query.results);
      },
      refusal: refusalOf,
    });
  }
}
