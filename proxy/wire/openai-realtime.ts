import { Fault } from '#core/fault.ts';
import { rewriteJson } from './json-set.ts';
import { openaiDialect } from './openai-dialect.ts';
import { RealtimeTalk } from './openai-realtime-talk.ts';
import type { Params } from './path-pattern.ts';
import { refusePlain } from './socket-wire.ts';
import { SILENT_METER } from './unmetered.ts';
import type { Asked, CallHead, Meter, RequestEdits, Wire, WireEndpoint } from './wire.ts';

/** Where the query names the model: OpenAI's name for it, and that of Azure's beta. */
const MODEL_PARAMS = ['model', 'deployment'] as const;

/** Where the most that a response may answer stands in the message that asks for one. */
const OUTPUT_MAX = [['response'], ['max_output_tokens', 'max_response_output_tokens']] as const;

/**
 * OpenAI Realtime: one socket, of which each response and each transcript of what was said is a call. The provider bills
 * a response for the whole conversation before it, most of it read from its cache.
 */
export const openaiRealtime = {
  name: 'openai-realtime',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [{ method: 'GET', path: '/v1/realtime' }],
  operation: 'chat',
  facts: {
    units: [
      'input_tokens',
      'input_audio_tokens',
      'input_image_tokens',
      'cache_read_tokens',
      'cache_read_audio_tokens',
      'cache_read_image_tokens',
      'output_tokens',
      'output_audio_tokens',
      'audio_seconds',
    ],
    usage: '`usage` of each `response.done`, and of each transcript of what was said',
    estimated: null,
    edited: null,
  },
  lowersOutput: true,
  parse: (_body: Uint8Array, call: CallHead): Asked => refusePlain(call),
  rewrite: (frame: Uint8Array, _asked: Asked, { outputTokensMax }: RequestEdits): Uint8Array =>
    outputTokensMax === undefined
      ? frame
      : rewriteJson(frame, { model: null, includeUsage: false, outputTokensMax }, OUTPUT_MAX),
  meter: (): Meter => SILENT_METER,
  socket: {
    // Which account pays is the operator's choice, and no subprotocol says it.
    protocols: [/^realtime$/, /^openai-beta\./],
    modelParams: MODEL_PARAMS,
    talk: (call: CallHead, params: Params) => new RealtimeTalk(modelOf(call, params)),
  },
} as const satisfies Wire;

/** Azure's: with the name of the deployment in the query, as it was and as it is. */
export const azureRealtime: Wire = {
  ...openaiRealtime,
  family: 'azure',
  otherFamily: 'openai',
  endpoints: [
    { method: 'GET', path: '/openai/v1/realtime' },
    { method: 'GET', path: '/openai/realtime' },
  ] satisfies WireEndpoint[],
};

/** Empty where only what was said is written down: its model is named later. */
function modelOf({ query }: CallHead, _params: Params): string {
  const asked = new URLSearchParams(query);
  if (asked.has('call_id')) {
    throw new Fault('not_metered', { detail: 'A call is metered by the gateway that began it.' });
  }
  const [model = null, other] = new Set(MODEL_PARAMS.flatMap((name) => asked.getAll(name)));
  // One would be held, and the other might answer.
  if (other !== undefined) throw new Fault('invalid_request', { detail: 'The query names two models.' });
  if (model !== null && model !== '' && model.length <= MODEL_CHARS_MAX) return model;
  if (asked.get('intent') === 'transcription') return '';
  throw new Fault('invalid_request', { detail: "The query must name a 'model', or 'intent=transcription'." });
}

const MODEL_CHARS_MAX = 256;
