import { Fault } from '#core/fault.ts';
import { encodeUtf8, isObject } from './bytes.ts';
import { parseBody, parseCount, parseFlag, parseModel, parseName, replaceModel } from './json-request.ts';
import { type Edit, edited, findMember, keyOf, membersOf } from './json-span.ts';
import { openaiDialect } from './openai-dialect.ts';
import { answerMembers, jsonMeter } from './openai-json-meter.ts';
import { mediaBounds } from './openai-media.ts';
import { streamMeter } from './openai-stream-meter.ts';
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

/** OpenAI Chat Completions, and the many servers that speak it. */
export const openaiChat = {
  name: 'openai-chat',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [{ method: 'POST', path: '/v1/chat/completions' }],
  operation: 'chat',
  parse,
  rewrite,
  meter: (_asked: Asked, answer: AnswerHead): Meter =>
    isEventStream(answer) ? streamMeter(answer.hideUsage) : jsonMeter(ANSWER),
} as const satisfies Wire;

const ANSWER = answerMembers('choices');

const DECISIVE = new Set([
  'model',
  'messages',
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'n',
  'service_tier',
  'tools',
  'functions',
  'web_search_options',
]);

/** These search once for every call, for a fee a call (recorded: it is not in their usage). */
const SEARCHING_MODEL = /-search-(preview|api)\b/;
const ONE_SEARCH = { web_searches: 1n };

/** What the template around the messages adds, and what hidden prompts for tools add. */
const TEMPLATE_TOKENS = 64n;
const TOOLS_TOKENS = 1024n;

function parse(body: Uint8Array): Asked {
  const fields = parseBody(body, DECISIVE);
  const model = parseModel(fields);
  const options = fields.stream_options ?? null;
  if (options !== null && !isObject(options)) {
    throw new Fault('invalid_request', { detail: "The field 'stream_options' must be an object." });
  }
  const maxima = [parseCount(fields, 'max_completion_tokens'), parseCount(fields, 'max_tokens')];
  const media = mediaBounds(fields.messages, model);
  const textBytes = body.length - media.bytes;
  const hasTools = fields.tools !== undefined || fields.functions !== undefined;
  const metadata = isObject(fields.metadata) ? fields.metadata : {};
  const searches = SEARCHING_MODEL.test(model) ? ONE_SEARCH : NO_COUNTS;
  return {
    model,
    metering: 'usage',
    stream: parseFlag(fields, 'stream') === true,
    usageAsked: options !== null && parseFlag(options, 'include_usage') === true,
    user: parseName(fields.user) ?? parseName(fields.safety_identifier) ?? parseName(metadata.user_id),
    session: parseName(metadata.session_id),
    serviceTier: parseName(fields.service_tier),
    inputTokensMax: BigInt(textBytes) + TEMPLATE_TOKENS + (hasTools ? TOOLS_TOKENS : 0n) + media.tokensMax,
    inputs: 1n,
    inputElsewhere: media.elsewhere || (fields.web_search_options ?? null) !== null,
    inputTokensGuess: guessTokens(textBytes) + media.tokensGuess,
    outputTokensMax: maxima.reduce((a, b) => (a === null || (b !== null && b > a) ? b : a)),
    answers: parseCount(fields, 'n') ?? 1n,
    bounds: searches,
    fixed: searches,
  };
}

function rewrite(body: Uint8Array, asked: Asked, edits: RequestEdits): Uint8Array {
  const askForUsage = edits.includeUsage && asked.stream && !asked.usageAsked;
  if (edits.model === null && !askForUsage) return body;
  const changes: Edit[] = edits.model === null ? [] : replaceModel(body, edits.model);
  if (askForUsage) changes.push(...includeUsage(body));
  return edited(
    body,
    changes.sort((a, b) => a.start - b.start),
  );
}

/** Sets `stream_options.include_usage` to true with as few changed bytes as can be. */
function includeUsage(body: Uint8Array): Edit[] {
  const members = membersOf(body) ?? [];
  const options = findMember(body, members, 'stream_options');
  if (!options) {
    const last = members[members.length - 1];
    // A request that got here has a model, so there is a last member.
    return last ? [insertAt(last.valueEnd, ',"stream_options":{"include_usage":true}')] : [];
  }
  const inner = membersOf(body, options.valueStart, options.valueEnd);
  if (!inner)
    return [{ start: options.valueStart, end: options.valueEnd, insert: encodeUtf8('{"include_usage":true}') }];
  const flags = inner.filter((member) => keyOf(body, member) === 'include_usage');
  if (flags.length > 0) {
    return flags.map(({ valueStart, valueEnd }) => ({ start: valueStart, end: valueEnd, insert: encodeUtf8('true') }));
  }
  return [insertAt(options.valueStart + 1, inner.length === 0 ? '"include_usage":true' : '"include_usage":true,')];
}

function insertAt(at: number, text: string): Edit {
  return { start: at, end: at, insert: encodeUtf8(text) };
}
