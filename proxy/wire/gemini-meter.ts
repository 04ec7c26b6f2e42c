import { ByteBuffer, isObject, parseBytes } from './bytes.ts';
import { geminiErrorElement, geminiErrorEvent } from './gemini-dialect.ts';
import { billedQueries, groundingCounts, parseUsageMetadata, tierOf } from './gemini-usage.ts';
import { pathsOf } from './json-path-tree.ts';
import { parseName } from './json-request.ts';
import type { AnswerReader, Place, Seen } from './paths-meter.ts';
import type { ShownText } from './shown.ts';
import { guessTokens, type Reading, type Usage } from './wire.ts';

const KEPT = [
  'usageMetadata',
  'modelVersion',
  'error',
  'candidates[].finishReason',
  'promptFeedback.blockReason',
  'candidates[].groundingMetadata.webSearchQueries[]',
  'candidates[].groundingMetadata.groundingChunks[].maps',
];
const [USAGE, MODEL, ERROR, FINISHED, BLOCKED, QUERY, MAPS] = [0, 1, 2, 3, 4, 5, 6];
const PATHS = pathsOf(
  KEPT,
  ['candidates[].content.parts[].text'],
  ['candidates[].content.parts[].functionCall', 'candidates[].content.parts[].executableCode'],
);

/** More than any answer has; beyond it none is remembered. */
const QUERIES_MAX = 1_000;
const N = 0x6e;

/**
 * An answer of generateContent, whole or streamed. Each part of a stream states the usage so far: the last one counts.
 * It is kept as bytes and read once, at the end.
 */
export class GeminiReader implements AnswerReader {
  readonly paths = PATHS;
  shown?: ShownText;
  readonly #usage = new ByteBuffer();
  readonly #queries = new Set<string>();
  #model: string | null = null;
  #finished = false;
  #failed = false;
  #maps = false;
  readonly #stream: boolean;

  constructor(stream: boolean) {
    this.#stream = stream;
  }

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    // A member that is null says nothing.
    if (bytes[start] === N) return;
    switch (kept) {
      case USAGE:
        this.#usage.clear();
        this.#usage.append(bytes.subarray(start, end));
        if (this.shown) state(this.shown, parseBytes(bytes, start, end));
        break;
      case MODEL:
        this.#model ??= parseName(parseBytes(bytes, start, end));
        break;
      case ERROR:
        this.#failed = true;
        break;
      case QUERY:
        if (this.#queries.size < QUERIES_MAX) this.#queries.add(String(parseBytes(bytes, start, end)));
        break;
      case MAPS:
        this.#maps = true;
        break;
      case FINISHED:
      case BLOCKED:
        this.#finished = true;
    }
  }

  read({ whole, textBytes }: Seen): Reading {
    const raw = this.#usage.length === 0 ? undefined : parseBytes(this.#usage.view(), 0, this.#usage.length);
    return {
      usage: this.#withGrounding(parseUsageMetadata(raw)),
      complete: this.#stream ? this.#finished : whole,
      failed: this.#failed,
      model: this.#model,
      serviceTier: tierOf(raw),
      outputTokensGuess: guessTokens(textBytes),
    };
  }

  #withGrounding(usage: Usage | undefined): Usage | null {
    if (!usage) return null;
    if (this.#queries.size === 0 && !this.#maps) return usage;
    const grounding = groundingCounts(billedQueries(this.#queries));
    return { ...usage, counts: { ...usage.counts, ...grounding, ...(this.#maps && { maps_queries: 1n }) } };
  }

  breakOff(message: string, code: string, place: Place): Uint8Array | undefined {
    if (place.kind === 'sse') return geminiErrorEvent(message, code);
    return place.kind === 'array' ? geminiErrorElement(message, code, place.comma) : undefined;
  }
}

/** Every part of a stream says how much there is so far; one that leaves it out says nothing. */
function state(shown: ShownText, raw: unknown): void {
  if (!isObject(raw) || typeof raw.candidatesTokenCount !== 'number') return;
  const output = parseUsageMetadata(raw)?.counts.output_tokens;
  if (output !== undefined) shown.state(Number(output));
}
