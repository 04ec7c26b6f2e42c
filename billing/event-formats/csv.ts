import { CsvError, parse } from 'csv-parse/sync';
import { Fault } from '#core/fault.ts';

export const COLUMNS_MAX = 500;
/** A row that is longer is a quote that was never closed. */
const ROW_BYTES_MAX = 256 * 1024;

/** Names that an object has of its own accord. */
const RESERVED = new Set(['__proto__', 'constructor', 'prototype']);

/**
 * The rows of a CSV text with a header, as objects of text: no cell is a number, a formula or anything but its text, and
 * an empty cell is no field. With `nested`, a column `data.model` is the field `model` of `data`. A row with more or
 * fewer cells than the header is a sentence in the place of an object, so that it stands alone. A quote that is never
 * closed swallows all rows after it, and so the whole text is refused.
 */
export function parseCsv(text: string, options: { nested: boolean }): unknown[] {
  const [header, ...records] = recordsOf(text);
  const names = header?.slice(1);
  if (!names) throw new Fault('invalid_request', { detail: 'The CSV has no header.' });
  const paths = names.map((name) => (options.nested ? name.trim().split('.') : [name.trim()]));
  refuseHeader(names, paths);
  return records.map(([line, ...cells]) =>
    cells.length === paths.length
      ? rowOf(cells, paths)
      : `line ${line}: has ${cells.length} cells, and the header has ${paths.length}`,
  );
}

/** Each with its line before its cells. */
function recordsOf(text: string): string[][] {
  try {
    return parse(text, {
      bom: true,
      relax_column_count: true,
      relax_quotes: true,
      record_delimiter: ['\r\n', '\n', '\r'],
      skip_empty_lines: true,
      max_record_size: ROW_BYTES_MAX,
      on_record: (record: string[], { lines }) => [String(lines), ...record],
    });
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    throw new Fault('invalid_request', { detail: `The CSV cannot be read: ${cause.message}.`, cause });
  }
}

function refuseHeader(names: readonly string[], paths: readonly (readonly string[])[]): void {
  const refuse = (detail: string) => new Fault('invalid_request', { detail: `The header of the CSV ${detail}.` });
  if (names.length > COLUMNS_MAX) throw refuse(`has more than ${COLUMNS_MAX} columns`);
  const seen = new Set<string>();
  for (const path of paths) {
    const name = path.join('.');
    if (path.some((part) => part === '' || RESERVED.has(part))) throw refuse(`has the column "${name}"`);
    if (seen.has(name)) throw refuse(`has the column "${name}" twice`);
    seen.add(name);
  }
  for (const name of seen) {
    const inner = [...seen].find((other) => other.startsWith(`${name}.`));
    if (paths.some((path) => path.length > 1) && inner) throw refuse(`has both "${name}" and "${inner}"`);
  }
}

function rowOf(cells: readonly string[], paths: readonly (readonly string[])[]): Record<string, unknown> {
  const row: Record<string, unknown> = {};
  paths.forEach((path, i) => {
    const cell = cells[i];
    if (cell === undefined || cell === '') return;
    let at = row;
    for (const part of path.slice(0, -1)) {
      const inner = at[part];
      const next: Record<string, unknown> = isObject(inner) ? inner : {};
      at[part] = next;
      at = next;
    }
    at[path.at(-1) ?? ''] = cell;
  });
  return row;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
