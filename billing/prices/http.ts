import { z } from '@hono/zod-openapi';
import { ACCOUNTANTS, READERS } from '#billing/http/role.ts';
import type { Api } from '#billing/http/route.ts';
import { Currency, Decimal, InstantIn, idParams, MoneyJson, TimeZone } from '#billing/http/schema.ts';
import { changePrice, findPriceById, type StoredPrice } from '#billing/plans/plan.ts';
import type { Charge } from '#billing/rating/charge.ts';
import { formatFraction, formatNanosExact, stepsInText } from '#billing/rating/exact-amount.ts';
import { nanosOf } from '#billing/rating/nanos.ts';
import { chargeTerms } from '#config/charge-terms.ts';
import { amountText, decimalText } from '#config/decimal-text.ts';
import { getExact, ONE } from '#core/exact.ts';
import { Fault } from '#core/fault.ts';
import { moneyToJson, roundToCurrency } from '#core/money.ts';
import { type Evaluation, evaluateEvents, evaluateQuantity, type ImaginedEvent } from './evaluate.ts';
import { ChargeTermsJson, PriceChangeJson, PriceFields, priceToJson } from './price-json.ts';

const PriceSchema = z.object({ ...PriceFields, plan: z.string(), plan_version: z.int() }).openapi('Price');

const QUANTITIES_MAX = 1_000;

const Event = z
  .strictObject({
    quantity: decimalText,
    time: InstantIn.optional().openapi({ description: 'Now unless given. Events are rated in the order of time.' }),
    model: z.string().max(200).default('*'),
    dimensions: z.record(z.string().max(120), z.string().max(200)).default({}),
    price: amountText.optional().openapi({ description: 'What the event carries, for dynamic prices.' }),
    cost: amountText.optional().openapi({ description: 'What its provider charged, for dynamic prices.' }),
  })
  .openapi('EvaluatedEvent');

const { price, allowance, changes, discount_percent, cap, minimum } = ChargeTermsJson.shape;
const EvaluateBody = z
  .strictObject({
    ...{ price, allowance, changes, discount_percent, cap, minimum },
    currency: Currency,
    timezone: TimeZone.default('UTC'),
    quantity: decimalText.optional(),
    quantities: z.array(decimalText).min(1).max(QUANTITIES_MAX).optional(),
    events: z.array(Event).min(1).max(QUANTITIES_MAX).optional(),
  })
  .superRefine((body, context) => {
    const given = [body.quantity, body.quantities, body.events].filter((part) => part !== undefined);
    if (given.length !== 1)
      context.addIssue({
        code: 'custom',
        message: 'Wants one of quantity, quantities and events.',
        path: ['quantity'],
      });
  })
  .openapi('EvaluatePrice');

const pointFields = {
  quantity: z.string(),
  amount: MoneyJson.openapi({ description: 'As a line would print it: rounded once.' }),
  amount_exact: z.string(),
  steps: z.array(z.object({ formula: z.string(), quantity: Decimal, amount_exact: z.string() })),
};
const EvaluationJson = z
  .object({
    ...pointFields,
    unrated: z.int().openapi({ description: 'How many events the price has no amount for.' }),
    points: z
      .array(z.object(pointFields))
      .openapi({ description: 'Each of `quantities` on its own; the figures above are of the last one.' }),
  })
  .openapi('PriceEvaluation');

export function priceRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/prices/{id}',
    noun: 'prices',
    summary: 'Get a price of a plan version',
    description: 'Prices never change but from an instant on that was yet to come; invoice lines name them.',
    roles: READERS,
    params: idParams,
    answer: PriceSchema,
    run: async ({ db, params }) => {
      const row = await findPriceById(db, params.id);
      if (!row) throw new Fault('not_found', { detail: `There is no price ${params.id}.` });
      return storedToJson(row);
    },
  });

  api.route({
    method: 'post',
    path: '/v1/prices/{id}/changes',
    noun: 'prices',
    summary: 'Change a price from an instant on that is yet to come',
    description:
      'Usage before and after it is priced apart, within the period too. A change is never changed again; the next one ' +
      'must be later.',
    roles: ACCOUNTANTS,
    params: idParams,
    body: PriceChangeJson,
    answer: PriceSchema,
    status: 201,
    run: async ({ db, params, body, nowMs }) => storedToJson(await changePrice(db, params.id, body, nowMs)),
  });

  api.route({
    method: 'post',
    path: '/v1/prices/evaluate',
    noun: 'prices',
    summary: 'What quantities or events would cost at a price, with the working',
    description: 'The function that rates invoices; nothing is stored.',
    roles: ACCOUNTANTS,
    body: EvaluateBody,
    answer: EvaluationJson,
    run: async ({ body, nowMs }) => {
      const charge = imagined(body);
      const span = { startMs: nowMs, endMs: nowMs + 1, zone: body.timezone, share: ONE, first: true };
      if (body.events) {
        const events = body.events.map((event) => eventOf(event, nowMs));
        const evaluation = evaluateEvents(charge, events, body.timezone);
        return { ...toJson(evaluation, body.currency), unrated: evaluation.unrated, points: [] };
      }
      if (charge.price.kind !== 'flat' && !isByQuantity(charge)) {
        throw new Fault('validation_failed', {
          issues: [{ pointer: '#/events', detail: `A price of the kind ${charge.price.kind} wants events.` }],
        });
      }
      const quantities = body.quantities ?? [body.quantity ?? '0'];
      const points = quantities.map((quantity) =>
        toJson(evaluateQuantity(charge, getExact(quantity), span), body.currency),
      );
      const last = points.at(-1);
      if (!last) throw new Error('no quantity was evaluated');
      return { ...last, unrated: 0, points: body.quantities ? points : [] };
    },
  });
}

function isByQuantity({ price: { kind } }: Charge): boolean {
  return !['percentage', 'dynamic', 'matrix', 'time_of_day', 'windowed'].includes(kind);
}

function imagined(body: z.output<typeof EvaluateBody>): Charge {
  const terms = { price: body.price, allowance: body.allowance, changes: body.changes };
  const { discount_percent: discount, cap: most, minimum: least } = body;
  const meter = body.price.kind === 'flat' ? null : 'calls';
  const parsed = chargeTerms.safeParse({ ...terms, meter, discount_percent: discount, cap: most, minimum: least });
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => ({
      pointer: `#/${path.join('/')}`,
      detail: message,
    }));
    throw new Fault('validation_failed', { issues });
  }
  return { ...parsed.data, price_id: 'imagined', unit: meter };
}

function eventOf(event: z.output<typeof Event>, nowMs: number): ImaginedEvent {
  return {
    timeMs: event.time ?? nowMs,
    model: event.model,
    quantity: getExact(event.quantity),
    dimensions: event.dimensions,
    price: event.price === undefined ? null : nanosOf(event.price),
    cost: event.cost === undefined ? null : nanosOf(event.cost),
  };
}

function toJson({ quantity, amount, steps }: Evaluation, currency: string) {
  return {
    quantity: formatFraction(quantity),
    amount: moneyToJson(roundToCurrency(amount, currency, 'half_up')),
    amount_exact: formatNanosExact(amount),
    steps: stepsInText({ steps }),
  };
}

function storedToJson(row: StoredPrice): z.input<typeof PriceSchema> {
  return { ...priceToJson(row), plan: row.plan_id, plan_version: row.version };
}
