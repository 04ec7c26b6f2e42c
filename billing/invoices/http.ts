import { z } from '@hono/zod-openapi';
import type { Database } from '#billing/db/database.ts';
import { decodeCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { ACCOUNTANTS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, Instant, idParams, MoneyJson } from '#billing/http/schema.ts';
import { getPlan } from '#billing/plans/plan.ts';
import { policies } from '#billing/rating/policies.ts';
import { PeriodJson, periodToJson } from '#billing/subscriptions/http.ts';
import { findPeriodOfCustomer, type Period } from '#billing/subscriptions/period.ts';
import { getSubscription } from '#billing/subscriptions/subscription.ts';
import { Fault } from '#core/fault.ts';
import { moneyToJson } from '#core/money.ts';
import { formatInstant } from '#core/time.ts';
import { explainRoutes } from './explain-http.ts';
import {
  contentsOf,
  finalizeInvoice,
  getInvoiceDetail,
  type Invoice,
  type InvoiceDetail,
  listInvoices,
  voidInvoice,
} from './invoice.ts';
import {
  InvoiceLineJson,
  invoiceLineToJson,
  RatedLineJson,
  ratedLineToJson,
  UsageQuantityJson,
  usageToJson,
} from './line-json.ts';

const State = z.enum(['draft', 'open', 'void']);
const summaryFields = {
  id: z.string(),
  number: z.string().nullable().openapi({ description: 'Given when it is finalised, without gaps.' }),
  state: State,
  customer: z.string(),
  subscription: z.string(),
  period_index: z.int(),
  tax: MoneyJson.openapi({ description: 'On the sum of the printed lines, by the policy `tax_percent`.' }),
  total: MoneyJson.openapi({ description: 'The sum of the printed lines, and the tax.' }),
  created_at: Instant,
  finalized_at: Instant.nullable(),
  voided_at: Instant.nullable(),
};
const InvoiceSummary = z.object(summaryFields).openapi('InvoiceSummary');
const InvoiceJson = z
  .object({
    ...summaryFields,
    period: PeriodJson,
    policies,
    lines: z.array(InvoiceLineJson),
    unrated: z.array(UsageQuantityJson).openapi({ description: 'What no charge of the plan covers.' }),
  })
  .openapi('Invoice');

const Preview = z
  .object({
    provisional: z.literal(true),
    as_of: Instant,
    customer: z.string(),
    period: PeriodJson,
    next_plan: z
      .object({ plan: z.string(), plan_version: z.int() })
      .nullable()
      .openapi({
        description:
          'What the next period is billed by, as things stand: a plan that was changed counts from there. Null where the ' +
          'subscription ends with this period.',
      }),
    policies,
    tax: MoneyJson,
    total: MoneyJson,
    lines: z.array(RatedLineJson),
    unrated: z.array(UsageQuantityJson).openapi({ description: 'What no charge of the plan covers.' }),
  })
  .openapi('InvoicePreview', {
    description: 'What the period comes to so far, by the function that makes the invoice.',
  });

export function invoiceRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/customers/{id}/usage/current',
    noun: 'invoices',
    summary: 'What the running period of a customer comes to so far',
    roles: READERS,
    params: idParams,
    answer: Preview,
    run: async ({ db, params, nowMs }) => preview(db, params.id, nowMs),
  });

  api.route({
    method: 'get',
    path: '/v1/subscriptions/{id}/upcoming_invoice',
    noun: 'invoices',
    summary: 'What the running period of a subscription comes to so far',
    roles: READERS,
    params: idParams,
    answer: Preview,
    run: async ({ db, params, nowMs }) => {
      const subscription = await getSubscription(db, params.id);
      return preview(db, subscription.customer_id, nowMs, subscription.id);
    },
  });

  api.route({
    method: 'get',
    path: '/v1/invoices',
    noun: 'invoices',
    summary: 'List invoices, latest first',
    roles: READERS,
    query: z.strictObject({
      ...pageQuery,
      customer: Id.optional(),
      subscription: Id.optional(),
      state: State.optional(),
    }),
    answer: pageSchema('InvoiceSummary', InvoiceSummary),
    run: async ({ db, query: { cursor, limit, ...filter } }) => {
      const before = decodeCursor(cursor, 1)?.[0];
      const rows = await listInvoices(db, { ...filter, before, count: limit + 1 });
      return pageOf(rows, limit, (row) => [row.id], summaryToJson);
    },
  });

  api.route({
    method: 'get',
    path: '/v1/invoices/{id}',
    noun: 'invoices',
    summary: 'Get an invoice with its lines',
    roles: READERS,
    params: idParams,
    answer: InvoiceJson,
    run: async ({ db, params }) => toJson(await getInvoiceDetail(db, params.id)),
  });

  api.route({
    method: 'post',
    path: '/v1/invoices/{id}/finalize',
    noun: 'invoices',
    summary: 'Make a draft final',
    description: 'It is rated once more, with what came since it was drafted, and gets its number.',
    roles: ACCOUNTANTS,
    params: idParams,
    answer: InvoiceJson,
    run: async ({ db, params, nowMs }) => {
      const { id } = await finalizeInvoice(db, params.id, nowMs);
      return toJson(await getInvoiceDetail(db, id));
    },
  });

  api.route({
    method: 'post',
    path: '/v1/invoices/{id}/void',
    noun: 'invoices',
    summary: 'Take an invoice back',
    description: 'It keeps its number and stays in sight; its period is not billed again.',
    roles: ACCOUNTANTS,
    params: idParams,
    answer: InvoiceJson,
    run: async ({ db, params, nowMs }) => {
      const { id } = await voidInvoice(db, params.id, nowMs);
      return toJson(await getInvoiceDetail(db, id));
    },
  });

  explainRoutes(api);
}

async function preview(
  db: Database,
  customer: string,
  nowMs: number,
  subscription?: string,
): Promise<z.input<typeof Preview>> {
  const period = await findPeriodOfCustomer(db, customer, nowMs);
  if (!period || (subscription !== undefined && period.subscription_id !== subscription)) {
    throw new Fault('not_found', { detail: 'No period runs at the moment.' });
  }
  const contents = await contentsOf(db, period);
  return {
    provisional: true,
    as_of: formatInstant(nowMs),
    customer,
    period: periodToJson(period),
    next_plan: await nextPlanOf(db, period),
    policies: period.policies,
    tax: moneyToJson(contents.tax),
    total: moneyToJson(contents.total),
    lines: contents.lines.map(ratedLineToJson),
    unrated: contents.unrated.map(usageToJson),
  };
}

async function nextPlanOf(db: Database, period: Period): Promise<{ plan: string; plan_version: number } | null> {
  const { plan_id, end_at } = await getSubscription(db, period.subscription_id);
  if (end_at !== null && end_at <= period.end_at) return null;
  const { id, version } = await getPlan(db, plan_id);
  return { plan: id, plan_version: version };
}

function summaryToJson(invoice: Invoice): z.input<typeof InvoiceSummary> {
  return {
    id: invoice.id,
    number: invoice.number,
    state: invoice.state,
    customer: invoice.customer_id,
    subscription: invoice.subscription_id,
    period_index: invoice.period_index,
    tax: moneyToJson({ nanos: invoice.tax_nanos, currency: invoice.currency }),
    total: moneyToJson({ nanos: invoice.total_nanos, currency: invoice.currency }),
    created_at: formatInstant(invoice.created_at),
    finalized_at: invoice.finalized_at === null ? null : formatInstant(invoice.finalized_at),
    voided_at: invoice.voided_at === null ? null : formatInstant(invoice.voided_at),
  };
}

function toJson({ invoice, period, lines, unrated }: InvoiceDetail): z.input<typeof InvoiceJson> {
  return {
    ...summaryToJson(invoice),
    period: periodToJson(period),
    policies: period.policies,
    lines: lines.map((line) => invoiceLineToJson(line, invoice.currency)),
    unrated,
  };
}
