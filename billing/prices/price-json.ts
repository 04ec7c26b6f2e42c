import { z } from '@hono/zod-openapi';
import { Decimal } from '#billing/http/schema.ts';
import type { Charge } from '#billing/rating/charge.ts';
import { CHANGES_MAX, chargePrice, chargeTerms, priceChange } from '#config/charge-terms.ts';

/** The schemas under the names by which the API's document refers to them. */
// A schema has `openapi` only when it was made after that was loaded, which those of the configuration need not be.
const PriceTerms = chargePrice.clone().openapi('PriceTerms');
export const PriceChangeJson = priceChange.extend({ price: PriceTerms }).openapi('PriceChange');
const changes = z.array(PriceChangeJson).max(CHANGES_MAX).default([]);
export const ChargeTermsJson = chargeTerms.safeExtend({ price: PriceTerms, changes }).openapi('ChargeTerms');

/** A charge of a plan as answers show it. */
export const PriceFields = {
  price_id: z.string(),
  name: z.string().nullable(),
  meter: z.string().nullable().openapi({ description: 'Null for a fixed amount.' }),
  unit: z.string().nullable(),
  model: z.string().openapi({ description: 'Pattern over the model that was asked for.' }),
  allowance: Decimal,
  price: PriceTerms,
  changes: z.array(PriceChangeJson).openapi({ description: 'What the price becomes, and from which instants on.' }),
  discount_percent: Decimal,
  cap: Decimal.nullable(),
  minimum: Decimal.nullable(),
};

export function priceToJson(charge: Charge): Charge {
  const { price_id, name, meter, unit, model, allowance, price, changes, discount_percent, cap, minimum } = charge;
  return { price_id, name, meter, unit, model, allowance, price, changes, discount_percent, cap, minimum };
}
