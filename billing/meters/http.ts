import { z } from '@hono/zod-openapi';
import { ACCOUNTANTS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, idParams, Name } from '#billing/http/schema.ts';
import { COUNTED_UNIT, createMeter, getMeter, listMeters } from './meter.ts';

const Meter = z
  .object({
    id: z.string(),
    name: z.string(),
    aggregation: z.enum(['sum', 'count']),
    unit: z.string(),
    built_in: z.boolean(),
  })
  .openapi('Meter');

const Unit = z.string().regex(/^[a-z][a-z0-9_]{0,63}$/, 'Wants lower-case letters, digits and underscores.');
const NewMeter = z
  .discriminatedUnion('aggregation', [
    z.strictObject({ id: Id, name: Name, aggregation: z.literal('sum'), unit: Unit }),
    z.strictObject({
      id: Id,
      name: Name,
      aggregation: z.literal('count'),
      unit: z.literal(COUNTED_UNIT).default(COUNTED_UNIT),
    }),
  ])
  .openapi('NewMeter');

export function meterRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/meters',
    noun: 'meters',
    summary: 'List meters',
    description: 'Every unit that Weir meters has a meter of its name; those that were made here follow.',
    roles: READERS,
    answer: z.object({ data: z.array(Meter) }).openapi('MeterList'),
    run: async ({ db }) => ({ data: await listMeters(db) }),
  });

  api.route({
    method: 'get',
    path: '/v1/meters/{id}',
    noun: 'meters',
    summary: 'Get a meter',
    roles: READERS,
    params: idParams,
    answer: Meter,
    run: async ({ db, params }) => getMeter(db, params.id),
  });

  api.route({
    method: 'post',
    path: '/v1/meters',
    noun: 'meters',
    summary: 'Create a meter',
    description: 'Meters never change: prices of the past refer to them.',
    roles: ACCOUNTANTS,
    body: NewMeter,
    answer: Meter,
    status: 201,
    run: async ({ db, body, nowMs }) => createMeter(db, body, nowMs),
  });
}
