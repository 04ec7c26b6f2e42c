import { headerOf } from '../headers.ts';
import { bedrockDialect } from './bedrock-dialect.ts';
import { converseMeter, converseStreamMeter, invokeMeter, invokeStreamMeter } from './bedrock-meter.ts';
import { isObject } from './bytes.ts';
import { type Fields, parseBody, parseCount } from './json-request.ts';
import { rewriteJson } from './json-set.ts';
import type { Params } from './path-pattern.ts';
import { bedrockShows } from './showing-models.ts';
import { askedWithoutTokens, FREE_FACTS, SILENT_METER } from './unmetered.ts';
import {
  type AnswerHead,
  type Asked,
  type CallHead,
  guessTokens,
  type Meter,
  NO_COUNTS,
  type RequestEdits,
  type Wire,
} from './wire.ts';

/** Bedrock: the model stands in the path, encoded, and in no body. */
const BEDROCK = {
  family: 'bedrock',
  dialect: bedrockDialect,
  rewrite: (body: Uint8Array, _asked: Asked, _edits: RequestEdits): Uint8Array => body,
} as const;

/** What the template around the messages adds, and what hidden prompts for tools add. */
const TEMPLATE_TOKENS = 64n;
const TOOLS_TOKENS = 1024n;
/** Of the largest picture that a model on Bedrock takes. */
const IMAGE_TOKENS_MAX = 10_000n;

const CONVERSE_DECISIVE = new Set([
  'messages',
  'system',
  'inferenceConfig',
  'toolConfig',
  'additionalModelRequestFields',
]);

export const bedrockConverse = {
  ...BEDROCK,
  name: 'bedrock-converse',
  endpoints: [
    { method: 'POST', path: '/model/{model}/converse' },
    { method: 'POST', path: '/model/{model}/converse-stream' },
  ],
  operation: 'chat',
  facts: {
    units: [
      'input_tokens',
      'cache_read_tokens',
      'cache_write_tokens',
      'cache_write_5m_tokens',
      'cache_write_1h_tokens',
      'output_tokens',
    ],
    usage: '`usage` of the answer, or of the `metadata` event',
    estimated: 'output by its text, where no usage comes',
    edited: null,
  },

  parse(body: Uint8Array, call: CallHead, params: Params): Asked {
    const fields = parseBody(body, CONVERSE_DECISIVE);
    const media = { bytes: 0, images: 0, elsewhere: false };
    addMedia(media, fields.messages);
    const textBytes = body.length - media.bytes;
    const config = isObject(fields.inferenceConfig) ? fields.inferenceConfig : {};
    return {
      ...askedOf(call, params, 'converse-stream'),
      serviceTier: tierOf(fields.serviceTier),
      inputTokensMax: inputMax(textBytes, media.images, fields.toolConfig !== undefined),
      inputElsewhere: media.elsewhere,
      inputTokensGuess: guessTokens(textBytes),
      outputTokensMax: parseCount(config, 'maxTokens'),
      // Thinking is asked for there, in the words of each model.
      hidesOutput: (fields.additionalModelRequestFields ?? null) !== null,
    };
  },

  rewrite: (body: Uint8Array, _asked: Asked, { outputTokensMax }: RequestEdits): Uint8Array =>
    rewriteJson(body, { model: null, includeUsage: false, outputTokensMax }, [['inferenceConfig'], ['maxTokens']]),
  meter: (_asked: Asked, answer: AnswerHead): Meter =>
    isAwsEventStream(answer) ? converseStreamMeter(answer.inParts) : converseMeter(),
  lowersOutput: true,
  showsOutput: bedrockShows,
} as const satisfies Wire;

/** Where the models of different makers have their maximum. */
const MAXIMA = ['max_tokens', 'max_tokens_to_sample', 'max_gen_len', 'max_completion_tokens', 'maxTokens'];
const NESTED_MAXIMA: readonly (readonly [config: string, name: string])[] = [
  ['textGenerationConfig', 'maxTokenCount'],
  ['inferenceConfig', 'maxTokens'],
  ['inferenceConfig', 'max_new_tokens'],
];
const INVOKE_DECISIVE = new Set([
  ...MAXIMA,
  'messages',
  'prompt',
  'inputText',
  'textGenerationConfig',
  'inferenceConfig',
]);

/** The model's own format, whichever that is: Bedrock counts, in headers and in the last message of a stream. */
export const bedrockInvoke = {
  ...BEDROCK,
  name: 'bedrock-invoke',
  endpoints: [
    { method: 'POST', path: '/model/{model}/invoke' },
    { method: 'POST', path: '/model/{model}/invoke-with-response-stream' },
  ],
  operation: 'chat',
  facts: {
    units: ['input_tokens', 'cache_read_tokens', 'cache_write_tokens', 'output_tokens'],
    usage: 'headers `x-amzn-bedrock-*`, or `amazon-bedrock-invocationMetrics` of the last chunk',
    estimated: 'output by its text, where no usage comes',
    edited: null,
  },

  parse(body: Uint8Array, call: CallHead, params: Params): Asked {
    const fields = parseBody(body, INVOKE_DECISIVE);
    return {
      ...askedOf(call, params, 'invoke-with-response-stream'),
      serviceTier: tierOf(headerOf(call.headers, 'x-amzn-bedrock-service-tier')),
      // Media are in the body too, and no picture has fewer bytes than this many tokens leave room for.
      inputTokensMax: inputMax(body.length, countImages(fields.messages), fields.tools !== undefined),
      inputTokensGuess: guessTokens(body.length),
      outputTokensMax: maximumOf(fields),
    };
  },

  meter: (_asked: Asked, answer: AnswerHead): Meter =>
    isAwsEventStream(answer) ? invokeStreamMeter() : invokeMeter(answer.headers),
} as const satisfies Wire;

/** Counts the tokens of a call that is not made: nothing is billed for it. */
export const bedrockCountTokens = {
  ...BEDROCK,
  name: 'bedrock-count-tokens',
  endpoints: [{ method: 'POST', path: '/model/{model}/count-tokens' }],
  operation: 'count_tokens',
  facts: FREE_FACTS,
  parse: (_body: Uint8Array, _call: CallHead, params: Params): Asked => askedWithoutTokens(modelOf(params), 'free'),
  meter: (): Meter => SILENT_METER,
} as const satisfies Wire;

function askedOf({ path }: CallHead, params: Params, streamed: string): Asked {
  return {
    ...askedWithoutTokens(modelOf(params), 'free'),
    metering: 'usage',
    stream: path.endsWith(streamed),
    usageAsked: true,
    inputs: 1n,
    answers: 1n,
    bounds: NO_COUNTS,
  };
}

/** An ARN or an inference profile is a name too: it is encoded in the path. */
function modelOf({ model = '' }: Params): string {
  try {
    return decodeURIComponent(model);
  } catch {
    return model;
  }
}

function inputMax(textBytes: number, images: number, hasTools: boolean): bigint {
  return BigInt(textBytes) + BigInt(images) * IMAGE_TOKENS_MAX + TEMPLATE_TOKENS + (hasTools ? TOOLS_TOKENS : 0n);
}

function maximumOf(fields: Fields): bigint | null {
  const maxima = [
    ...MAXIMA.map((name) => parseCount(fields, name)),
    ...NESTED_MAXIMA.map(([config, name]) => {
      const nested = fields[config];
      return isObject(nested) ? parseCount(nested, name) : null;
    }),
  ].filter((maximum) => maximum !== null);
  let most: bigint | null = null;
  for (const maximum of maxima) if (most === null || maximum > most) most = maximum;
  return most;
}

/** `{ type: 'priority' }`, or the name alone. */
function tierOf(tier: unknown): string | null {
  const name = isObject(tier) ? tier.type : tier;
  return name === 'priority' || name === 'flex' ? name : null;
}

interface Media {
  bytes: number;
  images: number;
  elsewhere: boolean;
}

/** Pictures, sounds, documents and films of Converse, in messages and in what tools gave. */
function addMedia(media: Media, value: unknown): void {
  if (Array.isArray(value)) for (const one of value) addMedia(media, one);
  if (!isObject(value)) return;
  for (const [name, part] of Object.entries(value)) {
    if (name === 'content') addMedia(media, part);
    else if (name === 'toolResult') addMedia(media, part);
    else if (name === 'image') addPicture(media, part);
    else if (name === 'document' || name === 'video' || name === 'audio') {
      media.elsewhere = true;
      media.bytes += sourceBytes(part);
    }
  }
}

function addPicture(media: Media, picture: unknown): void {
  media.images++;
  media.bytes += sourceBytes(picture);
}

function sourceBytes(part: unknown): number {
  const source = isObject(part) && isObject(part.source) ? part.source.bytes : undefined;
  return typeof source === 'string' ? source.length : 0;
}

function countImages(value: unknown): number {
  if (Array.isArray(value)) return value.reduce<number>((sum, one) => sum + countImages(one), 0);
  if (!isObject(value)) return 0;
  const own = value.type === 'image' || value.type === 'image_url' || value.image !== undefined ? 1 : 0;
  return own + countImages(value.content);
}

function isAwsEventStream({ headers }: AnswerHead): boolean {
  return (headerOf(headers, 'content-type') ?? '').startsWith('application/vnd.amazon.eventstream');
}
