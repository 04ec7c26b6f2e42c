import { z } from '@hono/zod-openapi';
import { findCustomer } from '#billing/customers/customer.ts';
import { GATEWAYS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Instant, InstantIn, MoneyJson, TimeZone } from '#billing/http/schema.ts';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { Fault } from '#core/fault.ts';
import { calendarPeriod, formatInstant, HOUR_MS, type Period } from '#core/time.ts';
import { listUnknownCustomers } from './store.ts';
import { DIMENSIONS, readUsage, type UsageGroup, useSince } from './usage.ts';

const Dimension = z.enum(DIMENSIONS);
const Dimensions = z
  .string()
  .transform((list) => list.split(','))
  .pipe(z.array(Dimension))
  .openapi({ type: 'string', description: `Any of ${DIMENSIONS.join(', ')}, with commas.`, example: 'model,day' });

const Group = z
  .object({
    customer: z.string().nullable(),
    key: z.string().nullable(),
    model: z.string().nullable(),
    start: Instant,
    end: Instant,
    quantities: z.record(z.string(), z.string()).openapi({
      description: 'By unit, as decimals. Units do not overlap: no token is in two of them.',
      example: { calls: '2', input_tokens: '1200', output_tokens: '250' },
    }),
    costs: z.array(MoneyJson).openapi({ description: 'What the providers charge, by currency. Not a price.' }),
    events: z.string(),
    estimated_events: z.string().openapi({ description: 'Events whose quantities are an estimate of ours.' }),
    unpriced_events: z.string().openapi({ description: 'Events whose provider cost is unknown.' }),
  })
  .openapi('UsageGroup');

const Usage = z.object({ from: Instant, to: Instant, timezone: z.string(), groups: z.array(Group) }).openapi('Usage');

const Difference = z
  .object({
    customer: z.string(),
    hour: Instant,
    key: z.string(),
    model: z.string(),
    unit: z.string(),
    rolled_up: z.string().nullable(),
    recomputed: z.string().nullable(),
  })
  .openapi('UsageDifference');

const UnknownCustomer = z
  .object({ customer: z.string(), events: z.string(), first_hour: Instant, last_hour: Instant })
  .openapi('UnknownCustomer');

const Value = z.string().max(256).nullable();
const Where = z
  .string()
  .max(4_096)
  .transform((json, context): unknown => {
    try {
      return JSON.parse(json);
    } catch {
      context.addIssue({ code: 'custom', message: 'Wants JSON.' });
      return z.NEVER;
    }
  })
  .pipe(
    z.strictObject({
      user: Value.optional(),
      session: Value.optional(),
      labels: z.record(z.string().max(64), Value).optional(),
    }),
  )
  .openapi({ type: 'string', description: 'As JSON.', example: '{"user":"ann","labels":{"team":"search"}}' });

const ModelUseJson = z
  .object({
    model: z.string(),
    events: z.string(),
    quantities: z.record(z.string(), z.string()),
    costs: z.array(MoneyJson),
  })
  .openapi('ModelUse');

const UNKNOWN_MAX = 1_000;
const CHECK_MS_MAX = 31 * 24 * HOUR_MS;

const text = z.string().min(1).max(256);

export function usageRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/usage',
    noun: 'usage',
    summary: 'What was used, live',
    description: 'Of the calendar month unless told otherwise. Exact for any bounds, `from` included and `to` not.',
    roles: READERS,
    query: z.strictObject({
      customer: text.optional(),
      key: text.optional(),
      model: text.optional(),
      from: InstantIn.optional(),
      to: InstantIn.optional(),
      group_by: Dimensions.optional(),
      timezone: TimeZone.optional().openapi({ description: "Whose days and months: the customer's own unless given." }),
    }),
    answer: Usage,
    run: async ({ db, query, nowMs }) => {
      const { customer, key, model } = query;
      const known = customer === undefined ? undefined : await findCustomer(db, customer);
      const zone = query.timezone ?? known?.timezone ?? 'UTC';
      const month = calendarPeriod('month', query.from ?? nowMs, zone);
      const period = periodOf(query.from ?? month.startMs, query.to ?? month.endMs);
      const groups = await readUsage(db, { customer, key, model, period, groupBy: query.group_by ?? [], zone });
      return {
        from: formatInstant(period.startMs),
        to: formatInstant(period.endMs),
        timezone: zone,
        groups: groups.map(groupToJson),
      };
    },
  });

  api.route({
    method: 'get',
    path: '/v1/usage/since',
    noun: 'usage',
    summary: 'What was used since an instant, for the counter of a limit',
    description:
      'By model. Of a key, or of all keys of the customer; with `where`, only of events with this user, this session or these labels (null: with none).',
    roles: [...new Set([...GATEWAYS, ...READERS])],
    query: z.strictObject({ customer: text, key: text.optional(), since: InstantIn, where: Where.optional() }),
    answer: z.object({ models: z.array(ModelUseJson) }).openapi('UseSince'),
    run: async ({ db, query: { customer, key, since, where } }) => {
      const { user, session, labels = {} } = where ?? {};
      const parts = [
        ...(user === undefined ? [] : [{ path: ['user'], value: user }]),
        ...(session === undefined ? [] : [{ path: ['session'], value: session }]),
        ...Object.entries(labels).map(([name, value]) => ({ path: ['labels', name], value })),
      ];
      const models = await useSince(db, { customer, key: key ?? null, fromMs: since, parts });
      return { models: models.map((use) => ({ ...use, events: use.events.toString() })) };
    },
  });

  api.route({
    method: 'get',
    path: '/v1/usage/unknown-customers',
    noun: 'usage',
    summary: 'Customers that events name and that do not exist here',
    description: 'Their usage is kept and counted, and nobody is billed for it until the customer is created.',
    roles: READERS,
    answer: z.object({ data: z.array(UnknownCustomer) }).openapi('UnknownCustomers'),
    run: async ({ db }) => ({
      data: (await listUnknownCustomers(db, UNKNOWN_MAX)).map((row) => ({
        customer: row.customer,
        events: row.events.toString(),
        first_hour: formatInstant(row.first_hour),
        last_hour: formatInstant(row.last_hour),
      })),
    }),
  });

  api.route({
    method: 'get',
    path: '/v1/usage/differences',
    noun: 'usage',
    summary: 'Recompute the sums of whole hours from their events',
    description:
      'Gives every figure that is not the sum of its events; none, unless something else wrote to the tables.',
    roles: READERS,
    query: z.strictObject({ from: InstantIn, to: InstantIn }),
    answer: z.object({ data: z.array(Difference) }).openapi('UsageDifferences'),
    run: async ({ db, query }) => {
      const period = periodOf(query.from, query.to);
      const hours = period.startMs % HOUR_MS === 0 && period.endMs % HOUR_MS === 0;
      if (!hours || period.endMs - period.startMs > CHECK_MS_MAX) {
        throw wrong('from', 'Wants whole hours, at most 31 days of them.');
      }
      const rows = await verifyRollups(db, period);
      return { data: rows.map((row) => ({ ...row, hour: formatInstant(row.hour) })) };
    },
  });
}

function periodOf(startMs: number, endMs: number): Period {
  if (endMs <= startMs) throw wrong('to', 'Wants an instant after `from`.');
  return { startMs, endMs };
}

function wrong(parameter: string, detail: string): Fault {
  return new Fault('validation_failed', { issues: [{ parameter, detail }] });
}

function groupToJson(group: UsageGroup): z.input<typeof Group> {
  const { customer, key, model, period, quantities, costs } = group;
  return {
    ...{ customer, key, model, quantities, costs },
    start: formatInstant(period.startMs),
    end: formatInstant(period.endMs),
    events: group.events.toString(),
    estimated_events: group.estimated.toString(),
    unpriced_events: group.unpriced.toString(),
  };
}
