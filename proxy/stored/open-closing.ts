import type { Config } from '#config/config.ts';
import { add, type Exact, formatExact, parseExact, ZERO } from '#core/exact.ts';
import type { MoneyJson } from '#core/money.ts';
import { type Quantities, quantitiesOf } from '#core/quantity.ts';
import type { UsagePart } from '#core/usage-event.ts';
import { costOfCall } from '../cost.ts';
import { type Ending, measure } from '../ending.ts';
import { usedOf } from '../limits/policy.ts';
import { partsOf, servedOf } from '../record.ts';
import type { Closing } from '../sink/sink.ts';
import type { Target } from '../upstream/route-table.ts';
import type { OpenCall } from './stored.ts';

/** The closing of a call that ended behind its client's back, out of what was put down when it was handed over. */
export function closingOfOpen(call: OpenCall, ending: Ending, target: Target, config: Config, endMs: number): Closing {
  const { opening, asked, limits, heldMax, customer, atMs } = call;
  const { reservation, estimate } = opening;
  const measured = measure(ending, asked, heldMax);
  const served = servedOf(ending);
  const { counts, usage } = measured;
  const cost = costOfCall(counts, usage, target, asked, served, customer, config, atMs, endMs);
  return {
    reservation,
    used: usedOf(limits, reservation, { counts, costNanos: cost.nanos, model: asked.model }),
    event: {
      ...estimate,
      data: {
        ...estimate.data,
        model_served: served.model,
        service_tier: served.tier,
        region: served.region ?? estimate.data.region,
        outcome: measured.outcome,
        usage_status: measured.status,
        quantities: quantitiesOf(counts),
        parts: byModel(partsOf(measured, asked, cost)),
        raw_usage: measured.raw,
        cost: cost.json,
        cost_source: cost.source,
        price_book: config.priceBook.version,
        unpriced: cost.unpriced,
        duration_ms: Math.max(0, endMs - atMs),
      },
    },
  };
}

/** One part for each model, though every answer of a batch was costed by itself; none where there is only one model. */
function byModel(parts: UsagePart[] | undefined): UsagePart[] | undefined {
  const models = new Map<string, UsagePart[]>();
  for (const part of parts ?? []) {
    const same = models.get(part.model);
    if (same) same.push(part);
    else models.set(part.model, [part]);
  }
  if (models.size <= 1) return undefined;
  return [...models].map(([model, all]) => ({ model, quantities: sumOf(all), cost: costOf(all) }));
}

function sumOf(parts: readonly UsagePart[]): Quantities {
  const sums: Record<string, bigint> = {};
  for (const { quantities } of parts) {
    for (const unit in quantities) sums[unit] = (sums[unit] ?? 0n) + BigInt(quantities[unit] ?? '0');
  }
  return Object.fromEntries(Object.entries(sums).map(([unit, count]) => [unit, count.toString()]));
}

function costOf(parts: readonly UsagePart[]): MoneyJson | null {
  let total: Exact = ZERO;
  let currency: string | undefined;
  for (const { cost } of parts) {
    const amount = cost && parseExact(cost.amount);
    if (!amount || (currency !== undefined && currency !== cost.currency)) return null;
    total = add(total, amount);
    currency = cost.currency;
  }
  return currency === undefined ? null : { amount: formatExact(total), currency };
}

/** Of one whose end nobody will see. */
export function closingByEstimate({ opening }: OpenCall): Closing {
  return { reservation: opening.reservation, used: opening.estimatedUse, event: opening.estimate };
}
