import type { Counts } from '#core/quantity.ts';
import { decodeUtf8, isObject, parseJson } from './bytes.ts';
import {
  type Fields,
  parseBody,
  parseCount,
  parseFlag,
  parseModel,
  parseName,
  parseObjectId,
  replaceModel,
} from './json-request.ts';
import { rewriteJson } from './json-set.ts';
import { edited } from './json-span.ts';
import { openaiDialect } from './openai-dialect.ts';
import { filesIn, type MediaBounds, mediaBounds } from './openai-media.ts';
import { ResponseReader } from './openai-response-reader.ts';
import { jsonMeter, sseMeter } from './paths-meter.ts';
import { openaiShows } from './showing-models.ts';
import { askedWithoutTokens, FREE_FACTS, SILENT_METER } from './unmetered.ts';
import {
  type AnswerHead,
  type Asked,
  type CallHead,
  guessTokens,
  type InputText,
  isEventStream,
  type Meter,
  NO_COUNTS,
  type RequestEdits,
  type Wire,
} from './wire.ts';

/** OpenAI Responses: usage is always reported, in the terminal event of a stream; tools only as items of the output. */
export const openaiResponses = {
  name: 'openai-responses',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [
    { method: 'POST', path: '/v1/responses' },
    { method: 'POST', path: '/v1/responses/compact' },
  ],
  operation: 'chat',
  facts: {
    units: [
      'input_tokens',
      'cache_read_tokens',
      'cache_write_tokens',
      'output_tokens',
      'web_searches',
      'file_searches',
      'code_interpreter_sessions',
      'images',
    ],
    usage: '`usage` of the last event, or of the answer; tools by the items of `output`',
    estimated: 'a response in the background that was cancelled, or whose end nobody could see',
    edited: null,
  },
  goesOn: true,
  parse,
  rewrite: (body: Uint8Array, _asked: Asked, edits: RequestEdits): Uint8Array =>
    rewriteJson(body, edits, [['max_output_tokens']]),
  meter(asked: Asked, answer: AnswerHead): Meter {
    const stream = isEventStream(answer);
    const reader = new ResponseReader(asked, stream);
    return stream ? sseMeter(reader, answer.inParts) : jsonMeter(reader);
  },
  lowersOutput: true,
  showsOutput: openaiShows,
  inputText,
} as const satisfies Wire;

/** Counts the tokens of a response that is not made: nothing is billed for it. */
export const openaiInputTokens = {
  name: 'openai-input-tokens',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [{ method: 'POST', path: '/v1/responses/input_tokens' }],
  operation: 'count_tokens',
  facts: FREE_FACTS,
  parse(body: Uint8Array): Asked {
    const fields = parseBody(body, DECISIVE);
    const model = parseModel(fields);
    // How long it is, is the business of who made it.
    return { ...askedWithoutTokens(model, 'free'), ...keptBy(fields, mediaBounds(fields.input, model)) };
  },
  rewrite: renameModel,
  meter: (): Meter => SILENT_METER,
} as const satisfies Wire;

const DECISIVE = new Set([
  'model',
  'input',
  'instructions',
  'stream',
  'background',
  'max_output_tokens',
  'max_tool_calls',
  'service_tier',
  'tools',
  'previous_response_id',
  'store',
  'conversation',
  'prompt',
]);

/** What stands around the items, and what hidden prompts for tools add. */
const TEMPLATE_TOKENS = 64n;
const TOOLS_TOKENS = 1024n;

/** Uses of the tools that run at the provider, where the request does not bound them. More is recorded as debt. */
const TOOL_CALLS_INITIAL = 10n;

/** Tools at the provider that are billed by use. Prefixes: they come with dates and as previews. */
const BILLED_TOOLS: readonly (readonly [type: string, unit: 'web_searches' | 'file_searches' | 'images'])[] = [
  ['web_search', 'web_searches'],
  ['file_search', 'file_searches'],
  ['image_generation', 'images'],
];
const LOCAL_TOOLS: ReadonlySet<unknown> = new Set(['function', 'custom', 'local_shell', 'apply_patch']);

/** Nothing says that its maximum could be lowered. */
const COMPACT_OUTPUT_MIN = 1n << 53n;

function parse(body: Uint8Array, { path }: Pick<CallHead, 'path'>): Asked {
  const fields = parseBody(body, DECISIVE);
  const stream = parseFlag(fields, 'stream') === true;
  const background = parseFlag(fields, 'background') === true;
  const model = parseModel(fields);
  const media = mediaBounds(fields.input, model);
  const textBytes = body.length - media.bytes;
  const tools = Array.isArray(fields.tools) ? fields.tools.filter(isObject) : [];
  const given = tools.filter(isGiven);
  return {
    model,
    metering: 'usage',
    stream,
    // It comes whether or not it is asked for.
    usageAsked: true,
    user: parseName(fields.user) ?? parseName(fields.safety_identifier),
    session: parseName(isObject(fields.metadata) ? fields.metadata.session_id : null),
    serviceTier: parseName(fields.service_tier),
    inputTokensMax: BigInt(textBytes) + TEMPLATE_TOKENS + (tools.length > 0 ? TOOLS_TOKENS : 0n) + media.tokensMax,
    inputs: 1n,
    inputElsewhere: media.elsewhere || isKeptElsewhere(fields) || given.length > 0,
    inputTokensGuess: guessTokens(textBytes) + media.tokensGuess,
    outputTokensMax: parseCount(fields, 'max_output_tokens'),
    ...(path.endsWith('/compact') && { outputTokensMin: COMPACT_OUTPUT_MIN }),
    // What goes on in the background goes on when its stream is cut.
    hidesOutput: background || given.length > 0,
    answers: 1n,
    bounds: toolBounds(tools, parseCount(fields, 'max_tool_calls') ?? TOOL_CALLS_INITIAL),
    fixed: NO_COUNTS,
    ...keptBy(fields, media),
    ...(background && { background }),
    // What is compacted is not kept.
    ...((background || parseFlag(fields, 'store') !== false) && path.endsWith('/responses') && { makes: 'response' }),
  };
}

/** It runs at the provider. */
function isGiven({ type }: Fields): boolean {
  return !LOCAL_TOOLS.has(type);
}

/** What it names of what the provider keeps. */
function keptBy(fields: Fields, { files = [] }: MediaBounds): Pick<Asked, 'reads' | 'buildsOn'> {
  const tools = Array.isArray(fields.tools) ? fields.tools.filter(isObject).filter(isGiven) : [];
  const reads = [...files, ...filesIn(tools), ...filesIn(fields.prompt)];
  const previous = fields.previous_response_id ?? null;
  return {
    ...(reads.length > 0 && { reads }),
    ...(previous !== null && { buildsOn: [parseObjectId(previous, 'previous_response_id')] }),
  };
}

/** What the server has kept of earlier responses, conversations and prompts is input that the body does not hold. */
function isKeptElsewhere(fields: Fields): boolean {
  return [fields.previous_response_id, fields.conversation, fields.prompt].some((one) => (one ?? null) !== null);
}

function toolBounds(tools: readonly Readonly<Record<string, unknown>>[], calls: bigint): Counts {
  const bounds: Partial<Record<(typeof BILLED_TOOLS)[number][1] | 'code_interpreter_sessions', bigint>> = {};
  for (const { type } of tools) {
    const billed = BILLED_TOOLS.find(([prefix]) => typeof type === 'string' && type.startsWith(prefix));
    if (billed) bounds[billed[1]] = calls;
    if (type === 'code_interpreter') bounds.code_interpreter_sessions = 1n;
  }
  return Object.keys(bounds).length === 0 ? NO_COUNTS : bounds;
}

function renameModel(body: Uint8Array, _asked: Asked, { model }: RequestEdits): Uint8Array {
  return model === null ? body : edited(body, replaceModel(body, model));
}

/** As of a chat: what stands around a message, and before the answer. */
const MESSAGE_TOKENS = 4n;
const ANSWER_TOKENS = 3n;
/** Members that the model reads, or that change what it reads, beside the input and the instructions. */
const READ_BESIDE = [
  'tools',
  'text',
  'reasoning',
  'previous_response_id',
  'conversation',
  'prompt',
  'context_management',
];

function inputText(body: Uint8Array): InputText | undefined {
  const fields = parseJson(decodeUtf8(body))?.value;
  if (!isObject(fields) || READ_BESIDE.some((name) => (fields[name] ?? null) !== null)) return undefined;
  const texts = [fields.input, fields.instructions].filter((text) => (text ?? null) !== null);
  if (!texts.every((text) => typeof text === 'string')) return undefined;
  return { texts, extraTokens: ANSWER_TOKENS + BigInt(texts.length) * MESSAGE_TOKENS };
}
