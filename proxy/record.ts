import type { Config } from '#config/config.ts';
import type { CallCost } from '#core/call-cost.ts';
import { type Counts, quantitiesOf } from '#core/quantity.ts';
import { GATEWAY_SOURCE, USAGE_EVENT_TYPE, type UsageEvent, type UsagePart } from '#core/usage-event.ts';
import type { Admitted } from './admission.ts';
import { costOfCall, durationMsMax, type Served, type TokensMax, tokensMaxOf } from './cost.ts';
import { type Ending, guessOf, type Measured, measure } from './ending.ts';
import type { Flight } from './flight.ts';
import { min } from './limits/counter.ts';
import { usedOf } from './limits/policy.ts';
import { inputHeld } from './reserving/holding.ts';
import type { Closing, Opening } from './sink/sink.ts';
import type { Target } from './upstream/route-table.ts';
import type { Asked } from './wire/wire.ts';

/** What happened, as billing will read it. */
function usageEvent(
  flight: Flight,
  admitted: Admitted,
  measured: Measured,
  cost: CallCost,
  served: Served,
  endMs: number,
): UsageEvent {
  const { policy, asked, config } = admitted;
  const run = served.run ?? asked.run ?? null;
  return {
    specversion: '1.0',
    id: flight.id,
    source: GATEWAY_SOURCE,
    type: USAGE_EVENT_TYPE,
    subject: policy.customer,
    time: flight.time,
    datacontenttype: 'application/json',
    data: {
      customer: policy.customer,
      key: policy.key,
      user: admitted.user,
      session: admitted.session ?? served.session ?? null,
      labels: run === null || admitted.labels.run !== undefined ? admitted.labels : { ...admitted.labels, run },
      wire: admitted.wire.name,
      endpoint: admitted.endpoint,
      upstream: flight.target?.upstream.name ?? null,
      provider: flight.target?.upstream.provider ?? null,
      model: asked.model,
      model_sent: flight.target?.model ?? undefined,
      model_served: served.model,
      service_tier: served.tier,
      region: served.region ?? asked.region ?? flight.target?.upstream.region ?? undefined,
      variant: asked.variant ?? undefined,
      stream: asked.stream,
      outcome: measured.outcome,
      usage_status: measured.status,
      quantities: quantitiesOf(measured.counts),
      parts: partsOf(measured, asked, cost),
      raw_usage: measured.raw,
      cost: cost.json,
      cost_source: cost.source,
      price_book: config.priceBook.version,
      unpriced: cost.unpriced,
      attempts: flight.attempts,
      ttfb_ms: flight.firstBytesMs === null ? null : Math.max(0, flight.firstBytesMs - flight.atMs),
      duration_ms: Math.max(0, endMs - flight.atMs),
      trace_id: admitted.seen.trace.traceId,
    },
  };
}

/**
 * What stands for a call should its gateway die before it learns the end. The client never got the whole answer: it is
 * billed for what it sent, by a guess, and for nothing of what nobody saw.
 */
export function openingOf(flight: Flight, admitted: Admitted): Opening {
  const { asked, config, limits, reservation, policy } = admitted;
  const target = targetOf(flight, admitted);
  const counts = guessOf(asked, 0n, heldMaxOf(admitted, target));
  const served = UNANSWERED;
  const cost = costOfCall(counts, null, target, asked, served, policy.customer, config, flight.atMs, flight.atMs);
  const measured: Measured = { outcome: 'unknown', status: 'estimated', counts, raw: null, usage: null };
  return {
    reservation,
    estimate: usageEvent(flight, admitted, measured, cost, served, flight.atMs),
    estimatedUse: usedOf(limits, reservation, { counts, costNanos: cost.nanos, model: asked.model }),
  };
}

/** How a call ended, in the units of its limits and as its event. */
export function closingOf(flight: Flight, admitted: Admitted, ending: Ending, endMs: number): Closing {
  const { asked, config, limits, reservation, policy } = admitted;
  const measured = measure(ending, asked, heldMaxOf(admitted, targetOf(flight, admitted)));
  const served = servedOf(ending);
  const { usage } = measured;
  const counts = asked.timed ? timed(measured, endMs - flight.atMs, config) : measured.counts;
  const cost = costOfCall(counts, usage, flight.target, asked, served, policy.customer, config, flight.atMs, endMs);
  return {
    reservation,
    used: usedOf(limits, reservation, { counts, costNanos: cost.nanos, model: asked.model }),
    event: usageEvent(
      flight,
      admitted,
      counts === measured.counts ? measured : { ...measured, counts },
      cost,
      served,
      endMs,
    ),
  };
}

/** What its answer said of who served it. */
export function servedOf(ending: Ending): Served {
  const reading = 'reading' in ending ? ending.reading : null;
  if (!reading) return UNANSWERED;
  return {
    model: reading.model,
    tier: reading.serviceTier,
    region: reading.region ?? null,
    run: reading.run ?? null,
    session: reading.session ?? null,
  };
}

/** The time of a call for which anything is billed at all; no more than is held for it. */
function timed({ counts }: Measured, ms: number, config: Config): Counts {
  for (const _ in counts)
    return { ...counts, duration_ms: min(BigInt(Math.max(0, Math.trunc(ms))), durationMsMax(config)) };
  return counts;
}

export function partsOf({ usage }: Measured, asked: Asked, cost: CallCost): UsagePart[] | undefined {
  if (!usage?.parts || usage.parts.length === 0) return undefined;
  return usage.parts.map(({ model, counts }, i) => ({
    // As every other call of it: by the name that was asked for.
    model: model ?? asked.model,
    quantities: quantitiesOf(counts),
    cost: cost.parts?.[i] ?? null,
  }));
}

const UNANSWERED: Served = { model: null, tier: null, region: null };

/** Who answered, or would have been the first to be asked. */
export function targetOf({ target }: Flight, { targets }: Admitted): Target {
  return target ?? (targets[0] as Target);
}

/** The most that one target can bill, and never more than is held: a guess of ours must not carry a budget past its limit. */
export function heldMaxOf(
  { asked, config, policy, part, outputMax, inputCounted }: Admitted,
  target: Target,
): TokensMax {
  const { inputTokens, outputTokens } = tokensMaxOf(asked, target, policy.customer, config);
  return {
    inputTokens: inputCounted === null ? inputTokens : min(inputTokens, inputHeld(asked, inputCounted)),
    outputTokens: min(outputTokens, part ?? outputMax),
  };
}
