import { Fault } from '#core/fault.ts';
import { anthropicFiles } from './anthropic-files.ts';
import { decodeStrictUtf8, isObject, parseJson } from './bytes.ts';
import { onlyMember } from './json-request.ts';
import { MadeReader, type MadeWords } from './made-reader.ts';
import { parseForm } from './multipart.ts';
import { openaiDialect } from './openai-dialect.ts';
import type { Params } from './path-pattern.ts';
import { jsonMeter } from './paths-meter.ts';
import { askedWithoutTokens, FREE_FACTS, SILENT_METER } from './unmetered.ts';
import type { Asked, BatchRequest, CallHead, Meter, RequestEdits, Wire } from './wire.ts';

/**
 * Files that OpenAI keeps for later calls, each for the customer who sent it. Keeping them costs nothing. One that is to
 * be a batch is read: its requests say what the batch can come to.
 */
export const openaiFiles = {
  name: 'openai-files',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [
    { method: 'POST', path: '/v1/files' },
    { method: 'GET', path: '/v1/files/{id}' },
    { method: 'DELETE', path: '/v1/files/{id}' },
    { method: 'GET', path: '/v1/files/{id}/content' },
  ],
  forHeader: { header: 'anthropic-version', wire: anthropicFiles },
  operation: 'files',
  facts: FREE_FACTS,
  parse(body: Uint8Array, call: CallHead, { id }: Params): Asked {
    const asked = askedWithoutTokens('', 'free');
    if (id !== undefined) return { ...asked, object: id };
    const { fields, files } = parseForm(body, call, DECISIVE);
    const [file] = files;
    if (fields.purpose !== 'batch') return { ...asked, makes: 'file' };
    if (files.length !== 1 || !file) throw new Fault('invalid_request', { detail: 'A batch is one file.' });
    return { ...asked, makes: 'file', requests: requestsIn(file.bytes) };
  },
  rewrite: unchanged,
  meter: ({ object }: Asked): Meter => (object === undefined ? jsonMeter(new MadeReader(FILE)) : SILENT_METER),
} as const satisfies Wire;

const DECISIVE = new Set(['purpose']);
/** A file is what it is from the start. */
const FILE: MadeWords = { id: 'id', state: 'object', over: new Set(['file']), files: [] };

const NEWLINE = 0x0a;

/** A route that gives the model another name would have to give it in every request. Throws `invalid_request`. */
export function unchanged(body: Uint8Array, _asked: Asked, { model }: RequestEdits): Uint8Array {
  if (model === null) return body;
  throw new Fault('invalid_request', { detail: 'Its model goes by another name there: no batch can be made of it.' });
}

/** Each line is a request, as JSON. Throws `invalid_request`. */
function* requestsIn(bytes: Uint8Array): Generator<BatchRequest> {
  let number = 0;
  for (let start = 0; start < bytes.length; ) {
    const found = bytes.indexOf(NEWLINE, start);
    const end = found < 0 ? bytes.length : found;
    number++;
    const line = bytes.subarray(start, end);
    const text = decodeStrictUtf8(line)?.trim();
    start = end + 1;
    if (text === '') continue;
    const place = `line ${number}`;
    const value = text === undefined ? undefined : parseJson(text)?.value;
    const body = isObject(value) ? onlyMember(line, 'body', value) : undefined;
    if (!isObject(value) || typeof value.url !== 'string' || !isObject(value.body) || !body)
      throw new Fault('invalid_request', { detail: `${place} of the file is no request of a batch.` });
    yield { place, id: value.custom_id, path: value.url, body };
  }
}
