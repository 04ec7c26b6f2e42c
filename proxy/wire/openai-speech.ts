import { ceil } from '#core/exact.ts';
import { Fault } from '#core/fault.ts';
import { pathsOf } from './json-path-tree.ts';
import { parseBody, parseModel, replaceModel } from './json-request.ts';
import { edited } from './json-span.ts';
import { openaiDialect } from './openai-dialect.ts';
import { MEDIA_PATHS, MediaReader } from './openai-media-reader.ts';
import type { Params } from './path-pattern.ts';
import { sseMeter } from './paths-meter.ts';
import { SILENT_METER } from './unmetered.ts';
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

/**
 * OpenAI's speech. The older models are billed by the character of the request; the younger by tokens, which only an
 * event stream reports: of a file of sound they are estimated.
 */
export const openaiSpeech = {
  name: 'openai-speech',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [{ method: 'POST', path: '/v1/audio/speech' }],
  operation: 'speech',
  facts: {
    units: ['characters', 'input_tokens', 'output_audio_tokens'],
    usage: 'the characters of the request, or `usage` of the last event',
    estimated: 'tokens of a file of sound, by the characters that are spoken',
    edited: null,
  },
  parse,
  rewrite: (body: Uint8Array, _asked: Asked, { model }: RequestEdits): Uint8Array =>
    model === null ? body : edited(body, replaceModel(body, model)),
  meter(asked: Asked, answer: AnswerHead): Meter {
    return isEventStream(answer) ? sseMeter(new SpeechReader(asked)) : soundMeter(asked);
  },
} as const satisfies Wire;

const DECISIVE = new Set(['model', 'input', 'instructions', 'stream_format']);

const BY_TOKENS = /^gpt-/;
/** Speech has some 15 characters a second, and a second some 20 tokens of sound. */
const TOKENS_OF_CHARACTERS = { num: 20n, den: 15n };
/** No voice makes more of a character. */
const TOKENS_PER_CHARACTER_MAX = 10n;

function parse(body: Uint8Array, _call?: CallHead, params?: Params): Asked {
  const fields = parseBody(body, DECISIVE);
  const model = parseModel(fields, params?.model);
  const { input, instructions } = fields;
  if (typeof input !== 'string') throw new Fault('invalid_request', { detail: "The field 'input' must be text." });
  const characters = BigInt([...input].length);
  const byTokens = BY_TOKENS.test(model);
  const textLength = input.length + (typeof instructions === 'string' ? instructions.length : 0);
  const counts = byTokens ? NO_COUNTS : { characters };
  return {
    model,
    metering: 'usage',
    stream: fields.stream_format === 'sse',
    usageAsked: true,
    user: null,
    session: null,
    serviceTier: null,
    inputTokensMax: byTokens ? BigInt(body.length) : 0n,
    inputs: 1n,
    inputElsewhere: false,
    inputTokensGuess: byTokens ? guessTokens(textLength) : 0n,
    outputTokensMax: byTokens ? characters * TOKENS_PER_CHARACTER_MAX : 0n,
    answers: byTokens ? 1n : 0n,
    bounds: counts,
    fixed: counts,
  };
}

/** By what the request says, for sound that has no usage. The characters of the older models are in every call. */
function usageOfSound({ inputTokensGuess, outputTokensMax }: Asked): Usage {
  if (outputTokensMax === null || outputTokensMax === 0n) return { counts: { calls: 1n }, raw: null };
  const characters = outputTokensMax / TOKENS_PER_CHARACTER_MAX;
  const sound = ceil({ num: characters * TOKENS_OF_CHARACTERS.num, den: TOKENS_OF_CHARACTERS.den });
  const counts = { calls: 1n, input_tokens: inputTokensGuess, output_audio_tokens: sound };
  return { counts, raw: null, estimated: true };
}

function soundMeter(asked: Asked): Meter {
  return { ...SILENT_METER, read: () => ({ ...SILENT_METER.read(), usage: usageOfSound(asked) }) };
}

const PATHS = pathsOf(MEDIA_PATHS);
const DONE = 'speech.audio.done';

class SpeechReader extends MediaReader {
  readonly paths = PATHS;
  readonly #asked: Asked;
  #done = false;

  constructor(asked: Asked) {
    super();
    this.#asked = asked;
  }

  protected override usageOf(usage: Usage | undefined): Usage | undefined {
    return asSound(usage);
  }

  protected keepOwn(_at: 'type' | 'own', value: unknown): void {
    if (value === DONE) this.#done = true;
  }

  read(): Reading {
    return {
      usage: this.usage ?? (this.#done ? usageOfSound(this.#asked) : null),
      complete: this.#done,
      failed: this.failed,
      model: null,
      serviceTier: null,
      outputTokensGuess: 0n,
    };
  }
}

/** Its usage has totals alone, and what comes out is sound. */
function asSound(usage: Usage | undefined): Usage | undefined {
  if (!usage) return undefined;
  const { output_tokens: text = 0n, output_audio_tokens: sound = 0n, ...counts } = usage.counts;
  return { ...usage, counts: { ...counts, output_audio_tokens: text + sound } };
}
