import { Fault } from '#core/fault.ts';
import { parseBytes } from './bytes.ts';
import { pathsOf } from './json-path-tree.ts';
import { parseBody, parseName } from './json-request.ts';
import { setMember } from './json-set.ts';
import { edited } from './json-span.ts';
import { isMultipart, parseForm, withField } from './multipart.ts';
import { openaiDialect } from './openai-dialect.ts';
import { filesIn } from './openai-media.ts';
import type { Params } from './path-pattern.ts';
import { type AnswerReader, jsonMeter, type Seen } from './paths-meter.ts';
import { askedWithoutTokens, SILENT_METER } from './unmetered.ts';
import {
  type AnswerHead,
  type Asked,
  type CallHead,
  type Meter,
  NOTHING_ASKED,
  type Reading,
  type RequestEdits,
  type Wire,
} from './wire.ts';

/** What a form begins with, and JSON cannot. */
const DASH = 0x2d;

const meter = (_asked: Asked, { headers }: AnswerHead): Meter =>
  // What is made is no JSON.
  String(headers['content-type'] ?? '').startsWith('application/json') ? jsonMeter(new VideoReader()) : SILENT_METER;

/** Videos of OpenAI: made in the background, and billed by their seconds and size when they are. */
export const openaiVideos = {
  name: 'openai-videos',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [{ method: 'POST', path: '/v1/videos' }],
  operation: 'video',
  facts: {
    units: ['video_seconds'],
    usage: '`seconds` of the request, once the video is `completed`; their price hangs on its size',
    estimated: 'a video whose end nobody could see',
    edited: null,
  },
  goesOn: true,
  parse(body: Uint8Array, call: CallHead): Asked {
    const fields = isMultipart(call) ? parseForm(body, call, DECISIVE).fields : parseBody(body, DECISIVE);
    const files = filesIn(fields);
    const seconds = secondsOf(fields.seconds ?? SECONDS_INITIAL);
    if (seconds === undefined)
      throw new Fault('invalid_request', { detail: "The field 'seconds' must be a number of seconds." });
    return {
      ...NOTHING_ASKED,
      model: parseName(fields.model) ?? MODEL_INITIAL,
      metering: 'usage',
      user: parseName(fields.user),
      variant: parseName(fields.size) ?? SIZE_INITIAL,
      bounds: { video_seconds: seconds },
      fixed: { video_seconds: seconds },
      makes: 'video',
      background: true,
      once: true,
      ...(files.length > 0 && { reads: files }),
    };
  },
  rewrite(body: Uint8Array, _asked: Asked, { model }: RequestEdits): Uint8Array {
    if (model === null) return body;
    if (body[0] === DASH) return withField(body, 'model', model);
    return edited(body, setMember(body, [['model']], JSON.stringify(model)));
  },
  meter,
} as const satisfies Wire;

/** What became of one, and the video itself, asked by whoever made it. */
export const openaiStoredVideos = {
  name: 'openai-stored-videos',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [
    { method: 'GET', path: '/v1/videos/{id}' },
    { method: 'GET', path: '/v1/videos/{id}/content' },
    { method: 'DELETE', path: '/v1/videos/{id}' },
  ],
  operation: 'video',
  facts: {
    units: [],
    usage: 'none of its own: a video that is seen to be done settles the call that made it, once',
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

const DECISIVE = new Set(['model', 'seconds', 'size']);
/** What OpenAI takes where the request does not say. */
const MODEL_INITIAL = 'sora-2';
const SECONDS_INITIAL = '4';
const SIZE_INITIAL = '720x1280';

const WHOLE = /^\d{1,5}$/;

/** As a text or a number. */
function secondsOf(value: unknown): bigint | undefined {
  const text = typeof value === 'number' ? String(value) : value;
  return typeof text === 'string' && WHOLE.test(text) ? BigInt(text) : undefined;
}

const PATHS = pathsOf(['id', 'status', 'model']);
const [ID, STATUS, MODEL] = [0, 1, 2];

/** A video, as far as it has come. */
export class VideoReader implements AnswerReader {
  readonly paths = PATHS;
  #id: string | null = null;
  #status: unknown;
  #model: string | null = null;

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    const value = parseBytes(bytes, start, end);
    if (kept === ID) this.#id = parseName(value);
    else if (kept === STATUS) this.#status = value;
    else if (kept === MODEL) this.#model = parseName(value);
  }

  read({ whole }: Seen): Reading {
    const isDone = this.#status === 'completed';
    return {
      // How long it is was asked for.
      usage: isDone ? { counts: { calls: 1n }, raw: null } : null,
      complete: whole,
      failed: false,
      undone: this.#status === 'failed',
      model: this.#model,
      serviceTier: null,
      made: this.#id === null ? null : { id: this.#id, over: isDone || this.#status === 'failed' },
      outputTokensGuess: 0n,
    };
  }

  breakOff(): undefined {
    return undefined;
  }
}
