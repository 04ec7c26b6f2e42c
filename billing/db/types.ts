/**
 * How values cross between JavaScript and Postgres, the same for node-postgres and PGlite. Both speak Postgres' text
 * format, so that a number never passes through a binary float on its way.
 */

/** A parameter as Postgres reads it. A type that would be guessed (plain objects, Date, undefined) is a bug. */
export function encodeParameter(value: unknown): string | null {
  if (value === null) return null;
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint' || typeof value === 'boolean') return value.toString();
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw new TypeError(`not a whole number: ${value}`);
    return value.toString();
  }
  if (value instanceof Uint8Array)
    return `\\x${Buffer.from(value.buffer, value.byteOffset, value.length).toString('hex')}`;
  if (Array.isArray(value)) return encodeArray(value);
  throw new TypeError(`a parameter of type ${typeof value} needs json() or instant()`);
}

function encodeArray(values: readonly unknown[]): string {
  let text = '{';
  for (let i = 0; i < values.length; i++) {
    if (i > 0) text += ',';
    const value = encodeParameter(values[i]);
    text += value === null ? 'NULL' : quoteElement(value);
  }
  return `${text}}`;
}

const SPECIAL = /["\\]/g;

function quoteElement(text: string): string {
  return text.includes('"') || text.includes('\\') ? `"${text.replace(SPECIAL, '\\$&')}"` : `"${text}"`;
}

type Parse = (text: string) => unknown;

/** '2026-11-20 09:31:00.123+00', as Postgres writes it in UTC (sessions are set to UTC). */
function parseTimestamp(text: string): number {
  if (text === 'infinity') return Number.POSITIVE_INFINITY;
  if (text === '-infinity') return Number.NEGATIVE_INFINITY;
  const ms = Date.parse(text.replace(' ', 'T').replace(/\+00$/, 'Z'));
  if (Number.isNaN(ms)) throw new RangeError(`not a timestamp in UTC: ${text}`);
  return ms;
}

function parseBytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.slice(2), 'hex'));
}

/** One element of an array literal with what ends it: in quotes with escapes, or bare. */
const ELEMENT = /(?:"((?:[^"\\]|\\.)*)"|([^",{}]+))[,}]/sy;

/** `{a,"b \"c\"",NULL}`; arrays of one dimension are the only ones that our statements use. */
function parseArray(text: string, parse: Parse): unknown[] {
  const values: unknown[] = [];
  if (text === '{}') return values;
  ELEMENT.lastIndex = 1;
  while (ELEMENT.lastIndex < text.length) {
    const match = ELEMENT.exec(text);
    if (!match) throw new RangeError(`not an array of one dimension: ${text.slice(0, 80)}`);
    const [, quoted, bare = ''] = match;
    if (quoted !== undefined) values.push(parse(quoted.replace(/\\(.)/gs, '$1')));
    else values.push(bare === 'NULL' ? null : parse(bare));
  }
  return values;
}

const parseText: Parse = (text) => text;
const parseInteger: Parse = (text) => Number.parseInt(text, 10);

/** [type, its array type] by object id, from pg_type; these ids are fixed in every Postgres. */
const PARSERS_BY_TYPE: readonly [oid: number, arrayOid: number, parse: Parse][] = [
  [16, 1000, (text) => text === 't'], // bool
  [17, 1001, parseBytes], // bytea
  [18, 1002, parseText], // char
  [19, 1003, parseText], // name
  [20, 1016, BigInt], // int8
  [21, 1005, parseInteger], // int2
  [23, 1007, parseInteger], // int4
  [25, 1009, parseText], // text
  [26, 1028, parseInteger], // oid
  [114, 199, JSON.parse], // json
  [1043, 1015, parseText], // varchar
  [1082, 1182, parseText], // date
  [1184, 1185, parseTimestamp], // timestamptz
  [1700, 1231, parseText], // numeric
  [2950, 2951, parseText], // uuid
  [3802, 3807, JSON.parse], // jsonb
];

/** By object id: what turns the text of a result into a value. A type that is not here comes out as text. */
export const PARSERS: Readonly<Record<number, Parse>> = Object.fromEntries(
  PARSERS_BY_TYPE.flatMap(([oid, arrayOid, parse]) => [
    [oid, parse],
    [arrayOid, (text: string) => parseArray(text, parse)],
  ]),
);
