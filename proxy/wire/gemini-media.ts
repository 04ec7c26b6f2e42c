import type { Unit } from '#core/quantity.ts';
import { isObject } from './bytes.ts';
import { listMember, member } from './gemini-request.ts';
import type { Fields } from './json-request.ts';

/**
 * What the media in contents can cost in tokens. Base64 in the body is no text: it is taken out of the byte bound and
 * replaced by the most that such a thing can be billed for.
 */
export interface GeminiMedia {
  /** Bytes of the body that are media. */
  bytes: number;
  tokensMax: bigint;
  /** As such things are on the average, for usage that nobody reports. */
  tokensGuess: bigint;
  /** Files, pages and films, whose size the body does not tell: only the context bounds them. */
  elsewhere: boolean;
  /** Files that it names. */
  files?: string[];
}

/** What text alone can come to be billed in: sound and images have dearer prices, which need not be held then. */
const TEXT_UNITS: readonly Unit[] = ['input_tokens', 'cache_read_tokens'];

/** Null for any. */
export function inputUnitsOf({ bytes, elsewhere }: GeminiMedia): readonly Unit[] | null {
  return bytes === 0 && !elsewhere ? TEXT_UNITS : null;
}

/** From the third generation on an image has a budget by its resolution; before it, tiles of 258 that a long one has many of. */
const IMAGE_TOKENS_MAX = 2_240n;
const IMAGE_TOKENS_MAX_OLD = 7_740n;
const IMAGE_TOKENS_GUESS = 1_120n;
const OLD = /^gemini-[12]\b/;

/** Sound whose length nobody knows: the lowest bit rate in use gives the longest duration. */
const AUDIO_BITS_PER_SECOND_MIN = 6_000;
const AUDIO_BITS_PER_SECOND_GUESS = 64_000;
const AUDIO_TOKENS_PER_SECOND = 32;

export function mediaOf(contents: readonly Fields[], model: string): GeminiMedia {
  const media: GeminiMedia = { bytes: 0, tokensMax: 0n, tokensGuess: 0n, elsewhere: false };
  for (const content of contents) {
    for (const part of listMember(content, 'parts')) addPart(media, part, model);
    // A content may be a part by itself.
    addPart(media, content, model);
  }
  return media;
}

function addPart(media: GeminiMedia, part: Fields, model: string): void {
  const file = member(part, 'fileData');
  if (isObject(file)) addFile(media, member(file, 'fileUri'));
  const inline = member(part, 'inlineData');
  if (isObject(inline)) addInline(media, inline.data, member(inline, 'mimeType'), model);
  // What a function gave back may hold media too.
  const given = member(part, 'functionResponse');
  if (isObject(given)) for (const inner of listMember(given, 'parts')) addPart(media, inner, model);
}

/** Base64 of this type. */
export function addInline(media: GeminiMedia, data: unknown, type: unknown, model: string): void {
  if (typeof data !== 'string') return;
  media.bytes += data.length;
  const kind = typeof type === 'string' ? type.toLowerCase() : '';
  if (kind.startsWith('image/')) {
    media.tokensMax += OLD.test(model) ? IMAGE_TOKENS_MAX_OLD : IMAGE_TOKENS_MAX;
    media.tokensGuess += IMAGE_TOKENS_GUESS;
  } else if (kind.startsWith('audio/')) {
    media.tokensMax += audioTokens(data.length, AUDIO_BITS_PER_SECOND_MIN);
    media.tokensGuess += audioTokens(data.length, AUDIO_BITS_PER_SECOND_GUESS);
  } else if (kind.startsWith('text/')) {
    // Four characters of base64 are three bytes of text.
    media.tokensMax += BigInt(data.length);
    media.tokensGuess += BigInt(Math.ceil((data.length * 3) / 16));
  } else media.elsewhere = true;
}

/**
 * `https://generativelanguage.googleapis.com/v1beta/files/abc`, or what a lenient reader takes for it: `files/abc`, with
 * a query, escaped, in capitals. Addresses of others name no file that somebody has.
 */
const FILE_URI = /(?:^|[/:])files[/:]+([^/?#:]+)/i;

/** The id in the address of a file, in a list; undefined where it is none. */
export function fileIn(uri: unknown): [string] | undefined {
  const id = typeof uri === 'string' ? FILE_URI.exec(unescaped(uri))?.[1] : undefined;
  return id === undefined ? undefined : [id.trim().toLowerCase()];
}

/** By its address. */
export function addFile(media: GeminiMedia, uri: unknown): void {
  media.elsewhere = true;
  const file = fileIn(uri);
  if (file) media.files = [...(media.files ?? []), ...file];
}

/** Google's ids are letters, digits and dashes: of escapes only those of ASCII matter. */
function unescaped(uri: string): string {
  return uri.replace(/%([0-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Four characters of base64 are three bytes. */
function audioTokens(base64Chars: number, bitsPerSecond: number): bigint {
  return BigInt(Math.ceil((base64Chars * 6) / bitsPerSecond) * AUDIO_TOKENS_PER_SECOND);
}
