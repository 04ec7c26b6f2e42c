import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import { Fault, type FaultIssue } from '#core/fault.ts';

/** Checks a row by a JSON Schema of the customer. Gives what is wrong with it. */
export type RowCheck = (row: unknown) => FaultIssue[];

const SCHEMA_CHARS_MAX = 32 * 1024;
const DEPTH_MAX = 16;
const ISSUES_MAX = 20;

/** A regular expression can take exponential time, comparing all items of a list the square, and a reference can lead anywhere. */
const REFUSED = new Set(['uniqueItems', 'pattern', 'patternProperties', '$ref', '$dynamicRef', '$recursiveRef']);

/** Throws `validation_failed` where the schema is none, or has what is not taken. */
export function compileRowSchema(schema: Record<string, unknown>, pointer: string): RowCheck {
  const issues = refusedIn(schema, pointer, 0);
  if (JSON.stringify(schema).length > SCHEMA_CHARS_MAX) {
    issues.push({ pointer, detail: `It is longer than ${SCHEMA_CHARS_MAX} characters.` });
  }
  if (issues.length > 0) throw new Fault('validation_failed', { issues });
  // Every draft means the same by what is taken here.
  const { $schema: _, $id: __, ...rules } = schema;
  let validate: ValidateFunction;
  try {
    validate = new Ajv2020({ strict: false, allErrors: true, logger: false, validateFormats: false }).compile(rules);
  } catch (cause) {
    const detail = `It is no JSON Schema: ${cause instanceof Error ? cause.message.slice(0, 300) : 'unknown'}.`;
    throw new Fault('validation_failed', { issues: [{ pointer, detail }], cause });
  }
  return (row) => (validate(asNumbers(row)) ? [] : (validate.errors ?? []).slice(0, ISSUES_MAX).map(issueOf));
}

function issueOf({ instancePath, message, params }: ErrorObject): FaultIssue {
  const missing: unknown = params.missingProperty;
  const inside = typeof missing === 'string' ? `/${escaped(missing)}` : '';
  const detail = typeof missing === 'string' ? 'It is missing.' : `It ${message ?? 'is wrong'}.`;
  return { pointer: `#${instancePath}${inside}`, detail };
}

function refusedIn(value: unknown, pointer: string, depth: number): FaultIssue[] {
  if (typeof value !== 'object' || value === null) return [];
  if (depth > DEPTH_MAX) return [{ pointer, detail: 'It is nested too deep.' }];
  return Object.entries(value).flatMap(([name, inner]) => {
    const at = `${pointer}/${escaped(name)}`;
    // A property of the row may have such a name.
    if (REFUSED.has(name) && !pointer.endsWith('/properties'))
      return [{ pointer: at, detail: `${name} is not taken.` }];
    return refusedIn(inner, at, depth + 1);
  });
}

function escaped(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** For the check alone, numbers that are kept as their text are as near as a number comes. */
function asNumbers(value: unknown): unknown {
  if (JSON.isRawJSON(value)) return JSON.parse(value.rawJSON);
  if (Array.isArray(value)) return value.map(asNumbers);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, asNumbers(inner)]));
}
