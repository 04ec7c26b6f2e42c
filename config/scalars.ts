import { z } from 'zod';
import { type Exact, exact, multiply, parseExact } from '#core/exact.ts';
import { isCurrency, type Money, parseMoney } from '#core/money.ts';
import { parseInstant } from '#core/time.ts';
import { AMOUNT_DIGITS_MAX, type Bound, PATTERN_LENGTH_MAX } from './bounds.ts';

/**
 * The single values of a configuration file: text in, typed out. The reader hands numbers over as they are written
 * (yaml.ts), so that 2.50 never becomes a binary float. Each kind has a name under which json-schema.ts knows its shape.
 */
export const SCALAR_KINDS = ['count', 'duration', 'bytes', 'money', 'amount', 'instant', 'flag', 'secret'] as const;
export type ScalarKind = (typeof SCALAR_KINDS)[number];

const SUFFIXES: Readonly<Record<string, bigint>> = { k: 1_000n, M: 1_000_000n, G: 1_000_000_000n };
const DURATIONS: Readonly<Record<string, bigint>> = { ms: 1n, s: 1_000n, m: 60_000n, h: 3_600_000n };
const SIZES: Readonly<Record<string, bigint>> = {
  B: 1n,
  kB: 1_000n,
  MB: 1_000_000n,
  GB: 1_000_000_000n,
  KiB: 1_024n,
  MiB: 1_048_576n,
  GiB: 1_073_741_824n,
};

const WITH_SUFFIX = /^(\d+(?:\.\d+)?) ?([A-Za-z]*)$/;
const DATE = /^\d{4}-\d{2}-\d{2}$/;
const AMOUNT = new RegExp(
  `^(\\d{1,${AMOUNT_DIGITS_MAX.whole}}(?:\\.\\d{1,${AMOUNT_DIGITS_MAX.fraction}})?)(?: ([A-Za-z]+))?$`,
);

/** A whole number with a suffix from the table, exact: `1.5M` is one, `1.5` is none. */
function parseScaled(text: string, units: Readonly<Record<string, bigint>>): bigint | undefined {
  const [, digits = '', suffix = ''] = WITH_SUFFIX.exec(text) ?? [];
  const number = parseExact(digits);
  const unit = units[suffix];
  if (!number || unit === undefined) return undefined;
  const value = multiply(number, { num: unit, den: 1n });
  return value.den === 1n ? value.num : undefined;
}

/** `600`, `200k`, `1.5M`. */
export function parseCount(text: string): bigint | undefined {
  return parseScaled(text, { '': 1n, ...SUFFIXES });
}

/** The shortest way to write it that is exact. */
export function formatDuration(ms: number): string {
  const [suffix, unit] = Object.entries(DURATIONS).findLast(([, one]) => BigInt(ms) % one === 0n) ?? ['ms', 1n];
  return ms === 0 ? '0s' : `${BigInt(ms) / unit}${suffix}`;
}

export function formatBytes(bytes: number): string {
  const [suffix, unit] = Object.entries(SIZES).findLast(([, one]) => BigInt(bytes) % one === 0n) ?? ['B', 1n];
  return bytes === 0 ? '0B' : `${BigInt(bytes) / unit}${suffix}`;
}

/** Text to a typed value; what `parse` calls undefined gives the sentence. */
function scalar<Value>(kind: ScalarKind, sentence: string, parse: (text: string) => Value | undefined) {
  return z
    .string({ error: sentence })
    .transform((text, context) => {
      const value = parse(text);
      if (value !== undefined) return value;
      context.addIssue({
        code: 'custom',
        message: kind === 'secret' ? sentence : `${sentence}, not "${shorten(text)}"`,
      });
      return z.NEVER;
    })
    .meta({ scalar: kind });
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function between(value: bigint | undefined, min: bigint | number, max: bigint | number): bigint | undefined {
  return value !== undefined && value >= BigInt(min) && value <= BigInt(max) ? value : undefined;
}

export function count(min: bigint, max: bigint) {
  return scalar('count', `must be a whole number from ${min} to ${max}, such as 600, 200k or 2M`, (text) =>
    between(parseCount(text), min, max),
  ).meta({ range: `${min} to ${max}` });
}

/** A count that fits a number, with the bound's default in the JSON Schema. */
export function setting(bound: Bound) {
  return scalar('count', `must be a whole number from ${bound.min} to ${bound.max}`, (text) =>
    toNumber(between(parseCount(text), bound.min, bound.max)),
  ).meta({ initial: bound.initial, range: `${bound.min} to ${bound.max}` });
}

export function duration(bound: Bound) {
  const sentence = `must be a duration from ${formatDuration(bound.min)} to ${formatDuration(bound.max)}, such as 500ms, 30s, 5m or 1h`;
  return scalar('duration', sentence, (text) =>
    toNumber(between(parseScaled(text, DURATIONS), bound.min, bound.max)),
  ).meta({
    initial: formatDuration(bound.initial),
    range: `${formatDuration(bound.min)} to ${formatDuration(bound.max)}`,
  });
}

export function bytes(bound: Bound) {
  const sentence = `must be a size from ${formatBytes(bound.min)} to ${formatBytes(bound.max)}, such as 64KiB, 32MiB or 4GiB`;
  return scalar('bytes', sentence, (text) => toNumber(between(parseScaled(text, SIZES), bound.min, bound.max))).meta({
    initial: formatBytes(bound.initial),
    range: `${formatBytes(bound.min)} to ${formatBytes(bound.max)}`,
  });
}

function toNumber(value: bigint | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

/** `500 USD`: an amount above zero with its currency. */
export function money() {
  return scalar('money', 'must be an amount with its currency, such as 500 USD', (text): Money | undefined => {
    const [, digits = '', currency = ''] = AMOUNT.exec(text) ?? [];
    const value = parseMoney(digits, currency);
    return value && value.nanos > 0n ? value : undefined;
  });
}

/** An amount of a price or a fee. The currency is the plan's; it may be said again, and must then be the same. */
export interface Amount {
  readonly text: string;
  readonly value: Exact;
  readonly currency: string | null;
}

export function amount() {
  return scalar('amount', 'must be an amount such as 3, 0.0025 or 49.00 USD', (text): Amount | undefined => {
    const [, digits = '', currency] = AMOUNT.exec(text) ?? [];
    const value = parseExact(digits);
    if (!value || (currency !== undefined && !isCurrency(currency))) return undefined;
    return { text: digits, value: exact(value.num, value.den), currency: currency ?? null };
  });
}

/** A day, which begins in the customer's zone, or an instant with its offset. */
export type DayOrInstant = { readonly day: string } | { readonly atMs: number };

export function dayOrInstant() {
  const sentence = 'must be a day such as 2027-01-01 or an instant such as 2027-01-01T09:00:00Z';
  return scalar('instant', sentence, (text): DayOrInstant | undefined => {
    const atMs = parseInstant(DATE.test(text) ? `${text}T00:00:00Z` : text);
    if (atMs === undefined) return undefined;
    return DATE.test(text) ? { day: text } : { atMs };
  });
}

/** `1.1`: what something is multiplied by. */
export function factor(max: bigint) {
  const sentence = `must be a factor from 0 to ${max}, such as 0.9 or 1.25`;
  return scalar('amount', sentence, (text): Exact | undefined => {
    const value = parseExact(text);
    return value && value.num >= 0n && value.num <= max * value.den ? value : undefined;
  });
}

export function flag(initial: boolean) {
  return z
    .union([z.boolean(), z.enum(['true', 'false'])], { error: 'must be true or false' })
    .transform((value) => value === true || value === 'true')
    .meta({ scalar: 'flag', initial });
}

export function secretText(sentence: string, isRight: (text: string) => boolean) {
  return scalar('secret', sentence, (text) => (isRight(text) ? text : undefined));
}

export function pattern() {
  return z
    .string({ error: 'must be the name of a model, or a pattern with *' })
    .regex(new RegExp(`^[^\\s\\u0000-\\u001f]{1,${PATTERN_LENGTH_MAX}}$`), {
      error: `must be the name of a model, or a pattern with *, of at most ${PATTERN_LENGTH_MAX} characters without blanks`,
    });
}
