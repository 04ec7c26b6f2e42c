import { createHash } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import { add, compare, type Exact, parseExact, ZERO } from '#core/exact.ts';
import { isCurrency } from '#core/money.ts';
import { COST_DECIMALS_MAX } from '#core/price.ts';
import type { Quantities } from '#core/quantity.ts';
import { parseInstant } from '#core/time.ts';
import { USAGE_EVENT_TYPE } from '#core/usage-event.ts';
import { cutText, storableJson, storableText } from './storable.ts';

/** Bounds of one event. Together the identifying texts stay below what a row of a Postgres index can hold (2,704 bytes). */
export const EVENT_BYTES_MAX = 256 * 1024;
export const ID_CHARS_MAX = 128;
export const MODEL_CHARS_MAX = 256;
export const UNITS_MAX = 64;
const PARTS_MAX = 1_000;

/** Before: a clock that was never set. After now: a clock that is wrong; a month of the far future is no period to bill. */
export const TIME_MIN_MS = Date.UTC(2020, 0, 1);
export const AHEAD_MS_MAX = 24 * 3_600_000;

const id = z.string().min(1).max(ID_CHARS_MAX);

/** So many digits that a sum over 10^10 events is still one that core/exact.ts parses. */
const DIGITS = new RegExp(`^\\d{1,18}(\\.\\d{1,${COST_DECIMALS_MAX}})?$`);
const decimal = z
  .string()
  .regex(DIGITS, `is no non-negative decimal of at most 18 digits and ${COST_DECIMALS_MAX} decimals`);

const quantities = z
  .record(z.string().min(1).max(64), decimal)
  .refine((units) => Object.keys(units).length <= UNITS_MAX, `has more than ${UNITS_MAX} units`);

const money = z.object({ amount: decimal, currency: z.string().refine(isCurrency, 'is no currency code') });
const cost = money.nullable();

/**
 * What billing relies on in an event; everything else is kept as it came. An event that is right in these is billed,
 * however odd the rest.
 */
export const usageEventSchema = z.looseObject({
  specversion: z.literal('1.0'),
  id,
  source: id,
  type: z.literal(USAGE_EVENT_TYPE),
  subject: id,
  time: z.string().refine((text) => parseInstant(text) !== undefined, 'is no RFC 3339 instant'),
  data: z
    .looseObject({
      customer: id,
      key: id,
      /** Empty where a call has none. */
      model: z.string().max(MODEL_CHARS_MAX),
      usage_status: z.enum(['final', 'partial', 'estimated', 'none']),
      quantities,
      cost,
      price: money.optional(),
      parts: z
        .array(z.looseObject({ model: z.string().max(MODEL_CHARS_MAX), quantities, cost }))
        .min(1)
        .max(PARTS_MAX)
        .optional(),
    })
    .refine(isSumOfParts, 'quantities are not the sum of their parts'),
});

/** What is counted part by part must be what the event says: else a sum over events would depend on who sums. */
function isSumOfParts({
  quantities: whole,
  parts,
}: {
  quantities: Quantities;
  parts?: { quantities: Quantities }[] | undefined;
}): boolean {
  if (!parts) return true;
  const units = new Set([whole, ...parts.map((part) => part.quantities)].flatMap((one) => Object.keys(one)));
  const of = (one: Quantities, unit: string): Exact => parseExact(one[unit] ?? '0') ?? ZERO;
  return [...units].every((unit) => {
    const sum = parts.reduce((total, part) => add(total, of(part.quantities, unit)), ZERO);
    return compare(sum, of(whole, unit)) === 0;
  });
}

/** An event that can be stored and summed: the columns of its row, and its body as canonical JSON. */
export interface StorableEvent {
  source: string;
  id: string;
  hash: string;
  type: string;
  timeMs: number;
  customer: string;
  key: string;
  model: string;
  body: string;
}

export type ParkedReason = 'malformed' | 'unknown_type' | 'time_out_of_range';

/** What cannot be taken as it is, kept with the reason. */
export interface ParkedEvent {
  reason: ParkedReason;
  detail: string;
  hash: string;
  source: string | null;
  id: string | null;
  body: string;
}

/** Untrusted JSON to an event to store, or to park. Text that was no JSON is passed as the string that it is. */
export function parseEvent(value: unknown, nowMs: number): StorableEvent | ParkedEvent {
  const body = storableJson(value);
  if (body === undefined) return park(value, cutText(value), 'malformed', 'It is nested too deep.');
  if (body.length > EVENT_BYTES_MAX) return park(value, body, 'malformed', 'It is larger than an event may be.');
  const parsed = usageEventSchema.safeParse(value);
  if (!parsed.success) {
    if (hasOtherType(value))
      return park(value, body, 'unknown_type', `This version does not know the type ${value.type}.`);
    return park(value, body, 'malformed', describe(parsed.error));
  }
  const event = parsed.data;
  if (event.subject !== event.data.customer) {
    return park(value, body, 'malformed', 'subject: is not data.customer');
  }
  const timeMs = parseInstant(event.time);
  if (timeMs === undefined || timeMs < TIME_MIN_MS || timeMs > nowMs + AHEAD_MS_MAX) {
    return park(value, body, 'time_out_of_range', `time: ${event.time} is too far from now`);
  }
  return {
    source: storableText(event.source),
    id: storableText(event.id),
    hash: hashOf(body),
    type: event.type,
    timeMs,
    customer: storableText(event.data.customer),
    key: storableText(event.data.key),
    model: storableText(event.data.model),
    body,
  };
}

export function isParked(event: StorableEvent | ParkedEvent): event is ParkedEvent {
  return 'reason' in event;
}

/** A well-formed CloudEvent of some other type: a newer gateway may send what only a newer billing understands. */
function hasOtherType(value: unknown): value is { type: string } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'type' in value &&
    typeof value.type === 'string' &&
    value.type !== USAGE_EVENT_TYPE
  );
}

function park(value: unknown, body: string, reason: ParkedReason, detail: string): ParkedEvent {
  return {
    reason,
    detail: storableText(detail),
    hash: hashOf(body),
    source: textOf(value, 'source'),
    id: textOf(value, 'id'),
    body,
  };
}

function textOf(value: unknown, field: 'source' | 'id'): string | null {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, field)) return null;
  const text: unknown = Reflect.get(value, field);
  return typeof text === 'string' ? storableText(text.slice(0, ID_CHARS_MAX)) : null;
}

function describe(error: z.ZodError): string {
  return error.issues
    .map((issue) => `${issue.path.join('.') || 'event'}: ${issue.message}`)
    .join('; ')
    .slice(0, 1_000);
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
