import { z } from 'zod';

/** The collection of dated model prices that the catalogue is made from, as far as it is read. */
const prices = z.record(z.string(), z.string());
const tiers = z.array(z.strictObject({ above_input_tokens: z.number(), prices }));

const rule = z.strictObject({
  equals: z.string().optional(),
  starts_with: z.string().optional(),
  regex: z.string().optional(),
  contains: z.string().optional(),
});

const period = z.object({
  effective_from: z.string().nullable(),
  constraint: z.strictObject({ start_time: z.string(), end_time: z.string() }).nullable(),
  prices,
  tiers,
  source: z.string(),
  notes: z.string().optional(),
  cancelled: z.boolean().optional(),
  secondary_source: z.boolean().optional(),
});

const model = z.object({
  provider: z.string(),
  model: z.string(),
  mode: z.string().nullable(),
  context_window: z.number().nullable(),
  max_input_tokens: z.number().nullable(),
  max_output_tokens: z.number().nullable(),
  match: z.union([rule, z.strictObject({ or: z.array(rule) })]).optional(),
  notes: z.string().nullish(),
  secondary_source: z.boolean().optional(),
  periods: z.array(period),
  /** What a second list has beside the first. */
  litellm_extra: z
    .object({ source: z.string(), tiers: tiers.optional(), conflicts: z.array(z.string()).optional() })
    .catchall(z.string())
    .optional(),
  other_units: z
    .object({ source: z.string(), multipliers: z.record(z.string(), z.string()).optional() })
    .catchall(z.string())
    .optional(),
});

export const collectionFile = z.object({ generated_at: z.string(), models: z.array(model) });

export type CollectedModel = z.infer<typeof model>;
export type CollectedPeriod = z.infer<typeof period>;

/** Only the prices: what is said of them aside. */
export function extraPrices(model: CollectedModel): Record<string, string> {
  const { source: _source, tiers: _tiers, conflicts: _conflicts, ...rest } = model.litellm_extra ?? { source: '' };
  return rest as Record<string, string>;
}

export function otherUnits(model: CollectedModel): Record<string, string> {
  const { source: _source, multipliers: _multipliers, ...rest } = model.other_units ?? { source: '' };
  return rest as Record<string, string>;
}

/** The day on which the second list was read: `… (2026-08-01)`. */
export function extraDate(model: CollectedModel): string {
  const [, day] = /\((\d{4}-\d{2}-\d{2})\)/.exec(model.litellm_extra?.source ?? '') ?? [];
  if (day === undefined) throw new Error(`${model.model}: its second source has no date`);
  return day;
}
