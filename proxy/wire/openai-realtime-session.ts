import { isObject } from './bytes.ts';
import type { MediaBounds } from './openai-media.ts';

/**
 * Sound in, as base64: OpenAI counts a token per tenth of a second. The leanest format has 8,000 bytes a second, the
 * usual one 48,000.
 */
const SOUND_CHARS_PER_TOKEN_MIN = 1_000;
const SOUND_CHARS_PER_TOKEN_GUESS = 6_400;

const TEXT_BYTES_PER_TOKEN = 4;

/** What decides how a session answers; undefined for what is left as it was. */
interface SessionFacts {
  readonly answersByItself?: boolean | undefined;
  readonly transcriber?: string | null | undefined;
  readonly outputTokensMax?: bigint | null | undefined;
}

interface Proposed extends SessionFacts {
  /** Of the message that proposes it: errors name it. */
  readonly eventId: unknown;
}

/**
 * What is known of a session: how it answers, and how much has been said in it. A response is billed for all of that;
 * nothing that was said is forgotten here, though the provider may.
 */
export class RealtimeSession {
  /** It reads what no message shows: stored prompts, lists of tools. */
  elsewhere = false;
  /** The one that answers, as the upstream names it: nothing that a client says is taken for it. */
  model: string | null = null;
  /** As the upstream has last said that it is. Until it has, what holds most. */
  #now: Required<SessionFacts> = { answersByItself: true, transcriber: null, outputTokensMax: null };
  /** What the client wants it to be, as long as the upstream has not answered, in its order. */
  readonly #proposed: Proposed[] = [];
  #textBytes = 0;
  #soundChars = 0;
  #mediaMax = 0n;
  #mediaGuess = 0n;
  #answered = 0n;

  read(bytes: number): void {
    this.#textBytes += bytes;
  }

  hear(base64Chars: number): void {
    this.#soundChars += base64Chars;
  }

  see({ tokensMax, tokensGuess, elsewhere }: MediaBounds): void {
    this.#mediaMax += tokensMax;
    this.#mediaGuess += tokensGuess;
    if (elsewhere) this.elsewhere = true;
  }

  /** An answer is part of the conversation after it. */
  keep(outputTokens: bigint): void {
    this.#answered += outputTokens;
  }

  get inputTokensMax(): bigint {
    const said = this.#textBytes + Math.ceil(this.#soundChars / SOUND_CHARS_PER_TOKEN_MIN);
    return BigInt(said) + this.#mediaMax + this.#answered;
  }

  get inputTokensGuess(): bigint {
    const text = Math.ceil(this.#textBytes / TEXT_BYTES_PER_TOKEN);
    const sound = Math.ceil(this.#soundChars / SOUND_CHARS_PER_TOKEN_GUESS);
    return BigInt(text + sound) + this.#mediaGuess + this.#answered;
  }

  /** It begins responses by itself, when it hears that somebody has stopped talking. */
  get answersByItself(): boolean {
    return this.#now.answersByItself === true || this.#proposed.some((one) => one.answersByItself === true);
  }

  /** The model that writes down what is said, for all that the upstream has said; null for none. */
  get transcriber(): string | null {
    return this.#now.transcriber ?? null;
  }

  /** What may write down what is said: that one, else one that it may become. */
  get transcriberAhead(): string | null {
    return this.transcriber ?? this.#proposed.find(({ transcriber }) => transcriber)?.transcriber ?? null;
  }

  /** The most per response that may be in force; null for what the model can. */
  get outputTokensMax(): bigint | null {
    let most = this.#now.outputTokensMax ?? null;
    for (const { outputTokensMax: max } of this.#proposed) {
      if (max !== undefined && most !== null && (max === null || max > most)) most = max;
    }
    return most;
  }

  /** What the client wants it to be: until the upstream answers, what holds most of what may be in force. */
  propose(session: unknown, eventId: unknown): void {
    this.#proposed.push({ ...this.#read(session), eventId });
  }

  /** The upstream refuses to be what the oldest such message proposes. */
  refuse(eventId: unknown): void {
    const at = this.#proposed.findIndex((one) => one.eventId === eventId);
    if (at >= 0) this.#proposed.splice(at, 1);
  }

  /** As the upstream says that it is; what is absent stays. `answers`: it says so because it was proposed. */
  settle(session: unknown, answers: boolean): void {
    if (answers) this.#proposed.shift();
    const { answersByItself, transcriber, outputTokensMax } = this.#read(session);
    this.#now = {
      answersByItself: answersByItself ?? this.#now.answersByItself,
      transcriber: transcriber === undefined ? this.#now.transcriber : transcriber,
      outputTokensMax: outputTokensMax === undefined ? this.#now.outputTokensMax : outputTokensMax,
    };
    this.model = (isObject(session) ? textOf(session.model) : null) ?? this.model;
  }

  #read(session: unknown): SessionFacts {
    if (!isObject(session)) return {};
    const input = isObject(session.audio) && isObject(session.audio.input) ? session.audio.input : {};
    // The names of the beta stand at the root.
    const detection = 'turn_detection' in input ? input.turn_detection : session.turn_detection;
    const transcription = 'transcription' in input ? input.transcription : session.input_audio_transcription;
    if (session.prompt !== undefined && session.prompt !== null) this.elsewhere = true;
    if (Array.isArray(session.tools) && session.tools.some((tool) => isObject(tool) && tool.type === 'mcp')) {
      this.elsewhere = true;
    }
    return {
      answersByItself:
        session.type === 'transcription' ? false : detection === undefined ? undefined : answersTo(detection),
      transcriber:
        transcription === undefined ? undefined : isObject(transcription) ? textOf(transcription.model) : null,
      outputTokensMax: mostOf(session),
    };
  }
}

function answersTo(detection: unknown): boolean {
  return isObject(detection) && detection.create_response !== false;
}

/** Its name now and that of the beta: of two the larger, whichever the upstream reads. Undefined where it says none. */
export function mostOf(fields: Readonly<Record<string, unknown>>): bigint | null | undefined {
  const said = [fields.max_output_tokens, fields.max_response_output_tokens].filter((max) => (max ?? null) !== null);
  if (said.length === 0) return undefined;
  let most: bigint | null = 0n;
  for (const count of said.map(countOf)) if (most !== null && (count === null || count > most)) most = count;
  return most;
}

export function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

/** Null for `inf`. */
function countOf(value: unknown): bigint | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? BigInt(value) : null;
}
