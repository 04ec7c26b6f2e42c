import { add, compare, type Exact, getExact, multiply, subtract, ZERO } from '#core/exact.ts';
import { formatFraction } from './exact-amount.ts';
import { nanosOf } from './nanos.ts';
import type { Step } from './step.ts';

/**
 * Tiers made ready once: bounds and prices as numbers, and the steps of every tier that is used in full, which are the
 * same for all quantities beyond it. What is left per quantity is one tier.
 */
export interface TierTerms {
  readonly name?: string | undefined;
  readonly up_to: string | null;
  readonly flat: string;
}

interface ReadyTier {
  readonly lower: Exact;
  /** Inclusive; null for the last. */
  readonly upper: Exact | null;
  readonly unit: Exact;
  readonly flat: Exact;
  readonly label: string;
  readonly text: string;
  /** The steps of the tiers before it, each used in full. */
  readonly before: readonly Step[];
}

/** Where a quantity ends: bounds are inclusive, so a tier is entered by any quantity beyond the bound before it. */
function findTier(rows: readonly ReadyTier[], quantity: Exact): ReadyTier {
  for (const row of rows) if (row.upper === null || compare(quantity, row.upper) <= 0) return row;
  throw new RangeError('the last tier has an upper bound');
}

/** Each unit in its tier. `unitOf` gives exact nanos for one unit, `textOf` how that is written. */
export function stepsByTiers(rows: readonly ReadyTier[], quantity: Exact): Step[] {
  const row = findTier(rows, quantity);
  return [...row.before, stepOf(row, quantity)];
}

function stepOf(row: Omit<ReadyTier, 'before'>, upTo: Exact): Step {
  const units = subtract(upTo, row.lower);
  return {
    formula: `${row.label}${formatFraction(units)} x ${row.text}`,
    quantity: units,
    amount: add(multiply(units, row.unit), row.flat),
  };
}

export function readyTiers<Tier extends TierTerms>(
  tiers: readonly Tier[],
  unitOf: (tier: Tier) => Exact,
  textOf: (tier: Tier) => string,
): ReadyTier[] {
  const rows: ReadyTier[] = [];
  let lower = ZERO;
  let before: readonly Step[] = [];
  for (const [i, tier] of tiers.entries()) {
    const upper = tier.up_to === null ? null : getExact(tier.up_to);
    const name = tier.name === undefined ? '' : ` ${tier.name}`;
    const label = `tier ${i + 1}${name} (${formatFraction(lower)} to ${tier.up_to ?? 'any'}): `;
    const row = {
      lower,
      upper,
      unit: unitOf(tier),
      flat: nanosOf(tier.flat),
      label,
      text: `${textOf(tier)} + ${tier.flat}`,
    };
    rows.push({ ...row, before });
    if (upper === null) break;
    before = [...before, stepOf(row, upper)];
    lower = upper;
  }
  return rows;
}
