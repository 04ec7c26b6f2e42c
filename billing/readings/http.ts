import { z } from '@hono/zod-openapi';
import { findCustomer } from '#billing/customers/customer.ts';
import { decodeCursor, instantOfCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Instant, InstantIn, idParams, TimeZone } from '#billing/http/schema.ts';
import { gaugeOfMeter, getMeter } from '#billing/meters/meter.ts';
import { formatFraction } from '#billing/rating/exact-amount.ts';
import { periodsOf } from '#billing/usage/usage.ts';
import { Fault } from '#core/fault.ts';
import { calendarPeriod, formatInstant, HOUR_MS, MINUTE_MS } from '#core/time.ts';
import { listProblems, readMeter } from './reading.ts';

const ExactText = z.string().openapi({
  description: 'Exact: a decimal, or a fraction such as 240/29 where that has no end.',
  example: '12.5',
});

const Reading = z
  .object({
    start: Instant,
    end: Instant,
    dimensions: z.record(z.string(), z.string().nullable()),
    quantity: ExactText.openapi({ description: 'Rounded as the meter says: what is priced.' }),
    measured: ExactText,
    level: ExactText.nullable().openapi({ description: 'Of a level that lasts: what stands at the end.' }),
  })
  .openapi('MeterReading');

const Readings = z
  .object({
    meter: z.string(),
    version: z.int(),
    from: Instant,
    to: Instant,
    timezone: z.string(),
    unmeasured_from: Instant.nullable().openapi({
      description: 'From when on a job is yet to measure; null when all is.',
    }),
    readings: z.array(Reading),
  })
  .openapi('MeterReadings');

const Problem = z
  .object({
    source: z.string(),
    id: z.string(),
    customer: z.string(),
    time: Instant,
    version: z.int(),
    detail: z.string(),
  })
  .openapi('MeterProblem');

/** Windows that one question may ask about: two months of minutes. */
const WINDOWS_MAX = 100_000;
const WINDOW_MS = { minute: MINUTE_MS, hour: HOUR_MS, day: 24 * HOUR_MS };

const customer = z.string().min(1).max(256);
const version = z.coerce
  .number()
  .int()
  .min(1)
  .max(2 ** 31 - 1)
  .optional()
  .openapi({ description: 'The latest unless given.' });

export function readingRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/usage/meters/{id}',
    noun: 'usage',
    summary: 'What a meter reads of a customer, live',
    description:
      "By the meter's dimensions, over the calendar month of the customer unless told otherwise; `by` cuts it into days, " +
      'hours or minutes, each read on its own. The same function reads what invoices bill. Sums of units are at /v1/usage.',
    roles: READERS,
    params: idParams,
    query: z.strictObject({
      customer,
      version,
      from: InstantIn.optional(),
      to: InstantIn.optional(),
      by: z.enum(['day', 'hour', 'minute']).optional(),
      timezone: TimeZone.optional().openapi({ description: "Whose days and months: the customer's own unless given." }),
    }),
    answer: Readings,
    run: async ({ db, params, query, nowMs }) => {
      const meter = await getMeter(db, params.id, query.version ?? null);
      const gauge = gaugeOfMeter(meter);
      if (gauge.kept === 'unit') {
        throw new Fault('state_conflict', { detail: `${meter.id} is the sum of a unit: GET /v1/usage has it.` });
      }
      const zone = query.timezone ?? (await findCustomer(db, query.customer))?.timezone ?? 'UTC';
      const month = calendarPeriod('month', query.from ?? nowMs, zone);
      const period = { startMs: query.from ?? month.startMs, endMs: query.to ?? month.endMs };
      if (period.endMs <= period.startMs) {
        const issues = [{ parameter: 'to', detail: 'Wants an instant after `from`.' }];
        throw new Fault('validation_failed', { issues });
      }
      const windowMs = gauge.terms.window === undefined ? null : WINDOW_MS[gauge.terms.window];
      if (windowMs !== null && (period.endMs - period.startMs) / windowMs > WINDOWS_MAX) {
        const detail = `The meter has windows of a ${gauge.terms.window}, and at most ${WINDOWS_MAX} are read at once.`;
        throw new Fault('validation_failed', { issues: [{ parameter: 'to', detail }] });
      }
      const periods = periodsOf(period, query.by ?? null, zone);
      const readings = await readMeter(db, gauge, { customer: query.customer, periods, zone });
      return {
        meter: meter.id,
        version: meter.version,
        from: formatInstant(period.startMs),
        to: formatInstant(period.endMs),
        timezone: zone,
        unmeasured_from: meter.unmeasured_from === null ? null : formatInstant(meter.unmeasured_from),
        readings: readings.map(({ period: at, dimensions, quantity, measured, level }) => ({
          start: formatInstant(periods[at]?.startMs ?? period.startMs),
          end: formatInstant(periods[at]?.endMs ?? period.endMs),
          dimensions: Object.fromEntries(meter.terms.dimensions.map((name, i) => [name, dimensions[i] ?? null])),
          quantity: formatFraction(quantity),
          measured: formatFraction(measured),
          level: level && formatFraction(level),
        })),
      };
    },
  });

  api.route({
    method: 'get',
    path: '/v1/meters/{id}/problems',
    noun: 'meters',
    summary: 'Events that a meter could not measure, with what is wrong',
    description: 'They count everywhere else. Correct the event, or change the meter.',
    roles: READERS,
    params: idParams,
    query: z.strictObject({ ...pageQuery, customer: customer.optional(), version }),
    answer: pageSchema('MeterProblem', Problem),
    run: async ({ db, params, query }) => {
      const meter = await getMeter(db, params.id, query.version ?? null);
      const cursor = decodeCursor(query.cursor, 3);
      const after = cursor && { time: instantOfCursor(cursor[0]), source: cursor[1] ?? '', id: cursor[2] ?? '' };
      const of = { meter: meter.id, version: meter.version, customer: query.customer ?? null };
      const rows = await listProblems(db, of, { after, count: query.limit + 1 });
      return pageOf(
        rows,
        query.limit,
        (row) => [formatInstant(row.time), row.source, row.id],
        (row) => ({ ...row, time: formatInstant(row.time), version: meter.version }),
      );
    },
  });
}
