import { UNIT_MEANINGS } from '#core/quantity.ts';
import { configJsonSchema, type JsonSchema } from './json-schema.ts';

/**
 * The tables of docs/configuration.md: every field, from the JSON Schema, so that what editors show is what the docs say;
 * and every unit.
 */
const TABLES = [
  { what: 'units', table: unitTable },
  { what: 'fields', table: referenceTable },
] as const;

interface Row {
  path: string;
  kind: string;
  initial: string;
  text: string;
}

/** The document with its tables replaced. */
export function withReference(document: string): string {
  return TABLES.reduce((text, { what, table }) => withTable(text, what, table(), 'config/write-docs.ts'), document);
}

/** The document with what stands between two marks replaced; `writer` is the program that does it. */
export function withTable(document: string, what: string, table: string, writer: string): string {
  const begin = `<!-- ${what}: written by \`node ${writer}\` -->`;
  const end = `<!-- end of ${what} -->`;
  const [before, rest] = document.split(begin);
  const after = rest?.split(end)[1];
  if (before === undefined || after === undefined) throw new Error(`the document has no place for the ${what}`);
  return `${before}${begin}\n\n${table}\n${end}${after}`;
}

function unitTable(): string {
  const lines = Object.entries(UNIT_MEANINGS).map(([unit, meaning]) => `| \`${unit}\` | ${meaning} |`);
  return `${['| unit | |', '|---|---|', ...lines].join('\n')}\n`;
}

function referenceTable(): string {
  const lines = ['| field | kind | default | |', '|---|---|---|---|'];
  for (const row of rowsOf(configJsonSchema(), '')) {
    lines.push(`| \`${row.path}\` | ${row.kind} | ${row.initial} | ${row.text} |`);
  }
  return `${lines.join('\n')}\n`;
}

function rowsOf(schema: JsonSchema, base: string): Row[] {
  const required = new Set(listOf(schema.required));
  return Object.entries(schemaOf(schema.properties) ?? {}).flatMap(([name, value]) => {
    const own = schemaOf(value) ?? {};
    const path = base === '' ? name : `${base}.${name}`;
    const inner = containerOf(own);
    const row: Row = {
      path: path + (inner?.suffix ?? ''),
      kind: kindOf(own),
      initial: own.default === undefined ? (required.has(name) ? 'required' : '') : `\`${String(own.default)}\``,
      text: typeof own.description === 'string' ? own.description.replaceAll('|', '\\|') : '',
    };
    return [row, ...(inner ? rowsOf(inner.schema, row.path) : [])];
  });
}

/** What a section, a list or a map of sections holds, and how that is written behind the name of the field. */
function containerOf(schema: JsonSchema): { schema: JsonSchema; suffix: string } | undefined {
  if (schema.properties !== undefined) return { schema, suffix: '' };
  const items = schemaOf(schema.items);
  const values = schemaOf(schema.additionalProperties);
  const [inner, suffix] = items ? [items, '[]'] : [values, '.<name>'];
  if (!inner) return undefined;
  const choices = [inner, ...listOf(inner.anyOf).map((one) => schemaOf(one) ?? {})];
  return { schema: choices.find((one) => one.properties !== undefined) ?? {}, suffix };
}

function kindOf(schema: JsonSchema): string {
  if (typeof schema.$ref === 'string') return schema.$ref.replace('#/$defs/', '');
  if (schema.type === 'array') return 'list';
  if (schema.type === 'object') return schema.properties === undefined ? 'map' : 'section';
  const choice = listOf(schema.anyOf)
    .map((one) => listOf(schemaOf(one)?.enum))
    .find((values) => values.length > 0);
  if (choice) return choice.length > 8 ? 'a unit' : choice.map((value) => `\`${String(value)}\``).join(', ');
  if (schema.oneOf !== undefined) return 'a price';
  if (listOf(schema.anyOf).some((one) => schemaOf(one)?.type === 'null')) return 'text';
  return schema.anyOf === undefined ? 'text' : 'text or list';
}

function schemaOf(value: unknown): JsonSchema | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonSchema) : undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
