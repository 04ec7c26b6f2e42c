import { z } from '@hono/zod-openapi';
import { billedEventsOf, billedHoursOf } from '#billing/billed-usage/billed-usage.ts';
import { decodeCursor, eventOfCursor, instantOfCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { EventRevision, Id, Instant, MoneyJson } from '#billing/http/schema.ts';
import { PriceFields, priceToJson } from '#billing/prices/price-json.ts';
import { policies } from '#billing/rating/policies.ts';
import { PeriodJson, periodToJson } from '#billing/subscriptions/http.ts';
import { moneyToJson } from '#core/money.ts';
import { formatInstant } from '#core/time.ts';
import { explainLine, getUsageLine } from './explain.ts';
import { ExactText, InvoiceLineJson, invoiceLineToJson } from './line-json.ts';

const lineParams = z.strictObject({ id: Id, line: Id });

const ExplanationJson = z
  .object({
    invoice: z.object({ id: z.string(), number: z.string().nullable(), state: z.enum(['draft', 'open', 'void']) }),
    line: InvoiceLineJson,
    period: PeriodJson,
    policies,
    price: z
      .object({
        ...PriceFields,
        plan: z.string(),
        plan_version: z.int(),
      })
      .nullable(),
    recomputed: z
      .object({ quantity: ExactText, amount_exact: ExactText, amount: MoneyJson, same: z.boolean() })
      .openapi({ description: 'The line computed anew, now, from the usage below it.' }),
    roll_ups: z.string().nullable().openapi({ description: 'Where the hours of the line are listed.' }),
    events: z.string().nullable().openapi({ description: 'Where the events of the line are listed.' }),
  })
  .openapi('Explanation');

const RollUp = z
  .object({ hour: Instant, model: z.string(), quantity: ExactText })
  .openapi('LineRollUp', { description: 'At the ends of a period only the part of the hour that belongs to it.' });

const LineEvent = z
  .object({
    id: z.string().openapi({ description: 'The request id that the client saw.' }),
    source: z.string(),
    time: Instant,
    received_at: Instant,
    key: z.string(),
    model: z.string(),
    usage_status: z.string(),
    revision: EventRevision,
    quantity: ExactText.openapi({ description: 'Negative where the row takes back what another counted.' }),
  })
  .openapi('LineEvent');

export function explainRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/invoices/{id}/lines/{line}/explain',
    noun: 'invoices',
    summary: 'Where a line of an invoice comes from',
    description: 'Down to the version of its price, with every step, and computed anew to the same figure.',
    roles: READERS,
    params: lineParams,
    answer: ExplanationJson,
    run: async ({ db, params }) => {
      const { invoice, line, period, price, recomputed } = await explainLine(db, params.id, params.line);
      const here = `/v1/invoices/${invoice.id}/lines/${line.id}`;
      return {
        invoice: { id: invoice.id, number: invoice.number, state: invoice.state },
        line: invoiceLineToJson(line, invoice.currency),
        period: periodToJson(period),
        policies: period.policies,
        price: price && {
          ...priceToJson(price),
          plan: price.plan_id,
          plan_version: price.version,
        },
        recomputed: {
          quantity: recomputed.quantity,
          amount_exact: recomputed.amountExact,
          amount: moneyToJson(recomputed.amount),
          same: recomputed.same,
        },
        roll_ups: line.kind !== 'fee' ? `${here}/roll_ups` : null,
        events: line.kind !== 'fee' ? `${here}/events` : null,
      };
    },
  });

  api.route({
    method: 'get',
    path: '/v1/invoices/{id}/lines/{line}/roll_ups',
    noun: 'invoices',
    summary: 'The usage of a line, hour by hour',
    roles: READERS,
    params: lineParams,
    query: z.strictObject(pageQuery),
    answer: pageSchema('LineRollUp', RollUp),
    run: async ({ db, params, query }) => {
      const { period, lateSeq, usage } = await getUsageLine(db, params.id, params.line);
      const cursor = decodeCursor(query.cursor, 2);
      const after = cursor && { hour: instantOfCursor(cursor[0]), model: cursor[1] ?? '' };
      const rows = await billedHoursOf(db, period, lateSeq, usage, { after, count: query.limit + 1 });
      return pageOf(
        rows,
        query.limit,
        (row) => [formatInstant(row.hour), row.model],
        (row) => ({ ...row, hour: formatInstant(row.hour) }),
      );
    },
  });

  api.route({
    method: 'get',
    path: '/v1/invoices/{id}/lines/{line}/events',
    noun: 'invoices',
    summary: 'The usage of a line, event by event',
    roles: READERS,
    params: lineParams,
    query: z.strictObject(pageQuery),
    answer: pageSchema('LineEvent', LineEvent),
    run: async ({ db, params, query }) => {
      const { period, lateSeq, usage } = await getUsageLine(db, params.id, params.line);
      const after = eventOfCursor(query.cursor);
      const rows = await billedEventsOf(db, period, lateSeq, usage, { after, count: query.limit + 1 });
      return pageOf(
        rows,
        query.limit,
        (row) => [formatInstant(row.time), row.source, row.id, String(row.revision)],
        (row) => ({ ...row, time: formatInstant(row.time), received_at: formatInstant(row.received_at) }),
      );
    },
  });
}
