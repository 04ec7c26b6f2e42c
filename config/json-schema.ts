import { z } from 'zod';
import { AMOUNT_DIGITS_MAX } from './bounds.ts';
import type { ScalarKind } from './scalars.ts';
import { configSchema } from './schema.ts';

/**
 * The JSON Schema of the configuration file, for editors. It says what a field may look like; what only Weir can check
 * (names that must exist, sums, secrets) is in `weir check`. Committed as docs/config.schema.json.
 */
export type JsonSchema = { [key: string]: unknown };

const AMOUNT = `^\\d{1,${AMOUNT_DIGITS_MAX.whole}}(\\.\\d{1,${AMOUNT_DIGITS_MAX.fraction}})?`;
const VARIABLE: JsonSchema = { $ref: '#/$defs/variable' };

/** Single values as an editor sees them, before they are parsed. Each may come from the environment. */
const SHAPES: Readonly<Record<ScalarKind, JsonSchema>> = {
  count: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'string', pattern: '^\\d+(\\.\\d+)?[kMG]?$' }, VARIABLE] },
  duration: { anyOf: [{ type: 'string', pattern: '^\\d+(\\.\\d+)? ?(ms|s|m|h)$' }, VARIABLE] },
  bytes: { anyOf: [{ type: 'string', pattern: '^\\d+(\\.\\d+)? ?([kMG]?B|[KMG]iB)$' }, VARIABLE] },
  money: { anyOf: [{ type: 'string', pattern: `${AMOUNT} [A-Z]{3}$` }, VARIABLE] },
  amount: { anyOf: [{ type: 'number', minimum: 0 }, { type: 'string', pattern: `${AMOUNT}( [A-Z]{3})?$` }, VARIABLE] },
  instant: { anyOf: [{ type: 'string', pattern: '^\\d{4}-\\d{2}-\\d{2}' }, VARIABLE] },
  flag: { anyOf: [{ type: 'boolean' }, VARIABLE] },
  secret: { type: 'string' },
};

export function configJsonSchema(): JsonSchema {
  const { $schema, description, ...rest } = z.toJSONSchema(configSchema, { io: 'input' });
  return {
    $schema,
    title: description,
    ...forEditors(rest),
    $defs: {
      ...SHAPES,
      variable: { type: 'string', pattern: '\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}' },
    },
  };
}

/** Puts the shapes in the place of parsed values, and the notes of scalars.ts where editors show them. */
function forEditors(schema: JsonSchema): JsonSchema {
  const { scalar, initial, range, ...plain } = schema;
  const own: JsonSchema = {};
  for (const [key, value] of Object.entries(plain)) {
    if (scalar !== undefined && ['type', 'anyOf', 'pattern'].includes(key)) continue;
    own[key] = Array.isArray(value) ? value.map(forEditorsAny) : forEditorsAny(value);
  }
  if (range !== undefined) own.description = `${own.description ?? ''} From ${range}.`.trim();
  if (initial !== undefined) own.default = initial;
  if (scalar !== undefined) own.$ref = `#/$defs/${scalar}`;
  if (own.format === 'decimal') {
    // Numbers are read as the text that is written.
    delete own.format;
    delete own.type;
    own.$ref = '#/$defs/amount';
  }
  if (own.enum !== undefined) {
    own.anyOf = [{ enum: own.enum }, VARIABLE];
    delete own.enum;
    delete own.type;
  }
  return own;
}

function forEditorsAny(value: unknown): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? forEditors(value as JsonSchema) : value;
}

/** As it is committed, and as `weir schema` prints it. */
export function configJsonSchemaText(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`;
}
