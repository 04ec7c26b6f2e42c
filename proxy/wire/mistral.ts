import { encodeUtf8, isObject, parseBytes } from './bytes.ts';
import { pathsOf } from './json-path-tree.ts';
import { parseBody, parseCount, parseFlag, parseModel, parseName } from './json-request.ts';
import { rewriteJson } from './json-set.ts';
import { openaiDialect } from './openai-dialect.ts';
import { answerMembers, jsonMeter as openaiJsonMeter } from './openai-json-meter.ts';
import { streamMeter } from './openai-stream-meter.ts';
import { type AnswerReader, jsonMeter, type Seen } from './paths-meter.ts';
import { openaiShows } from './showing-models.ts';
import {
  type AnswerHead,
  type Asked,
  guessTokens,
  isEventStream,
  type Meter,
  NOTHING_ASKED,
  type Reading,
  type RequestEdits,
  type Wire,
} from './wire.ts';

/** What Mistral has beside the chat that it shares with OpenAI. Its SDK raises by the status, and never asks again. */
const MISTRAL = {
  family: 'openai',
  dialect: openaiDialect,
  rewrite: (body: Uint8Array, _asked: Asked, edits: RequestEdits): Uint8Array => rewriteJson(body, edits, null),
} as const;

const FILL_DECISIVE = new Set(['model', 'prompt', 'suffix', 'stream', 'max_tokens']);
const ANSWER = answerMembers('choices');
const TEMPLATE_TOKENS = 64n;

/** Fills in code between a prompt and a suffix: its answers are those of a chat, their usage comes unasked. */
export const mistralFill = {
  ...MISTRAL,
  name: 'mistral-fim',
  endpoints: [{ method: 'POST', path: '/v1/fim/completions' }],
  operation: 'text_completion',
  facts: {
    units: ['input_tokens', 'cache_read_tokens', 'output_tokens'],
    usage: '`usage` of the answer, or the last one in the stream',
    estimated: 'output by its text, where no usage comes',
    edited: null,
  },
  rewrite: (body: Uint8Array, _asked: Asked, edits: RequestEdits): Uint8Array =>
    rewriteJson(body, edits, [['max_tokens']]),
  lowersOutput: true,
  parse(body: Uint8Array): Asked {
    const fields = parseBody(body, FILL_DECISIVE);
    const metadata = isObject(fields.metadata) ? fields.metadata : {};
    return {
      ...NOTHING_ASKED,
      metering: 'usage',
      model: parseModel(fields),
      stream: parseFlag(fields, 'stream') === true,
      user: parseName(metadata.user_id),
      session: parseName(metadata.session_id),
      inputTokensMax: BigInt(body.length) + TEMPLATE_TOKENS,
      inputTokensGuess: guessTokens(body.length),
      outputTokensMax: parseCount(fields, 'max_tokens'),
      answers: 1n,
    };
  },
  meter: (_asked: Asked, answer: AnswerHead): Meter =>
    isEventStream(answer) ? streamMeter(false, answer.inParts, undefined, errorChunk) : openaiJsonMeter(ANSWER),
  showsOutput: openaiShows,
} as const satisfies Wire;

/** Mistral's client takes nothing but chunks: this one says that it ends with an error, and has it for those who look. */
function errorChunk(message: string, code: string): Uint8Array {
  const choices = [{ index: 0, delta: { content: '' }, finish_reason: 'error' }];
  const chunk = { id: '', object: 'chat.completion.chunk', model: '', choices, error: { message, code } };
  return encodeUtf8(`data: ${JSON.stringify(chunk)}\n\n`);
}

const OCR_DECISIVE = new Set(['model', 'document', 'pages']);
/** No document may have more. */
const PAGES_MAX = 1_000n;

/** Reads documents, for a price by the page. */
export const mistralOcr = {
  ...MISTRAL,
  name: 'mistral-ocr',
  endpoints: [{ method: 'POST', path: '/v1/ocr' }],
  operation: 'ocr',
  facts: {
    units: ['pages'],
    usage: '`usage_info`',
    estimated: null,
    edited: null,
  },
  parse(body: Uint8Array): Asked {
    const fields = parseBody(body, OCR_DECISIVE);
    const { pages } = fields;
    return {
      ...NOTHING_ASKED,
      metering: 'usage',
      model: parseModel(fields),
      bounds: { pages: Array.isArray(pages) && pages.length > 0 ? BigInt(new Set(pages).size) : PAGES_MAX },
    };
  },
  meter: (): Meter => jsonMeter(new OcrReader()),
} as const satisfies Wire;

const PATHS = pathsOf(['usage_info', 'model']);
const [USAGE] = [0];

class OcrReader implements AnswerReader {
  readonly paths = PATHS;
  #usage: unknown;
  #model: string | null = null;

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    const value = parseBytes(bytes, start, end);
    if (kept === USAGE) this.#usage = value;
    else this.#model = parseName(value);
  }

  read({ whole }: Seen): Reading {
    const pages = isObject(this.#usage) ? this.#usage.pages_processed : undefined;
    const counted = typeof pages === 'number' && Number.isSafeInteger(pages) && pages >= 0;
    return {
      usage: counted ? { counts: { calls: 1n, pages: BigInt(pages) }, raw: this.#usage } : null,
      complete: whole,
      failed: false,
      model: this.#model,
      serviceTier: null,
      outputTokensGuess: 0n,
    };
  }

  breakOff(): undefined {}
}
