import type { WireFamily } from '#config/wires.ts';
import { Fault } from '#core/fault.ts';
import { isObject, parseBytes } from './bytes.ts';
import { geminiDialect } from './gemini-dialect.ts';
import { fileIn } from './gemini-media.ts';
import { geminiModelPaths, geminiPaths, vertexModelPaths } from './gemini-paths.ts';
import { checkOnce, member, modelOf } from './gemini-request.ts';
import { count } from './gemini-usage.ts';
import { pathsOf } from './json-path-tree.ts';
import { type Fields, parseBody, parseFlag, parseName, parseObjectId } from './json-request.ts';
import type { Params } from './path-pattern.ts';
import { type AnswerReader, jsonMeter, type Seen } from './paths-meter.ts';
import { askedWithoutTokens } from './unmetered.ts';
import {
  type Asked,
  type CallHead,
  type Meter,
  NOTHING_ASKED,
  type Reading,
  type Wire,
  type WireEndpoint,
} from './wire.ts';

/** Videos of Google (Veo): made by an operation that goes on, and billed by the seconds of those that it made. */
function videosWire(name: string, family: WireFamily, endpoints: readonly WireEndpoint[]): Wire {
  return {
    name,
    family,
    dialect: geminiDialect,
    endpoints,
    operation: 'video',
    facts: {
      units: ['video_seconds'],
      usage:
        'videos of the operation, once it is `done`, by the seconds that were asked for; their price hangs on the resolution',
      estimated: 'videos of an operation whose end nobody could see',
      edited: null,
    },
    goesOn: true,
    parse,
    // The model stands in the path alone.
    rewrite: (body) => body,
    meter: (asked): Meter => jsonMeter(new OperationReader(asked)),
  };
}

const STORED = {
  dialect: geminiDialect,
  operation: 'video',
  facts: {
    units: [],
    usage: 'none of its own: an operation that is seen to be done settles the call that began it, once',
    estimated: null,
    edited: null,
  },
  rewrite: (body: Uint8Array): Uint8Array => body,
  meter: (asked: Asked): Meter => jsonMeter(new OperationReader(asked)),
} as const;

const DECISIVE = new Set(['instances', 'parameters']);
/** The longest that a model makes, and what each makes that is not told how long. */
const SECONDS_INITIAL = 8n;
/** The most of one request. How many are made where it does not say differs. */
const SAMPLES_MAX = 4n;
const RESOLUTION_INITIAL = '720p';
/** They lead out of the answer, into what the operator has elsewhere. */
const LEADING_ELSEWHERE = ['storageUri', 'pubsubTopic'];

/** Names within are read in this spelling alone: their values are of no type that Google would translate. */
function parse(body: Uint8Array, _call: CallHead, params: Params): Asked {
  const fields = parseBody(body, DECISIVE);
  checkOnce(body, 'parameters');
  const instances = Array.isArray(fields.instances) ? fields.instances : [];
  const parameters = isObject(fields.parameters) ? fields.parameters : {};
  const led = LEADING_ELSEWHERE.find((name) => (parameters[name] ?? null) !== null);
  if (led !== undefined) {
    throw new Fault('invalid_request', { detail: `The field '${led}' is not taken: videos come in the answer.` });
  }
  const each = wholeOf(parameters, 'durationSeconds') ?? SECONDS_INITIAL;
  const samples = wholeOf(parameters, 'sampleCount');
  const prompts = BigInt(Math.max(1, instances.length));
  const reads = filesIn(instances);
  return {
    ...NOTHING_ASKED,
    model: modelOf(params),
    metering: 'usage',
    variant: variantOf(parameters),
    bounds: { video_seconds: each * prompts * (samples ?? SAMPLES_MAX) },
    estimate: { video_seconds: each * prompts * (samples ?? 1n) },
    secondsEach: each,
    makes: 'operation',
    background: true,
    once: true,
    ...(reads.length > 0 && { reads }),
  };
}

/** A video without its sound has a price of its own. */
function variantOf(parameters: Fields): string {
  const resolution = parseName(parameters.resolution) ?? RESOLUTION_INITIAL;
  return parseFlag(parameters, 'generateAudio') === false ? `${resolution}-silent` : resolution;
}

const WHOLE = /^[1-9]\d{0,4}$/;

/** A number, or the text of one, as Google's own examples have it. */
function wholeOf(fields: Fields, name: string): bigint | null {
  const value = fields[name] ?? null;
  if (value === null) return null;
  if ((typeof value === 'number' || typeof value === 'string') && WHOLE.test(String(value))) return BigInt(value);
  throw new Fault('invalid_request', { detail: `The field '${name}' must be a whole number above zero.` });
}

/** Pictures and videos that it starts from, wherever they stand. */
function filesIn(value: unknown): string[] {
  const files: string[] = [];
  const left: unknown[] = [value];
  while (left.length > 0) {
    const one = left.pop();
    if (typeof one === 'string') files.push(...(fileIn(one) ?? []));
    else if (typeof one === 'object' && one !== null) for (const inner of Object.values(one)) left.push(inner);
  }
  return files;
}

const PATHS = pathsOf([
  'name',
  'done',
  'error',
  'response.generateVideoResponse.generatedSamples[].video.uri',
  'response.generateVideoResponse.generatedSamples[].video.encoding',
  'response.videos[].gcsUri',
  'response.videos[].mimeType',
  'response.generateVideoResponse.raiMediaFilteredCount',
  'response.raiMediaFilteredCount',
]);
const [NAME, DONE, ERROR, URI, ENCODING, BUCKET, TYPE] = [0, 1, 2, 3, 4, 5, 6];

/** An operation, as far as it has come. */
export class OperationReader implements AnswerReader {
  readonly paths = PATHS;
  readonly #secondsEach: bigint;
  #id: string | null = null;
  #done = false;
  #failed = false;
  readonly #files: string[] = [];
  /** A video has an address, or its bytes and their type, or both: by each of these. */
  readonly #videos = [0n, 0n, 0n, 0n];
  #heldBack = 0n;

  constructor({ secondsEach = 0n }: Pick<Asked, 'secondsEach'>) {
    this.#secondsEach = secondsEach;
  }

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    switch (kept) {
      case NAME:
        this.#id = parseName(parseBytes(bytes, start, end));
        break;
      case DONE:
        this.#done = parseBytes(bytes, start, end) === true;
        break;
      case ERROR:
        this.#failed = isObject(parseBytes(bytes, start, end));
        break;
      case URI:
      case ENCODING:
      case BUCKET:
      case TYPE:
        this.#videos[kept - URI] = (this.#videos[kept - URI] ?? 0n) + 1n;
        if (kept === URI) this.#files.push(...(fileIn(parseBytes(bytes, start, end)) ?? []));
        break;
      default:
        this.#heldBack += count(parseBytes(bytes, start, end)) ?? 0n;
    }
  }

  read({ whole }: Seen): Reading {
    let videos = 0n;
    for (const counted of this.#videos) if (counted > videos) videos = counted;
    // Of one that is done and shows neither videos nor why there are none, nobody knows what it made.
    const known = this.#done && (videos > 0n || this.#heldBack > 0n);
    const counts = { calls: 1n, ...(videos > 0n && { video_seconds: videos * this.#secondsEach }) };
    return {
      usage: known ? { counts, raw: null } : null,
      complete: whole,
      failed: false,
      undone: this.#failed,
      model: null,
      serviceTier: null,
      made:
        this.#id === null
          ? null
          : { id: this.#id, over: this.#done, ...(this.#files.length > 0 && { files: this.#files }) },
      outputTokensGuess: 0n,
    };
  }

  breakOff(): undefined {
    return undefined;
  }
}

export const geminiVideos = videosWire('gemini-videos', 'gemini', geminiModelPaths(['predictLongRunning']));
export const vertexVideos = videosWire('vertex-videos', 'vertex', vertexModelPaths(['predictLongRunning']));

/** What became of it, asked by whoever began it. An operation is known by the whole of its name. */
export const geminiOperations = {
  ...STORED,
  name: 'gemini-operations',
  family: 'gemini',
  endpoints: geminiPaths('GET', '/{version}/models/{named}/operations/{id}'),
  parse: (_body: Uint8Array, _call: CallHead, { named, id }: Params): Asked => ({
    ...askedWithoutTokens('', 'free'),
    object: `models/${named}/operations/${id}`,
  }),
} as const satisfies Wire;

export const vertexOperations = {
  ...STORED,
  name: 'vertex-operations',
  family: 'vertex',
  endpoints: vertexModelPaths(['fetchPredictOperation']).map((one) => ({
    ...one,
    path: one.path.replace('{model}', '{named}'),
  })),
  parse: (body: Uint8Array): Asked => ({
    ...askedWithoutTokens('', 'free'),
    object: parseObjectId(member(parseBody(body, OPERATION), 'operationName'), 'operationName'),
  }),
} as const satisfies Wire;

const OPERATION = new Set(['operationName', 'operation_name']);
