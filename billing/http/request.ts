import type { z } from '@hono/zod-openapi';
import { Fault, type FaultIssue } from '#core/fault.ts';
import { issuesOf, type Place } from './problem.ts';

export const BODY_BYTES_MAX = 1024 * 1024;

/** Reads the body as JSON, at most `bytesMax` of it. An empty body is an empty object. */
export async function readJson(request: Request, bytesMax: number): Promise<unknown> {
  const type = request.headers.get('content-type');
  const bytes = await readBytes(request, bytesMax);
  if (bytes.length === 0) return {};
  if (type !== null && !/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(type)) {
    throw new Fault('invalid_request', { detail: 'The content type must be application/json.' });
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new Fault('invalid_json', { cause });
  }
}

async function readBytes(request: Request, bytesMax: number): Promise<Uint8Array> {
  const tooLarge = () => new Fault('body_too_large', { detail: `At most ${bytesMax} bytes are taken here.` });
  if (Number(request.headers.get('content-length') ?? 0) > bytesMax) throw tooLarge();
  if (!request.body) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body) {
    length += chunk.length;
    if (length > bytesMax) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** Query parameters as an object; one that is given several times is an array, which most schemas refuse. */
export function queryOf(url: string): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = {};
  const search = new URL(url).searchParams;
  for (const name of new Set(search.keys())) {
    const values = search.getAll(name);
    query[name] = values.length === 1 ? (values[0] ?? '') : values;
  }
  return query;
}

/** Parses each part with its schema and throws once, with all that is wrong in any of them. */
export class Parser {
  readonly #issues: FaultIssue[] = [];

  parse<S extends z.ZodType>(schema: S | undefined, value: unknown, place: Place): z.output<S> | undefined {
    if (!schema) return undefined;
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    this.#issues.push(...issuesOf(result.error, place));
    return undefined;
  }

  throwIfWrong(): void {
    if (this.#issues.length > 0) throw new Fault('validation_failed', { issues: this.#issues });
  }
}
