import { isObject } from './bytes.ts';
import { parseBody, parseName, parseObjectId } from './json-request.ts';
import { MadeReader, type MadeWords } from './made-reader.ts';
import { openaiDialect } from './openai-dialect.ts';
import { unchanged } from './openai-files.ts';
import type { Params } from './path-pattern.ts';
import { jsonMeter } from './paths-meter.ts';
import { askedWithoutTokens } from './unmetered.ts';
import { type Asked, type CallHead, type Meter, NOTHING_ASKED, type Wire } from './wire.ts';

/** How OpenAI says that a batch is over; lines that were done by then are billed, whatever it is. */
export const OPENAI_BATCH: MadeWords = {
  id: 'id',
  state: 'status',
  over: new Set(['completed', 'failed', 'expired', 'cancelled']),
  files: ['output_file_id', 'error_file_id'],
  answers: 'request_counts.completed',
};

const meter = (): Meter => jsonMeter(new MadeReader(OPENAI_BATCH));

/** Batches of OpenAI: held when they are handed in, by the requests of their file, and billed by their results. */
export const openaiBatches = {
  name: 'openai-batches',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [{ method: 'POST', path: '/v1/batches' }],
  operation: 'batch',
  facts: {
    units: ['input_tokens', 'cache_read_tokens', 'cache_write_tokens', 'output_tokens'],
    usage: '`usage` of every answer in the file of results, when the batch is over; one event for all, by model',
    estimated: 'a batch whose results nobody could see',
    edited: null,
  },
  goesOn: true,
  parse(body: Uint8Array): Asked {
    const fields = parseBody(body, DECISIVE);
    return {
      ...NOTHING_ASKED,
      model: '',
      metering: 'usage',
      session: parseName(isObject(fields.metadata) ? fields.metadata.session_id : null),
      serviceTier: 'batch',
      buildsOn: [parseObjectId(fields.input_file_id, 'input_file_id')],
      makes: 'batch',
      background: true,
      atLeisure: true,
      once: true,
    };
  },
  rewrite: unchanged,
  meter,
} as const satisfies Wire;

/** What became of them, asked by whoever made them; and cancelling. */
export const openaiStoredBatches = {
  name: 'openai-stored-batches',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [
    { method: 'GET', path: '/v1/batches/{id}' },
    { method: 'POST', path: '/v1/batches/{id}/cancel' },
  ],
  operation: 'batch',
  facts: {
    units: [],
    usage: 'none of its own: a batch that is seen to be over settles the call that made it, once',
    estimated: null,
    edited: null,
  },
  parse: (_body: Uint8Array, _call: CallHead, { id = '' }: Params): Asked => ({
    ...askedWithoutTokens('', 'free'),
    object: id,
  }),
  rewrite: (body: Uint8Array): Uint8Array => body,
  meter,
} as const satisfies Wire;

const DECISIVE = new Set(['input_file_id', 'endpoint', 'completion_window']);
