import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import type { Format } from './formats.ts';

/** A manifest of recorded provider traffic: what was recorded, and what a gateway must meter from it. */
const manifestSchema = z.object({
  fixtures: z.array(
    z.object({
      file: z.string(),
      format: z.string(),
      framing: z.string(),
      expected_usage: z.record(z.string(), z.unknown()).nullable(),
      sha256: z.string().optional(),
    }),
  ),
});

export type Fixture = z.infer<typeof manifestSchema>['fixtures'][number];

/** One HTTP exchange, as it was on the wire. */
export interface Recording {
  /** The client's body, or null where only the answer was recorded. */
  request: Buffer | null;
  status: number;
  contentType: string;
  /** Other headers of the answer, without those of the connection. */
  headers: readonly [string, string][];
  body: Buffer;
}

export function readManifest(path: string): { folder: string; fixtures: readonly Fixture[] } {
  return { folder: dirname(path), fixtures: manifestSchema.parse(JSON.parse(readFileSync(path, 'utf8'))).fixtures };
}

/** Throws when the file is not what the manifest says, or holds no plain HTTP exchange. */
export function readRecording(folder: string, fixture: Fixture, format: Format): Recording {
  const bytes = readFileSync(join(folder, fixture.file));
  const sum = createHash('sha256').update(bytes).digest('hex');
  if (fixture.sha256 !== undefined && sum !== fixture.sha256)
    throw new Error('the file is not the one in the manifest');
  if (fixture.framing === 'jsonl-of-sse-data') return fromDataLines(bytes.toString('utf8'), format);
  if (/\.ya?ml$/.test(fixture.file)) return fromCassette(bytes.toString('utf8'));
  const status = fixture.framing === 'json-error' ? errorStatusOf(bytes.toString('utf8')) : 200;
  return { request: null, status, contentType: 'application/json', headers: [], body: bytes };
}

/** The status of a recorded error of which only the body is left: Google's say it themselves. */
function errorStatusOf(text: string): number {
  const { error } = JSON.parse(text) as { error?: { code?: unknown } };
  return typeof error?.code === 'number' ? error.code : 400;
}

/** The data of one server-sent event per line; names of events and the final mark were left out. */
function fromDataLines(text: string, { frame, end }: Format): Recording {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const body = Buffer.from(`${lines.map((line) => frame(line.trimEnd())).join('')}${end}`);
  return { request: null, status: 200, contentType: 'text/event-stream', headers: [], body };
}

/** A cassette of go-vcr: the first exchange. */
const cassetteSchema = z.object({
  interactions: z
    .array(
      z.object({
        request: z.object({ body: z.string() }),
        response: z.object({
          code: z.number().int(),
          headers: z.record(z.string(), z.array(z.string())),
          body: z.string(),
        }),
      }),
    )
    .min(1),
});

/** Headers that belong to the recorded connection, not to the answer. */
const CONNECTION = new Set([
  'connection',
  'content-length',
  'transfer-encoding',
  'content-encoding',
  'date',
  'keep-alive',
]);

function fromCassette(text: string): Recording {
  const { request, response } = cassetteSchema.parse(parseYaml(text)).interactions[0] ?? {};
  if (!request || !response) throw new Error('the cassette is empty');
  const headers = Object.entries(response.headers).map(([name, values]): [string, string] => [
    name.toLowerCase(),
    values.join(', '),
  ]);
  return {
    request: Buffer.from(request.body),
    status: response.code,
    contentType: headers.find(([name]) => name === 'content-type')?.[1] ?? 'application/json',
    headers: headers.filter(([name]) => name !== 'content-type' && !CONNECTION.has(name)),
    body: Buffer.from(response.body),
  };
}
