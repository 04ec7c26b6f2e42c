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
  /** Where it went, where that was recorded: with the model, as it stands in the path. */
  path: string | null;
  /** The client's body, or null where only the answer was recorded. */
  request: Buffer | null;
  status: number;
  contentType: string;
  /** Other headers of the answer, without those of the connection. */
  headers: readonly [string, string][];
  body: Buffer;
}

/** One socket, message by message. */
export interface SocketRecording {
  readonly messages: readonly { readonly direction: 'sent' | 'received'; readonly bytes: Buffer }[];
}

export function readManifest(path: string): { folder: string; fixtures: readonly Fixture[] } {
  return { folder: dirname(path), fixtures: manifestSchema.parse(JSON.parse(readFileSync(path, 'utf8'))).fixtures };
}

/** Throws when the file is not what the manifest says, or holds no plain HTTP exchange. */
export function readRecording(folder: string, fixture: Fixture, format: Format): Recording {
  const bytes = readFixture(folder, fixture);
  if (fixture.framing === 'jsonl-of-sse-data') return fromDataLines(bytes.toString('utf8'), format);
  if (/\.ya?ml$/.test(fixture.file)) return fromCassette(bytes.toString('utf8'));
  const status = fixture.framing === 'json-error' ? errorStatusOf(bytes.toString('utf8')) : 200;
  return { path: null, request: null, status, contentType: 'application/json', headers: [], body: bytes };
}

/** Throws when the file is not what the manifest says, or holds no messages. */
export function readSocketRecording(folder: string, fixture: Fixture): SocketRecording {
  const { interactions } = messagesSchema.parse(parseYaml(readFixture(folder, fixture).toString('utf8')));
  return {
    messages: interactions.map(({ direction, data }) => ({ direction, bytes: Buffer.from(JSON.stringify(data)) })),
  };
}

const messagesSchema = z.object({
  interactions: z
    .array(z.object({ direction: z.enum(['sent', 'received']), data: z.record(z.string(), z.unknown()) }))
    .min(1),
});

function readFixture(folder: string, fixture: Fixture): Buffer {
  const bytes = readFileSync(join(folder, fixture.file));
  const sum = createHash('sha256').update(bytes).digest('hex');
  if (fixture.sha256 !== undefined && sum !== fixture.sha256)
    throw new Error('the file is not the one in the manifest');
  return bytes;
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
  return { path: null, request: null, status: 200, contentType: 'text/event-stream', headers: [], body };
}

const headersSchema = z.record(z.string(), z.array(z.unknown()));
/** Bytes that are no text stand there as YAML's binary. */
const textOrBytes = z.union([z.string(), z.instanceof(Uint8Array)]);

/** A cassette of go-vcr or of Python's vcrpy, which takes JSON apart: the first exchange. */
const cassetteSchema = z.object({
  interactions: z
    .array(
      z.object({
        request: z.object({
          body: z.string().optional(),
          parsed_body: z.unknown().optional(),
          uri: z.string().optional(),
        }),
        response: z.object({
          code: z.number().int().optional(),
          status: z.union([z.string(), z.object({ code: z.number().int() })]),
          headers: headersSchema,
          body: z.union([z.string(), z.object({ string: textOrBytes })]).optional(),
          parsed_body: z.unknown().optional(),
        }),
      }),
    )
    .min(1),
});

/** What stands there in place of a form that was not kept. */
const OMITTED = /^\[.*omitted\]$/;

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
  const asked = request.body ?? JSON.stringify(request.parsed_body);
  const body = typeof response.body === 'object' ? response.body.string : response.body;
  const status = typeof response.status === 'object' ? response.status.code : response.code;
  return {
    path: request.uri === undefined ? null : new URL(request.uri).pathname,
    request: OMITTED.test(asked) ? null : Buffer.from(asked),
    status: status ?? 200,
    contentType: headers.find(([name]) => name === 'content-type')?.[1] ?? 'application/json',
    headers: headers.filter(([name]) => name !== 'content-type' && !CONNECTION.has(name)),
    body: Buffer.from(body ?? JSON.stringify(response.parsed_body)),
  };
}
