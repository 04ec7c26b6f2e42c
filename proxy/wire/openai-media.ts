import { isObject } from './bytes.ts';

/**
 * What the media in chat messages can cost in tokens. Base64 in the body is no text: it is taken out of the byte bound
 * and replaced by the most that such a thing can be billed for.
 */
export interface MediaBounds {
  /** Bytes of the body that are media. */
  bytes: number;
  tokensMax: bigint;
  /** As such things are on the average, for usage that nobody reports. */
  tokensGuess: bigint;
  /** A file is referred to, or has pages that nobody has counted: only the context bounds it. */
  elsewhere: boolean;
  /** Files that it names, by their ids. */
  files?: string[];
}

/**
 * The most tokens that one image can be billed for, by family (OpenAI's tile and patch rules at their maximum: 8 tiles,
 * or 10,000 patches for the newest models). A family that is not listed gets the dearest.
 */
const IMAGE_TOKENS_MAX: readonly (readonly [prefix: string, tokens: bigint])[] = [
  ['gpt-4o-mini', 48_169n],
  ['gpt-4o', 1_445n],
  ['gpt-4.1-mini', 2_489n],
  ['gpt-4.1-nano', 3_779n],
  ['gpt-4.1', 1_445n],
  ['gpt-4-turbo', 1_445n],
];
const IMAGE_TOKENS_MAX_UNKNOWN = 48_169n;
/** A picture of a megapixel. */
const IMAGE_TOKENS_GUESS = 1_000n;

/** Sound whose length nobody knows: the lowest bit rate in use gives the longest duration, at ten tokens a second. */
const AUDIO_BITS_PER_SECOND_MIN = 6_000;
const AUDIO_BITS_PER_SECOND_GUESS = 64_000;
const AUDIO_TOKENS_PER_SECOND = 10;

/** Of the messages of a chat, or the input items of a response. */
export function mediaBounds(messages: unknown, model: string): MediaBounds {
  const bounds: MediaBounds = { bytes: 0, tokensMax: 0n, tokensGuess: 0n, elsewhere: false };
  if (!Array.isArray(messages)) return bounds;
  for (const message of messages) {
    if (!isObject(message)) continue;
    // An earlier answer in sound, which the server has kept; an earlier item of a response likewise.
    if (isObject(message.audio) || message.type === 'item_reference') bounds.elsewhere = true;
    // What a tool gave may hold media as what a person says does.
    for (const parts of [message.content, message.output]) {
      if (Array.isArray(parts)) for (const part of parts) if (isObject(part)) addPart(bounds, part, model);
    }
    if (isObject(message.output)) addPart(bounds, message.output, model);
  }
  return bounds;
}

function addPart(bounds: MediaBounds, part: Readonly<Record<string, unknown>>, model: string): void {
  for (const named of [part.file_id, isObject(part.file) ? part.file.file_id : undefined]) {
    if (typeof named === 'string' && named !== '') bounds.files = [...(bounds.files ?? []), named];
  }
  if (part.image_url !== undefined || part.type === 'input_image') {
    const max = imageTokensMax(model);
    bounds.tokensMax += max;
    bounds.tokensGuess += max < IMAGE_TOKENS_GUESS ? max : IMAGE_TOKENS_GUESS;
    const url = isObject(part.image_url) ? part.image_url.url : part.image_url;
    if (typeof url === 'string' && url.startsWith('data:')) bounds.bytes += url.length;
  }
  if (isObject(part.input_audio) && typeof part.input_audio.data === 'string') {
    const { length } = part.input_audio.data;
    bounds.bytes += length;
    bounds.tokensMax += audioTokens(length, AUDIO_BITS_PER_SECOND_MIN);
    bounds.tokensGuess += audioTokens(length, AUDIO_BITS_PER_SECOND_GUESS);
  }
  if (isObject(part.file)) {
    bounds.elsewhere = true;
    if (typeof part.file.file_data === 'string') bounds.bytes += part.file.file_data.length;
  }
  if (part.type === 'input_file') {
    bounds.elsewhere = true;
    if (typeof part.file_data === 'string') bounds.bytes += part.file_data.length;
  }
  if (part.video_url !== undefined) bounds.elsewhere = true;
}

/** Files that something small names, wherever in it: a mask, a picture to begin with, the variables of a prompt. */
export function filesIn(value: unknown): string[] {
  const files: string[] = [];
  const left: unknown[] = [value];
  while (left.length > 0) {
    const one = left.pop();
    if (Array.isArray(one)) for (const inner of one) left.push(inner);
    if (!isObject(one)) continue;
    for (const name in one) {
      const inner = one[name];
      if (name === 'file_id') addId(files, inner);
      else if (name === 'file_ids' && Array.isArray(inner)) for (const id of inner) addId(files, id);
      else if (typeof inner === 'object') left.push(inner);
    }
  }
  return files;
}

function addId(files: string[], id: unknown): void {
  if (typeof id === 'string' && id !== '') files.push(id);
}

function imageTokensMax(model: string): bigint {
  for (const [prefix, tokens] of IMAGE_TOKENS_MAX) if (model.startsWith(prefix)) return tokens;
  return IMAGE_TOKENS_MAX_UNKNOWN;
}

/** Four characters of base64 are three bytes. */
function audioTokens(base64Chars: number, bitsPerSecond: number): bigint {
  return BigInt(Math.ceil((base64Chars * 3 * 2) / bitsPerSecond) * AUDIO_TOKENS_PER_SECOND);
}
