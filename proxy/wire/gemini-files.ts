import type { HeaderMap } from '../inbound/call.ts';
import { geminiDialect } from './gemini-dialect.ts';
import { geminiPaths } from './gemini-paths.ts';
import { MadeReader, type MadeWords } from './made-reader.ts';
import type { Params } from './path-pattern.ts';
import { jsonMeter } from './paths-meter.ts';
import { askedWithoutTokens, FREE_FACTS, SILENT_METER } from './unmetered.ts';
import type { Asked, CallHead, Meter, Wire } from './wire.ts';

/**
 * Files that later calls point at, each for the customer who sent it. Google takes nothing for keeping them; what they
 * cost comes with the call that reads them.
 */
export const geminiFiles = {
  name: 'gemini-files',
  family: 'gemini',
  dialect: geminiDialect,
  endpoints: [
    ...geminiPaths('POST', '/upload/{version}/files'),
    ...geminiPaths('PUT', '/upload/{version}/files'),
    // Below `v1` the path is OpenAI's.
    { method: 'GET', path: '/v1beta/files/{file}:download' },
    { method: 'GET', path: '/v1beta/files/{file}' },
    { method: 'DELETE', path: '/v1beta/files/{file}' },
  ],
  operation: 'files',
  facts: FREE_FACTS,
  parse: (_body: Uint8Array, _call: CallHead, { file }: Params): Asked => ({
    ...askedWithoutTokens('', 'free'),
    ...(file === undefined ? { makes: 'file' } : { object: file }),
  }),
  rewrite: (body: Uint8Array): Uint8Array => body,
  meter: ({ object }: Asked): Meter => (object === undefined ? jsonMeter(new MadeReader(FILE)) : SILENT_METER),
  answerHeaders,
} as const satisfies Wire;

/** What is told of it when all of it has been sent: `files/abc`. */
const FILE: MadeWords = { id: 'file.name', before: 'files/', state: 'file.state', over: new Set(), files: [] };

/** Where Google says that the bytes are to be sent. It points to Google itself, around the gateway and its keys. */
const UPLOAD_URL = 'x-goog-upload-url';
const UPLOAD_PATH = '/upload/';
/** Others that say the same. */
const DROPPED = ['x-goog-upload-control-url', 'location'];

/** The client is told an address of ours for the upload: with its own key where that came in the query, as it must again. */
function answerHeaders(headers: HeaderMap, call: CallHead): HeaderMap {
  if (DROPPED.every((name) => headers[name] === undefined) && headers[UPLOAD_URL] === undefined) return headers;
  const { [UPLOAD_URL]: told, ...others } = headers;
  const kept = Object.fromEntries(Object.entries(others).filter(([name]) => !DROPPED.includes(name)));
  const url = typeof told === 'string' ? URL.parse(told) : null;
  const host = call.headers.host;
  const below = call.path.indexOf(UPLOAD_PATH);
  if (!url?.pathname.startsWith(UPLOAD_PATH) || typeof host !== 'string' || below < 0) return kept;
  const scheme = call.headers['x-forwarded-proto'] === 'https' ? 'https' : 'http';
  const key = new URLSearchParams(call.query).get('key');
  if (key !== null) url.searchParams.set('key', key);
  // An upstream that was named stays named.
  kept[UPLOAD_URL] = `${scheme}://${host}${call.path.slice(0, below)}${url.pathname}${url.search}`;
  return kept;
}
