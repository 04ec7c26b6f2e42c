import { Fault } from '#core/fault.ts';
import { ownOrigin } from '../headers.ts';
import { anthropicDialect } from './anthropic-dialect.ts';
import { concat, EMPTY, encodeUtf8, isObject, parseJson } from './bytes.ts';
import { onlyMember, parseBody } from './json-request.ts';
import { edited, elementsOf, findMember, membersOf, valueText } from './json-span.ts';
import { MadeReader, type MadeWords } from './made-reader.ts';
import { unchanged } from './openai-files.ts';
import type { Params } from './path-pattern.ts';
import { jsonMeter } from './paths-meter.ts';
import { askedWithoutTokens, SILENT_METER } from './unmetered.ts';
import {
  type AnswerHead,
  type Asked,
  type BatchRequest,
  type CallHead,
  type Meter,
  NOTHING_ASKED,
  type Wire,
} from './wire.ts';

export const ANTHROPIC_BATCH: MadeWords = {
  id: 'id',
  state: 'processing_status',
  over: new Set(['ended']),
  files: [],
  answers: 'request_counts.succeeded',
};

const PATH = '/v1/messages/batches';

/** Message Batches of Anthropic: the requests stand in the body, and what they came to in the results. */
export const anthropicBatches = {
  name: 'anthropic-batches',
  family: 'anthropic',
  dialect: anthropicDialect,
  endpoints: [{ method: 'POST', path: PATH }],
  operation: 'batch',
  facts: {
    units: [
      'input_tokens',
      'cache_read_tokens',
      'cache_write_5m_tokens',
      'cache_write_1h_tokens',
      'output_tokens',
      'web_searches',
    ],
    usage: '`usage` of every message in the results, when the batch is over; one event for all, by model',
    estimated: 'a batch whose results nobody could see',
    edited: null,
  },
  goesOn: true,
  parse(body: Uint8Array): Asked {
    const { requests } = parseBody(body, DECISIVE);
    const list = findMember(body, membersOf(body) ?? [], 'requests');
    if (!Array.isArray(requests) || !list)
      throw new Fault('invalid_request', { detail: "The field 'requests' must be a list." });
    return {
      ...NOTHING_ASKED,
      model: '',
      metering: 'usage',
      serviceTier: 'batch',
      requests: requestsIn(body.subarray(list.valueStart, list.valueEnd), requests),
      makes: 'message_batch',
      background: true,
      atLeisure: true,
      once: true,
    };
  },
  rewrite: unchanged,
  meter: (): Meter => jsonMeter(new MadeReader(ANTHROPIC_BATCH)),
} as const satisfies Wire;

type BatchAsked = Asked & { readonly ownUrl: string };

/** What became of them, asked by whoever made them. An answer leads to its results at the address that was asked. */
export const anthropicStoredBatches = {
  name: 'anthropic-stored-batches',
  family: 'anthropic',
  dialect: anthropicDialect,
  endpoints: [
    { method: 'GET', path: `${PATH}/{id}` },
    { method: 'GET', path: `${PATH}/{id}/results` },
    { method: 'POST', path: `${PATH}/{id}/cancel` },
    { method: 'DELETE', path: `${PATH}/{id}` },
  ],
  operation: 'batch',
  facts: {
    units: [],
    usage: 'none of its own: a batch that is seen to be over settles the call that made it, once',
    estimated: null,
    edited: '`results_url`, which leads around the gateway',
  },
  parse: (_body: Uint8Array, { headers, path }: CallHead, { id = '' }: Params): BatchAsked => ({
    ...askedWithoutTokens('', 'free'),
    object: id,
    // An upstream that was named stays named.
    ownUrl: `${ownOrigin(headers)}${path.slice(0, Math.max(0, path.indexOf(PATH)))}`,
  }),
  rewrite: (body: Uint8Array): Uint8Array => body,
  meter({ ownUrl }: BatchAsked, { status, headers }: AnswerHead): Meter {
    const isJson = String(headers['content-type'] ?? '').startsWith('application/json');
    return status < 300 && isJson ? leadingHere(ownUrl) : SILENT_METER;
  },
} as const;

const DECISIVE = new Set(['requests']);

function* requestsIn(bytes: Uint8Array, requests: readonly unknown[]): Generator<BatchRequest> {
  const elements = elementsOf(bytes) ?? [];
  for (const [i, request] of requests.entries()) {
    const place = `requests[${i}]`;
    const element = elements[i];
    const params =
      element && isObject(request) && onlyMember(bytes.subarray(element.start, element.end), 'params', request);
    if (!params || !isObject(request) || !isObject(request.params)) {
      throw new Fault('invalid_request', { detail: `${place} has no params, or something twice.` });
    }
    yield { place, id: request.custom_id, path: '/v1/messages', body: params };
  }
}

const RESULTS_URL = 'results_url';

/** The state of a batch is a few lines; what is longer is passed as it is. */
const STATE_BYTES_MAX = 1 << 20;

function leadingHere(ownUrl: string): Meter {
  const meter = jsonMeter(new MadeReader(ANTHROPIC_BATCH));
  const parts: Uint8Array[] = [];
  let length = 0;
  return {
    ...meter,
    edits: true,
    push(chunk) {
      meter.push(chunk);
      length += chunk.length;
      // A copy: the chunk is only lent.
      parts.push(chunk.slice());
      return length > STATE_BYTES_MAX ? concat(parts.splice(0)) : EMPTY;
    },
    end: () => (parts.length === 0 ? EMPTY : told(concat(parts), ownUrl)),
  };
}

function told(bytes: Uint8Array, ownUrl: string): Uint8Array {
  const member = findMember(bytes, membersOf(bytes) ?? [], RESULTS_URL);
  const url = member && URL.parse(String(parseJson(valueText(bytes, member))?.value));
  if (!member || !url) return bytes;
  const at = url.pathname.indexOf(PATH);
  const insert = encodeUtf8(JSON.stringify(`${ownUrl}${url.pathname.slice(Math.max(0, at))}`));
  return edited(bytes, [{ start: member.valueStart, end: member.valueEnd, insert }]);
}
