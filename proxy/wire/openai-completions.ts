import { decodeUtf8, isObject, needle, parseJson } from './bytes.ts';
import { countInputs, countTokenIds, parseBody, parseCount, parseFlag, parseModel, parseName } from './json-request.ts';
import { openaiDialect } from './openai-dialect.ts';
import { answerMembers, jsonMeter } from './openai-json-meter.ts';
import { streamMeter } from './openai-stream-meter.ts';
import { parseUsageAsked, rewriteStreamed } from './openai-stream-options.ts';
import type { Params } from './path-pattern.ts';
import { completionsShow } from './showing-models.ts';
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

const ANSWER = answerMembers('choices');
const TEXT = needle('"text"');

const DECISIVE = new Set(['model', 'prompt', 'stream', 'stream_options', 'max_tokens', 'n', 'best_of']);

/** What the model writes where the request does not say how much: OpenAI's own maximum then. */
const OUTPUT_TOKENS_INITIAL = 16n;

/** OpenAI Completions, the API before chat: several prompts, several answers to each, the best of more. */
export const openaiCompletions = {
  name: 'openai-completions',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [{ method: 'POST', path: '/v1/completions' }],
  operation: 'text_completion',
  facts: {
    units: ['input_tokens', 'cache_read_tokens', 'output_tokens'],
    usage: '`usage` of the answer, or the last one in the stream',
    estimated: 'output by its text, where no usage comes',
    edited: '`stream_options.include_usage` is set, and what only that brought is taken out again',
  },
  parse,
  rewrite: (body: Uint8Array, asked: Asked, edits: RequestEdits) =>
    rewriteStreamed(body, asked, edits, () => 'max_tokens'),
  lowersOutput: true,
  meter: (_asked: Asked, answer: AnswerHead): Meter =>
    isEventStream(answer) ? streamMeter(answer.hideUsage, answer.inParts, TEXT) : jsonMeter(ANSWER),
  showsOutput: completionsShow,
  inputText,
} as const satisfies Wire;

function parse(body: Uint8Array, _call?: CallHead, params?: Params): Asked {
  const fields = parseBody(body, DECISIVE);
  const prompts = countInputs(fields.prompt);
  const shown = parseCount(fields, 'n') ?? 1n;
  const made = parseCount(fields, 'best_of') ?? 1n;
  return {
    model: parseModel(fields, params?.model),
    metering: 'usage',
    stream: parseFlag(fields, 'stream') === true,
    usageAsked: parseUsageAsked(fields),
    user: parseName(fields.user),
    session: null,
    serviceTier: null,
    // Text has no more tokens than bytes; a token id takes at least a digit and a comma.
    inputTokensMax: BigInt(body.length),
    inputs: prompts,
    inputElsewhere: false,
    inputTokensGuess: countTokenIds(fields.prompt) ?? guessTokens(body.length),
    outputTokensMax: parseCount(fields, 'max_tokens') ?? OUTPUT_TOKENS_INITIAL,
    answers: prompts * (shown > made ? shown : made),
    hidesOutput: made > shown,
    bounds: NO_COUNTS,
    fixed: NO_COUNTS,
  };
}

/** Prompts as text, with nothing around them. */
function inputText(body: Uint8Array): InputText | undefined {
  const fields = parseJson(decodeUtf8(body))?.value;
  if (!isObject(fields) || (fields.suffix ?? null) !== null) return undefined;
  const texts = Array.isArray(fields.prompt) ? fields.prompt : [fields.prompt];
  return texts.every((text) => typeof text === 'string') ? { texts, extraTokens: 0n } : undefined;
}
