import { isObject, parseBytes } from './bytes.ts';
import { count } from './gemini-usage.ts';
import { pathsOf } from './json-path-tree.ts';
import { type Fields, parseBody, parseFlag, parseModel, parseName } from './json-request.ts';
import { rewriteJson } from './json-set.ts';
import { ollamaDialect, ollamaErrorLine } from './ollama-dialect.ts';
import { type AnswerReader, jsonMeter, type Place, type Seen } from './paths-meter.ts';
import { ollamaShows } from './showing-models.ts';
import {
  type AnswerHead,
  type Asked,
  guessTokens,
  type Meter,
  NOTHING_ASKED,
  type Reading,
  type RequestEdits,
  type Wire,
} from './wire.ts';

const TEMPLATE_TOKENS = 64n;
const TOOLS_TOKENS = 1024n;
/** Its vision models take an image in so many patches at most. */
const IMAGE_TOKENS_MAX = 16_384n;
const IMAGE_TOKENS_GUESS = 1_024n;

const DECISIVE = new Set([
  'model',
  'messages',
  'prompt',
  'input',
  'system',
  'stream',
  'options',
  'images',
  'tools',
  'context',
]);

const OLLAMA = {
  family: 'ollama',
  dialect: ollamaDialect,
  rewrite: (body: Uint8Array, _asked: Asked, edits: RequestEdits): Uint8Array =>
    rewriteJson(body, edits, [['options'], ['num_predict']]),
  // A stream is one value a line, and an answer is one value.
  meter: ({ stream }: Asked, answer?: AnswerHead): Meter =>
    jsonMeter(new OllamaReader(stream), stream && answer?.inParts === true),
} as const;

/** What a chat and a completion share. */
const GENERATION = {
  ...OLLAMA,
  facts: {
    units: ['input_tokens', 'output_tokens', 'compute_ms'],
    usage: '`prompt_eval_count`, `eval_count` and durations of the last line',
    estimated: 'all of it, where the server counts nothing',
    edited: null,
  },
  lowersOutput: true,
  showsOutput: ollamaShows,
  parse: (body: Uint8Array): Asked => parseGeneration(body),
} as const;

export const ollamaChat = {
  ...GENERATION,
  name: 'ollama-chat',
  endpoints: [{ method: 'POST', path: '/api/chat' }],
  operation: 'chat',
} as const satisfies Wire;

export const ollamaGenerate = {
  ...GENERATION,
  name: 'ollama-generate',
  endpoints: [{ method: 'POST', path: '/api/generate' }],
  operation: 'text_completion',
} as const satisfies Wire;

export const ollamaEmbed = {
  ...OLLAMA,
  name: 'ollama-embed',
  endpoints: [
    { method: 'POST', path: '/api/embed' },
    // The older one says nothing of what it counted.
    { method: 'POST', path: '/api/embeddings' },
  ],
  operation: 'embeddings',
  facts: {
    units: ['input_tokens', 'compute_ms'],
    usage: '`prompt_eval_count` and durations',
    estimated: 'input by its size, where none is stated',
    edited: null,
  },
  parse(body: Uint8Array): Asked {
    const fields = parseBody(body, DECISIVE);
    const inputs = Array.isArray(fields.input) ? fields.input.length : 1;
    return {
      ...asked(fields, body.length, []),
      stream: false,
      inputs: BigInt(Math.max(1, inputs)),
      outputTokensMax: 0n,
      answers: 0n,
    };
  },
} as const satisfies Wire;

function parseGeneration(body: Uint8Array): Asked {
  const fields = parseBody(body, DECISIVE);
  const messages = Array.isArray(fields.messages) ? fields.messages.filter(isObject) : [];
  const images = [fields, ...messages].flatMap(({ images: some }) => (Array.isArray(some) ? some : []));
  const bytes = images.reduce((sum: number, image) => sum + (typeof image === 'string' ? image.length : 0), 0);
  return asked(fields, body.length - bytes, images);
}

function asked(fields: Fields, textBytes: number, images: readonly unknown[]): Asked {
  const options = isObject(fields.options) ? fields.options : {};
  const imageCount = BigInt(images.length);
  return {
    ...NOTHING_ASKED,
    model: parseModel(fields),
    // Without a word of it, it streams.
    stream: parseFlag(fields, 'stream') !== false,
    metering: 'usage',
    inputTokensMax:
      BigInt(textBytes) +
      TEMPLATE_TOKENS +
      (fields.tools === undefined ? 0n : TOOLS_TOKENS) +
      imageCount * IMAGE_TOKENS_MAX,
    inputTokensGuess: guessTokens(textBytes) + imageCount * IMAGE_TOKENS_GUESS,
    // Below zero it means without end, or to the end of the context.
    outputTokensMax: wholeAboveZero(options.num_predict),
    answers: 1n,
    hidesOutput: fields.tools !== undefined || (fields.think ?? false) !== false,
  };
}

function wholeAboveZero(value: unknown): bigint | null {
  const whole = count(value) ?? 0n;
  return whole > 0n ? whole : null;
}

const PATHS = pathsOf(
  [
    'model',
    'done',
    'error',
    'prompt_eval_count',
    'eval_count',
    'prompt_eval_duration',
    'eval_duration',
    'total_duration',
    'load_duration',
  ],
  ['message.content', 'message.thinking', 'response', 'thinking'],
  ['message.tool_calls'],
);
const [MODEL, DONE, ERROR, PROMPT_COUNT] = [0, 1, 2, 3];
const FIGURES = [
  'prompt_eval_count',
  'eval_count',
  'prompt_eval_duration',
  'eval_duration',
  'total_duration',
  'load_duration',
] as const;
const NANOS_PER_MS = 1_000_000n;
const N = 0x6e;
const T = 0x74;

type Figures = Partial<Record<(typeof FIGURES)[number], number>>;

/** Without the loading of the model, which serves those who come after as well. */
function computeNanos(figures: Figures): bigint {
  const evaluated = (count(figures.prompt_eval_duration) ?? 0n) + (count(figures.eval_duration) ?? 0n);
  if (evaluated > 0n) return evaluated;
  const total = count(figures.total_duration) ?? 0n;
  const loading = count(figures.load_duration) ?? 0n;
  return total > loading ? total - loading : 0n;
}

class OllamaReader implements AnswerReader {
  readonly paths = PATHS;
  readonly #stream: boolean;
  readonly #figures: Figures = {};
  #stated = false;
  #model: string | null = null;
  #done = false;
  #failed = false;

  constructor(stream: boolean) {
    this.#stream = stream;
  }

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    if (bytes[start] === N) return;
    if (kept === MODEL) this.#model ??= parseName(parseBytes(bytes, start, end));
    else if (kept === DONE) this.#done ||= bytes[start] === T;
    else if (kept === ERROR) this.#failed = true;
    else {
      const figure = FIGURES[kept - PROMPT_COUNT];
      const value = parseBytes(bytes, start, end);
      if (figure === undefined || typeof value !== 'number') return;
      this.#figures[figure] = value;
      this.#stated = true;
    }
  }

  /** What is zero is left out: a prompt that was all in the cache has no count. */
  read({ whole, textBytes }: Seen): Reading {
    const { prompt_eval_count, eval_count } = this.#figures;
    // Text that came from nowhere: the server counts nothing, and a guess is nearer than nought.
    const counted = this.#stated && ((eval_count ?? 0) > 0 || textBytes === 0);
    return {
      usage: counted
        ? {
            counts: {
              calls: 1n,
              input_tokens: count(prompt_eval_count) ?? 0n,
              output_tokens: count(eval_count) ?? 0n,
              compute_ms: (computeNanos(this.#figures) + NANOS_PER_MS - 1n) / NANOS_PER_MS,
            },
            raw: this.#figures,
          }
        : null,
      complete: this.#stream ? this.#done : whole,
      failed: this.#failed,
      model: this.#model,
      serviceTier: null,
      outputTokensGuess: guessTokens(textBytes),
    };
  }

  breakOff(message: string, _code: string, place: Place): Uint8Array | undefined {
    return this.#stream && place.kind === 'lines' ? ollamaErrorLine(message, place.open) : undefined;
  }
}
