import { isObject } from './bytes.ts';
import { cohereDialect } from './cohere-dialect.ts';
import { CohereReader } from './cohere-usage.ts';
import { type Fields, parseBody, parseCount, parseFlag, parseModel } from './json-request.ts';
import { rewriteJson } from './json-set.ts';
import { mediaBounds } from './openai-media.ts';
import { jsonMeter, sseMeter } from './paths-meter.ts';
import { cohereShows } from './showing-models.ts';
import {
  type AnswerHead,
  type Asked,
  guessTokens,
  isEventStream,
  type Meter,
  NOTHING_ASKED,
  type RequestEdits,
  type Wire,
} from './wire.ts';

const TEMPLATE_TOKENS = 64n;
const TOOLS_TOKENS = 1024n;
/** Two and a half million pixels, the most that is taken, in patches of 28. */
const IMAGE_TOKENS_MAX = 4_096n;
/** A search unit is a query over so many documents; a longer document is cut and counts several times. */
const DOCUMENTS_PER_UNIT = 100;
const TOKENS_PER_DOCUMENT = 500;

const COHERE = {
  family: 'cohere',
  dialect: cohereDialect,
  rewrite: (body: Uint8Array, _asked: Asked, edits: RequestEdits): Uint8Array => rewriteJson(body, edits, null),
  meter({ stream }: Asked, answer: AnswerHead): Meter {
    const reader = new CohereReader(stream);
    return isEventStream(answer) ? sseMeter(reader, answer.inParts) : jsonMeter(reader);
  },
} as const;

const HIDING = ['tools', 'documents', 'citation_options', 'thinking'];
const CHAT_DECISIVE = new Set(['model', 'messages', 'documents', 'tools', 'stream', 'max_tokens']);

export const cohereChat = {
  ...COHERE,
  name: 'cohere-chat',
  endpoints: [{ method: 'POST', path: '/v2/chat' }],
  operation: 'chat',
  facts: {
    units: ['input_tokens', 'output_tokens', 'search_units', 'classifications'],
    usage: '`usage.billed_units` of the answer, or of `message-end`',
    estimated: 'output by its text, where no usage comes',
    edited: null,
  },
  rewrite: (body: Uint8Array, _asked: Asked, edits: RequestEdits): Uint8Array =>
    rewriteJson(body, edits, [['max_tokens']]),
  lowersOutput: true,
  showsOutput: cohereShows,
  parse(body: Uint8Array): Asked {
    const fields = parseBody(body, CHAT_DECISIVE);
    const model = parseModel(fields);
    const media = mediaBounds(fields.messages, model);
    const textBytes = body.length - media.bytes;
    return {
      ...NOTHING_ASKED,
      metering: 'usage',
      model,
      stream: parseFlag(fields, 'stream') === true,
      inputTokensMax:
        BigInt(textBytes) + TEMPLATE_TOKENS + (fields.tools === undefined ? 0n : TOOLS_TOKENS) + media.tokensMax,
      inputElsewhere: media.elsewhere,
      inputTokensGuess: guessTokens(textBytes) + media.tokensGuess,
      outputTokensMax: parseCount(fields, 'max_tokens'),
      answers: 1n,
      // Citations and plans are written in tokens of their own.
      hidesOutput: HIDING.some((name) => (fields[name] ?? null) !== null),
    };
  },
} as const satisfies Wire;

const EMBED_DECISIVE = new Set(['model', 'texts', 'images', 'inputs']);

export const cohereEmbed = {
  ...COHERE,
  name: 'cohere-embed',
  endpoints: [
    { method: 'POST', path: '/v2/embed' },
    { method: 'POST', path: '/v1/embed' },
  ],
  operation: 'embeddings',
  facts: {
    units: ['input_tokens', 'input_images', 'input_image_tokens'],
    usage: '`meta.billed_units`',
    estimated: 'input by its size, where no usage comes',
    edited: null,
  },
  parse(body: Uint8Array): Asked {
    const fields = parseBody(body, EMBED_DECISIVE);
    const images = imagesOf(fields);
    const textBytes = body.length - images.reduce((sum, image) => sum + image.length, 0);
    const imageTokens = BigInt(images.length) * IMAGE_TOKENS_MAX;
    return {
      ...NOTHING_ASKED,
      metering: 'usage',
      model: parseModel(fields),
      inputTokensMax: BigInt(textBytes) + imageTokens,
      inputs: BigInt(Math.max(1, listOf(fields.texts).length + listOf(fields.inputs).length + images.length)),
      inputTokensGuess: guessTokens(textBytes) + imageTokens,
    };
  },
} as const satisfies Wire;

const RERANK_DECISIVE = new Set(['model', 'query', 'documents']);

export const cohereRerank = {
  ...COHERE,
  name: 'cohere-rerank',
  endpoints: [
    { method: 'POST', path: '/v2/rerank' },
    { method: 'POST', path: '/v1/rerank' },
  ],
  operation: 'rerank',
  facts: {
    units: ['search_units'],
    usage: '`meta.billed_units`',
    estimated: null,
    edited: null,
  },
  parse(body: Uint8Array): Asked {
    const fields = parseBody(body, RERANK_DECISIVE);
    const pieces = listOf(fields.documents).length + Math.ceil(body.length / TOKENS_PER_DOCUMENT);
    return {
      ...NOTHING_ASKED,
      metering: 'usage',
      model: parseModel(fields),
      bounds: { search_units: BigInt(Math.max(1, Math.ceil(pieces / DOCUMENTS_PER_UNIT))) },
    };
  },
} as const satisfies Wire;

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Images as data in the body, in either of its places. */
function imagesOf(fields: Fields): string[] {
  const parts = listOf(fields.inputs)
    .filter(isObject)
    .flatMap(({ content }) => listOf(content).filter(isObject));
  const urls = parts.flatMap(({ image_url: image }) => (isObject(image) ? [image.url] : []));
  return [...listOf(fields.images), ...urls].filter((image) => typeof image === 'string');
}
