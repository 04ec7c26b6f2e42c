import { z } from '@hono/zod-openapi';
import { pageOf, pageQuery, pageSchema, seqOfCursor } from '#billing/http/page.ts';
import { OPERATORS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, Instant } from '#billing/http/schema.ts';
import { Fault } from '#core/fault.ts';
import type { PriceBook } from '#core/price.ts';
import { formatInstant } from '#core/time.ts';
import { discardParked, listParked } from './parked-event.ts';
import { retryParked } from './retry.ts';

const Reason = z.enum(['malformed', 'unknown_type', 'time_out_of_range', 'unknown_event']);

const ParkedJson = z
  .object({
    number: z.string(),
    source: z.string().nullable(),
    id: z.string().nullable(),
    reason: Reason,
    detail: z.string(),
    template: z.string().nullable().openapi({ description: 'The template or kind that it was read with.' }),
    received_at: Instant,
    body: z.string().openapi({ description: 'What was sent, as text: it need not even be JSON.' }),
  })
  .openapi('ParkedEvent');

const numberParams = z.strictObject({ number: z.string().regex(/^\d{1,18}$/, 'Wants the number of a parked event.') });

export function parkedEventRoutes(api: Api, priceBook: () => PriceBook): void {
  api.route({
    method: 'get',
    path: '/v1/events/parked',
    noun: 'events',
    summary: 'List what was sent and could not be counted, newest first',
    roles: READERS,
    query: z.strictObject({ ...pageQuery, reason: Reason.optional(), template: Id.optional() }),
    answer: pageSchema('ParkedEvent', ParkedJson),
    run: async ({ db, query: { limit, cursor, reason, template } }) => {
      const rows = await listParked(db, { reason, template, beforeSeq: seqOfCursor(cursor), limit: limit + 1 });
      return pageOf(
        rows,
        limit,
        (row) => [row.seq.toString()],
        (row) => ({ ...row, number: row.seq.toString(), received_at: formatInstant(row.received_at) }),
      );
    },
  });

  api.route({
    method: 'post',
    path: '/v1/events/parked/retry',
    noun: 'events',
    summary: 'Try what is parked again: everything, or what one template left',
    description:
      'After a template was mended, or an upgrade that knows a newer type. What can be counted by now leaves the list.',
    roles: OPERATORS,
    body: z.strictObject({ template: Id.optional() }).openapi('ParkedRetryIn'),
    answer: z.object({ counted: z.int() }).openapi('ParkedRetry'),
    run: async ({ db, body, nowMs }) => ({
      counted: await retryParked(db, nowMs, { template: body.template, book: priceBook() }),
    }),
  });

  api.route({
    method: 'delete',
    path: '/v1/events/parked/{number}',
    noun: 'events',
    summary: 'Discard a parked event: it will never be counted',
    roles: OPERATORS,
    params: numberParams,
    answer: z.object({}).openapi('ParkedDiscarded'),
    run: async ({ db, params }) => {
      if (!(await discardParked(db, BigInt(params.number)))) {
        throw new Fault('not_found', { detail: `There is no parked event ${params.number}.` });
      }
      return {};
    },
  });
}
