import { isObject } from './bytes.ts';
import type { MediaBounds } from './openai-media.ts';

/** The most tokens of an image at the resolution of the newest models, and of those before them. */
const IMAGE_TOKENS_MAX = 4_784n;
/** A picture of a megapixel. */
const IMAGE_TOKENS_GUESS = 1_400n;
/** A page is an image and its text; so many bytes of a document hold one, in plain business prose. */
const PAGE_TOKENS_GUESS = 3_000n;
const PAGE_BASE64_BYTES_GUESS = 100_000;

/** What images and documents in the messages can cost in tokens. Base64 in the body is no text. */
export function anthropicMedia(messages: unknown): MediaBounds {
  const bounds: MediaBounds = { bytes: 0, tokensMax: 0n, tokensGuess: 0n, elsewhere: false };
  for (const message of Array.isArray(messages) ? messages : []) {
    if (isObject(message)) addContent(bounds, message.content);
  }
  return bounds;
}

/** Blocks hold blocks: the results of tools have images and documents too. */
function addContent(bounds: MediaBounds, content: unknown): void {
  if (!Array.isArray(content)) return;
  for (const block of content) {
    if (!isObject(block)) continue;
    if (block.type === 'image') addImage(bounds, block.source);
    else if (block.type === 'document') addDocument(bounds, block.source);
    // A file that a tool shall read.
    else if (block.type === 'container_upload') {
      bounds.elsewhere = true;
      addFile(bounds, block);
    }
    addContent(bounds, block.content);
  }
}

/** A file that was sent before, by its id. */
function addFile(bounds: MediaBounds, { file_id: id }: Readonly<Record<string, unknown>>): void {
  if (typeof id === 'string' && id !== '') bounds.files = [...(bounds.files ?? []), id];
}

function addImage(bounds: MediaBounds, source: unknown): void {
  bounds.tokensMax += IMAGE_TOKENS_MAX;
  bounds.tokensGuess += IMAGE_TOKENS_GUESS;
  if (!isObject(source)) return;
  addFile(bounds, source);
  if (typeof source.data === 'string') bounds.bytes += source.data.length;
}

/** The pages of a document are not counted here: only the context bounds them. Plain text stands in the body as it is. */
function addDocument(bounds: MediaBounds, source: unknown): void {
  if (!isObject(source) || source.type === 'text') return;
  if (source.type === 'content') {
    addContent(bounds, source.content);
    return;
  }
  bounds.elsewhere = true;
  addFile(bounds, source);
  const bytes = typeof source.data === 'string' ? source.data.length : 0;
  bounds.bytes += bytes;
  bounds.tokensGuess += BigInt(1 + Math.floor(bytes / PAGE_BASE64_BYTES_GUESS)) * PAGE_TOKENS_GUESS;
}
