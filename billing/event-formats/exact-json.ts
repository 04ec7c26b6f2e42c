import { DECIMAL_DIGITS_MAX } from '#core/exact.ts';

/** Finds every number that may be longer, and now and then a text that looks like one, which only costs time. */
const MAYBE_LONG = /[[:,\s]-?(?:[\d.]{16}|[\d.]+[eE])/;
const NUMBER = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;
const DIGITS_SAFE = 15;

type Reviver = (name: string, value: unknown, context?: { source?: string }) => unknown;
const parseWithSource: (text: string, reviver: Reviver) => unknown = JSON.parse;

/**
 * JSON whose numbers stay what they are. A number of at most 15 digits survives a binary double and comes back as the same
 * text; every other one is kept as its own text (JSON.rawJSON), which JSON.stringify writes as it is. Throws a SyntaxError
 * where the text is no JSON.
 */
export function parseExactJson(text: string): unknown {
  // A first character in front, so that a document that is nothing but a number is seen too.
  if (!MAYBE_LONG.test(` ${text}`)) return JSON.parse(text);
  return parseWithSource(text, (_name, value, context) =>
    typeof value === 'number' && context?.source !== undefined ? exactNumber(value, context.source) : value,
  );
}

/** An object that we wrote ourselves, with its numbers as they were sent. */
export function parseExactObject(text: string): Record<string, unknown> {
  const value = parseExactJson(text);
  if (typeof value !== 'object' || value === null) throw new Error('what was stored is no object');
  return { ...value };
}

function exactNumber(value: number, source: string): number | RawJson {
  const plain = plainDecimal(source);
  if (plain === undefined) return JSON.rawJSON(source);
  if (plain.replace(/[-.]/g, '').replace(/^0+/, '').length <= DIGITS_SAFE) return value;
  return JSON.rawJSON(plain);
}

/** A JSON number without exponent and needless zeros, so that equal numbers are equal text; undefined where that is too long. */
export function plainDecimal(source: string): string | undefined {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = NUMBER.exec(source) ?? [];
  if (whole === '' || exponent.length > 4) return undefined;
  const shift = Number.parseInt(exponent, 10);
  const digits = `${whole}${fraction}`;
  const point = whole.length + shift;
  if (Math.abs(point) > DECIMAL_DIGITS_MAX || digits.length > 2 * DECIMAL_DIGITS_MAX) return undefined;
  const before = point > 0 ? digits.slice(0, point).padEnd(point, '0') : '0';
  const after = point > 0 ? digits.slice(point) : `${'0'.repeat(-point)}${digits}`;
  const trimmed = `${before.replace(/^0+(?=\d)/, '')}.${after}`.replace(/\.?0*$/, '');
  return trimmed === '0' ? '0' : `${sign}${trimmed}`;
}

/** The decimal text of a JSON number, exact; undefined for anything else and for numbers too long to be written plainly. */
export function decimalOfNumber(value: unknown): string | undefined {
  if (JSON.isRawJSON(value)) return plainDecimal(value.rawJSON);
  return typeof value === 'number' ? plainDecimal(String(value)) : undefined;
}
