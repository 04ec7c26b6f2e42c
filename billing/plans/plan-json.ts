import { z } from '@hono/zod-openapi';
import { ChargeTermsJson } from '#billing/prices/price-json.ts';
import { CHARGES_MAX } from '#config/charge-terms.ts';
import { planTerms } from './plan.ts';

/** The terms of a plan under the name by which the API's document refers to them. */
export const PlanTermsJson = planTerms
  .extend({ charges: z.array(ChargeTermsJson).max(CHARGES_MAX).default([]) })
  .openapi('PlanTerms');
