import { z } from '@hono/zod-openapi';
import { decimalOfNumber } from '#billing/event-formats/exact-json.ts';
import { issuesOfNoObject, type ParsedEvent, parkedEvent, parseEvent } from '#billing/events/event.ts';
import { cutText, storableJson } from '#billing/events/storable.ts';
import { issuesOf } from '#billing/http/problem.ts';
import { UNIT_MEANINGS, UNITS, type Unit } from '#core/quantity.ts';
import { USAGE_EVENT_TYPE } from '#core/usage-event.ts';

/**
 * Usage as an application knows it, without the envelope of an event: one schema for each kind of call. What is named
 * like a unit is the quantity of that unit; the units are disjoint, as everywhere (docs/vocabulary.md).
 */
export const KINDS = ['completions', 'images', 'audio', 'video', 'tool_calls', 'custom'] as const;
export type Kind = (typeof KINDS)[number];

export function isKind(name: string): name is Kind {
  return KINDS.some((kind) => kind === name);
}

/** Where an event comes from when its sender does not say. */
const SOURCE = '/api';

const text = z.string().min(1).max(256);

/** A number as it was written, or decimal text: never through a binary float. */
const Quantity = z
  .union([z.number(), z.string(), z.custom<RawJson>((value) => JSON.isRawJSON(value))])
  .transform((value, context): string => {
    const decimal = typeof value === 'string' ? value.trim() : decimalOfNumber(value);
    if (decimal !== undefined && /^\d{1,18}(\.\d{1,30})?$/.test(decimal)) return decimal;
    context.issues.push({
      code: 'custom',
      input: value,
      message: 'Wants a number of at most 18 digits and 30 decimals that is not negative.',
    });
    return z.NEVER;
  })
  .openapi({ type: ['number', 'string'], example: 1200 });

const who = {
  id: z
    .string()
    .min(1)
    .max(128)
    .openapi({ description: 'Chosen by you, and the same when you send it again: it is counted once.' }),
  source: z
    .string()
    .min(1)
    .max(128)
    .default(SOURCE)
    .openapi({ description: 'The system that sends it; ids are unique within it.' }),
  time: z
    .string()
    .optional()
    .openapi({ format: 'date-time', description: 'When it happened; without it, when it came.' }),
  customer: text
    .optional()
    .openapi({ description: 'Who is billed. Without it the event is kept, and can be attributed later.' }),
  key: text.optional().openapi({ description: 'The id of a key; without a customer, its customer is billed.' }),
  user: text.optional().openapi({ description: "The customer's own user." }),
  session: text.optional(),
  product: text.optional().openapi({ description: 'Becomes the label `product`.' }),
  labels: z.record(z.string().min(1).max(64), z.string().max(256)).optional(),
  properties: z.record(z.string().min(1).max(64), z.unknown()).optional().openapi({
    description: 'What meters filter by and add up: texts, numbers (exact, also as decimal text), booleans.',
  }),
};

const call = {
  ...who,
  provider: text.optional(),
  model: text,
  model_served: text.optional(),
  endpoint: text.optional(),
  service_tier: text.optional(),
  usage_status: z.enum(['final', 'partial', 'estimated', 'none']).default('final'),
  outcome: z.enum(['ok', 'failed', 'cut', 'gone', 'unknown']).default('ok'),
  cost: z
    .strictObject({ amount: Quantity, currency: z.string() })
    .nullable()
    .default(null)
    .openapi({ description: 'What the provider charged; null where that is not known.' }),
  ttfb_ms: z.number().int().min(0).optional(),
  duration_ms: z.number().int().min(0).optional(),
  trace_id: text.optional(),
};

/** Every unit may come with every kind, since providers mix them; these must. */
const unitFields = Object.fromEntries(
  UNITS.filter((unit) => unit !== 'duration_ms').map((unit) => [
    unit,
    Quantity.optional().openapi({ description: UNIT_MEANINGS[unit] }),
  ]),
);
const of = (required: Partial<Record<Unit, z.ZodType>>, fields: z.ZodRawShape = call) =>
  z.strictObject({ ...fields, ...unitFields, calls: Quantity.default('1'), ...required });

export const TYPED: Readonly<Record<Kind, z.ZodObject>> = {
  completions: of({ input_tokens: Quantity, output_tokens: Quantity }).openapi('CompletionEvent'),
  images: of({ images: Quantity }).openapi('ImagesEvent'),
  audio: of({}).openapi('AudioEvent'),
  video: of({ video_seconds: Quantity }).openapi('VideoEvent'),
  tool_calls: of({ tool_calls: Quantity.default('1') }, { ...call, model: text.optional(), tool: text }).openapi(
    'ToolCallEvent',
  ),
  custom: z
    .strictObject({
      ...who,
      type: z.string().min(1).max(128).openapi({ example: 'ticket.resolved' }),
      model: text.optional(),
    })
    .openapi('CustomEvent'),
};

/** A row of a kind to the event that it is. */
export function parseTyped(kind: Kind, row: unknown, nowMs: number, receivedMs = nowMs): ParsedEvent {
  const body = storableJson(row) ?? cutText(row);
  const noObject = issuesOfNoObject(row);
  if (noObject.length > 0) return parkedEvent(row, body, 'malformed', noObject, kind);
  const parsed = TYPED[kind].safeParse(row);
  if (!parsed.success) return parkedEvent(row, body, 'malformed', issuesOf(parsed.error, 'body'), kind);
  const event = parseEvent(kind === 'custom' ? customEvent(parsed.data) : usageEvent(parsed.data), nowMs, receivedMs);
  return event.kind === 'parked'
    ? { ...parkedEvent(row, body, event.reason, event.issues, kind), id: event.id }
    : event;
}

type Fields = Readonly<Record<string, unknown>>;

function envelope({ id, source, time, customer }: Fields): Record<string, unknown> {
  return { specversion: '1.0', id, source, ...given({ time, subject: customer }) };
}

function usageEvent(fields: Fields): Record<string, unknown> {
  const { id: _id, source: _source, time: _time, product: _product, labels: _labels, ...rest } = fields;
  const isUnit = (name: string) => name in unitFields;
  const entries = Object.entries(given(rest));
  const data = {
    ...Object.fromEntries(entries.filter(([name]) => !isUnit(name))),
    labels: labelsOf(fields),
    quantities: Object.fromEntries(entries.filter(([name, value]) => isUnit(name) && value !== '0')),
  };
  return { ...envelope(fields), type: USAGE_EVENT_TYPE, data };
}

function customEvent(fields: Fields): Record<string, unknown> {
  const { type, key, user, session, model, properties } = fields;
  return {
    ...envelope(fields),
    type,
    data: { ...given({ key, user, session, model, properties }), labels: labelsOf(fields) },
  };
}

function labelsOf({ labels, product }: Fields): Record<string, unknown> {
  return { ...(labels as object | undefined), ...given({ product }) };
}

function given(fields: Fields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
