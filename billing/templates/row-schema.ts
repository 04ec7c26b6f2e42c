import { z } from '@hono/zod-openapi';
import { issuesOf } from '#billing/http/problem.ts';
import { Fault, type FaultIssue } from '#core/fault.ts';

/** Checks a row by a JSON Schema of the customer. Gives what is wrong with it. */
export type RowCheck = (row: unknown) => FaultIssue[];

export const SCHEMA_CHARS_MAX = 32 * 1024;
const DEPTH_MAX = 16;

/** A regular expression can take exponential time, and a reference can lead anywhere. */
const REFUSED = new Set(['pattern', 'patternProperties', '$ref', '$dynamicRef']);

/** Throws `validation_failed` where the schema is none, or has what is not taken. */
export function compileRowSchema(schema: Record<string, unknown>, pointer: string): RowCheck {
  const issues = refusedIn(schema, pointer, 0);
  if (JSON.stringify(schema).length > SCHEMA_CHARS_MAX) {
    issues.push({ pointer, detail: `It is longer than ${SCHEMA_CHARS_MAX} characters.` });
  }
  if (issues.length > 0) throw new Fault('validation_failed', { issues });
  let compiled: z.ZodType;
  try {
    compiled = z.fromJSONSchema(schema);
  } catch (cause) {
    const detail = `It is no JSON Schema that is taken: ${cause instanceof Error ? cause.message : 'unknown'}.`;
    throw new Fault('validation_failed', { issues: [{ pointer, detail }], cause });
  }
  return (row) => {
    const result = compiled.safeParse(asNumbers(row));
    return result.success ? [] : issuesOf(result.error, 'body');
  };
}

function refusedIn(value: unknown, pointer: string, depth: number): FaultIssue[] {
  if (typeof value !== 'object' || value === null) return [];
  if (depth > DEPTH_MAX) return [{ pointer, detail: 'It is nested too deep.' }];
  return Object.entries(value).flatMap(([name, inner]) => {
    const at = `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    // A property of the row may have the name; a keyword has text or an object of schemas.
    if (REFUSED.has(name) && !pointer.endsWith('/properties'))
      return [{ pointer: at, detail: `${name} is not taken.` }];
    return refusedIn(inner, at, depth + 1);
  });
}

/** For the check alone, numbers that are kept as their text are as near as a number comes. */
function asNumbers(value: unknown): unknown {
  if (JSON.isRawJSON(value)) return JSON.parse(value.rawJSON);
  if (Array.isArray(value)) return value.map(asNumbers);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, asNumbers(inner)]));
}
