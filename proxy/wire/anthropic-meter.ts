import { anthropicErrorEvent } from './anthropic-dialect.ts';
import { parseAnthropicUsage, servedByFallback, sumOf, type UsageContext } from './anthropic-usage.ts';
import { decodeUtf8, encodeUtf8, isEqualRange, isObject, parseJson } from './bytes.ts';
import { pathsOf } from './json-path-tree.ts';
import { parseName } from './json-request.ts';
import type { AnswerReader, Place, Seen } from './paths-meter.ts';
import type { ShownText } from './shown.ts';
import { guessTokens, type Reading, type Usage } from './wire.ts';

/** Events of a stream, and the members of one answer: no name has two meanings. */
const KEPT = [
  'type',
  'message',
  'usage',
  'id',
  'model',
  'stop_reason',
  'delta.stop_reason',
  'error',
  'content_block.type',
  'content[].type',
];
const [TYPE, MESSAGE, USAGE, ID, MODEL, STOP_REASON, DELTA_STOP_REASON, ERROR, BLOCK, CONTENT] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
];
const PATHS = pathsOf(
  KEPT,
  ['delta.text', 'delta.thinking', 'content[].text', 'content[].thinking'],
  ['delta.partial_json', 'content[].input'],
);
const TEXT = encodeUtf8('"text"');
const MESSAGE_STOP = encodeUtf8('"message_stop"');
const N = 0x6e;

type Fields = Readonly<Record<string, unknown>>;

/**
 * An answer of Messages, whole or streamed. The usage of a stream is cumulative and in two places: the first event states
 * it as far as it is known, a later one states it anew and may leave out what has not changed. Some servers send the
 * first event twice, or splice one answer behind another: an answer is known by its id.
 */
export class AnthropicReader implements AnswerReader {
  readonly paths = PATHS;
  shown?: ShownText;
  readonly #hourWrites: boolean;
  /** Usage by the answer's id, in their order. */
  readonly #usages = new Map<string, Fields>();
  #id = '';
  #model: string | null = null;
  #stopReason: string | null = null;
  #stopped = false;
  #settled = false;
  #failed = false;
  #hasContent = false;

  constructor(hourWrites: boolean) {
    this.#hourWrites = hourWrites;
  }

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    // A member that is null says nothing.
    if (bytes[start] === N) return;
    switch (kept) {
      case TYPE:
        // Every event has one: it is compared where it stands.
        this.#stopped ||= isEqualRange(bytes, start, end, MESSAGE_STOP);
        break;
      case MESSAGE:
        this.#begin(parse(bytes, start, end));
        break;
      case USAGE:
        this.#settled = true;
        this.#use(parse(bytes, start, end));
        break;
      case ID:
        this.#id = parseName(parse(bytes, start, end)) ?? '';
        break;
      case MODEL:
        this.#model = parseName(parse(bytes, start, end)) ?? this.#model;
        break;
      case STOP_REASON:
      case DELTA_STOP_REASON:
        this.#stopReason = parseName(parse(bytes, start, end));
        break;
      case ERROR:
        this.#failed = true;
        break;
      case BLOCK:
        if (this.shown && !isEqualRange(bytes, start, end, TEXT)) this.shown.blocks++;
        this.#hasContent = true;
        break;
      case CONTENT:
        this.#hasContent = true;
    }
  }

  /** `message_start`. */
  #begin(message: unknown): void {
    if (!isObject(message)) return;
    const id = parseName(message.id) ?? '';
    if (id !== this.#id) this.#settled = false;
    this.#id = id;
    this.#model = parseName(message.model) ?? this.#model;
    this.#use(message.usage);
  }

  /** What is stated anew takes the place of what was known; what is null or left out stays. */
  #use(usage: unknown): void {
    if (!isObject(usage)) return;
    const stated = Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== null));
    this.#usages.set(this.#id, { ...this.#usages.get(this.#id), ...stated });
  }

  read({ whole, textBytes }: Seen): Reading {
    const complete = this.#stopped || this.#stopReason !== null || (whole && this.#settled);
    const last = [...this.#usages.values()].at(-1);
    const outputTokensGuess = guessTokens(textBytes);
    return {
      usage: this.#usage(complete, outputTokensGuess),
      complete,
      failed: this.#failed,
      model: servedByFallback(last) ?? this.#model,
      serviceTier: tierOf(last),
      region: regionOf(last),
      outputTokensGuess,
    };
  }

  #usage(complete: boolean, outputTokensGuess: bigint): Usage | null {
    const context: UsageContext = {
      hourWrites: this.#hourWrites,
      unbilled: this.#stopReason === 'refusal' && !this.#hasContent,
    };
    const raws = [...this.#usages.values()];
    const usages = raws.flatMap((raw) => parseAnthropicUsage(raw, context) ?? []);
    const [first, ...spliced] = usages;
    if (!first) return null;
    const usage = spliced.length === 0 ? first : joined(usages, raws);
    if (complete || this.#settled) return usage;
    // The first event cannot know what comes after it.
    const stated = usage.counts.output_tokens ?? 0n;
    const counts = { ...usage.counts, output_tokens: outputTokensGuess > stated ? outputTokensGuess : stated };
    return { counts, raw: usage.raw, estimated: true };
  }

  breakOff(message: string, code: string, place: Place): Uint8Array | undefined {
    return place.kind === 'sse' ? anthropicErrorEvent(message, code) : undefined;
  }
}

/** One call whose answers are several: their usage together. */
function joined(usages: readonly Usage[], raw: readonly Fields[]): Usage {
  const parts = usages
    .flatMap((usage) => usage.parts ?? [{ model: null, counts: usage.counts }])
    .map(({ model, counts }, i) => ({ model, counts: i === 0 ? counts : { ...counts, calls: 0n } }));
  const counts = sumOf(parts);
  return parts.every(({ model }) => model === null) ? { counts, raw } : { counts, raw, parts };
}

/** In the words of the price book. */
function tierOf(usage: Fields | undefined): string | null {
  if (usage?.speed === 'fast') return 'fast';
  const tier = parseName(usage?.service_tier);
  return tier === 'standard' ? 'default' : tier;
}

/** Where inference ran, where that has a price of its own. */
function regionOf(usage: Fields | undefined): string | null {
  const geo = parseName(usage?.inference_geo);
  return geo === 'global' || geo === 'not_available' ? null : geo;
}

function parse(bytes: Uint8Array, start: number, end: number): unknown {
  return parseJson(decodeUtf8(bytes.subarray(start, end)))?.value;
}
