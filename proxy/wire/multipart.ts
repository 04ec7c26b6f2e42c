import { Fault } from '#core/fault.ts';
import { headerOf } from '../headers.ts';
import { concat, decodeStrictUtf8, encodeUtf8, find, needle } from './bytes.ts';
import { edited } from './json-span.ts';
import type { CallHead } from './wire.ts';

/** A form as uploads send it (RFC 7578). Its files are only looked at where they stand. */
export interface Form {
  /** Fields that are no files, as text. */
  readonly fields: Readonly<Record<string, string>>;
  readonly files: readonly FormFile[];
}

export interface FormFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const PARTS_MAX = 1_000;
const HEADER_BYTES_MAX = 8 * 1024;
const FIELD_BYTES_MAX = 1024 * 1024;

const BOUNDARY_CHARS_MAX = 70;

const LINE_END = needle('\r\n');
const HEADER_END = needle('\r\n\r\n');
const DASH = 0x2d;

export function isMultipart({ headers }: CallHead): boolean {
  return (headerOf(headers, 'content-type') ?? '').toLowerCase().startsWith('multipart/form-data');
}

/**
 * A field that decides what a call costs may stand in it only once, as in JSON: of two, one reader takes the first and
 * another the last. Throws `invalid_request`.
 */
export function parseForm(body: Uint8Array, call: CallHead, decisive: ReadonlySet<string>): Form {
  const fields: Record<string, string> = {};
  const files: FormFile[] = [];
  for (const { name, isFile, start, end } of partsOf(body, boundaryOf(call))) {
    if (isFile) {
      files.push({ name, bytes: body.subarray(start, end) });
      continue;
    }
    if (decisive.has(name) && fields[name] !== undefined) throw bad(`The field '${name}' is given twice.`);
    const text = end - start > FIELD_BYTES_MAX ? undefined : decodeStrictUtf8(body.subarray(start, end));
    if (text === undefined) throw bad(`The field '${name}' is too long, or no UTF-8.`);
    fields[name] = text;
  }
  return { fields, files };
}

/** The form with another value in one field, or with that field before the others. */
export function withField(body: Uint8Array, name: string, value: string): Uint8Array {
  // As it was parsed: it begins with its boundary.
  const lineEnd = find(body, LINE_END, 0, BOUNDARY_CHARS_MAX + 4);
  const boundary = decodeStrictUtf8(body.subarray(2, lineEnd)) ?? '';
  for (const part of partsOf(body, boundary)) {
    if (part.name === name && !part.isFile) return edited(body, [{ ...part, insert: encodeUtf8(value) }]);
  }
  const part = `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
  return concat([encodeUtf8(part), body]);
}

function boundaryOf({ headers }: CallHead): string {
  const match = /;\s*boundary=(?:"([^"]+)"|([^\s;"]+))/i.exec(headerOf(headers, 'content-type') ?? '');
  const boundary = match?.[1] ?? match?.[2] ?? '';
  if (boundary === '' || boundary.length > BOUNDARY_CHARS_MAX) throw bad('The form has no boundary.');
  return boundary;
}

interface Part {
  readonly name: string;
  readonly isFile: boolean;
  readonly start: number;
  readonly end: number;
}

function* partsOf(body: Uint8Array, boundary: string): Generator<Part> {
  const first = needle(`--${boundary}\r\n`);
  const between = needle(`\r\n--${boundary}`);
  let at = first.bytes.length - 2;
  if (find(body, first, 0, first.bytes.length) !== 0) throw bad('The form does not begin with its boundary.');
  for (let n = 0; !(body[at] === DASH && body[at + 1] === DASH); n++) {
    if (n === PARTS_MAX) throw bad(`The form has more than ${PARTS_MAX} parts.`);
    const headerEnd = find(body, HEADER_END, at, Math.min(body.length, at + HEADER_BYTES_MAX));
    const end = headerEnd < 0 ? -1 : find(body, between, headerEnd + 2, body.length);
    if (end < 0) throw bad('The form is not whole.');
    const start = Math.min(headerEnd + HEADER_END.bytes.length, end);
    yield { ...dispositionOf(body.subarray(at, headerEnd)), start, end };
    at = end + between.bytes.length;
  }
}

function dispositionOf(header: Uint8Array): { name: string; isFile: boolean } {
  const text = decodeStrictUtf8(header) ?? '';
  const line = /^content-disposition:\s*form-data\s*(;.*)$/im.exec(text)?.[1] ?? '';
  const name = /;\s*name="([^"]*)"/i.exec(line)?.[1] ?? /;\s*name=([^\s;"]+)/i.exec(line)?.[1];
  if (name === undefined) throw bad('A part of the form has no name.');
  return { name, isFile: /;\s*filename\*?=/i.test(line) };
}

function bad(detail: string): Fault {
  return new Fault('invalid_request', { detail });
}
