import { Fault } from '#core/fault.ts';
import { ByteBuffer, isObject, parseBytes } from './bytes.ts';
import { geminiErrorEvent, interactionsDialect } from './gemini-dialect.ts';
import { addFile, addInline, type GeminiMedia } from './gemini-media.ts';
import { geminiPaths } from './gemini-paths.ts';
import { member } from './gemini-request.ts';
import { parseInteractionUsage, tierNamed } from './gemini-usage.ts';
import { pathsOf } from './json-path-tree.ts';
import { type Fields, parseBody, parseCount, parseFlag, parseName, parseObjectId } from './json-request.ts';
import { rewriteJson } from './json-set.ts';
import { type AnswerReader, jsonMeter, type Place, type Seen, sseMeter } from './paths-meter.ts';
import {
  type AnswerHead,
  type Asked,
  guessTokens,
  isEventStream,
  type Meter,
  NO_COUNTS,
  type Reading,
  type RequestEdits,
  type Wire,
} from './wire.ts';

const DECISIVE = new Set([
  'model',
  'agent',
  'input',
  'stream',
  'background',
  'generation_config',
  'tools',
  'service_tier',
  'previous_interaction_id',
  'store',
  'cached_content',
  'continuation_token',
]);

const TEMPLATE_TOKENS = 64n;
const TOOLS_TOKENS = 1024n;
/** More than an answer was seen to search for; nothing says how often it may. */
const QUERIES_MAX = 32n;

/** Google's Interactions API: a model or an agent, whole or as an event stream. */
export const geminiInteractions = {
  name: 'gemini-interactions',
  family: 'gemini',
  dialect: interactionsDialect,
  endpoints: geminiPaths('POST', '/{version}/interactions'),
  operation: 'generate_content',
  facts: {
    units: [
      'input_tokens',
      'input_audio_tokens',
      'input_image_tokens',
      'input_video_tokens',
      'cache_read_tokens',
      'output_tokens',
      'output_audio_tokens',
      'output_image_tokens',
      'grounding_queries',
      'grounded_prompts',
      'maps_queries',
    ],
    usage: '`usage` of the answer, or of the last event',
    estimated: 'output by its text, where no usage comes',
    edited: null,
  },
  parse,
  rewrite: (body: Uint8Array, _asked: Asked, edits: RequestEdits): Uint8Array =>
    rewriteJson(body, edits, [['generation_config'], ['max_output_tokens']]),
  lowersOutput: true,
  meter({ stream }: Asked, answer: AnswerHead): Meter {
    const reader = new InteractionReader(stream);
    return isEventStream(answer) ? sseMeter(reader) : jsonMeter(reader);
  },
} as const satisfies Wire;

function parse(body: Uint8Array): Asked {
  const fields = parseBody(body, DECISIVE);
  const model = parseName(fields.model) ?? parseName(fields.agent);
  if (model === null) throw new Fault('invalid_request', { detail: "The field 'model' or 'agent' must name one." });
  // Its usage would be known only to who asks for it later.
  if (parseFlag(fields, 'background') === true) {
    throw new Fault('invalid_request', {
      detail: "Interactions with 'background' are not taken: stream them instead.",
    });
  }
  const config = isObject(fields.generation_config) ? fields.generation_config : {};
  const tools = Array.isArray(fields.tools) ? fields.tools.filter(isObject) : [];
  const media: GeminiMedia = { bytes: 0, tokensMax: 0n, tokensGuess: 0n, elsewhere: false };
  addInput(media, fields.input, model);
  const textBytes = body.length - media.bytes;
  // An agent goes its own way, with tools that the request does not name.
  const isAgent = fields.model === undefined;
  const fetches = tools.some((tool) => tool.type !== 'function');
  const previous = member(fields, 'previousInteractionId');
  const refers = ['previousInteractionId', 'cachedContent', 'continuationToken'].some(
    (name) => member(fields, name) !== null,
  );
  return {
    model,
    stream: parseFlag(fields, 'stream') === true,
    metering: 'usage',
    usageAsked: true,
    user: null,
    session: null,
    serviceTier: tierNamed(parseName(fields.service_tier) ?? ''),
    inputTokensMax: BigInt(textBytes) + TEMPLATE_TOKENS + (tools.length > 0 ? TOOLS_TOKENS : 0n) + media.tokensMax,
    inputs: 1n,
    inputElsewhere: media.elsewhere || fetches || refers || isAgent,
    inputTokensGuess: guessTokens(textBytes) + media.tokensGuess,
    outputTokensMax: parseCount(config, 'max_output_tokens'),
    answers: 1n,
    bounds: boundsOf(tools),
    fixed: NO_COUNTS,
    ...(media.files && { reads: media.files }),
    ...(parseFlag(fields, 'store') !== false && { makes: 'response' }),
    ...(previous !== null && { buildsOn: [parseObjectId(previous, 'previous_interaction_id')] }),
  };
}

function boundsOf(tools: readonly Fields[]): Asked['bounds'] {
  const searches = tools.some(({ type }) => type === 'google_search');
  const maps = tools.some(({ type }) => type === 'google_maps');
  if (!searches && !maps) return NO_COUNTS;
  return {
    ...(searches && { grounding_queries: QUERIES_MAX, grounded_prompts: 1n }),
    ...(maps && { maps_queries: QUERIES_MAX }),
  };
}

/** A text, contents, or steps that hold contents. */
function addInput(media: GeminiMedia, input: unknown, model: string): void {
  for (const item of Array.isArray(input) ? input : [input]) {
    if (!isObject(item)) continue;
    if (item.uri !== undefined) addFile(media, item.uri);
    addInline(media, item.data, item.mime_type, model);
    if (item.content !== undefined) addInput(media, item.content, model);
    if (item.result !== undefined) addInput(media, item.result, model);
  }
}

const PATHS = pathsOf(
  [
    'usage',
    'interaction.usage',
    'model',
    'interaction.model',
    'event_type',
    'error',
    'interaction.status',
    'status',
    'id',
    'interaction.id',
  ],
  ['delta.text', 'delta.arguments', 'steps[].content[].text', 'steps[].arguments', 'outputs[].text'],
);
const [USAGE, FINAL_USAGE, MODEL, FINAL_MODEL, EVENT, ERROR, FINAL_STATUS, STATUS, ID, FINAL_ID] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
];
const N = 0x6e;

class InteractionReader implements AnswerReader {
  readonly paths = PATHS;
  readonly #usage = new ByteBuffer();
  #model: string | null = null;
  #id: string | null = null;
  #finished = false;
  #failed = false;
  readonly #stream: boolean;

  constructor(stream: boolean) {
    this.#stream = stream;
  }

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    if (bytes[start] === N) return;
    if (kept === USAGE || kept === FINAL_USAGE) {
      this.#usage.clear();
      this.#usage.append(bytes.subarray(start, end));
    } else if (kept === ERROR) this.#failed = true;
    else if (kept === MODEL || kept === FINAL_MODEL)
      this.#model = parseName(parseBytes(bytes, start, end)) ?? this.#model;
    else if (kept === ID || kept === FINAL_ID) this.#id ??= parseName(parseBytes(bytes, start, end));
    else if (kept === EVENT) this.#finished ||= parseBytes(bytes, start, end) === 'interaction.completed';
    else if (kept === STATUS || kept === FINAL_STATUS) this.#failed ||= parseBytes(bytes, start, end) === 'failed';
  }

  read({ whole, textBytes }: Seen): Reading {
    const raw = this.#usage.length === 0 ? undefined : parseBytes(this.#usage.view(), 0, this.#usage.length);
    return {
      usage: parseInteractionUsage(raw) ?? null,
      complete: this.#stream ? this.#finished : whole,
      failed: this.#failed,
      model: this.#model,
      serviceTier: null,
      made: this.#id === null ? null : { id: this.#id, over: true },
      outputTokensGuess: guessTokens(textBytes),
    };
  }

  breakOff(message: string, code: string, place: Place): Uint8Array | undefined {
    return place.kind === 'sse' ? geminiErrorEvent(message, code) : undefined;
  }
}
