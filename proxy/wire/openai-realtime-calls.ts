import { Fault } from '#core/fault.ts';
import { headerOf } from '../headers.ts';
import { isObject, parseJson } from './bytes.ts';
import { replaceModel } from './json-request.ts';
import { edited } from './json-span.ts';
import { isMultipart, parseForm, withField } from './multipart.ts';
import { openaiDialect } from './openai-dialect.ts';
import { openaiRealtime } from './openai-realtime.ts';
import { RealtimeTalk } from './openai-realtime-talk.ts';
import { askedWithoutTokens, SILENT_METER } from './unmetered.ts';
import type { Asked, CallHead, Meter, RequestEdits, Wire } from './wire.ts';

/**
 * A call by WebRTC: its sound goes past the gateway, which listens at its side and can hang up. What it says there is
 * metered as on a socket.
 */
export const openaiRealtimeCalls: Wire = {
  ...openaiRealtime,
  endpoints: [{ method: 'POST', path: '/v1/realtime/calls' }],
  parse: (body: Uint8Array, call: CallHead): Asked => askedWithoutTokens(modelOf(body, call), 'free'),
  rewrite: (body: Uint8Array, _asked: Asked, { model }: RequestEdits): Uint8Array =>
    model === null ? body : withModel(body, model),
  socket: {
    ...openaiRealtime.socket,
    talk: () => {
      throw new Fault('method_not_allowed');
    },
  },
  sideband: {
    path: (id) => `/v1/realtime?call_id=${encodeURIComponent(id)}`,
    hangUpPath: (id) => `/v1/realtime/calls/${encodeURIComponent(id)}/hangup`,
    talk: (model) => new RealtimeTalk(model, true),
  },
};

/** Secrets that lead a browser past the gateway: what it uses with them nobody here would see. */
export const openaiRealtimeSecrets: Wire = {
  name: 'openai-realtime-secrets',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [
    { method: 'POST', path: '/v1/realtime/client_secrets' },
    { method: 'POST', path: '/v1/realtime/sessions' },
    { method: 'POST', path: '/v1/realtime/transcription_sessions' },
  ],
  operation: 'chat',
  facts: { units: [], usage: 'refused: what they lead to could not be metered', estimated: null, edited: null },
  parse(): Asked {
    throw new Fault('not_metered', { detail: 'Ask for /v1/realtime/calls here instead.' });
  },
  rewrite: (body: Uint8Array): Uint8Array => body,
  meter: (): Meter => SILENT_METER,
};

const DECISIVE: ReadonlySet<string> = new Set(['session', 'sdp']);
const MODEL_CHARS_MAX = 256;

/** In the form's session, or in the query beside a bare SDP. Throws `invalid_request`. */
function modelOf(body: Uint8Array, call: CallHead): string {
  const inQuery = new URLSearchParams(call.query).getAll('model');
  const inForm = isMultipart(call) ? sessionModel(parseForm(body, call, DECISIVE).fields.session) : undefined;
  if (!isMultipart(call) && !SDP.test(headerOf(call.headers, 'content-type') ?? '')) {
    throw new Fault('invalid_request', { detail: "The body must be a form, or 'application/sdp'." });
  }
  const [model, other] = new Set([...(inForm === undefined ? [] : [inForm]), ...inQuery]);
  // One would be held, and the other might answer.
  if (other !== undefined) throw new Fault('invalid_request', { detail: 'It names two models.' });
  if (typeof model === 'string' && model !== '' && model.length <= MODEL_CHARS_MAX) return model;
  throw new Fault('invalid_request', { detail: "The form's 'session' must name a 'model'." });
}

const SDP = /^application\/sdp\b/i;

function sessionModel(session: string | undefined): unknown {
  const parsed = session === undefined ? undefined : parseJson(session)?.value;
  return isObject(parsed) ? parsed.model : undefined;
}

function withModel(body: Uint8Array, model: string): Uint8Array {
  const session = SESSION.exec(new TextDecoder().decode(body))?.[1];
  if (session === undefined) return body;
  const bytes = new TextEncoder().encode(session);
  return withField(body, 'session', new TextDecoder().decode(edited(bytes, replaceModel(bytes, model))));
}

const SESSION = /name="session"(?:\r\n[^\r\n]+)*\r\n\r\n([\s\S]*?)\r\n--/;
