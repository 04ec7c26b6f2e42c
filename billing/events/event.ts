import { createHash } from 'node:crypto';
import type { z } from '@hono/zod-openapi';
import { decimalOfNumber } from '#billing/event-formats/exact-json.ts';
import { issuesOf } from '#billing/http/problem.ts';
import type { FaultIssue } from '#core/fault.ts';
import { LIMIT_WARNING_TYPE } from '#core/limit-warning.ts';
import { parseInstant } from '#core/time.ts';
import { USAGE_EVENT_TYPE } from '#core/usage-event.ts';
import {
  anyEventSchema,
  CORRECTION_TYPE,
  correctionSchema,
  ID_CHARS_MAX,
  limitWarningSchema,
  MODEL_CHARS_MAX,
  PROPERTY_NUMBER,
  PROPERTY_NUMBER_BOUND,
  usageEventSchema,
} from './event-schema.ts';
import { cutText, storableJson, storableText } from './storable.ts';

export const EVENT_BYTES_MAX = 256 * 1024;

/** Before: a clock that was never set. After now: a clock that is wrong; a month of the far future is no period to bill. */
export const TIME_MIN_MS = Date.UTC(2020, 0, 1);
export const AHEAD_MS_MAX = 24 * 3_600_000;

export function isTimeInRange(timeMs: number, nowMs: number): boolean {
  return timeMs >= TIME_MIN_MS && timeMs <= nowMs + AHEAD_MS_MAX;
}

/** An event that can be stored and summed: the columns of its row, and its body as canonical JSON. What it does not name is ''. */
export interface StorableEvent {
  kind: 'event';
  source: string;
  id: string;
  hash: string;
  type: string;
  timeMs: number;
  customer: string;
  key: string;
  model: string;
  /** Of a call to a model whose sender knows no cost and asked no price book. */
  isUncosted: boolean;
  body: string;
}

/** What changes an event that was taken. */
export interface Correction {
  kind: 'correction';
  source: string;
  id: string;
  hash: string;
  timeMs: number;
  targetSource: string;
  targetId: string;
  reason: string;
  /** What stands in its place; null deletes. */
  event: StorableEvent | null;
  /** Whether that one says when it happened; else it happened when the first did. */
  isTimed: boolean;
  body: string;
}

export type ParkedReason = 'malformed' | 'unknown_type' | 'time_out_of_range' | 'unknown_event';

/** What cannot be taken as it is, kept with the reason. */
export interface ParkedEvent {
  kind: 'parked';
  reason: ParkedReason;
  detail: string;
  /** Each thing that is wrong, with the place in the event. */
  issues: readonly FaultIssue[];
  hash: string;
  source: string | null;
  id: string | null;
  body: string;
  /** The template that it was read with, and is to be read with again. */
  template: string | null;
}

export type ParsedEvent = StorableEvent | Correction | ParkedEvent;

/**
 * Untrusted JSON to what is to be done with it. Text that was no JSON is passed as the string that it is. An event
 * without a time happened when it came, which is earlier than now for one that is tried again.
 */
export function parseEvent(value: unknown, nowMs: number, receivedMs = nowMs): ParsedEvent {
  const body = storableJson(value);
  if (body === undefined)
    return parkedEvent(value, cutText(value), 'malformed', [{ detail: 'It is nested too deep.' }]);
  if (body.length > EVENT_BYTES_MAX) {
    return parkedEvent(value, body, 'malformed', [{ detail: 'It is larger than an event may be.' }]);
  }
  const malformed = (issues: readonly FaultIssue[]) => parkedEvent(value, body, 'malformed', issues);
  const noObject = issuesOfNoObject(value);
  if (noObject.length > 0) return malformed(noObject);
  const type = typeOf(value);
  if (type === USAGE_EVENT_TYPE) {
    const parsed = usageEventSchema.safeParse(value);
    if (!parsed.success) return malformed(issuesOf(parsed.error, 'body'));
    const { subject, data } = parsed.data;
    if (subject !== undefined && data.customer !== undefined && subject !== data.customer) {
      return malformed([{ pointer: '#/subject', detail: 'It is not data.customer.' }]);
    }
    const wrong = data.properties === undefined ? [] : numbersOutOfBounds(data.properties, '#/data/properties');
    if (wrong.length > 0) return malformed(wrong);
    const isUncosted = !data.cost && data.price_book === undefined && !!data.model;
    return storable(value, parsed.data, body, { nowMs, receivedMs }, { ...data, isUncosted });
  }
  if (type === LIMIT_WARNING_TYPE) return parseWarning(value, body, nowMs, receivedMs);
  if (type === CORRECTION_TYPE) return parseCorrection(value, body, nowMs, receivedMs);
  if (type?.startsWith('weir.')) {
    return parkedEvent(value, body, 'unknown_type', [{ detail: `This version does not know the type ${type}.` }]);
  }
  const parsed = anyEventSchema.safeParse(value);
  if (!parsed.success) return malformed(issuesOf(parsed.error, 'body'));
  const data = parsed.data.data ?? {};
  const issues = numbersOutOfBounds(data, '#/data');
  if (issues.length > 0) return malformed(issues);
  return storable(
    value,
    parsed.data,
    body,
    { nowMs, receivedMs },
    {
      customer: textWithin(data.customer, ID_CHARS_MAX),
      key: textWithin(data.key, ID_CHARS_MAX),
      model: textWithin(data.model, MODEL_CHARS_MAX),
    },
  );
}

/** Its id says all of it: one that another gateway noticed at another moment is the same. */
function parseWarning(value: unknown, body: string, nowMs: number, receivedMs: number): StorableEvent | ParkedEvent {
  const parsed = limitWarningSchema.safeParse(value);
  if (!parsed.success) return parkedEvent(value, body, 'malformed', issuesOf(parsed.error, 'body'));
  const { data, id, source } = parsed.data;
  const event = storable(value, parsed.data, body, { nowMs, receivedMs }, { customer: data.customer });
  return event.kind === 'event' ? { ...event, hash: hashOf(`${source}\n${id}`) } : event;
}

function parseCorrection(value: unknown, body: string, nowMs: number, receivedMs: number): Correction | ParkedEvent {
  const parsed = correctionSchema.safeParse(value);
  if (!parsed.success) return parkedEvent(value, body, 'malformed', issuesOf(parsed.error, 'body'));
  const { id, source, data, time } = parsed.data;
  const inner = data.event === null ? null : parseEvent(data.event, nowMs, receivedMs);
  if (inner && inner.kind !== 'event') {
    const wrong = inner.kind === 'parked' ? inner.issues : [{ detail: 'A correction cannot be corrected.' }];
    const issues = wrong.map(({ pointer = '#', detail }) => ({ pointer: `#/data/event${pointer.slice(1)}`, detail }));
    return parkedEvent(value, body, inner.kind === 'parked' ? inner.reason : 'malformed', issues);
  }
  if (inner && (inner.id !== data.id || inner.source !== data.source)) {
    return parkedEvent(value, body, 'malformed', [
      { pointer: '#/data/event', detail: 'It has another id or source than the event that it corrects.' },
    ]);
  }
  return {
    kind: 'correction',
    source: storableText(source),
    id: storableText(id),
    hash: hashOf(body),
    timeMs: (time === undefined ? undefined : parseInstant(time)) ?? receivedMs,
    targetSource: storableText(data.source),
    targetId: storableText(data.id),
    reason: storableText(data.reason),
    event: inner,
    isTimed: data.event?.time !== undefined,
    body,
  };
}

interface Who {
  customer?: string | undefined;
  key?: string | undefined;
  model?: string | undefined;
  isUncosted?: boolean;
}

function storable(
  value: unknown,
  event: Pick<z.output<typeof anyEventSchema>, 'id' | 'source' | 'type' | 'subject' | 'time'>,
  body: string,
  { nowMs, receivedMs }: { nowMs: number; receivedMs: number },
  { customer, key, model, isUncosted = false }: Who,
): StorableEvent | ParkedEvent {
  const timeMs = event.time === undefined ? receivedMs : parseInstant(event.time);
  if (timeMs === undefined || !isTimeInRange(timeMs, nowMs)) {
    const hours = AHEAD_MS_MAX / 3_600_000;
    const detail = `${event.time} is before ${new Date(TIME_MIN_MS).getUTCFullYear()} or more than ${hours} hours ahead.`;
    return parkedEvent(value, body, 'time_out_of_range', [{ pointer: '#/time', detail }]);
  }
  return {
    kind: 'event',
    source: storableText(event.source),
    id: storableText(event.id),
    hash: hashOf(body),
    type: storableText(event.type),
    timeMs,
    customer: storableText(event.subject ?? customer ?? ''),
    key: storableText(key ?? ''),
    model: storableText(model ?? ''),
    isUncosted,
    body,
  };
}

export function isParked(event: ParsedEvent): event is ParkedEvent {
  return event.kind === 'parked';
}

export function isStorable(event: ParsedEvent): event is StorableEvent {
  return event.kind === 'event';
}

export function isCorrection(event: ParsedEvent): event is Correction {
  return event.kind === 'correction';
}

/** What `value` is kept as when it cannot be taken. */
export function parkedEvent(
  value: unknown,
  body: string,
  reason: ParkedReason,
  issues: readonly FaultIssue[],
  template: string | null = null,
): ParkedEvent {
  const text = issues.map(({ pointer, detail }) => (pointer ? `${pointer}: ${detail}` : detail)).join(' ');
  return {
    kind: 'parked',
    reason,
    detail: storableText(text.slice(0, 1_000)),
    issues,
    hash: hashOf(template === null ? body : `${template}\n${body}`),
    source: textField(value, 'source'),
    id: textField(value, 'id'),
    body,
    template,
  };
}

/** A row that could not even be read comes as a sentence that says so, or as the text that it is. */
export function issuesOfNoObject(row: unknown): FaultIssue[] {
  if (typeof row === 'object' && row !== null && !Array.isArray(row)) return [];
  const shown = typeof row === 'string' ? row : (JSON.stringify(row) ?? 'nothing');
  return [{ pointer: '#', detail: `It is no JSON object: ${shown.slice(0, 200)}` }];
}

/** Numbers of at most fifteen digits are in bounds; the others are kept as their text, and looked at here. */
function numbersOutOfBounds(value: unknown, pointer: string): FaultIssue[] {
  if (JSON.isRawJSON(value)) {
    const text = decimalOfNumber(value);
    return text !== undefined && PROPERTY_NUMBER.test(text)
      ? []
      : [{ pointer, detail: `The number ${value.rawJSON.slice(0, 80)} ${PROPERTY_NUMBER_BOUND}.` }];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    numbersOutOfBounds(inner, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`),
  );
}

function typeOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'type')) return undefined;
  const type: unknown = Reflect.get(value, 'type');
  return typeof type === 'string' ? type : undefined;
}

function textField(value: unknown, field: 'source' | 'id'): string | null {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, field)) return null;
  const text: unknown = Reflect.get(value, field);
  return typeof text === 'string' ? storableText(text.slice(0, ID_CHARS_MAX)) : null;
}

function textWithin(value: unknown, charsMax: number): string | undefined {
  return typeof value === 'string' && value !== '' && value.length <= charsMax ? value : undefined;
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
