import type { Config } from '#config/config.ts';
import { quantitiesOf } from '#core/quantity.ts';
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
  const cost = costOfCall(counts, usage, target, asked, served, customer, config, atMs);
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
        parts: partsOf(measured, asked, cost),
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

/** Of one whose end nobody will see. */
export function closingByEstimate({ opening }: OpenCall): Closing {
  return { reservation: opening.reservation, used: opening.estimatedUse, event: opening.estimate };
}
