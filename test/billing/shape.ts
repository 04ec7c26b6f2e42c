import { z } from 'zod';
import { parseExact } from '#core/exact.ts';
import { isCurrency } from '#core/money.ts';
import type { BillingWorld } from '#test/support/billing-world.ts';
import type { BillingCase, Finding } from './case.ts';
import { UNIT } from './engine.ts';

/**
 * The shapes of cases that the engine can express. Each names every field that it takes: a case with any other field
 * says something that we would ignore, and so is not of the shape.
 */
export interface Shape {
  fits: z.ZodType;
  run(given: BillingCase, world: BillingWorld): Promise<Finding>;
}

export function shape<Parts extends z.ZodRawShape>(
  parts: Parts,
  run: (
    given: z.output<z.ZodObject<Parts>> & { policy: Record<string, string> },
    world: BillingWorld,
  ) => Promise<Finding>,
): Shape {
  const fits = z.object({ ...parts, policy: z.record(z.string(), z.string()) });
  return { fits, run: (given, world) => run(fits.parse(given) as Parameters<typeof run>[0], world) };
}

export const decimal = z.string().refine((text) => parseExact(text) !== undefined);
export const currency = z.string().refine(isCurrency);
export const tier = z.strictObject({ up_to: decimal.nullable(), unit_price: decimal, flat_fee: decimal });
type TierOfCase = z.output<typeof tier>;

export const tiersOf = (tiers: readonly TierOfCase[]) =>
  tiers.map(({ up_to, unit_price, flat_fee }) => ({ up_to, amount: unit_price, flat: flat_fee }));

/** Every kind of price that plans know, as cases write it. */
export const model = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('unit'), currency, unit_price: decimal, free_units: decimal.optional() }),
  z.strictObject({ type: z.literal('graduated'), currency, tiers: z.array(tier), free_units: decimal.optional() }),
  z.strictObject({ type: z.literal('volume'), currency, tiers: z.array(tier), free_units: decimal.optional() }),
  z.strictObject({
    type: z.literal('package'),
    currency,
    package_size: decimal,
    package_price: decimal,
    free_units: decimal.optional(),
  }),
]);

export function planOf(terms: z.output<typeof model>, freeUnits = terms.free_units ?? '0') {
  return { currency: terms.currency, charges: [{ meter: UNIT, allowance: freeUnits, price: priceOf(terms) }] };
}

export function priceOf(terms: z.output<typeof model>) {
  switch (terms.type) {
    case 'unit':
      return { kind: 'unit', amount: terms.unit_price };
    case 'package':
      return { kind: 'package', size: terms.package_size, amount: terms.package_price };
    default:
      return { kind: terms.type, tiers: tiersOf(terms.tiers) };
  }
}

/** A month from its start instant, which is what a plan bills. */
export const month = z.strictObject({
  start: z.iso.datetime(),
  end: z.iso.datetime(),
  end_exclusive: z.literal(true),
});

export const none = z.strictObject({});
