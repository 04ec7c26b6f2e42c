import { Fault } from '#core/fault.ts';
import { parseCsv } from './csv.ts';
import { parseExactJson } from './exact-json.ts';

/** Rows as they were sent: JSON values, or text where a row is no JSON. */
export interface Rows {
  values: unknown[];
  /** A single event, whose answer may be a problem; not a batch in which each stands alone. */
  single: boolean;
}

export const ROW_TYPES = ['application/json', 'application/x-ndjson', 'text/csv'] as const;
export const CLOUD_EVENT_TYPES = ['application/cloudevents+json', 'application/cloudevents-batch+json'] as const;

const JSON_TYPE = /^application\/([\w.-]+\+)?json$/;
const NDJSON_TYPES = new Set([
  'application/x-ndjson',
  'application/ndjson',
  'application/jsonl',
  'application/x-jsonlines',
]);

/** Rows of any kind: a JSON value or an array of them, NDJSON, or CSV. No content type means JSON. */
export function readRows(bytes: Uint8Array, headers: Headers, options = { nested: false }): Rows {
  const type = mediaTypeOf(headers);
  if (type === 'text/csv') return { values: parseCsv(textOf(bytes), options), single: false };
  if (NDJSON_TYPES.has(type)) return { values: linesOf(textOf(bytes)), single: false };
  if (type !== '' && !JSON_TYPE.test(type)) {
    const detail = `The content type must be one of ${[...ROW_TYPES, ...CLOUD_EVENT_TYPES].join(', ')}.`;
    throw new Fault('invalid_request', { detail });
  }
  const value = jsonOf(bytes);
  return Array.isArray(value) ? { values: value, single: false } : { values: [value], single: true };
}

/**
 * CloudEvents in each of their modes (binary: attributes in `ce-` headers, the body is the data), and in CSV with a column
 * for each attribute and `data.…` for what they hold.
 */
export function readCloudEvents(bytes: Uint8Array, headers: Headers): Rows {
  const type = mediaTypeOf(headers);
  if (headers.has('ce-specversion') && !type.startsWith('application/cloudevents')) {
    return { values: [binaryEvent(bytes, headers, type)], single: true };
  }
  const rows = readRows(bytes, headers, { nested: true });
  if (type !== 'text/csv') return rows;
  return { ...rows, values: rows.values.map((row) => (isObject(row) ? { specversion: '1.0', ...row } : row)) };
}

function binaryEvent(bytes: Uint8Array, headers: Headers, type: string): unknown {
  const event: Record<string, unknown> = {};
  for (const [name, value] of headers) {
    if (name.startsWith('ce-') && name !== 'ce-data') event[name.slice('ce-'.length)] = percentDecoded(value);
  }
  if (type !== '') event.datacontenttype = type;
  if (bytes.length === 0) return event;
  if (type !== '' && !JSON_TYPE.test(type)) {
    throw new Fault('invalid_request', { detail: 'The data of an event must be JSON.' });
  }
  return { ...event, data: jsonOf(bytes) };
}

/** As the HTTP binding of CloudEvents has it: what is no escape stays as it is. */
function percentDecoded(value: string): string {
  return value.replace(/(?:%[\dA-Fa-f]{2})+/g, (escaped) => {
    try {
      return decodeURIComponent(escaped);
    } catch {
      return escaped;
    }
  });
}

function linesOf(text: string): unknown[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map(parseJson);
}

/** Text that is no JSON stays the text that it is, and is parked as such. */
export function parseJson(text: string): unknown {
  try {
    return parseExactJson(text);
  } catch {
    return text;
  }
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return parseExactJson(textOf(bytes));
  } catch (cause) {
    if (cause instanceof Fault) throw cause;
    throw new Fault('invalid_json', { cause });
  }
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Fault('invalid_request', { detail: 'The body is not UTF-8.', cause });
  }
}

export function mediaTypeOf(headers: Headers): string {
  return (headers.get('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
