import { amountOf, type Charge, chargeSteps, cutFor, flatSteps, type Span } from '#billing/rating/charge.ts';
import { priceRefuses } from '#billing/rating/rating.ts';
import type { Step } from '#billing/rating/step.ts';
import { pooledPart, type UsageCut, type UsagePart } from '#billing/rating/usage-part.ts';
import { type Exact, ONE, sum } from '#core/exact.ts';
import { HOUR_MS, localDate, startOfDate } from '#core/time.ts';

/** An event as somebody imagines it, with what prices look at. */
export interface ImaginedEvent {
  timeMs: number;
  model: string;
  quantity: Exact;
  dimensions: Readonly<Record<string, string>>;
  /** Exact nanos. */
  price: Exact | null;
  cost: Exact | null;
}

export interface Evaluation {
  quantity: Exact;
  amount: Exact;
  steps: readonly Step[];
  /** Events that the price has no amount for. */
  unrated: number;
}

/** What a quantity comes to: the function that rates invoices. */
export function evaluateQuantity(charge: Charge, quantity: Exact, span: Span): Evaluation {
  return evaluated(charge, [pooledPart('*', quantity)], span);
}

/** What events come to, in the order of time. */
export function evaluateEvents(charge: Charge, events: readonly ImaginedEvent[], zone: string): Evaluation {
  const ordered = [...events].sort((a, b) => a.timeMs - b.timeMs);
  const startMs = ordered[0]?.timeMs ?? 0;
  const span: Span = { startMs, endMs: (ordered.at(-1)?.timeMs ?? 0) + 1, zone, share: ONE, first: true };
  const cut = cutFor(charge, span);
  return evaluated(
    charge,
    ordered.map((event, place) => partOf(event, place, cut, zone)),
    span,
  );
}

function evaluated(charge: Charge, parts: readonly UsagePart[], span: Span): Evaluation {
  if (charge.price.kind === 'flat') {
    const steps = flatSteps(charge.price.amount, span.share);
    return { quantity: span.share, amount: amountOf(steps), steps, unrated: 0 };
  }
  const refuses = priceRefuses(charge, span);
  const rated = parts.filter((part) => !refuses(part));
  const steps = chargeSteps(charge, rated, span, false);
  const quantity = sum(rated.map((part) => part.quantity));
  return { quantity, amount: amountOf(steps), steps, unrated: parts.length - rated.length };
}

function partOf(event: ImaginedEvent, place: number, cut: UsageCut | null, zone: string): UsagePart {
  const { timeMs, model, quantity } = event;
  const dimensions = (cut?.dimensions ?? []).map((name) => (name === 'model' ? model : (event.dimensions[name] ?? '')));
  const carried = cut?.carried === 'event_price' ? event.price : cut?.carried === 'provider_cost' ? event.cost : null;
  return {
    model,
    quantity,
    events: 1n,
    event: place,
    segment: (cut?.instants ?? []).filter((atMs) => atMs <= timeMs).length,
    dimensions,
    windowMs: cut?.window ? windowStart(cut.window.size, timeMs, zone) : null,
    carried,
  };
}

function windowStart(size: 'quarter_hour' | 'hour' | 'day', atMs: number, zone: string): number {
  if (size === 'day') return startOfDate(localDate(atMs, zone), zone);
  const lengthMs = size === 'hour' ? HOUR_MS : HOUR_MS / 4;
  return atMs - (((atMs % lengthMs) + lengthMs) % lengthMs);
}
