import type { WireFamily } from '#config/wires.ts';
import { encodeUtf8, isObject, parseBytes } from './bytes.ts';
import { geminiDialect } from './gemini-dialect.ts';
import { mediaOf } from './gemini-media.ts';
import { GeminiReader } from './gemini-meter.ts';
import { geminiModelPaths, vertexModelPaths } from './gemini-paths.ts';
import { bothSpellings, checkModel, listMember, modelOf } from './gemini-request.ts';
import { type Fields, parseBody, replaceModel } from './json-request.ts';
import { edited, findMember, membersOf } from './json-span.ts';
import type { Params } from './path-pattern.ts';
import { jsonMeter } from './paths-meter.ts';
import {
  type Asked,
  type CallHead,
  guessTokens,
  type Meter,
  NO_COUNTS,
  type RequestEdits,
  type Wire,
  type WireEndpoint,
} from './wire.ts';

const DECISIVE = bothSpellings(['model', 'content', 'requests']);

/** Google's embeddings: one content, or a batch of requests. No output tokens, so only the body can cost. */
function embedWire(name: string, family: WireFamily, endpoints: readonly WireEndpoint[]): Wire {
  return {
    name,
    family,
    dialect: geminiDialect,
    endpoints,
    operation: 'embeddings',
    facts: {
      units: ['input_tokens', 'input_audio_tokens', 'input_image_tokens', 'input_video_tokens'],
      usage: '`usageMetadata` of the answer',
      estimated: 'input by its size, where no usage comes',
      edited: null,
    },
    parse,
    rewrite,
    meter: (): Meter => jsonMeter(new GeminiReader(false)),
  };
}

function parse(body: Uint8Array, _call: CallHead, params: Params): Asked {
  const fields = parseBody(body, DECISIVE);
  const model = modelOf(params);
  const requests = listMember(fields, 'requests');
  for (const request of [fields, ...requests]) checkModel(request.model, model);
  const media = mediaOf([fields, ...requests].flatMap(contentOf), model);
  const textBytes = body.length - media.bytes;
  return {
    model,
    stream: false,
    metering: 'usage',
    usageAsked: false,
    user: null,
    session: null,
    serviceTier: null,
    inputTokensMax: BigInt(textBytes) + media.tokensMax,
    inputs: BigInt(Math.max(1, requests.length)),
    inputElsewhere: media.elsewhere,
    inputTokensGuess: guessTokens(textBytes) + media.tokensGuess,
    outputTokensMax: 0n,
    answers: 0n,
    bounds: NO_COUNTS,
    fixed: NO_COUNTS,
    ...(media.files && { reads: media.files }),
  };
}

function contentOf(request: Fields): Fields[] {
  return isObject(request.content) ? [request.content] : [];
}

/** Each request of a batch names the model again, and it must be that of the path. */
function rewrite(body: Uint8Array, _asked: Asked, { model }: RequestEdits): Uint8Array {
  if (model === null) return body;
  const name = `models/${model}`;
  const renamed = edited(body, replaceModel(body, name));
  const requests = findMember(renamed, membersOf(renamed) ?? [], 'requests');
  if (!requests) return renamed;
  const list = parseBytes(renamed, requests.valueStart, requests.valueEnd);
  if (!Array.isArray(list)) return renamed;
  const named = list.map((one: unknown) => (isObject(one) && one.model !== undefined ? { ...one, model: name } : one));
  const { valueStart: start, valueEnd: end } = requests;
  return edited(renamed, [{ start, end, insert: encodeUtf8(JSON.stringify(named)) }]);
}

export const geminiEmbed = embedWire(
  'gemini-embed',
  'gemini',
  geminiModelPaths(['embedContent', 'batchEmbedContents']),
);
export const vertexEmbed = embedWire('vertex-embed', 'vertex', vertexModelPaths(['embedContent']));
