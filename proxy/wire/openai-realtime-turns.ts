import { isObject } from './bytes.ts';
import { mostOf, type RealtimeSession } from './openai-realtime-session.ts';
import { parseUsage } from './openai-usage.ts';
import { type Turn, talkInputMax } from './socket-wire.ts';
import { type Asked, guessTokens, NOTHING_ASKED, type Reading, type Usage } from './wire.ts';

/** Templates, and what was said between the hold and the beginning: sound comes all the time. */
const HEADROOM_TOKENS = 2_048n;
/** An answer in sound, as base64: a token per twentieth of a second, of 48,000 bytes a second. */
const ANSWER_CHARS_PER_TOKEN = 3_200;

const DONE: ReadonlySet<unknown> = new Set(['completed', 'incomplete']);

/** One response: the answer to all that was said before it. */
export class RealtimeTurn implements Turn {
  readonly ahead: boolean;
  readonly beside = false;
  /** Of the message that asked for it: errors name it. */
  readonly eventId: unknown;
  inPlaceOf: Turn | null = null;
  readonly #model: string;
  readonly #session: RealtimeSession;
  readonly #fields: Readonly<Record<string, unknown>> | null;
  #usage: Usage | null = null;
  #status: unknown = null;
  #outputGuess = 0n;

  constructor(
    model: string,
    session: RealtimeSession,
    ahead: boolean,
    fields: Readonly<Record<string, unknown>> | null,
    eventId: unknown,
  ) {
    this.#model = model;
    this.#session = session;
    this.ahead = ahead;
    this.#fields = fields;
    this.eventId = eventId;
  }

  get asked(): Asked {
    const { inputTokensMax, inputTokensGuess, elsewhere, outputTokensMax } = this.#session;
    const max = this.#fields ? mostOf(this.#fields) : undefined;
    const inputElsewhere = elsewhere || (this.#fields?.prompt ?? null) !== null;
    return {
      ...NOTHING_ASKED,
      model: this.#model,
      metering: 'usage',
      stream: true,
      inputTokensMax: talkInputMax(inputTokensMax + HEADROOM_TOKENS, inputElsewhere),
      inputElsewhere,
      inputTokensGuess,
      outputTokensMax: max === undefined ? outputTokensMax : max,
      answers: 1n,
    };
  }

  covers({ inputTokensMax, outputTokensMax, inputElsewhere }: Asked): boolean {
    const { asked } = this;
    if (asked.inputElsewhere !== inputElsewhere || asked.outputTokensMax !== outputTokensMax) return false;
    return this.#session.inputTokensMax <= inputTokensMax;
  }

  /** A piece of the answer has gone by. */
  show(type: string, chars: number): void {
    const isSound = type === 'response.output_audio.delta' || type === 'response.audio.delta';
    this.#outputGuess += isSound ? BigInt(Math.ceil(chars / ANSWER_CHARS_PER_TOKEN)) : guessTokens(chars);
  }

  end(response: unknown): void {
    if (!isObject(response)) return;
    this.#status = response.status;
    this.#usage = parseUsage(response.usage) ?? null;
  }

  get outputTokens(): bigint {
    const { output_tokens = 0n, output_audio_tokens = 0n } = this.#usage?.counts ?? {};
    return this.#usage ? output_tokens + output_audio_tokens : this.#outputGuess;
  }

  read(): Reading {
    return {
      usage: this.#usage,
      complete: DONE.has(this.#status) || this.#usage !== null,
      failed: this.#status === 'failed',
      model: this.#session.model ?? this.#model,
      serviceTier: null,
      outputTokensGuess: this.#outputGuess,
    };
  }
}

/** The longest that is held ahead for one utterance. What is longer is found when it is written down. */
const UTTERANCE_SECONDS = 60n;
/** Ten tokens a second of sound. */
const UTTERANCE_TOKENS = 10n * UTTERANCE_SECONDS + 256n;
/** Nobody speaks faster. */
const TRANSCRIPT_TOKENS = 20n * UTTERANCE_SECONDS;
/** These are billed by the token; what else transcribes is billed by the second of sound. */
const BY_TOKENS = /^gpt-4o-/;

/** What was said, written down by a model of its own. */
export class TranscriptTurn implements Turn {
  readonly ahead = true;
  readonly beside = true;
  readonly model: string;
  #usage: Usage | null = null;
  #isOver = false;

  constructor(model: string) {
    this.model = model;
  }

  get asked(): Asked {
    const asked = { ...NOTHING_ASKED, model: this.model, metering: 'usage', stream: true } as const;
    if (!BY_TOKENS.test(this.model)) return { ...asked, bounds: { audio_seconds: UTTERANCE_SECONDS } };
    return { ...asked, inputTokensMax: UTTERANCE_TOKENS, outputTokensMax: TRANSCRIPT_TOKENS, answers: 1n };
  }

  covers(): boolean {
    return true;
  }

  end(usage: unknown): void {
    this.#usage = parseUsage(usage) ?? null;
    this.#isOver = true;
  }

  read(): Reading {
    return {
      usage: this.#usage,
      complete: this.#isOver,
      failed: false,
      model: this.model,
      serviceTier: null,
      outputTokensGuess: 0n,
    };
  }
}
