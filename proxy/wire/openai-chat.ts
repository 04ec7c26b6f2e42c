import { isObject } from './bytes.ts';
import { parseBody, parseCount, parseFlag, parseModel, parseName } from './json-request.ts';
import { inputText } from './openai-chat-text.ts';
import { openaiDialect } from './openai-dialect.ts';
import { answerMembers, jsonMeter } from './openai-json-meter.ts';
import { mediaBounds } from './openai-media.ts';
import { streamMeter } from './openai-stream-meter.ts';
import { parseUsageAsked, rewriteStreamed } from './openai-stream-options.ts';
import type { Params } from './path-pattern.ts';
import { openaiShows } from './showing-models.ts';
import {
  type AnswerHead,
  type Asked,
  type CallHead,
  guessTokens,
  isEventStream,
  type Meter,
  NO_COUNTS,
  type Wire,
} from './wire.ts';

/** OpenAI Chat Completions, and the many servers that speak it. */
export const openaiChat = {
  name: 'openai-chat',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [{ method: 'POST', path: '/v1/chat/completions' }],
  operation: 'chat',
  facts: {
    units: [
      'input_tokens',
      'cache_read_tokens',
      'cache_write_tokens',
      'input_audio_tokens',
      'input_image_tokens',
      'cache_read_audio_tokens',
      'cache_read_image_tokens',
      'output_tokens',
      'output_audio_tokens',
      'output_image_tokens',
      'audio_seconds',
      'web_searches',
    ],
    usage: '`usage` of the answer, or the last one in the stream',
    estimated: 'output by its text, where no usage comes',
    edited: '`stream_options.include_usage` is set, and what only that brought is taken out again',
  },
  parse,
  rewrite: rewriteStreamed,
  meter: (_asked: Asked, answer: AnswerHead): Meter =>
    isEventStream(answer) ? streamMeter(answer.hideUsage, answer.inParts) : jsonMeter(ANSWER),
  lowersOutput: true,
  showsOutput: openaiShows,
  inputText,
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

function parse(body: Uint8Array, _call?: CallHead, params?: Params): Asked {
  const fields = parseBody(body, DECISIVE);
  const model = parseModel(fields, params?.model);
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
    usageAsked: parseUsageAsked(fields),
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
    ...(media.files && { reads: media.files }),
  };
}
