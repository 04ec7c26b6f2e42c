import { z } from '@hono/zod-openapi';
import { decodeCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { OPERATORS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Instant, InstantIn } from '#billing/http/schema.ts';
import { Fault } from '#core/fault.ts';
import { formatInstant, HOUR_MS } from '#core/time.ts';
import { type Finding, findCheckedUntil, listFindings, listRepairs, type Repair, repairUsage } from './repair.ts';

const Difference = z
  .object({
    hour: Instant,
    key: z.string(),
    model: z.string(),
    unit: z.string().openapi({ description: 'A unit, a currency, or what of a version of a meter.' }),
    rolled_up: z.string().nullable(),
    recomputed: z.string().nullable(),
  })
  .openapi('RepairedDifference');

const FindingJson = z
  .object({
    seq: z.string(),
    customer: z.string(),
    hour: Instant,
    found_at: Instant,
    differences: z.array(Difference),
    repair: z.string().nullable().openapi({ description: 'The repair that put it right, if one did.' }),
  })
  .openapi('UsageFinding');

const FindingPage = pageSchema('UsageFinding', FindingJson)
  .extend({ checked_until: Instant.nullable().openapi({ description: 'Hours before it were looked at.' }) })
  .openapi('UsageFindingPage');

const RepairJson = z
  .object({
    id: z.string(),
    customer: z.string(),
    from: Instant,
    to: Instant,
    reason: z.string(),
    token: z.string().openapi({ description: 'Who gave the command.' }),
    repaired_at: Instant,
    differences: z.array(Difference).openapi({ description: 'What stood there, and what the events gave.' }),
  })
  .openapi('UsageRepair');

const customer = z.string().min(1).max(256);
const HOURS_MAX = 31 * 24;

export function repairRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/usage/findings',
    noun: 'usage',
    summary: 'Hours whose sums or meters were found not to be what their events give',
    description:
      'Latest first. A job looks at each whole hour of each customer once it is over, and goes on where it stopped; ' +
      '`checked_until` says how far it is.',
    roles: READERS,
    query: z.strictObject({
      ...pageQuery,
      customer: customer.optional(),
      open: z.enum(['true', 'false']).default('true'),
    }),
    answer: FindingPage,
    run: async ({ db, query }) => {
      const before = decodeCursor(query.cursor, 1)?.[0];
      const rows = await listFindings(db, {
        customer: query.customer,
        open: query.open === 'true',
        beforeSeq: before === undefined ? undefined : BigInt(before),
        count: query.limit + 1,
      });
      const checkedUntil = await findCheckedUntil(db);
      return {
        ...pageOf(rows, query.limit, (row) => [row.seq.toString()], findingToJson),
        checked_until: checkedUntil === undefined ? null : formatInstant(checkedUntil),
      };
    },
  });

  api.route({
    method: 'post',
    path: '/v1/usage/repairs',
    noun: 'usage',
    summary: 'Make the sums and meters of whole hours of a customer anew from its events',
    description:
      'Answers with what differed, which is kept. Events of the customer wait meanwhile. An invoice that was billed by the ' +
      'old figures does not change; its explanation says that it is no longer the same.',
    roles: OPERATORS,
    body: z
      .strictObject({ customer, from: InstantIn, to: InstantIn, reason: z.string().trim().min(1).max(500) })
      .openapi('NewUsageRepair'),
    answer: RepairJson,
    status: 201,
    run: async ({ db, body, caller, nowMs }) => {
      const period = { startMs: body.from, endMs: body.to };
      const isWhole = period.startMs % HOUR_MS === 0 && period.endMs % HOUR_MS === 0;
      if (!isWhole || period.endMs <= period.startMs || period.endMs - period.startMs > HOURS_MAX * HOUR_MS) {
        throw new Fault('validation_failed', {
          issues: [{ pointer: '#/to', detail: 'Wants whole hours, one at least and 31 days at most.' }],
        });
      }
      const { customer: of, reason } = body;
      return repairToJson(await repairUsage(db, { customer: of, period, reason, token: caller.token }, nowMs));
    },
  });

  api.route({
    method: 'get',
    path: '/v1/usage/repairs',
    noun: 'usage',
    summary: 'List repairs, latest first',
    roles: READERS,
    query: z.strictObject({ ...pageQuery, customer: customer.optional() }),
    answer: pageSchema('UsageRepair', RepairJson),
    run: async ({ db, query }) => {
      const before = decodeCursor(query.cursor, 1)?.[0];
      const rows = await listRepairs(db, { customer: query.customer, before, count: query.limit + 1 });
      return pageOf(rows, query.limit, (row) => [row.id], repairToJson);
    },
  });
}

function findingToJson(row: Finding): z.input<typeof FindingJson> {
  return {
    seq: row.seq.toString(),
    customer: row.customer,
    hour: formatInstant(row.hour),
    found_at: formatInstant(row.found_at),
    differences: row.differences,
    repair: row.repair_id,
  };
}

function repairToJson(row: Repair): z.input<typeof RepairJson> {
  return {
    id: row.id,
    customer: row.customer,
    from: formatInstant(row.from_at),
    to: formatInstant(row.to_at),
    reason: row.reason,
    token: row.token,
    repaired_at: formatInstant(row.repaired_at),
    differences: row.differences,
  };
}
