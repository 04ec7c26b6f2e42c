import { Fault } from '#core/fault.ts';
import { audioSecondsMax } from './audio-duration.ts';
import { pathsOf } from './json-path-tree.ts';
import { parseName } from './json-request.ts';
import { parseForm, withField } from './multipart.ts';
import { openaiDialect } from './openai-dialect.ts';
import { MEDIA_PATHS, MediaReader } from './openai-media-reader.ts';
import type { Params } from './path-pattern.ts';
import { jsonMeter, type Seen, sseMeter } from './paths-meter.ts';
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

/** OpenAI's transcriptions and translations: a form with a file of sound, billed by its seconds or by tokens. */
export const openaiTranscriptions = {
  name: 'openai-transcriptions',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [
    { method: 'POST', path: '/v1/audio/transcriptions' },
    { method: 'POST', path: '/v1/audio/translations' },
  ],
  operation: 'transcription',
  facts: {
    units: ['audio_seconds', 'input_tokens', 'input_audio_tokens', 'output_tokens'],
    usage: '`usage` or `duration` of the answer, or of the last event',
    estimated: 'seconds by the file, where the answer is plain text',
    edited: null,
  },
  parse,
  rewrite: (body: Uint8Array, _asked: Asked, { model }: RequestEdits): Uint8Array =>
    model === null ? body : withField(body, 'model', model),
  meter(asked: Asked, answer: AnswerHead): Meter {
    if (isEventStream(answer)) return sseMeter(new TranscriptReader(asked, true));
    const type = String(answer.headers['content-type'] ?? '');
    return type.includes('json') ? jsonMeter(new TranscriptReader(asked, false)) : textMeter(asked);
  },
} as const satisfies Wire;

const DECISIVE = new Set(['model', 'response_format', 'stream']);

/** These are billed by the token; what else transcribes is billed by the second of sound. */
const BY_TOKENS = /^gpt-/;

/** Ten tokens a second of sound (OpenAI). */
const AUDIO_TOKENS_PER_SECOND = 10n;
/** Nobody speaks faster. */
const TEXT_TOKENS_PER_SECOND_MAX = 20n;
/** Of a UTF-16 unit in UTF-8; no token is shorter than a byte. */
const UNIT_BYTES_MAX = 3;

function parse(body: Uint8Array, call: CallHead, params?: Params): Asked {
  const { fields, files } = parseForm(body, call, DECISIVE);
  const model = parseName(params?.model ?? fields.model);
  if (model === null) throw new Fault('invalid_request', { detail: "The field 'model' must name a model." });
  const file = files.find(({ name }) => name === 'file');
  if (!file) throw new Fault('invalid_request', { detail: "The form has no file of sound named 'file'." });
  const seconds = audioSecondsMax(file.bytes);
  const byTokens = BY_TOKENS.test(model);
  const soundTokens = byTokens ? seconds * AUDIO_TOKENS_PER_SECOND : 0n;
  return {
    model,
    metering: 'usage',
    stream: fields.stream === 'true',
    usageAsked: true,
    user: null,
    session: null,
    serviceTier: null,
    inputTokensMax: byTokens ? soundTokens + BigInt((fields.prompt ?? '').length * UNIT_BYTES_MAX) : 0n,
    inputs: 1n,
    inputElsewhere: false,
    inputTokensGuess: soundTokens,
    outputTokensMax: byTokens ? seconds * TEXT_TOKENS_PER_SECOND_MAX : 0n,
    answers: byTokens ? 1n : 0n,
    bounds: byTokens ? NO_COUNTS : { audio_seconds: seconds },
    fixed: NO_COUNTS,
  };
}

const PATHS = pathsOf([...MEDIA_PATHS, 'duration'], ['text', 'delta']);
const DONE = 'transcript.text.done';

class TranscriptReader extends MediaReader {
  readonly paths = PATHS;
  readonly #asked: Asked;
  readonly #stream: boolean;
  #seconds: bigint | undefined;
  #done = false;

  constructor(asked: Asked, stream: boolean) {
    super();
    this.#asked = asked;
    this.#stream = stream;
  }

  protected keepOwn(at: 'type' | 'own', value: unknown): void {
    if (at === 'type') this.#done ||= value === DONE;
    else if (typeof value === 'number' && value >= 0) this.#seconds = BigInt(Math.ceil(value));
  }

  read({ whole, textBytes }: Seen): Reading {
    const isWhole = whole && !this.#stream && !this.failed;
    return {
      usage: this.usage ?? (isWhole ? usageOfSound(this.#asked, this.#seconds) : null),
      complete: this.#stream ? this.#done : whole,
      failed: this.failed,
      model: null,
      serviceTier: null,
      outputTokensGuess: guessTokens(textBytes),
    };
  }
}

/** The provider bills seconds and did not say how many: its text or the file does. */
function usageOfSound({ bounds }: Asked, said: bigint | undefined): Usage | null {
  if (bounds.audio_seconds === undefined) return null;
  return { counts: { calls: 1n, audio_seconds: said ?? bounds.audio_seconds }, raw: null, estimated: true };
}

/** Plain text and subtitles hold no usage at all. */
function textMeter(asked: Asked): Meter {
  let bytes = 0;
  return {
    ...SILENT_METER,
    push(chunk) {
      bytes += chunk.length;
      return chunk;
    },
    read: () => ({
      ...SILENT_METER.read(),
      usage: usageOfSound(asked, undefined),
      outputTokensGuess: guessTokens(bytes),
    }),
  };
}
