import { z } from '@hono/zod-openapi';
import { decodeCursor, instantOfCursor, pageOf, pageQuery, pageSchema } from '#billing/http/page.ts';
import { READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Id, Instant, InstantIn } from '#billing/http/schema.ts';
import { formatScaled } from '#core/exact.ts';
import { limitOfCounter } from '#core/limit-warning.ts';
import { formatInstant } from '#core/time.ts';
import { selectWarnings, type WarningRow } from './store.ts';

const NANOS_SCALE = 9;

const WarningJson = z
  .object({
    id: z.string().openapi({ description: 'Of the event.' }),
    customer: z.string(),
    limit: z.string().openapi({ description: 'As refusals name it.', example: 'customer/budget/month' }),
    kind: z.string(),
    per: z.string(),
    value: z
      .string()
      .nullable()
      .openapi({ description: 'Of the user, session, model or label, where the limit counts each by itself.' }),
    period: z.string().nullable().openapi({ example: '2026-11' }),
    percent: z.string().openapi({ description: 'What the threshold is of the amount.', example: '80' }),
    threshold: z.string().openapi({ description: 'What was reached: a count, or an amount of the currency.' }),
    amount: z.string().openapi({ description: 'Of the limit, as it was in force.' }),
    currency: z.string().nullable(),
    time: Instant,
    received_at: Instant,
  })
  .openapi('LimitWarning');

/** What limits have said by their `warn_at`. */
export function limitWarningRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/limit-warnings',
    noun: 'limits',
    summary: 'List the thresholds that limits have reached, newest first',
    description: 'Each once in a period, as its `warn_at` asks for.',
    roles: READERS,
    query: z.strictObject({
      ...pageQuery,
      customer: Id.optional(),
      from: InstantIn.optional(),
      to: InstantIn.optional(),
    }),
    answer: pageSchema('LimitWarning', WarningJson),
    run: async ({ db, query: { customer, from: fromMs, to: toMs, limit, cursor } }) => {
      const place = decodeCursor(cursor, 2);
      const after = place && { time: instantOfCursor(place[0]), id: place[1] ?? '' };
      const rows = await selectWarnings(db, { customer, fromMs, toMs, after, limit: limit + 1 });
      return pageOf(rows, limit, (row) => [formatInstant(row.time), row.id], warningToJson);
    },
  });
}

function warningToJson({ id, customer, counter, currency, ...row }: WarningRow): z.input<typeof WarningJson> {
  const about = limitOfCounter(counter) ?? { kind: '', per: '', limit: counter, value: null, period: null };
  const [threshold, amount] = [BigInt(row.threshold), BigInt(row.amount)];
  const show = (figure: bigint) => (currency === null ? figure.toString() : formatScaled(figure, NANOS_SCALE));
  return {
    ...{ id, customer, ...about, currency },
    percent: amount === 0n ? '100' : ((threshold * 100n) / amount).toString(),
    threshold: show(threshold),
    amount: show(amount),
    time: formatInstant(row.time),
    received_at: formatInstant(row.received_at),
  };
}
