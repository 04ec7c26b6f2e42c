import { z } from '@hono/zod-openapi';
import type { Database } from '#billing/db/database.ts';
import { decodeCursor, eventOfCursor, pageOf, pageQuery, pageSchema, placeOfCursor } from '#billing/http/page.ts';
import { READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { EventRevision, Id, Instant, MoneyJson } from '#billing/http/schema.ts';
import { unbilledOf } from '#billing/invoices/adjustments.ts';
import { UsageQuantityJson, usageToJson } from '#billing/invoices/line-json.ts';
import { policies } from '#billing/rating/policies.ts';
import { PeriodJson, periodToJson } from '#billing/subscriptions/http.ts';
import { getPeriod } from '#billing/subscriptions/period.ts';
import { moneyToJson } from '#core/money.ts';
import { formatInstant } from '#core/time.ts';
import { type LatePeriod, lateUsageOf, listLateEvents, listLatePeriods } from './late-usage.ts';

const LateUsage = z
  .object({
    customer: z.string(),
    period: PeriodJson,
    events: z.string().openapi({ description: 'How many.' }),
    last_received_at: Instant,
    usage: z.array(UsageQuantityJson),
    policy: policies.shape.late_usage.openapi({ description: 'Whether the next invoice bills it by itself.' }),
    would_add: MoneyJson.openapi({
      description: 'The period rated as of now, less what was billed for it on all invoices: 0 once it is billed.',
    }),
  })
  .openapi('LateUsage');

const LateEvent = z
  .object({
    id: z.string(),
    source: z.string(),
    time: Instant,
    received_at: Instant,
    model: z.string(),
    revision: EventRevision,
    takes_back: z
      .boolean()
      .openapi({ description: 'True when these quantities are taken off: a correction or a deletion.' }),
    quantities: z.record(z.string(), z.string()),
  })
  .openapi('LateEvent');

export function lateUsageRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/late_usage',
    noun: 'usage',
    summary: 'List the periods for which usage came after their invoice was final',
    roles: READERS,
    query: z.strictObject({ ...pageQuery, customer: Id.optional() }),
    answer: pageSchema('LateUsage', LateUsage),
    run: async ({ db, query }) => {
      const cursor = decodeCursor(query.cursor, 2);
      const after = cursor && { subscription: cursor[0] ?? '', index: placeOfCursor(cursor[1]) };
      const rows = await listLatePeriods(db, { customer: query.customer, after, count: query.limit + 1 });
      const shown = rows.slice(0, query.limit);
      const periods: z.input<typeof LateUsage>[] = [];
      for (const row of shown) periods.push(await toJson(db, row));
      const { next_cursor } = pageOf(rows, query.limit, keyOf, (row) => row);
      return { data: periods, next_cursor };
    },
  });

  api.route({
    method: 'get',
    path: '/v1/late_usage/events',
    noun: 'usage',
    summary: 'List the late events of a period',
    roles: READERS,
    query: z.strictObject({
      ...pageQuery,
      subscription: Id,
      period_index: z.coerce
        .number()
        .int()
        .min(0)
        .max(2 ** 31 - 1),
    }),
    answer: pageSchema('LateEvent', LateEvent),
    run: async ({ db, query }) => {
      const key = { subscription_id: query.subscription, period_index: query.period_index };
      await getPeriod(db, key);
      const after = eventOfCursor(query.cursor);
      const rows = await listLateEvents(db, key, { after, count: query.limit + 1 });
      return pageOf(
        rows,
        query.limit,
        (row) => [formatInstant(row.event_at), row.source, row.event_id, String(row.revision)],
        (row) => ({
          id: row.event_id,
          source: row.source,
          time: formatInstant(row.event_at),
          received_at: formatInstant(row.received_at),
          model: row.model,
          revision: row.revision,
          takes_back: row.takes_back,
          quantities: row.quantities,
        }),
      );
    },
  });
}

function keyOf(row: LatePeriod): string[] {
  return [row.subscription_id, String(row.period_index)];
}

async function toJson(db: Database, row: LatePeriod): Promise<z.input<typeof LateUsage>> {
  const period = await getPeriod(db, row);
  const late = await lateUsageOf(db, period);
  return {
    customer: period.customer_id,
    period: periodToJson(period),
    events: row.events.toString(),
    last_received_at: formatInstant(row.last_received_at),
    usage: late.map(usageToJson),
    policy: period.policies.late_usage,
    would_add: moneyToJson(await unbilledOf(db, period)),
  };
}
