import { Fault } from '#core/fault.ts';
import { encodeUtf8 } from './bytes.ts';
import { pathsOf } from './json-path-tree.ts';
import { type Fields, parseBody, parseCount, parseName, replaceModel } from './json-request.ts';
import { edited } from './json-span.ts';
import { isMultipart, parseForm, withField } from './multipart.ts';
import { openaiDialect } from './openai-dialect.ts';
import { filesIn } from './openai-media.ts';
import { MEDIA_PATHS, MediaReader } from './openai-media-reader.ts';
import type { Params } from './path-pattern.ts';
import { jsonMeter, type Seen, sseMeter } from './paths-meter.ts';
import {
  type AnswerHead,
  type Asked,
  type CallHead,
  guessTokens,
  isEventStream,
  type Meter,
  NO_COUNTS,
  type Reading,
  type RequestEdits,
  type Usage,
  type Wire,
} from './wire.ts';

/** OpenAI's images: the models of today report tokens, those before them nothing: they are billed by the image. */
export const openaiImages = {
  name: 'openai-images',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [
    { method: 'POST', path: '/v1/images/generations' },
    { method: 'POST', path: '/v1/images/edits' },
    { method: 'POST', path: '/v1/images/variations' },
  ],
  operation: 'image_generation',
  facts: {
    units: [
      'input_tokens',
      'input_image_tokens',
      'cache_read_tokens',
      'cache_read_image_tokens',
      'output_tokens',
      'output_image_tokens',
      'images',
    ],
    usage: '`usage` of the answer, or of the last event; by the image for models that report none',
    estimated: 'images of a model that reports tokens, where no usage comes',
    edited: null,
  },
  parse,
  rewrite(body: Uint8Array, _asked: Asked, { model }: RequestEdits): Uint8Array {
    if (model === null) return body;
    return body[0] === DASH ? withField(body, 'model', model) : edited(body, replaceModel(body, model));
  },
  meter(asked: Asked, answer: AnswerHead): Meter {
    const stream = isEventStream(answer);
    const reader = new ImagesReader(asked, stream);
    return stream ? sseMeter(reader) : jsonMeter(reader);
  },
} as const satisfies Wire;

/** What a form begins with, and JSON cannot. */
const DASH = 0x2d;

const DECISIVE = new Set(['model', 'prompt', 'n', 'size', 'quality', 'stream', 'partial_images']);

/** These report tokens. */
const BY_TOKENS = /^(gpt-image|chatgpt-image)/;
/** Of the largest picture in the best quality, and of a partial one. */
const IMAGE_TOKENS_MAX = 6_240n;
const PARTIAL_TOKENS = 100n;
/** Of a picture that is looked at, in high fidelity. */
const INPUT_IMAGE_TOKENS_MAX = 10_000n;

function parse(body: Uint8Array, call: CallHead, params?: Params): Asked {
  const { fields, pictures, files } = isMultipart(call) ? formOf(body, call) : jsonOf(body);
  const model = parseName(params?.model ?? fields.model);
  if (model === null) throw new Fault('invalid_request', { detail: "The field 'model' must name a model." });
  const images = parseCount(fields, 'n') ?? 1n;
  const partial = parseCount(fields, 'partial_images') ?? 0n;
  const byTokens = BY_TOKENS.test(model);
  const textBytes = typeof fields.prompt === 'string' ? encodeUtf8(fields.prompt).length : 0;
  return {
    model,
    metering: 'usage',
    stream: fields.stream === true,
    usageAsked: true,
    user: parseName(fields.user),
    session: null,
    serviceTier: null,
    inputTokensMax: byTokens ? BigInt(textBytes) + BigInt(pictures) * INPUT_IMAGE_TOKENS_MAX : 0n,
    inputs: 1n,
    inputElsewhere: false,
    inputTokensGuess: byTokens ? guessTokens(textBytes) : 0n,
    outputTokensMax: byTokens ? IMAGE_TOKENS_MAX + partial * PARTIAL_TOKENS : 0n,
    answers: images,
    bounds: byTokens ? NO_COUNTS : { images },
    fixed: NO_COUNTS,
    ...(files.length > 0 && { reads: files }),
  };
}

interface Request {
  readonly fields: Fields;
  readonly pictures: number;
  /** Pictures that it names where they are kept. */
  readonly files: readonly string[];
}

function jsonOf(body: Uint8Array): Request {
  const fields = parseBody(body, DECISIVE);
  const { images, image, mask } = fields;
  return { fields, pictures: Array.isArray(images) ? images.length : 0, files: filesIn([images, image, mask]) };
}

/** Its fields are text: numbers and flags are read from it. */
function formOf(body: Uint8Array, call: CallHead): Request {
  const form = parseForm(body, call, DECISIVE);
  const { n, partial_images: partial, stream, ...fields } = form.fields;
  return {
    fields: { ...fields, n: wholeOf(n), partial_images: wholeOf(partial), stream: stream === 'true' },
    pictures: form.files.length,
    files: [],
  };
}

/** What is no whole number stays text, and is refused where it is read. */
function wholeOf(text: string | undefined): number | string | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : text;
}

const PATHS = pathsOf(MEDIA_PATHS);
const COMPLETED = /^image_(generation|edit)\.completed$/;

class ImagesReader extends MediaReader {
  readonly paths = PATHS;
  readonly #asked: Asked;
  readonly #stream: boolean;
  /** Of a stream: each picture has an event of its own. */
  #completed = 0n;

  constructor(asked: Asked, stream: boolean) {
    super();
    this.#asked = asked;
    this.#stream = stream;
  }

  protected override usageOf(usage: Usage | undefined): Usage | undefined {
    return asPictures(usage);
  }

  protected keepOwn(_at: 'type' | 'own', value: unknown): void {
    if (typeof value === 'string' && COMPLETED.test(value)) this.#completed++;
  }

  read({ whole }: Seen): Reading {
    const complete = this.#stream ? this.#completed >= this.#asked.answers : whole;
    return {
      usage: this.usage ?? (complete && !this.failed ? this.#counted() : null),
      complete,
      failed: this.failed,
      model: null,
      serviceTier: null,
      outputTokensGuess: 0n,
    };
  }

  /** Without usage they are billed by the image; of a model that should have reported tokens, that is an estimate. */
  #counted(): Usage {
    const { answers, bounds } = this.#asked;
    return { counts: { calls: 1n, images: answers }, raw: null, estimated: bounds.images === undefined };
  }
}

/** What comes out is pictures, also where no details say so. */
function asPictures(usage: Usage | undefined): Usage | undefined {
  if (!usage || usage.counts.output_image_tokens) return usage;
  const { output_tokens: output = 0n, ...counts } = usage.counts;
  return { ...usage, counts: { ...counts, output_image_tokens: output } };
}
