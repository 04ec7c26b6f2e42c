import { z } from '@hono/zod-openapi';
import { decodeCursor, encodeCursor, instantOfCursor } from '#billing/http/page.ts';
import { OPERATORS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Currency, Decimal, Id, Instant, InstantIn } from '#billing/http/schema.ts';
import { Fault } from '#core/fault.ts';
import type { PriceBook } from '#core/price.ts';
import { formatInstant } from '#core/time.ts';
import { recost } from './recost.ts';
import { selectUnpriced } from './store.ts';

const RECOST_MAX = 1_000;
const UNPRICED_MAX = 1_000;
const DAY_MS = 86_400_000;

const Unpriced = z
  .object({
    data: z.array(
      z.object({
        provider: z.string().nullable(),
        upstream: z.string().nullable(),
        model: z.string().openapi({ description: 'As it answered, or as it was asked for.' }),
        service_tier: z.string().nullable(),
        units: z.array(z.string()).openapi({ description: 'Without a known price.' }),
        events: z.string(),
        first_at: Instant,
        last_at: Instant,
      }),
    ),
  })
  .openapi('UnpricedModels');

const RecostIn = z
  .strictObject({
    from: InstantIn,
    to: InstantIn,
    customer: Id.optional(),
    model: z.string().min(1).max(256).optional().openapi({ description: 'As it was asked for.' }),
    events: z
      .enum(['unpriced', 'older'])
      .default('unpriced')
      .openapi({ description: 'Those without a cost, or all that another state of the prices costed.' }),
    dry_run: z.boolean().default(false).openapi({ description: 'Say what would come of it, and change nothing.' }),
    limit: z.int().min(1).max(RECOST_MAX).default(RECOST_MAX).openapi({ description: 'Events to look at.' }),
    cursor: z.string().max(2_000).optional().openapi({ description: 'The `next_cursor` of the answer before.' }),
  })
  .openapi('RecostIn');

const Recosted = z
  .object({
    price_book: z.string().openapi({ description: 'The state of the prices.' }),
    examined: z.int(),
    recosted: z.int(),
    unchanged: z.int(),
    unknown: z.int().openapi({ description: 'Still without a price.' }),
    changes: z.array(z.object({ currency: Currency, before: Decimal, after: Decimal })).openapi({
      description: 'What the events that were recosted came to before and come to now.',
    }),
    next_cursor: z.string().nullable(),
  })
  .openapi('Recosted');

/** `priceBook`: the prices of the configuration in force. */
export function costRoutes(api: Api, priceBook: () => PriceBook): void {
  api.route({
    method: 'get',
    path: '/v1/costs/unpriced',
    noun: 'costs',
    summary: 'List models that were used without a known price, the most frequent first',
    description: 'Since 24 hours ago unless said otherwise.',
    roles: READERS,
    query: z.strictObject({ from: InstantIn.optional(), to: InstantIn.optional() }),
    answer: Unpriced,
    run: async ({ db, query, nowMs }) => {
      const endMs = query.to ?? nowMs + 1;
      const rows = await selectUnpriced(db, { startMs: query.from ?? endMs - DAY_MS, endMs }, UNPRICED_MAX);
      return {
        data: rows.map(({ events, first_at, last_at, ...row }) => ({
          ...row,
          events: events.toString(),
          first_at: formatInstant(first_at),
          last_at: formatInstant(last_at),
        })),
      };
    },
  });

  api.route({
    method: 'post',
    path: '/v1/costs/recost',
    noun: 'costs',
    summary: 'Cost events anew by the prices of the configuration',
    description:
      'At the prices in force at the instant of each call. Each event whose cost is another is corrected: its history ' +
      'keeps what it was, and it names the cost that it had first. Again with `next_cursor` until that is null.',
    roles: OPERATORS,
    body: RecostIn,
    answer: Recosted,
    run: async ({ db, body, nowMs }) => {
      const { from: startMs, to: endMs, dry_run: dryRun, cursor, ...rest } = body;
      if (endMs <= startMs) {
        throw new Fault('validation_failed', { issues: [{ pointer: '#/to', detail: 'It is not after `from`.' }] });
      }
      const place = decodeCursor(cursor, 3);
      const after = place && { time: instantOfCursor(place[0]), source: place[1] ?? '', id: place[2] ?? '' };
      const { customer, model, events, limit } = rest;
      const question = { period: { startMs, endMs }, customer, model, events, limit, after, dryRun };
      const { priceBook: price_book, last, ...result } = await recost(db, priceBook(), question, nowMs);
      const next_cursor = last ? encodeCursor([formatInstant(last.time), last.source, last.id]) : null;
      return { price_book, ...result, next_cursor };
    },
  });
}
