import { z } from '@hono/zod-openapi';
import { decimalOfNumber } from '#billing/event-formats/exact-json.ts';
import { Decimal } from '#billing/http/schema.ts';
import { exact, formatExact, multiply, parseExact, round } from '#core/exact.ts';
import type { FaultIssue } from '#core/fault.ts';
import { formatInstant } from '#core/time.ts';
import { USAGE_EVENT_TYPE } from '#core/usage-event.ts';

/**
 * How a row of somebody's own format becomes an event: for each field a place in the row (a JSON pointer; in CSV `/` and
 * the column), or a constant. There is no language to evaluate: what a mapping costs is known before it runs.
 */
const FIELDS_MAX = 64;
const PLACES_MAX = 8;

const Pointer = z
  .string()
  .max(256)
  .regex(/^(\/([^~/]|~[01])*)+$/, 'is no JSON pointer such as /usage/input')
  .openapi({ example: '/usage/input' });
const Constant = z.union([z.string().max(256), z.boolean(), Decimal]);
const Value = z
  .union([
    Pointer,
    z.strictObject({
      pointer: z.union([Pointer, z.array(Pointer).min(1).max(PLACES_MAX)]).openapi({
        description: 'Of several places the first that holds something counts.',
      }),
      default: Constant.optional(),
      times: Decimal.optional().openapi({
        description: 'Multiplies a number, exactly: 1000 for thousands, 0.001 for milliseconds.',
      }),
      unix: z
        .enum(['s', 'ms', 'us', 'ns'])
        .optional()
        .openapi({ description: 'The time is a number of these since 1970.' }),
    }),
    z.strictObject({ const: Constant }),
  ])
  .openapi('MappedValue');
type Value = z.output<typeof Value>;

const Values = z
  .record(z.string().min(1).max(64), Value)
  .refine((values) => Object.keys(values).length <= FIELDS_MAX, `has more than ${FIELDS_MAX} fields`);

export const Mapping = z
  .strictObject({
    type: z
      .string()
      .min(1)
      .max(128)
      .refine((type) => type === USAGE_EVENT_TYPE || !type.startsWith('weir.'), 'is a type that Weir keeps for itself')
      .default(USAGE_EVENT_TYPE)
      .openapi({
        description: `${USAGE_EVENT_TYPE} for what has quantities in units; any other name for what has properties.`,
      }),
    id: Value,
    source: Value.optional(),
    customer: Value.optional(),
    time: Value.optional(),
    key: Value.optional(),
    user: Value.optional(),
    session: Value.optional(),
    provider: Value.optional(),
    model: Value.optional(),
    usage_status: Value.optional(),
    quantities: Values.optional(),
    cost: z.strictObject({ amount: Value, currency: Value }).optional(),
    labels: Values.optional(),
    properties: Values.optional(),
  })
  .openapi('EventMapping');
export type Mapping = z.output<typeof Mapping>;

/** The event that a row is by the mapping: untrusted still, and with what could not be read as problems. */
export interface MappedRow {
  event: Record<string, unknown>;
  issues: FaultIssue[];
}

export function mapRow(mapping: Mapping, row: unknown, sourceDefault: string): MappedRow {
  const issues: FaultIssue[] = [];
  const text = (value: Value | undefined, name: string): string | undefined => {
    const found = value === undefined ? undefined : read(value, row);
    if (found === undefined) return undefined;
    const as = textOf(found, value);
    if (as === undefined) issues.push({ pointer: placeOf(value), detail: `It is no text for ${name}.` });
    return as;
  };
  const decimals = (values: Mapping['quantities']) =>
    mapValues(values, (value, name) => {
      const as = text(value, name);
      if (as === undefined || parseExact(as)) return as;
      issues.push({ pointer: placeOf(value), detail: `${as.slice(0, 80)} is no decimal for ${name}.` });
      return undefined;
    });

  const id = text(mapping.id, 'id');
  if (id === undefined) issues.push({ pointer: placeOf(mapping.id), detail: 'There is nothing here for id.' });
  const customer = text(mapping.customer, 'customer');
  const time = text(mapping.time, 'time');
  const cost = mapping.cost && {
    amount: text(mapping.cost.amount, 'cost'),
    currency: text(mapping.cost.currency, 'cost'),
  };
  const named = {
    ...{ customer, key: text(mapping.key, 'key'), user: text(mapping.user, 'user') },
    ...{ session: text(mapping.session, 'session'), provider: text(mapping.provider, 'provider') },
    ...{ model: text(mapping.model, 'model'), usage_status: text(mapping.usage_status, 'usage_status') },
    ...(mapping.labels ? { labels: mapValues(mapping.labels, text) } : {}),
    ...(mapping.quantities || mapping.type === USAGE_EVENT_TYPE ? { quantities: decimals(mapping.quantities) } : {}),
    ...(cost?.amount === undefined ? {} : { cost }),
  };
  const properties = mapValues(mapping.properties, (value) => {
    const found = read(value, row);
    return isScaled(value) ? textOf(found, value) : found;
  });
  const event = {
    specversion: '1.0',
    id,
    source: text(mapping.source, 'source') ?? sourceDefault,
    type: mapping.type,
    subject: customer,
    time,
    data: { ...withoutUndefined(named), ...(mapping.properties ? { properties } : {}) },
  };
  return { event: withoutUndefined(event), issues };
}

/** Every place that a mapping reads. */
export function placesOf(mapping: Mapping): string[] {
  const { type: _, quantities, labels, properties, cost, ...fields } = mapping;
  const values = [fields, quantities, labels, properties, cost].flatMap((part) => Object.values(part ?? {}));
  return values.flatMap((value) => (value === undefined ? [] : pointersOf(value)));
}

export function hasPlace(row: unknown, pointer: string): boolean {
  return at(row, pointer) !== undefined;
}

function read(value: Value, row: unknown): unknown {
  if (typeof value === 'object' && 'const' in value) return value.const;
  for (const pointer of pointersOf(value)) {
    const found = at(row, pointer);
    if (found !== undefined) return found;
  }
  return typeof value === 'object' ? value.default : undefined;
}

function pointersOf(value: Value): string[] {
  if (typeof value === 'string') return [value];
  if ('const' in value) return [];
  return typeof value.pointer === 'string' ? [value.pointer] : value.pointer;
}

function placeOf(value: Value | undefined): string {
  return `#${value === undefined ? '' : (pointersOf(value)[0] ?? '')}`;
}

/** What stands at a pointer; null counts as nothing. */
function at(row: unknown, pointer: string): unknown {
  let found = row;
  for (const part of pointer.slice(1).split('/')) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, name)) return undefined;
    found = Reflect.get(found, name);
  }
  return found ?? undefined;
}

function isScaled(value: Value): value is Exclude<Value, string | { const: unknown }> {
  return typeof value === 'object' && 'pointer' in value && (value.times !== undefined || value.unix !== undefined);
}

const UNIX_MS: Readonly<Record<'s' | 'ms' | 'us' | 'ns', { num: bigint; den: bigint }>> = {
  s: exact(1000n),
  ms: exact(1n),
  us: exact(1n, 1_000n),
  ns: exact(1n, 1_000_000n),
};

/** Text, numbers and booleans as text; a number scaled where the mapping says so. */
function textOf(found: unknown, value: Value | undefined): string | undefined {
  const text = typeof found === 'string' ? found : typeof found === 'boolean' ? String(found) : decimalOfNumber(found);
  if (text === undefined || value === undefined || !isScaled(value)) return text;
  const number = parseExact(text.trim());
  if (!number) return text;
  if (value.unix) {
    const ms = round(multiply(number, UNIX_MS[value.unix]), 'down');
    return ms >= 0n && ms < 10n ** 14n ? formatInstant(Number.parseInt(ms.toString(), 10)) : text;
  }
  const factor = parseExact(value.times ?? '1');
  return factor ? formatExact(multiply(number, factor)) : text;
}

function mapValues<T>(
  values: Readonly<Record<string, Value>> | undefined,
  work: (value: Value, name: string) => T | undefined,
): Record<string, T> {
  const entries = Object.entries(values ?? {}).flatMap(([name, value]) => {
    const result = work(value, name);
    return result === undefined ? [] : [[name, result] as const];
  });
  return Object.fromEntries(entries);
}

function withoutUndefined(object: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}
