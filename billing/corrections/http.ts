import { z } from '@hono/zod-openapi';
import { CORRECTION_TYPE, ID_CHARS_MAX } from '#billing/events/event-schema.ts';
import { ingest } from '#billing/events/ingest.ts';
import { EDITORS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Fault } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import type { PriceBook } from '#core/price.ts';
import { formatInstant } from '#core/time.ts';

const id = z.string().min(1).max(ID_CHARS_MAX);

const CorrectionIn = z
  .strictObject({
    source: id.openapi({ description: 'The source of the event.' }),
    id: id.openapi({ description: 'Its id.' }),
    reason: z.string().min(1).max(500),
    event: z.looseObject({}).nullable().openapi({
      description: 'The whole event that stands in its place, with the same id and source; null deletes it.',
    }),
  })
  .openapi('CorrectionIn');

export function correctionRoutes(api: Api, priceBook: () => PriceBook): void {
  api.route({
    method: 'post',
    path: '/v1/events/corrections',
    noun: 'events',
    summary: 'Correct or delete an event',
    description:
      'Nothing is overwritten: GET /v1/events/{id}/history shows what stood there. Roll-ups follow at once; where the ' +
      'period is closed, the difference is late usage. Senders do the same with an event of type weir.correction.v1.',
    roles: EDITORS,
    body: CorrectionIn,
    answer: z.object({ correction: z.string() }).openapi('Correction'),
    run: async ({ db, body, nowMs }) => {
      const correction = newId('evt', nowMs);
      const envelope = { specversion: '1.0', id: correction, source: '/weir/api', type: CORRECTION_TYPE };
      const [result] = await ingest(db, [{ ...envelope, time: formatInstant(nowMs), data: body }], nowMs, priceBook());
      if (result?.status !== 'parked') return { correction };
      if (result.reason === 'unknown_event') throw new Fault('not_found', { detail: result.detail });
      // Nothing is left of it: the fault undoes the parking as well.
      const issues = result.issues.map(({ pointer = '#', detail }) => ({
        pointer: pointer.replace(/^#\/data/, '#'),
        detail,
      }));
      throw new Fault('validation_failed', { issues });
    },
  });
}
