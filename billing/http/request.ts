import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { z } from '@hono/zod-openapi';
import { Fault, type FaultIssue } from '#core/fault.ts';
import { issuesOf, type Place } from './problem.ts';

export const BODY_BYTES_MAX = 1024 * 1024;

/** What makes a value of a body: JSON, unless a route takes other formats too. */
export type BodyReader = (bytes: Uint8Array, headers: Headers) => unknown;

/** Reads the body, at most `bytesMax` of it, packed with gzip or not. */
export async function readBody(request: Request, bytesMax: number, reader: BodyReader = readJson): Promise<unknown> {
  const bytes = await readBytes(request, bytesMax);
  return reader(await unpacked(bytes, request.headers.get('content-encoding'), bytesMax), request.headers);
}

/** An empty body is an empty object. */
function readJson(bytes: Uint8Array, headers: Headers): unknown {
  const type = headers.get('content-type');
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

function tooLarge(bytesMax: number): Fault {
  return new Fault('body_too_large', { detail: `At most ${bytesMax} bytes are taken here.` });
}

/** The bound holds for what comes out, so that a small body cannot unpack to a large one. */
async function unpacked(bytes: Uint8Array, encoding: string | null, bytesMax: number): Promise<Uint8Array> {
  if (encoding === null || encoding === '' || encoding === 'identity') return bytes;
  if (encoding !== 'gzip') throw new Fault('invalid_request', { detail: 'The only content-encoding taken is gzip.' });
  try {
    return await promisify(gunzip)(bytes, { maxOutputLength: bytesMax });
  } catch (cause) {
    if (cause instanceof RangeError) throw tooLarge(bytesMax);
    throw new Fault('invalid_request', { detail: 'The body is no gzip.', cause });
  }
}

async function readBytes(request: Request, bytesMax: number): Promise<Uint8Array> {
  if (Number(request.headers.get('content-length') ?? 0) > bytesMax) throw tooLarge(bytesMax);
  if (!request.body) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body) {
    length += chunk.length;
    if (length > bytesMax) throw tooLarge(bytesMax);
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
