import { readFileSync } from 'node:fs';
import { z } from 'zod';

/** A neutral billing case: what is sold, what was used, when, and what that must come to. */
export const billingCase = z.looseObject({
  id: z.string(),
  pricing_model: z.looseObject({ type: z.string() }),
  usage: z.looseObject({}),
  period: z.looseObject({}),
  expected: z.looseObject({}),
  policy: z.record(z.string(), z.string()).default({}),
});
export type BillingCase = z.output<typeof billingCase>;

export function readCases(file: string): BillingCase[] {
  return z.array(billingCase).parse(JSON.parse(readFileSync(file, 'utf8')));
}

/** What the engine found against what the case wants. */
export interface Finding {
  got: unknown;
  wanted: unknown;
}

/** A part of a case that the engine has nothing for yet: the reason that is printed. */
export class Unsupported extends Error {}

const WHOLE_TYPES: Readonly<Record<string, string>> = {
  calendar: 'a calendar of another kind',
  commitment: 'commitments',
  credit_note: 'credit notes',
  dunning: 'dunning',
  grants: 'grants',
  invoice: 'document discounts',
  minimum_commitment: 'commitments',
  numbering: 'other series of numbers',
  plan_change: 'changes of plan within a period',
  proration: 'changes of plan within a period',
  termination: 'fees in advance and credit notes',
  trial: 'trials',
  wallet: 'wallets',
  wallet_topup: 'wallets',
  windowed_commitment: 'commitments',
};

const FIELDS: Readonly<Record<string, string>> = {
  aggregation: 'aggregations other than sum and count',
  in_advance: 'charges in advance',
  interval: 'intervals other than the month',
  prorated: 'prorated quantities',
  thresholds: 'thresholds',
};

/** Why no shape fits: by its kind, else by the fields that name something that is not there yet. */
export function reasonOf({ pricing_model, usage }: BillingCase): string {
  const named = [...Object.keys(pricing_model), ...Object.keys(usage)].flatMap((field) => FIELDS[field] ?? []);
  const reasons = new Set([...(WHOLE_TYPES[pricing_model.type] ? [WHOLE_TYPES[pricing_model.type]] : []), ...named]);
  if (reasons.size > 0) return `the engine has no ${[...reasons].join(', ')}`;
  return `no ${pricing_model.type} with ${[...Object.keys(pricing_model), ...Object.keys(usage)].join(', ')}`;
}
