import type { WireFamily } from '#config/wires.ts';
import { isObject, parseBytes } from './bytes.ts';
import { geminiDialect } from './gemini-dialect.ts';
import { geminiModelPaths, vertexModelPaths } from './gemini-paths.ts';
import { modelOf } from './gemini-request.ts';
import { count } from './gemini-usage.ts';
import { pathsOf } from './json-path-tree.ts';
import { parseBody, parseCount, parseName } from './json-request.ts';
import type { Params } from './path-pattern.ts';
import { type AnswerReader, jsonMeter, type Seen } from './paths-meter.ts';
import { askedWithoutTokens } from './unmetered.ts';
import {
  type Asked,
  type CallHead,
  guessTokens,
  type Meter,
  NOTHING_ASKED,
  type Reading,
  type Wire,
  type WireEndpoint,
} from './wire.ts';

/** Google's API before generateContent: Imagen draws by it, and older embeddings are made by it. */
function predictWire(name: string, family: WireFamily, endpoints: readonly WireEndpoint[]): Wire {
  return {
    name,
    family,
    dialect: geminiDialect,
    endpoints,
    operation: 'predict',
    facts: {
      units: ['images', 'input_tokens'],
      usage: 'pictures among `predictions`; `token_count` of embeddings',
      estimated: null,
      edited: null,
    },
    parse,
    // The model stands in the path alone.
    rewrite: (body) => body,
    meter: (): Meter => jsonMeter(new PredictionReader()),
  };
}

const DECISIVE = new Set(['instances', 'parameters']);
const DRAWING_MODEL = /^(imagen|imagegeneration)/;
const EMBEDDING_MODEL = /(embedding|gecko)/;
/** Pictures of one request that says no number. */
const IMAGES_INITIAL = 4n;

function parse(body: Uint8Array, _call: CallHead, params: Params): Asked {
  const model = modelOf(params);
  const fields = parseBody(body, DECISIVE);
  const instances = BigInt(Array.isArray(fields.instances) ? Math.max(1, fields.instances.length) : 1);
  const parameters = isObject(fields.parameters) ? fields.parameters : {};
  if (EMBEDDING_MODEL.test(model)) {
    return {
      ...NOTHING_ASKED,
      model,
      metering: 'usage',
      inputTokensMax: BigInt(body.length),
      inputs: instances,
      inputTokensGuess: guessTokens(body.length),
    };
  }
  // What other models cost, nobody knows.
  if (!DRAWING_MODEL.test(model)) return askedWithoutTokens(model, 'unmetered');
  return {
    ...NOTHING_ASKED,
    model,
    metering: 'usage',
    variant: parseName(parameters.sampleImageSize),
    bounds: { images: instances * (parseCount(parameters, 'sampleCount') ?? IMAGES_INITIAL) },
  };
}

const PATHS = pathsOf(['predictions[].mimeType', 'predictions[].embeddings.statistics.token_count', 'error']);
const [PICTURE, TOKENS] = [0, 1];

/** A picture that was made has its type; one that was held back says why instead, and is not billed. */
class PredictionReader implements AnswerReader {
  readonly paths = PATHS;
  #images = 0n;
  #tokens = 0n;
  #failed = false;

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    if (kept === PICTURE) this.#images++;
    else if (kept === TOKENS) this.#tokens += count(parseBytes(bytes, start, end)) ?? 0n;
    else this.#failed = true;
  }

  read({ whole }: Seen): Reading {
    const counts = {
      calls: 1n,
      ...(this.#images > 0n && { images: this.#images }),
      ...(this.#tokens > 0n && { input_tokens: this.#tokens }),
    };
    const seen = this.#images > 0n || this.#tokens > 0n;
    return {
      // Of an answer that broke off nobody knows how much more there was.
      usage: whole || seen ? { counts, raw: null, estimated: !whole } : null,
      complete: whole,
      failed: this.#failed,
      model: null,
      serviceTier: null,
      outputTokensGuess: 0n,
    };
  }

  breakOff(): undefined {
    return undefined;
  }
}

export const geminiPredict = predictWire('gemini-predict', 'gemini', geminiModelPaths(['predict']));
export const vertexPredict = predictWire('vertex-predict', 'vertex', vertexModelPaths(['predict']));
