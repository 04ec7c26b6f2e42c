import { z } from '@hono/zod-openapi';
import { ACCOUNTANTS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, Instant, idParams, Name } from '#billing/http/schema.ts';
import { AGGREGATIONS, checkMeter, type MeterTerms, meterFields, rounding } from '#config/meter-terms.ts';
import { formatInstant } from '#core/time.ts';
import { changeMeter, createMeter, getMeter, listMeters, listVersions, type Meter } from './meter.ts';

const MeterJson = z
  .object({
    id: z.string(),
    name: z.string(),
    version: z.int(),
    aggregation: z.enum(AGGREGATIONS),
    unit: z.string().nullable().openapi({ description: 'The unit whose quantities it aggregates, if that is all.' }),
    value: z.string().nullable(),
    event_type: z.string(),
    filter: z.string().nullable(),
    dimensions: z.array(z.string()),
    window: z.enum(['minute', 'hour', 'day']).nullable(),
    combine: z.enum(['sum', 'max', 'min', 'average']).nullable(),
    recurring: z.boolean(),
    values: z.enum(['levels', 'changes']).nullable(),
    operation: z.string().nullable(),
    proration: z.enum(['none', 'by_day', 'by_second']),
    rounding: rounding.nullable(),
    built_in: z.boolean(),
    managed_by: z.enum(['weir', 'api', 'config']),
    changed_at: Instant.openapi({ description: 'When this version was made.' }),
    removed_at: Instant.nullable(),
    unmeasured_from: Instant.nullable().openapi({
      description:
        'From when on usage that was taken before this version was made is yet to be measured; null when all is.',
    }),
  })
  .openapi('Meter');

const Meters = z.object({ data: z.array(MeterJson) });

const NewMeter = z
  .strictObject({ id: Id, name: Name, ...meterFields })
  .superRefine(({ id, name, ...terms }, context) => checkMeter(terms, context))
  .openapi('NewMeter');
const ChangedMeter = z
  .strictObject({ name: Name, ...meterFields })
  .superRefine(({ name, ...terms }, context) => checkMeter(terms, context))
  .openapi('ChangedMeter');

export function meterRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/meters',
    noun: 'meters',
    summary: 'List meters, each at its latest version',
    description: 'Every unit that Weir meters has a meter of its name; those that were made here follow.',
    roles: READERS,
    answer: Meters.openapi('MeterList'),
    run: async ({ db }) => ({ data: (await listMeters(db)).map(toJson) }),
  });

  api.route({
    method: 'get',
    path: '/v1/meters/{id}',
    noun: 'meters',
    summary: 'Get a meter at its latest version',
    roles: READERS,
    params: idParams,
    answer: MeterJson,
    run: async ({ db, params }) => toJson(await getMeter(db, params.id)),
  });

  api.route({
    method: 'get',
    path: '/v1/meters/{id}/versions',
    noun: 'meters',
    summary: 'List the versions of a meter',
    roles: READERS,
    params: idParams,
    answer: Meters.openapi('MeterVersions'),
    run: async ({ db, params }) => {
      await getMeter(db, params.id);
      return { data: (await listVersions(db, params.id)).map(toJson) };
    },
  });

  api.route({
    method: 'post',
    path: '/v1/meters',
    noun: 'meters',
    summary: 'Create a meter',
    description:
      'It measures every event from now on, and by a job those that are here already: until then `unmeasured_from` ' +
      'says how far that is, and prices of it cannot be rated.',
    roles: ACCOUNTANTS,
    body: NewMeter,
    answer: MeterJson,
    status: 201,
    run: async ({ db, body: { id, name, ...terms }, nowMs }) =>
      toJson(await createMeter(db, { id, name, terms }, nowMs)),
  });

  api.route({
    method: 'put',
    path: '/v1/meters/{id}',
    noun: 'meters',
    summary: 'Change a meter: make a new version of it',
    description: 'The versions of plans that are made from now on read it. The same terms again make no new version.',
    roles: ACCOUNTANTS,
    params: idParams,
    body: ChangedMeter,
    answer: MeterJson,
    run: async ({ db, params, body: { name, ...terms }, nowMs }) =>
      toJson(await changeMeter(db, { id: params.id, name, terms }, nowMs)),
  });
}

function toJson({ terms, ...meter }: Meter): z.input<typeof MeterJson> {
  return {
    id: meter.id,
    name: meter.name,
    version: meter.version,
    ...termsToJson(terms),
    built_in: meter.managed_by === 'weir',
    managed_by: meter.managed_by,
    changed_at: formatInstant(meter.changed_at),
    removed_at: meter.removed_at === null ? null : formatInstant(meter.removed_at),
    unmeasured_from: meter.unmeasured_from === null ? null : formatInstant(meter.unmeasured_from),
  };
}

function termsToJson(terms: MeterTerms) {
  return {
    aggregation: terms.aggregation,
    unit: terms.unit ?? null,
    value: terms.value ?? null,
    event_type: terms.event_type,
    filter: terms.filter ?? null,
    dimensions: terms.dimensions,
    window: terms.window ?? null,
    combine: terms.combine ?? null,
    recurring: terms.recurring,
    values: terms.values ?? null,
    operation: terms.operation ?? null,
    proration: terms.proration,
    rounding: terms.rounding ?? null,
  };
}
