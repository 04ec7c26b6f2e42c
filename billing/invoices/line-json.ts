import { z } from '@hono/zod-openapi';
import { MoneyJson } from '#billing/http/schema.ts';
import { formatFraction, formatNanosExact, modelsInText, stepsInText } from '#billing/rating/exact-amount.ts';
import type { DocumentLine, UsageQuantity } from '#billing/rating/rating.ts';
import type { PeriodKey } from '#billing/subscriptions/period.ts';
import { moneyToJson } from '#core/money.ts';
import type { Adjustment } from './adjustments.ts';
import type { InvoiceLine } from './invoice.ts';
import type { BilledRow } from './store.ts';

/** Plain decimal notation, or a fraction such as 17/31 where decimals do not end. */
export const ExactText = z.string().openapi({ example: '0.0000000375' });

const lineFields = {
  kind: z.enum(['fee', 'usage', 'adjustment']),
  price_id: z.string().nullable().openapi({ description: 'Null for the fee of the plan.' }),
  adjusts: z
    .object({ subscription: z.string(), period_index: z.int(), billed: MoneyJson, billed_exact: z.string() })
    .nullable()
    .openapi({
      description:
        'Of an adjustment: the closed period whose usage came late or was corrected, and what had been billed for it by ' +
        'this price. `models` and the steps but the last are of the whole period as it is by now.',
    }),
  name: z.string().nullable().openapi({ description: 'Of the charge, where it has one.' }),
  meter: z.string().nullable(),
  unit: z.string().nullable(),
  model: z.string().nullable().openapi({ description: 'The pattern of the charge.' }),
  quantity: ExactText.openapi({ description: 'All that was used; for the fee the share of the interval.' }),
  amount: MoneyJson.openapi({
    description: 'The exact amount, rounded once, half up; of an adjustment the rounded whole less what was printed.',
  }),
  amount_exact: ExactText,
  models: z.array(z.object({ model: z.string(), quantity: ExactText, amount_exact: ExactText })),
  steps: z.array(z.object({ formula: z.string(), quantity: ExactText, amount_exact: ExactText })),
};
export const RatedLineJson = z.object(lineFields).openapi('RatedLine');
export const InvoiceLineJson = z.object({ id: z.string(), ...lineFields }).openapi('InvoiceLine');

export const UsageQuantityJson = z
  .object({ model: z.string(), unit: z.string(), quantity: ExactText })
  .openapi('UsageQuantity');

/** A line that is not stored: of a preview. */
export function ratedLineToJson(line: DocumentLine | Adjustment): z.input<typeof RatedLineJson> {
  return {
    kind: line.kind,
    adjusts: line.kind === 'adjustment' ? adjustsToJson(line.period, line.billed, line.rounded.currency) : null,
    price_id: line.charge?.price_id ?? null,
    name: line.charge?.name ?? null,
    meter: line.charge?.meter ?? null,
    unit: line.charge?.unit ?? null,
    model: line.charge?.model ?? null,
    quantity: formatFraction(line.quantity),
    amount: moneyToJson(line.rounded),
    amount_exact: formatNanosExact(line.amount),
    models: modelsInText(line),
    steps: stepsInText(line),
  };
}

export function invoiceLineToJson(line: InvoiceLine, currency: string): z.input<typeof InvoiceLineJson> {
  return {
    id: line.id,
    kind: line.kind,
    adjusts: line.adjusts && adjustsToJson(line.adjusts, line.adjusts.billed, currency),
    price_id: line.price_id,
    name: line.name,
    meter: line.meter,
    unit: line.unit,
    model: line.model,
    quantity: formatFraction(line.quantity),
    amount: moneyToJson({ nanos: line.amount_nanos, currency }),
    amount_exact: formatNanosExact(line.exact),
    models: line.models,
    steps: line.steps,
  };
}

function adjustsToJson(
  { subscription_id, period_index }: PeriodKey,
  billed: Pick<BilledRow, 'exact' | 'nanos'>,
  currency: string,
) {
  return {
    subscription: subscription_id,
    period_index,
    billed: moneyToJson({ nanos: billed.nanos, currency }),
    billed_exact: formatNanosExact(billed.exact),
  };
}

export function usageToJson({ model, unit, quantity }: UsageQuantity): z.input<typeof UsageQuantityJson> {
  return { model, unit, quantity: formatFraction(quantity) };
}
