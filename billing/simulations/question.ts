import { z } from 'zod';
import { planTerms } from '#billing/plans/plan.ts';
import { amountText, countText } from '#config/decimal-text.ts';
import type { Exact } from '#core/exact.ts';
import { getExact } from '#core/exact.ts';
import { matchesPattern } from '#core/key-policy.ts';
import { priceOf } from '#core/price.ts';

/** What a simulation asks: which recorded usage, and what would have been otherwise. As it is stored. */
export const simulationQuestion = z.strictObject({
  fromMs: z.int(),
  toMs: z.int(),
  /** All that had a period beginning in it, when absent. */
  customers: z.array(z.string()).optional(),
  /** Another plan in the place of each of these; `*` stands for every plan. */
  plans: z.record(z.string(), z.union([z.strictObject({ plan: z.string() }), z.strictObject({ terms: planTerms })])),
  /** Calls of these models as if they had been served by another. The first that matches holds. */
  models: z.array(z.strictObject({ from: z.string(), to: z.string() })),
  /** What units of a model cost us instead of what was recorded, by the model that they are at then. */
  costs: z.array(z.strictObject({ model: z.string(), unit: z.string(), amount: amountText, per: countText })),
});
export type SimulationQuestion = z.output<typeof simulationQuestion>;

export function modelIn(question: SimulationQuestion): (model: string) => string {
  return (model) => question.models.find(({ from }) => matchesPattern(from, model))?.to ?? model;
}

/** In units of the currency: what a quantity costs by the question's own list. Undefined where it says nothing of it. */
export function costIn(question: SimulationQuestion, model: string, unit: string, quantity: Exact): Exact | undefined {
  const row = question.costs.find((cost) => cost.unit === unit && matchesPattern(cost.model, model));
  return row && priceOf(quantity, { amount: getExact(row.amount), per: BigInt(row.per) });
}

/** True where the question has costs for a model: then they are all that counts for it. */
export function hasCosts(question: SimulationQuestion, model: string): boolean {
  return question.costs.some((cost) => matchesPattern(cost.model, model));
}
