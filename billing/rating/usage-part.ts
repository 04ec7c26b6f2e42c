import { add, type Exact } from '#core/exact.ts';

/** How finely a price looks at the usage of a period. Most look at nothing but its sum. */
export interface UsageCut {
  /** Usage before and after each of these is told apart: the price changes there. Ascending, inside the period. */
  readonly instants: readonly number[];
  /** Names of what is told apart: `model`, `region`, `labels.team`. */
  readonly dimensions: readonly string[];
  readonly window: { readonly size: 'quarter_hour' | 'hour' | 'day'; readonly aggregation: 'sum' | 'max' } | null;
  /** What events carry that is added up. */
  readonly carried: 'event_price' | 'provider_cost' | null;
  /** Events are told apart, in the order of time. */
  readonly events: boolean;
}

/** A part of the usage of a charge in a period. */
export interface UsagePart {
  readonly model: string;
  readonly quantity: Exact;
  /** How many events it is. An event of several models is counted in the first of its parts, and in no other. */
  readonly events: bigint;
  /** Which event it is a part of, by its place in the order of time; null where events are not told apart. */
  readonly event: number | null;
  /** How many of the instants are at or before it. */
  readonly segment: number;
  /** In the order of the names. */
  readonly dimensions: readonly string[];
  /** When its window begins. */
  readonly windowMs: number | null;
  /** Exact nanos; null where its events carry nothing. */
  readonly carried: Exact | null;
}

/** Usage that only its sum is known of, and need be. */
export function pooledPart(model: string, quantity: Exact): UsagePart {
  return { model, quantity, events: 0n, event: null, segment: 0, dimensions: [], windowMs: null, carried: null };
}

/** Of all its models together; each part on its own where events are not told apart. */
export function quantitiesByEvent(parts: readonly UsagePart[]): { quantity: Exact; events: bigint }[] {
  const whole: { quantity: Exact; events: bigint }[] = [];
  const places = new Map<number, { quantity: Exact; events: bigint }>();
  for (const { event, quantity, events } of parts) {
    const before = event === null ? undefined : places.get(event);
    if (before) {
      before.quantity = add(before.quantity, quantity);
      before.events += events;
      continue;
    }
    const one = { quantity, events };
    whole.push(one);
    if (event !== null) places.set(event, one);
  }
  return whole;
}
