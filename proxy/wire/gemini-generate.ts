import type { WireFamily } from '#config/wires.ts';
import type { Counts, Unit } from '#core/quantity.ts';
import { geminiDialect } from './gemini-dialect.ts';
import { inputUnitsOf, mediaOf } from './gemini-media.ts';
import { GeminiReader } from './gemini-meter.ts';
import { geminiModelPaths, vertexModelPaths } from './gemini-paths.ts';
import {
  bothSpellings,
  checkModel,
  checkOnce,
  countMember,
  listMember,
  member,
  modelOf,
  objectMember,
  tierAsked,
} from './gemini-request.ts';
import { GEMINI_TOKEN_UNITS } from './gemini-usage.ts';
import { type Fields, parseBody, parseName } from './json-request.ts';
import { rewriteJson } from './json-set.ts';
import type { Params } from './path-pattern.ts';
import { jsonMeter, sseMeter } from './paths-meter.ts';
import { geminiShows } from './showing-models.ts';
import {
  type AnswerHead,
  type Asked,
  type CallHead,
  guessTokens,
  isEventStream,
  type Meter,
  NO_COUNTS,
  type RequestEdits,
  type Wire,
  type WireEndpoint,
  type WireFacts,
} from './wire.ts';

const DECISIVE = bothSpellings([
  'model',
  'contents',
  'systemInstruction',
  'tools',
  'generationConfig',
  'cachedContent',
  'serviceTier',
  'labels',
]);

/** An answer without images or sound. */
const TEXT_OUTPUT: readonly Unit[] = ['output_tokens'];

/** What the template around the contents adds, and what hidden prompts for tools add. */
const TEMPLATE_TOKENS = 64n;
const TOOLS_TOKENS = 1024n;

/** Tools of Google's own that bring in what the body does not hold. */
const FETCHING = [
  'googleSearch',
  'googleSearchRetrieval',
  'googleMaps',
  'urlContext',
  'retrieval',
  'fileSearch',
  'codeExecution',
  'enterpriseWebSearch',
  'computerUse',
  'mcpServers',
];
const SEARCHING = ['googleSearch', 'googleSearchRetrieval', 'enterpriseWebSearch'];

const GENERATE_FACTS: WireFacts = {
  units: [...GEMINI_TOKEN_UNITS, 'grounding_queries', 'grounded_prompts', 'maps_queries'],
  usage: 'the last `usageMetadata`; searches by `groundingMetadata`',
  estimated: 'output by its text, where no usage comes',
  edited: null,
};

/** Google Gemini's generateContent, plain and streamed, as an event stream or as a list that grows. */
function generateWire(name: string, family: WireFamily, endpoints: readonly WireEndpoint[]): Wire {
  return {
    name,
    family,
    dialect: geminiDialect,
    endpoints,
    operation: 'generate_content',
    facts: GENERATE_FACTS,
    parse,
    rewrite,
    meter,
    lowersOutput: true,
    showsOutput: geminiShows,
  };
}

function parse(body: Uint8Array, call: CallHead, params: Params): Asked {
  const fields = parseBody(body, DECISIVE);
  checkOnce(body, 'generationConfig');
  const model = modelOf(params);
  checkModel(fields.model, model);
  const config = objectMember(fields, 'generationConfig');
  const tools = listMember(fields, 'tools');
  const media = mediaOf([...listMember(fields, 'contents'), ...listMember(fields, 'systemInstruction')], model);
  const textBytes = body.length - media.bytes;
  const modalities = member(config, 'responseModalities');
  const textOnly = Array.isArray(modalities) && modalities.every((one) => /^text$/i.test(String(one)));
  const fetches = tools.some((tool) => FETCHING.some((one) => member(tool, one) !== null));
  const labels = objectMember(fields, 'labels');
  const elsewhere = media.elsewhere || fetches || member(fields, 'cachedContent') !== null;
  return {
    model,
    stream: call.path.endsWith(':streamGenerateContent'),
    metering: 'usage',
    usageAsked: true,
    user: parseName(labels.user_id),
    session: parseName(labels.session_id),
    serviceTier: tierAsked(fields, call),
    inputTokensMax: BigInt(textBytes) + TEMPLATE_TOKENS + (tools.length > 0 ? TOOLS_TOKENS : 0n) + media.tokensMax,
    inputUnits: elsewhere ? null : inputUnitsOf(media),
    outputUnits: textOnly ? TEXT_OUTPUT : null,
    inputs: 1n,
    inputElsewhere: elsewhere,
    inputTokensGuess: guessTokens(textBytes) + media.tokensGuess,
    outputTokensMax: countMember(config, 'maxOutputTokens'),
    answers: countMember(config, 'candidateCount') ?? 1n,
    hidesOutput: tools.length > 0 || (Array.isArray(modalities) && !textOnly) || thinks(model, config),
    bounds: groundingBounds(tools),
    fixed: NO_COUNTS,
    ...(media.files && { reads: media.files }),
  };
}

/** These think unless they are told not to; those before them do not, and their smallest kind does when it is told to. */
const THINKING_MODEL = /gemini-2\.5-(?!flash-lite)/;

function thinks(model: string, config: Fields): boolean {
  const budget = member(objectMember(config, 'thinkingConfig'), 'thinkingBudget');
  return budget === null ? THINKING_MODEL.test(model) : budget !== 0;
}

/** More than an answer was seen to search for; nothing says how often it may. */
const QUERIES_MAX = 32n;

/** Searches that an answer may make. */
export function groundingBounds(tools: readonly Fields[]): Counts {
  const searches = tools.some((tool) => SEARCHING.some((one) => member(tool, one) !== null));
  const maps = tools.some((tool) => member(tool, 'googleMaps') !== null);
  if (!searches && !maps) return NO_COUNTS;
  return {
    ...(searches && { grounding_queries: QUERIES_MAX, grounded_prompts: 1n }),
    ...(maps && { maps_queries: 1n }),
  };
}

const OUTPUT_MAX = [[...bothSpellings(['generationConfig'])], [...bothSpellings(['maxOutputTokens'])]] as const;

/** The model stands in the path, and may stand in the body again. */
function rewrite(body: Uint8Array, _asked: Asked, { model, ...edits }: RequestEdits): Uint8Array {
  return rewriteJson(body, { ...edits, model: model === null ? null : `models/${model}` }, OUTPUT_MAX);
}

function meter({ stream }: Asked, answer: AnswerHead): Meter {
  const reader = new GeminiReader(stream);
  return isEventStream(answer) ? sseMeter(reader, answer.inParts) : jsonMeter(reader);
}

const METHODS = ['generateContent', 'streamGenerateContent'];

export const geminiGenerate = generateWire('gemini-generate', 'gemini', geminiModelPaths(METHODS));
export const vertexGenerate = generateWire('vertex-generate', 'vertex', vertexModelPaths(METHODS));
