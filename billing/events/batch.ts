import { z } from '@hono/zod-openapi';
import type { Rows } from '#billing/event-formats/read-rows.ts';
import { Fault, type FaultIssue } from '#core/fault.ts';
import type { IngestResult } from './ingest.ts';

/** What every route that takes events shares: the bounds of a batch, and its answer. */

/** A batch is one transaction: large enough to be cheap, small enough to be quick. */
export const BATCH_EVENTS_MAX = 10_000;
export const BATCH_BYTES_MAX = 16 * 1024 * 1024;

/** Problems that the answer of a single event names. */
const ISSUES_MAX = 20;

export const RowsIn = z
  .custom<Rows>()
  .refine(({ values }) => values.length > 0, 'Wants one event at least.')
  .refine(({ values }) => values.length <= BATCH_EVENTS_MAX, `Wants at most ${BATCH_EVENTS_MAX} events.`);

const ParkedReason = z.enum(['malformed', 'unknown_type', 'time_out_of_range', 'unknown_event']);

const Result = z
  .object({
    index: z.int().openapi({ description: 'The place in the batch, from 0.' }),
    source: z.string().nullable(),
    id: z.string().nullable(),
    status: z.enum(['accepted', 'duplicate', 'conflict', 'parked']),
    reason: ParkedReason.optional(),
    detail: z.string().optional(),
    errors: z
      .array(z.object({ pointer: z.string().optional(), detail: z.string() }))
      .optional()
      .openapi({ description: 'What is wrong with it, by place in the batch: `#/3/data/quantities`.' }),
  })
  .openapi('IngestResult');

export const Results = z
  .object({
    accepted: z.int(),
    duplicate: z.int(),
    conflict: z.int(),
    parked: z.int(),
    results: z
      .array(Result)
      .openapi({ description: 'One for each event, in their order; with results=problems only those not taken.' }),
  })
  .openapi('IngestResults');

export const resultsQuery = {
  results: z
    .enum(['all', 'problems'])
    .default('all')
    .openapi({ description: '`problems` leaves out of the answer what was accepted or a duplicate.' }),
};

/** What a batch is answered, each problem with its place in it. */
export function answerOf(
  results: readonly IngestResult[],
  rows: Rows,
  shown: 'all' | 'problems',
): z.input<typeof Results> {
  const counts = { accepted: 0, duplicate: 0, conflict: 0, parked: 0 };
  for (const { status } of results) counts[status]++;
  const listed = results.flatMap((result, index) => {
    if (shown === 'problems' && (result.status === 'accepted' || result.status === 'duplicate')) return [];
    const { source, id, status } = result;
    if (result.status !== 'parked') return [{ index, source, id, status }];
    const { reason, detail, issues } = result;
    return [{ index, source, id, status, reason, detail, errors: issues.map((issue) => placed(issue, rows, index)) }];
  });
  return { ...counts, results: listed };
}

function placed({ pointer, detail }: FaultIssue, rows: Rows, index: number): { pointer: string; detail: string } {
  const inside = (pointer ?? '#').slice(1);
  return { pointer: rows.single ? `#${inside}` : `#/${index}${inside}`, detail };
}

/** A single event is answered as a request is; it is listed among the conflicts, or parked, all the same. */
export function refusalOf(answer: z.output<typeof Results>, rows: Rows): Fault | undefined {
  const [result] = answer.results;
  if (!rows.single || !result) return undefined;
  if (result.status === 'conflict') return new Fault('event_conflict');
  if (result.reason !== 'malformed' && result.reason !== 'time_out_of_range') return undefined;
  const issues = (result.errors ?? []).slice(0, ISSUES_MAX).map(({ pointer, detail }) => {
    return pointer === undefined ? { detail } : { pointer, detail };
  });
  return new Fault('validation_failed', { detail: 'It is kept among the parked events.', issues });
}
