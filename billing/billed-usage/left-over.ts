import type { Meter } from '#billing/meters/meter.ts';
import type { UsageQuantity } from '#billing/rating/rating.ts';
import { getExpression } from '#config/expression.ts';
import { isUnitMeter, unitsReadBy } from '#config/meter-terms.ts';
import { canonicalJson } from '#core/canonical-json.ts';
import { compare, type Exact, subtract, sum, ZERO } from '#core/exact.ts';
import { USAGE_EVENT_TYPE } from '#core/usage-event.ts';

/** What a meter reads of a period, before it is rounded. */
export interface Reading {
  readonly meter: Meter;
  readonly model: string;
  readonly measured: Exact;
}

/**
 * What no charge is for, without what the meters of a plan's charges have measured: they read units, whose usage is not
 * left over though no charge is for the units. A meter without a filter reads all of its units. Of one with a filter, only
 * what it sums is taken off; what it leaves out is nobody's, and is reported.
 */
export function leftOver(
  unrated: readonly UsageQuantity[],
  meters: readonly Meter[],
  readings: readonly Reading[],
): UsageQuantity[] {
  const whole = new Set<string>();
  const partly = new Map<string, Meter[]>();
  for (const meter of meters) {
    const { terms } = meter;
    if (isUnitMeter(terms) || terms.event_type !== USAGE_EVENT_TYPE) continue;
    if (terms.filter === undefined) for (const unit of unitsReadBy(terms)) whole.add(unit);
    else if (terms.unit !== undefined && isSum(meter)) {
      partly.set(terms.unit, [...(partly.get(terms.unit) ?? []), meter]);
    }
  }
  return [...Map.groupBy(unrated, ({ unit }) => unit)].flatMap(([unit, rows]) => {
    if (whole.has(unit)) return [];
    const filtered = partly.get(unit);
    return filtered ? restOf(unit, rows, filtered, readings) : rows;
  });
}

function isSum({ terms }: Meter): boolean {
  return terms.aggregation === 'sum' && !terms.recurring && (terms.combine ?? 'sum') === 'sum';
}

/** By model where the meters tell models apart; else of all together, under no name. */
function restOf(
  unit: string,
  rows: readonly UsageQuantity[],
  meters: readonly Meter[],
  readings: readonly Reading[],
): UsageQuantity[] {
  const isByModel = meters.every(({ terms }) => terms.dimensions.includes('model'));
  const whole = sum(rows.map(({ quantity }) => quantity));
  const parts = isByModel ? rows : [{ model: '', unit, quantity: whole }];
  return parts.flatMap((row) => {
    const sums = meters.map((meter) => {
      const of = readings.filter((one) => one.meter.unit === meter.unit && (!isByModel || one.model === row.model));
      return sum(of.map(({ measured }) => measured));
    });
    const measured = areApart(meters) ? sum(sums) : sums.reduce((a, b) => (compare(b, a) > 0 ? b : a), ZERO);
    const left = subtract(row.quantity, measured);
    if (left.num <= 0n) return [];
    return measured.num === 0n && !isByModel ? rows : [{ ...row, quantity: left }];
  });
}

/** Filters that ask one field for different values let no event through twice. Of others nobody knows. */
function areApart(meters: readonly Meter[]): boolean {
  const asked = meters.map(({ terms }) => getExpression(terms.filter ?? 'true'));
  const fields = new Set<string>();
  const values = new Set<string>();
  for (const one of asked) {
    if (one.kind !== 'binary' || one.operator !== '==' || one.left.kind !== 'field') return meters.length === 1;
    if (one.right.kind !== 'literal' || typeof one.right.value !== 'string') return meters.length === 1;
    fields.add(canonicalJson(one.left.path));
    values.add(one.right.value);
  }
  return fields.size === 1 && values.size === meters.length;
}
