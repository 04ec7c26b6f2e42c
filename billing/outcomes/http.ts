import { z } from '@hono/zod-openapi';
import { decodeCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { GATEWAYS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, Instant, InstantIn, idParams } from '#billing/http/schema.ts';
import { positiveText } from '#config/decimal-text.ts';
import { formatInstant } from '#core/time.ts';
import { getOutcome, listOutcomes, type Outcome, recordOutcome, reverseOutcome } from './outcome.ts';

const EVIDENCE_MAX = 20;
const REVERSIBLE_DAYS_MAX = 400;

const EvidenceJson = z
  .strictObject({
    kind: z.string().min(1).max(100).openapi({ example: 'ticket' }),
    reference: z.string().min(1).max(2_000).openapi({ example: 'https://desk.example.com/tickets/4711' }),
  })
  .openapi('Evidence');
const evidence = z.array(EvidenceJson).max(EVIDENCE_MAX).default([]);

const NewOutcome = z
  .strictObject({
    id: Id.optional().openapi({ description: 'Makes a repeat safe: the same again is the same outcome.' }),
    customer: Id,
    kind: z
      .string()
      .regex(/^[a-z][a-z0-9_]{0,63}$/, 'Wants lower-case letters, digits and underscores.')
      .openapi({ description: 'The unit that it counts under; a meter of this name must exist.' }),
    quantity: positiveText.default('1'),
    at: InstantIn.optional().openapi({ description: 'When it happened: now unless given. It decides the period.' }),
    workflow: z.string().min(1).max(100).nullable().default(null).openapi({
      description: 'Calls with this label `workflow` are parts of the outcome and are charged by it alone.',
    }),
    evidence,
    reversible_days: z.int().min(0).max(REVERSIBLE_DAYS_MAX).default(30),
  })
  .openapi('NewOutcome');

const OutcomeJson = z
  .object({
    id: z.string().openapi({ description: 'Also the id of its event, which lines are explained by.' }),
    customer: z.string(),
    kind: z.string(),
    quantity: z.string(),
    at: Instant,
    workflow: z.string().nullable(),
    evidence: z.array(EvidenceJson),
    reversible_until: Instant,
    created_at: Instant,
    reversed_at: Instant.nullable(),
    reversal: z.object({ reason: z.string(), evidence: z.array(EvidenceJson) }).nullable(),
  })
  .openapi('Outcome');

export function outcomeRoutes(api: Api): void {
  api.route({
    method: 'post',
    path: '/v1/outcomes',
    noun: 'outcomes',
    summary: 'Record a result that is sold: a resolved ticket, a finished workflow',
    roles: GATEWAYS,
    body: NewOutcome,
    answer: OutcomeJson,
    status: 201,
    run: async ({ db, body: { at, reversible_days, ...wanted }, nowMs }) =>
      toJson(await recordOutcome(db, { ...wanted, atMs: at, reversibleDays: reversible_days }, nowMs)),
  });

  api.route({
    method: 'get',
    path: '/v1/outcomes',
    noun: 'outcomes',
    summary: 'List outcomes',
    roles: READERS,
    query: z.strictObject({ ...pageQuery, customer: Id.optional(), workflow: z.string().max(100).optional() }),
    answer: pageSchema('Outcome', OutcomeJson),
    run: async ({ db, query }) => {
      const after = decodeCursor(query.cursor, 1)?.[0] ?? '';
      const { customer, workflow, limit } = query;
      const rows = await listOutcomes(db, { customer, workflow, after, count: limit + 1 });
      return pageOf(rows, limit, (row) => [row.id], toJson);
    },
  });

  api.route({
    method: 'get',
    path: '/v1/outcomes/{id}',
    noun: 'outcomes',
    summary: 'Get an outcome with its evidence',
    roles: READERS,
    params: idParams,
    answer: OutcomeJson,
    run: async ({ db, params }) => toJson(await getOutcome(db, params.id)),
  });

  api.route({
    method: 'post',
    path: '/v1/outcomes/{id}/reverse',
    noun: 'outcomes',
    summary: 'Take an outcome back within its window',
    description:
      'Its charge goes exactly: from the period that runs, or, once that is invoiced, by an adjustment on the next ' +
      'invoice. The calls of its workflow stay uncharged.',
    roles: GATEWAYS,
    params: idParams,
    body: z.strictObject({ reason: z.string().trim().min(1).max(500), evidence }).openapi('Reversal'),
    answer: OutcomeJson,
    run: async ({ db, params, body, nowMs }) => toJson(await reverseOutcome(db, params.id, body, nowMs)),
  });
}

function toJson(row: Outcome): z.input<typeof OutcomeJson> {
  const { id, customer_id: customer, kind, quantity, workflow, evidence: shown, reversal } = row;
  return {
    ...{ id, customer, kind, quantity, workflow, evidence: shown, reversal },
    at: formatInstant(row.occurred_at),
    reversible_until: formatInstant(row.reversible_until),
    created_at: formatInstant(row.created_at),
    reversed_at: row.reversed_at === null ? null : formatInstant(row.reversed_at),
  };
}
