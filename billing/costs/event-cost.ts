import { parseExactObject } from '#billing/event-formats/exact-json.ts';
import type { StorableEvent } from '#billing/events/event.ts';
import { storableJson } from '#billing/events/storable.ts';
import { type CallCost, type CallFacts, costOfCallBy, type PartUsed } from '#core/call-cost.ts';
import { getExact } from '#core/exact.ts';
import type { PriceBook } from '#core/price.ts';
import type { Counts, Unit } from '#core/quantity.ts';

/** What a usage event cost at its provider, by the price book: the same for one that comes and one that is costed anew. */
export type Fields = Readonly<Record<string, unknown>>;

/** Undefined of what no price list can know: quantities that are not whole. */
export function costOfData(
  book: PriceBook,
  { customer, timeMs }: { customer: string; timeMs: number },
  data: Fields,
): CallCost | undefined {
  const counts = countsOf(data.quantities);
  const parts = Array.isArray(data.parts) ? data.parts.map((part) => partOf(part, data.model)) : null;
  if (!counts || !(parts?.every((part) => part !== undefined) ?? true)) return undefined;
  const model = textOf(data.model) ?? '';
  const facts: CallFacts = {
    provider: textOf(data.provider),
    upstream: textOf(data.upstream) ?? '',
    customer,
    modelSent: textOf(data.model_sent) ?? model,
    modelServed: textOf(data.model_served),
    service: { tier: textOf(data.service_tier), region: textOf(data.region), variant: textOf(data.variant) },
    atMs: timeMs,
    endMs: timeMs + (typeof data.duration_ms === 'number' ? data.duration_ms : 0),
  };
  return costOfCallBy(book, facts, counts, parts?.flatMap((part) => part ?? []) ?? null);
}

/** The data with a cost, and with those of its parts. */
export function withCost(data: Fields, cost: CallCost, version: string): Record<string, unknown> {
  return {
    ...data,
    cost: cost.json,
    price_book: version,
    unpriced: cost.unpriced,
    ...(Array.isArray(data.parts) && {
      parts: data.parts.map((part, i) => ({ ...fieldsOf(part), cost: cost.parts?.[i] ?? null })),
    }),
  };
}

/**
 * An event whose sender does not know its cost, with what the price book knows. What it does not know is unpriced, and in
 * sight as that; never zero. Its hash stays that of what was sent, so that its repeat is one whatever the prices are by then.
 */
export function costedEvent(book: PriceBook, event: StorableEvent): StorableEvent {
  if (!event.isUncosted) return event;
  const body = parseExactObject(event.body);
  const data = fieldsOf(body.data);
  const cost = costOfData(book, event, data) ?? {
    json: null,
    nanos: null,
    unpriced: Object.keys(fieldsOf(data.quantities)),
  };
  const costed = storableJson({ ...body, data: withCost(data, cost, book.version) });
  return costed === undefined ? event : { ...event, isUncosted: false, body: costed };
}

export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

export function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

/** A part of the model that was asked for is one of the model that answered. */
function partOf(value: unknown, asked: unknown): PartUsed | undefined {
  const { model, quantities } = fieldsOf(value);
  const counts = countsOf(quantities);
  return counts && { model: model === asked ? null : textOf(model), counts };
}

/** Whole quantities, as gateways count; undefined for others, which have no cost at a provider. */
function countsOf(quantities: unknown): Counts | undefined {
  const counts: Partial<Record<Unit, bigint>> = {};
  for (const [unit, text] of Object.entries(fieldsOf(quantities))) {
    if (typeof text !== 'string') return undefined;
    const { num, den } = getExact(text);
    if (den !== 1n) return undefined;
    counts[unit as Unit] = num;
  }
  return counts;
}
