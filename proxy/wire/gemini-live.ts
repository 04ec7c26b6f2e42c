import { Fault } from '#core/fault.ts';
import { geminiDialect } from './gemini-dialect.ts';
import { LiveTalk } from './gemini-live-talk.ts';
import { GEMINI_TOKEN_UNITS } from './gemini-usage.ts';
import { refusePlain } from './socket-wire.ts';
import { SILENT_METER } from './unmetered.ts';
import type { Asked, CallHead, Meter, Wire, WireEndpoint } from './wire.ts';

/** Google's own client puts two slashes where its base address ends. */
function doors(path: string): WireEndpoint[] {
  return [path, `/${path}`].map((one) => ({ method: 'GET', path: one }));
}

/** A token in the query chooses who pays, and may hold a model of its own, whatever the first message names. */
function talkOf({ query }: CallHead, isVertex: boolean): LiveTalk {
  if (!new URLSearchParams(query).has('access_token')) return new LiveTalk(isVertex);
  throw new Fault('not_metered', { detail: "No 'access_token' is taken here: name your key." });
}

/**
 * Gemini's Live API: one socket, each turn of which is a call. Each is billed for all that was said before it, and says so
 * once, at its end.
 */
export const geminiLive = {
  name: 'gemini-live',
  family: 'gemini',
  dialect: geminiDialect,
  endpoints: doors('/ws/google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent'),
  operation: 'generate_content',
  facts: {
    units: [...GEMINI_TOKEN_UNITS, 'grounding_queries', 'grounded_prompts'],
    usage: '`usageMetadata` of each turn; searches by `groundingMetadata`',
    estimated: null,
    edited: null,
  },
  parse: (_body: Uint8Array, call: CallHead): Asked => refusePlain(call),
  rewrite: (frame: Uint8Array): Uint8Array => frame,
  meter: (): Meter => SILENT_METER,
  socket: { protocols: [], talk: (call: CallHead) => talkOf(call, false) },
} as const satisfies Wire;

/** As Vertex has it: the project that pays stands in the name of the model. */
export const vertexLive: Wire = {
  ...geminiLive,
  family: 'vertex',
  endpoints: doors('/ws/google.cloud.aiplatform.{version}.LlmBidiService/BidiGenerateContent'),
  facts: { ...geminiLive.facts, edited: 'the project and region in the name of the model' },
  socket: { protocols: [], atRoot: true, talk: (call) => talkOf(call, true) },
};
