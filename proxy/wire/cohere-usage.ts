import type { Counts } from '#core/quantity.ts';
import { ByteBuffer, encodeUtf8, isEqualRange, isObject, parseBytes } from './bytes.ts';
import { cohereErrorEvent } from './cohere-dialect.ts';
import { pathsOf } from './json-path-tree.ts';
import type { AnswerReader, Place, Seen } from './paths-meter.ts';
import { guessTokens, type Reading, type Usage } from './wire.ts';

/**
 * What Cohere bills stands in `billed_units`; its `tokens` beside it are more, with templates that nobody pays for.
 * Undefined when no unit is stated.
 */
export function parseBilled(raw: unknown): Usage | undefined {
  const units = isObject(raw) && isObject(raw.billed_units) ? raw.billed_units : undefined;
  if (!units) return undefined;
  const imageTokens = count(units.image_tokens);
  const counts: Counts = {
    calls: 1n,
    input_tokens: count(units.input_tokens),
    input_image_tokens: imageTokens,
    // Where images are billed by their tokens, their number is told beside them.
    input_images: imageTokens > 0n ? 0n : count(units.images),
    output_tokens: count(units.output_tokens),
    search_units: count(units.search_units),
    classifications: count(units.classifications),
  };
  return { counts, raw };
}

/** Cohere writes whole numbers as decimals too. */
function count(value: unknown): bigint {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? BigInt(value) : 0n;
}

const PATHS = pathsOf(
  ['usage', 'meta', 'delta.usage', 'type', 'delta.finish_reason', 'delta.error', 'finish_reason'],
  [
    'delta.message.content.text',
    'delta.message.content.thinking',
    'delta.message.tool_plan',
    'message.content[].text',
    'message.content[].thinking',
    'message.tool_plan',
  ],
  ['delta.message.tool_calls.function.arguments', 'message.tool_calls[].function.arguments'],
);
const [USAGE, META, LAST_USAGE, TYPE, LAST_REASON, LAST_ERROR, REASON] = [0, 1, 2, 3, 4, 5, 6];
const MESSAGE_END = encodeUtf8('"message-end"');
const N = 0x6e;

/** An answer of any of Cohere's endpoints: its usage at the top, under `meta`, or in the last event. */
export class CohereReader implements AnswerReader {
  readonly paths = PATHS;
  readonly #usage = new ByteBuffer();
  readonly #stream: boolean;
  #ended = false;
  #failed = false;

  constructor(stream: boolean) {
    this.#stream = stream;
  }

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    if (bytes[start] === N) return;
    switch (kept) {
      case USAGE:
      case META:
      case LAST_USAGE:
        this.#usage.clear();
        this.#usage.append(bytes.subarray(start, end));
        break;
      case TYPE:
        // Every event has one: it is compared where it stands.
        this.#ended ||= isEqualRange(bytes, start, end, MESSAGE_END);
        break;
      case LAST_REASON:
      case REASON:
        this.#failed ||= /^ERROR/.test(String(parseBytes(bytes, start, end)));
        break;
      case LAST_ERROR:
        this.#failed = true;
    }
  }

  read({ whole, textBytes }: Seen): Reading {
    const raw = this.#usage.length === 0 ? undefined : parseBytes(this.#usage.view(), 0, this.#usage.length);
    return {
      usage: parseBilled(raw) ?? null,
      complete: this.#stream ? this.#ended : whole,
      failed: this.#failed,
      model: null,
      serviceTier: null,
      outputTokensGuess: guessTokens(textBytes),
    };
  }

  breakOff(message: string, _code: string, place: Place): Uint8Array | undefined {
    return place.kind === 'sse' ? cohereErrorEvent(message) : undefined;
  }
}
