import { z } from '@hono/zod-openapi';
import { decodeCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { EDITORS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, Instant, InstantIn } from '#billing/http/schema.ts';
import { formatInstant } from '#core/time.ts';
import { ATTRIBUTED_MAX, attributeEvents, listUnattributed } from './attribution.ts';

const text = z.string().min(1).max(128);

const UnattributedJson = z
  .object({
    name: z.string().nullable().openapi({ description: 'The name that the events give; null where they give none.' }),
    events: z.string().openapi({ description: 'How many; 10000 for that many or more.' }),
    first_at: Instant,
    last_at: Instant,
  })
  .openapi('Unattributed');

const AttributionIn = z
  .strictObject({
    name: text
      .nullable()
      .openapi({ description: 'The name under which the events stand; null for those without one.' }),
    customer: Id.openapi({ description: 'Whose they are.' }),
    reason: z.string().min(1).max(500).default('attributed'),
    key: text.optional(),
    type: text.optional(),
    ids: z.array(text).min(1).max(ATTRIBUTED_MAX).optional(),
    from: InstantIn.optional(),
    to: InstantIn.optional(),
  })
  .openapi('AttributionIn');

export function attributionRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/events/unattributed',
    noun: 'events',
    summary: 'List the names under which there is usage and that are no customer’s',
    description:
      'Nobody is billed for it. GET /v1/events?customer=… lists the events of a name, ?attributed=false those without.',
    roles: READERS,
    query: z.strictObject(pageQuery),
    answer: pageSchema('Unattributed', UnattributedJson),
    run: async ({ db, query: { limit, cursor } }) => {
      const [after] = decodeCursor(cursor, 1) ?? [];
      return pageOf(
        await listUnattributed(db, after, limit + 1),
        limit,
        (row) => [row.customer],
        (row) => ({
          name: row.customer === '' ? null : row.customer,
          events: row.events.toString(),
          first_at: formatInstant(row.first_at),
          last_at: formatInstant(row.last_at),
        }),
      );
    },
  });

  api.route({
    method: 'post',
    path: '/v1/events/attributions',
    noun: 'events',
    summary: 'Give events to a customer',
    description:
      `Up to ${ATTRIBUTED_MAX} at a time, the oldest first; \`more\` says whether to call again. Each is corrected, so ` +
      'that its history shows it; what falls into a period that is closed is late usage.',
    roles: EDITORS,
    body: AttributionIn,
    answer: z.object({ attributed: z.int(), more: z.boolean() }).openapi('Attribution'),
    run: async ({ db, body, nowMs }) => {
      const { name, customer, reason, key, type, ids, from: fromMs, to: toMs } = body;
      return attributeEvents(db, { name: name ?? '', key, type, ids, fromMs, toMs }, { customer, reason }, nowMs);
    },
  });
}
