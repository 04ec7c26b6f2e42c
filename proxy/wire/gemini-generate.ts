import type { WireFamily } from '#config/wires.ts';
import type { Counts } from '#core/quantity.ts';
import { geminiDialect } from './gemini-dialect.ts';
import { mediaOf } from './gemini-media.ts';
import { GeminiReader } from './gemini-meter.ts';
import { geminiModelPaths, vertexModelPaths } from './gemini-paths.ts';
import {
  bothSpellings,
  checkOnce,
  countMember,
  listMember,
  member,
  modelOf,
  objectMember,
  tierAsked,
} from './gemini-request.ts';
import { type Fields, parseBody, parseName } from './json-request.ts';
import type { Params } from './path-pattern.ts';
import { jsonMeter, sseMeter } from './paths-meter.ts';
import {
  type AnswerHead,
  type Asked,
  type CallHead,
  guessTokens,
  isEventStream,
  type Meter,
  NO_COUNTS,
  type Wire,
  type WireEndpoint,
} from './wire.ts';

const DECISIVE = bothSpellings([
  'contents',
  'systemInstruction',
  'tools',
  'generationConfig',
  'cachedContent',
  'serviceTier',
  'labels',
]);

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

/** Google Gemini's generateContent, plain and streamed, as an event stream or as a list that grows. */
function generateWire(name: string, family: WireFamily, endpoints: readonly WireEndpoint[]): Wire {
  return {
    name,
    family,
    dialect: geminiDialect,
    endpoints,
    operation: 'generate_content',
    parse,
    // The model stands in the path.
    rewrite: (body) => body,
    meter,
  };
}

function parse(body: Uint8Array, call: CallHead, params: Params): Asked {
  const fields = parseBody(body, DECISIVE);
  checkOnce(body, 'generationConfig');
  const model = modelOf(params);
  const config = objectMember(fields, 'generationConfig');
  const tools = listMember(fields, 'tools');
  const media = mediaOf([...listMember(fields, 'contents'), ...listMember(fields, 'systemInstruction')], model);
  const textBytes = body.length - media.bytes;
  const fetches = tools.some((tool) => FETCHING.some((one) => member(tool, one) !== null));
  const labels = objectMember(fields, 'labels');
  return {
    model,
    stream: call.path.endsWith(':streamGenerateContent'),
    metering: 'usage',
    usageAsked: true,
    user: parseName(labels.user_id),
    session: parseName(labels.session_id),
    serviceTier: tierAsked(fields, call),
    inputTokensMax: BigInt(textBytes) + TEMPLATE_TOKENS + (tools.length > 0 ? TOOLS_TOKENS : 0n) + media.tokensMax,
    inputs: 1n,
    inputElsewhere: media.elsewhere || fetches || member(fields, 'cachedContent') !== null,
    inputTokensGuess: guessTokens(textBytes) + media.tokensGuess,
    outputTokensMax: countMember(config, 'maxOutputTokens'),
    answers: countMember(config, 'candidateCount') ?? 1n,
    bounds: groundingBounds(tools),
    fixed: NO_COUNTS,
  };
}

/** More than an answer was seen to search for; nothing says how often it may. */
const QUERIES_MAX = 32n;

function groundingBounds(tools: readonly Fields[]): Counts {
  const searches = tools.some((tool) => SEARCHING.some((one) => member(tool, one) !== null));
  const maps = tools.some((tool) => member(tool, 'googleMaps') !== null);
  if (!searches && !maps) return NO_COUNTS;
  return {
    ...(searches && { grounding_queries: QUERIES_MAX, grounded_prompts: 1n }),
    ...(maps && { maps_queries: 1n }),
  };
}

function meter({ stream }: Asked, answer: AnswerHead): Meter {
  const reader = new GeminiReader(stream);
  return isEventStream(answer) ? sseMeter(reader) : jsonMeter(reader);
}

const METHODS = ['generateContent', 'streamGenerateContent'];

export const geminiGenerate = generateWire('gemini-generate', 'gemini', geminiModelPaths(METHODS));
export const vertexGenerate = generateWire('vertex-generate', 'vertex', vertexModelPaths(METHODS));
