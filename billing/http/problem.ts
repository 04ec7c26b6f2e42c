import { z } from '@hono/zod-openapi';
import { FAULTS, type Fault, type FaultIssue } from '#core/fault.ts';

/** Every error of the API, as RFC 9457 has it. `code` is the stable name to branch on; docs/errors.md explains each. */
export const Problem = z
  .object({
    type: z.string().openapi({ example: 'urn:weir:fault:validation_failed' }),
    title: z.string(),
    status: z.int(),
    code: z.string().openapi({ example: 'validation_failed' }),
    detail: z.string().optional(),
    request_id: z.string(),
    errors: z
      .array(
        z.object({
          pointer: z.string().optional().openapi({ example: '#/limits/0/amount' }),
          parameter: z.string().optional(),
          header: z.string().optional(),
          detail: z.string(),
        }),
      )
      .optional(),
  })
  .openapi('Problem');

export function problemOf(fault: Fault, requestId: string): z.output<typeof Problem> {
  return {
    type: `urn:weir:fault:${fault.code}`,
    title: FAULTS[fault.code].text,
    status: fault.status,
    code: fault.code,
    ...(fault.detail === undefined ? {} : { detail: fault.detail }),
    request_id: requestId,
    ...(fault.issues.length === 0 ? {} : { errors: fault.issues.map((issue) => ({ ...issue })) }),
  };
}

/** Where a value stands in a request: the body has pointers, the rest has names. */
export type Place = 'body' | 'parameter' | 'header';

/** What zod found, as issues with JSON pointers (RFC 6901 in a URI fragment): one per unknown field, one per wrong value. */
export function issuesOf(error: z.core.$ZodError, place: Place): FaultIssue[] {
  return error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => at(place, [...issue.path, key], 'This field is not known.'));
    }
    return [at(place, issue.path, sentence(issue.message))];
  });
}

function at(place: Place, path: readonly PropertyKey[], detail: string): FaultIssue {
  if (place !== 'body') return { [place]: path.map(String).join('.'), detail };
  return { pointer: `#${path.map((part) => `/${escapePart(String(part))}`).join('')}`, detail };
}

function escapePart(part: string): string {
  return encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'));
}

function sentence(message: string): string {
  return /[.!?]$/.test(message) ? message : `${message}.`;
}
