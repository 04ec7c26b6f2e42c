import type { Unit } from '#core/quantity.ts';
import { anthropicDialect } from './anthropic-dialect.ts';
import { anthropicMedia } from './anthropic-media.ts';
import { AnthropicReader } from './anthropic-meter.ts';
import { find, isObject, needle } from './bytes.ts';
import { type Fields, parseBody, parseCount, parseFlag, parseModel, parseName } from './json-request.ts';
import { rewriteStreamed } from './openai-stream-options.ts';
import { jsonMeter, sseMeter } from './paths-meter.ts';
import { claudeShows } from './showing-models.ts';
import {
  type AnswerHead,
  type Asked,
  guessTokens,
  isEventStream,
  type Meter,
  NO_COUNTS,
  type RequestEdits,
  type Wire,
} from './wire.ts';

/** Anthropic Messages, and the servers that speak it. */
export const anthropicMessages = {
  name: 'anthropic-messages',
  family: 'anthropic',
  dialect: anthropicDialect,
  endpoints: [{ method: 'POST', path: '/v1/messages' }],
  operation: 'chat',
  facts: {
    units: [
      'input_tokens',
      'cache_read_tokens',
      'cache_write_5m_tokens',
      'cache_write_1h_tokens',
      'output_tokens',
      'web_searches',
      'web_fetches',
    ],
    usage:
      '`usage` of the answer; of a stream `message_start`, then `message_delta` over it; `iterations` at their own models',
    estimated: 'a lifetime of a cache that is not stated',
    edited: null,
  },
  parse: (body: Uint8Array): Asked => {
    const fields = parseBody(body, DECISIVE);
    return askedOf(body, fields, parseModel(fields), parseFlag(fields, 'stream') === true);
  },
  rewrite: (body: Uint8Array, asked: Asked, edits: RequestEdits): Uint8Array =>
    rewriteStreamed(body, asked, edits, () => 'max_tokens'),
  meter: anthropicMeter,
  lowersOutput: true,
  showsOutput: claudeShows,
} as const satisfies Wire;

export const DECISIVE = new Set([
  'model',
  'messages',
  'system',
  'max_tokens',
  'stream',
  'thinking',
  'tools',
  'cache_control',
  'service_tier',
  'speed',
  'inference_geo',
  'mcp_servers',
  'container',
]);

/** What the template around the messages adds, and what hidden prompts for tools add. */
const TEMPLATE_TOKENS = 64n;
const TOOLS_TOKENS = 1024n;
/** Anthropic pauses a turn after so many rounds of its own tools. */
const TOOL_ROUNDS_MAX = 10n;
/** Tools that Anthropic runs: what they bring in is input that no body holds. Those of the client have other types, or none. */
const SERVER_TOOL = /^(web_search|web_fetch|code_execution|tool_search|advisor|mcp_toolset)/;

/** The units that the input may come to be billed in, by what the request says of caches. */
const UNCACHED: readonly Unit[] = ['input_tokens', 'cache_read_tokens'];
const CACHED: readonly Unit[] = [...UNCACHED, 'cache_write_5m_tokens'];
const CACHED_LONG: readonly Unit[] = [...CACHED, 'cache_write_1h_tokens'];

const CACHE_CONTROL = needle('cache_control');
const HOUR = needle('1h');
/** How an ASCII letter can be written: then nobody can say by the bytes of a name that it is not there. */
const ESCAPE = needle('\\u00');
const FIRST_DIGITS = { min: 0x32, max: 0x37 } as const;

/** What the body of a Messages request says, in whichever variant of the API. */
export function askedOf(body: Uint8Array, fields: Fields, model: string, stream: boolean): Asked {
  const media = anthropicMedia(fields.messages);
  const tools = Array.isArray(fields.tools) ? fields.tools.filter(isObject) : [];
  const serverTools = tools.filter(({ type }) => typeof type === 'string' && SERVER_TOOL.test(type));
  const textBytes = body.length - media.bytes;
  const metadata = isObject(fields.metadata) ? fields.metadata : {};
  return {
    model,
    metering: 'usage',
    stream,
    usageAsked: true,
    user: parseName(metadata.user_id),
    session: null,
    serviceTier: fields.speed === 'fast' ? 'fast' : null,
    region: parseName(fields.inference_geo),
    inputTokensMax: BigInt(textBytes) + TEMPLATE_TOKENS + (tools.length > 0 ? TOOLS_TOKENS : 0n) + media.tokensMax,
    inputUnits: inputUnitsOf(body),
    inputs: 1n,
    inputElsewhere: media.elsewhere || serverTools.length > 0 || isSet(fields.mcp_servers) || isSet(fields.container),
    inputTokensGuess: guessTokens(textBytes) + media.tokensGuess,
    ...outputOf(fields),
    answers: 1n,
    hidesOutput: thinks(fields) || serverTools.length > 0 || HIDING.some((name) => isSet(fields[name])),
    bounds: boundsOf(serverTools),
    fixed: NO_COUNTS,
    ...(media.files && { reads: media.files }),
  };
}

function anthropicMeter({ inputUnits }: Asked, answer: AnswerHead): Meter {
  const reader = new AnthropicReader(inputUnits === CACHED_LONG);
  return isEventStream(answer) ? sseMeter(reader, answer.inParts) : jsonMeter(reader);
}

function inputUnitsOf(body: Uint8Array): readonly Unit[] {
  const mayHide = hasEscapedAscii(body);
  if (!mayHide && find(body, CACHE_CONTROL, 0, body.length) < 0) return UNCACHED;
  return mayHide || find(body, HOUR, 0, body.length) >= 0 ? CACHED_LONG : CACHED;
}

function hasEscapedAscii(body: Uint8Array): boolean {
  const { min, max } = FIRST_DIGITS;
  for (let at = find(body, ESCAPE, 0, body.length); at >= 0; at = find(body, ESCAPE, at + 1, body.length)) {
    const digit = body[at + ESCAPE.bytes.length] ?? 0;
    if (digit >= min && digit <= max) return true;
  }
  return false;
}

/**
 * The maximum has to be above the budget for thinking. Only between calls of tools may thinking exceed it, by a budget of
 * its own: then no lower maximum would hold.
 */
function outputOf(fields: Fields): Pick<Asked, 'outputTokensMax' | 'outputTokensMin'> {
  const max = parseCount(fields, 'max_tokens');
  const budget = isObject(fields.thinking) ? parseCount(fields.thinking, 'budget_tokens') : null;
  if (max === null || budget === null) return { outputTokensMax: max };
  if (budget < max) return { outputTokensMax: max, outputTokensMin: budget + 1n };
  return { outputTokensMax: max + budget, outputTokensMin: max + budget };
}

/** What is done beside the answer, at models that may be others. */
const HIDING = ['mcp_servers', 'container', 'context_management', 'fallbacks'];

function thinks({ thinking }: Fields): boolean {
  return (thinking ?? null) !== null && !(isObject(thinking) && thinking.type === 'disabled');
}

function boundsOf(serverTools: readonly Fields[]): Asked['bounds'] {
  const searches = serverTools.filter(({ type }) => String(type).startsWith('web_search'));
  if (searches.length === 0) return NO_COUNTS;
  let web_searches = 0n;
  for (const tool of searches) web_searches += parseCount(tool, 'max_uses') ?? TOOL_ROUNDS_MAX;
  return { web_searches };
}

function isSet(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : (value ?? null) !== null;
}
