import { isObject } from './bytes.ts';
import type { MediaBounds } from './openai-media.ts';

/**
 * Sound in, as base64: OpenAI counts a token per tenth of a second. The leanest format has 8,000 bytes a second, the
 * usual one 48,000.
 */
const SOUND_CHARS_PER_TOKEN_MIN = 1_000;
const SOUND_CHARS_PER_TOKEN_GUESS = 6_400;

const TEXT_BYTES_PER_TOKEN = 4;

/**
 * What is known of a session: how it answers, and how much has been said in it. A response is billed for all of that;
 * nothing that was said is forgotten here, though the provider may.
 */
export class RealtimeSession {
  /** It begins responses by itself, when it hears that somebody has stopped talking. */
  answersByItself = true;
  /** The model that writes down what is said; null for none. */
  transcriber: string | null = null;
  /** Per response; null for what the model can. */
  outputTokensMax: bigint | null = null;
  /** It reads what no message shows: stored prompts, lists of tools. */
  elsewhere = false;
  model: string | null = null;
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

  /** What the client wants it to be. Until the upstream says so, what holds most is taken to hold. */
  propose(session: unknown): void {
    const before = { answers: this.answersByItself, transcriber: this.transcriber, max: this.outputTokensMax };
    this.settle(session);
    this.answersByItself ||= before.answers;
    this.transcriber ??= before.transcriber;
    if (before.max === null || (this.outputTokensMax !== null && this.outputTokensMax < before.max)) {
      this.outputTokensMax = before.max;
    }
  }

  /** As the upstream says that it is; what is absent stays. */
  settle(session: unknown): void {
    if (!isObject(session)) return;
    const input = isObject(session.audio) && isObject(session.audio.input) ? session.audio.input : {};
    // The names of the beta stand at the root.
    const detection = 'turn_detection' in input ? input.turn_detection : session.turn_detection;
    if (session.type === 'transcription') this.answersByItself = false;
    else if (detection !== undefined) this.answersByItself = isObject(detection) && detection.create_response !== false;
    const transcription = 'transcription' in input ? input.transcription : session.input_audio_transcription;
    if (transcription !== undefined) this.transcriber = isObject(transcription) ? textOf(transcription.model) : null;
    const max = session.max_output_tokens ?? session.max_response_output_tokens;
    if (max !== undefined) this.outputTokensMax = countOf(max);
    if (session.prompt !== undefined && session.prompt !== null) this.elsewhere = true;
    if (Array.isArray(session.tools) && session.tools.some((tool) => isObject(tool) && tool.type === 'mcp')) {
      this.elsewhere = true;
    }
    this.model = textOf(session.model) ?? this.model;
  }
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

/** Null for `inf`. */
export function countOf(value: unknown): bigint | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? BigInt(value) : null;
}
