import { z } from 'zod';
import { decimalOfNumber, plainDecimal } from '#billing/event-formats/exact-json.ts';
import { storableText } from '#billing/events/storable.ts';
import { exact, formatExact, parseExact, round } from '#core/exact.ts';
import { formatInstant } from '#core/time.ts';

/** What traces and metrics share. Unknown fields are ignored, as the specification wants. */

/** A number that is longer than a double holds for sure was kept as its text. */
const Long = z
  .union([z.string(), z.number(), z.custom<RawJson>(JSON.isRawJSON)])
  .transform((value) => (typeof value === 'object' ? value.rawJSON : String(value)));
export const Nanos = Long.optional();
export const LongValue = Long;

/** As decimal text; undefined of what is not finite, which in JSON is text and in protobuf a number. */
export const Double = z
  .union([z.string(), z.number(), z.nan(), z.custom<number>(isInfinite), z.custom<RawJson>(JSON.isRawJSON)])
  .transform((value) => (typeof value === 'string' ? plainDecimal(value) : decimalOfNumber(value)));

function isInfinite(value: unknown): boolean {
  return value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY;
}

export const Attributes = z
  .array(
    z.looseObject({
      key: z.string(),
      value: z
        .looseObject({
          stringValue: z.string().optional(),
          boolValue: z.boolean().optional(),
          intValue: Long.optional(),
          doubleValue: Double.optional(),
        })
        .optional(),
    }),
  )
  .default([])
  .transform((list): AttributeMap => {
    const entries = list.flatMap(({ key, value = {} }): [string, string][] => {
      const { stringValue, boolValue, intValue, doubleValue } = value;
      const text = stringValue ?? intValue ?? (boolValue === undefined ? undefined : String(boolValue)) ?? doubleValue;
      return text === undefined ? [] : [[key, text]];
    });
    return new Map(entries);
  });

/** Texts, numbers as decimals, booleans. Lists are none of what is read here. */
export type AttributeMap = ReadonlyMap<string, string>;

export const Resource = z
  .looseObject({ attributes: Attributes })
  .optional()
  .transform((resource): AttributeMap => resource?.attributes ?? new Map());

/** The first of several names that there is, looked for in one place after the other. */
export function first(places: readonly AttributeMap[], ...names: readonly string[]): string | undefined {
  for (const place of places) {
    for (const name of names) {
      const text = place.get(name);
      if (text !== undefined && text !== '') return text;
    }
  }
  return undefined;
}

/** Whom it was for, in the attributes of the span or point, then of its resource. */
export function whoOf(places: readonly AttributeMap[]): Record<string, string> {
  return given({
    customer: first(places, 'weir.customer'),
    key: first(places, 'weir.key'),
    user: first(places, 'user.id', 'enduser.id'),
    session: first(places, 'gen_ai.conversation.id', 'session.id'),
    provider: providerOf(first(places, 'gen_ai.provider.name', 'gen_ai.system')),
    model: first(places, 'gen_ai.request.model', 'gen_ai.response.model'),
    model_served: first(places, 'gen_ai.response.model'),
  });
}

/** Providers that the conventions name otherwise than our price book. */
const PROVIDERS: Readonly<Record<string, string>> = {
  'gcp.gen_ai': 'google',
  'gcp.gemini': 'google',
  'gcp.vertex_ai': 'google',
  gemini: 'google',
  vertex_ai: 'google',
  x_ai: 'xai',
  mistral_ai: 'mistral',
  aws_bedrock: 'aws.bedrock',
};

function providerOf(name: string | undefined): string | undefined {
  return name !== undefined && Object.hasOwn(PROVIDERS, name) ? PROVIDERS[name] : name;
}

const LABEL = 'weir.label.';

/** `weir.label.…`, and the service that sent it. */
export function labelsOf(places: readonly AttributeMap[]): Record<string, string> {
  const labels: Record<string, string> = given({ service: first(places, 'service.name') });
  for (const place of [...places].reverse()) {
    for (const [name, text] of place) if (name.startsWith(LABEL)) labels[name.slice(LABEL.length)] = text;
  }
  return labels;
}

/** Where events of a resource come from, as it is stored: events are found again by it. */
export function sourceOf(resource: AttributeMap): string {
  return `/otlp/${storableText((resource.get('service.name') ?? 'unknown').slice(0, 100))}`;
}

/** Nanoseconds since 1970 as an instant, to the millisecond; undefined for 0, which stands for unknown. */
export function instantOfNanos(nanos: string | undefined): string | undefined {
  if (nanos === undefined || !/^\d{1,19}$/.test(nanos) || /^0+$/.test(nanos)) return undefined;
  return formatInstant(millisOf(BigInt(nanos)));
}

/** Of nanoseconds since 1970, to the millisecond. */
export function millisOf(nanos: bigint): number {
  return Number.parseInt((nanos / 1_000_000n).toString(), 10);
}

/** Text that is a decimal: tokens are whole, durations are not. */
export function decimalOf(text: string | undefined): string | undefined {
  return text !== undefined && parseExact(text) ? text : undefined;
}

/** Seconds in decimal text as whole milliseconds. */
export function millisOfSeconds(text: string | undefined): number | undefined {
  const seconds = text === undefined ? undefined : parseExact(text);
  if (!seconds || seconds.num < 0n) return undefined;
  const ms = round(exact(seconds.num * 1_000n, seconds.den), 'half_up');
  return ms < 10n ** 12n ? Number.parseInt(formatExact(exact(ms)), 10) : undefined;
}

export function given(fields: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== ''),
  );
}
