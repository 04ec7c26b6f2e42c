import type { Counts } from '#core/quantity.ts';
import { encodeUtf8, parseBytes } from './bytes.ts';
import { pathsOf } from './json-path-tree.ts';
import { parseName } from './json-request.ts';
import { parseUsage } from './openai-usage.ts';
import type { AnswerReader, Place, Seen } from './paths-meter.ts';
import type { ShownText } from './shown.ts';
import { guessTokens, type Reading, type Usage } from './wire.ts';

/** What is watched in a response; in a stream it stands below `response` of the terminal event, and items come one by one. */
const MEMBERS = [
  'usage',
  'model',
  'service_tier',
  'error',
  'status',
  'output[].type',
  'output[].action.type',
  'output[].container_id',
  'id',
];
const [USAGE, MODEL, TIER, ERROR, STATUS, ITEM_TYPE, ACTION, CONTAINER, ID] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
/** Of events alone. */
const EVENT = ['type', 'sequence_number', 'error', 'item.type', 'item.action.type', 'item.container_id'];
const [EVENT_TYPE, SEQUENCE, EVENT_ERROR, EVENT_ITEM_TYPE, EVENT_ACTION, EVENT_CONTAINER] = [0, 1, 2, 3, 4, 5].map(
  (place) => place + MEMBERS.length,
);

const JSON_PATHS = pathsOf(MEMBERS, ['output[].content[].text', 'output[].arguments']);
const SSE_PATHS = pathsOf([...MEMBERS.map((member) => `response.${member}`), ...EVENT], ['delta']);

const TERMINAL: ReadonlySet<unknown> = new Set(['response.completed', 'response.incomplete', 'response.failed']);
const OVER: ReadonlySet<unknown> = new Set(['completed', 'incomplete', 'failed', 'cancelled']);
const ITEM_DONE = 'response.output_item.done';

/** More containers than any response uses; beyond it none is told apart. */
const CONTAINERS_MAX = 100;

/** Tools that have been used, as their items tell. Of web searches only the action `search` is billed (recorded). */
class ToolUses {
  webSearches = 0n;
  fileSearches = 0n;
  images = 0n;
  readonly #containers = new Set<string>();

  type(type: unknown): void {
    if (type === 'file_search_call') this.fileSearches++;
    else if (type === 'image_generation_call') this.images++;
  }

  action(type: unknown): void {
    if (type === 'search') this.webSearches++;
  }

  container(id: unknown): void {
    if (typeof id === 'string' && this.#containers.size < CONTAINERS_MAX) this.#containers.add(id);
  }

  get counts(): Counts {
    return {
      web_searches: this.webSearches,
      file_searches: this.fileSearches,
      images: this.images,
      code_interpreter_sessions: BigInt(this.#containers.size),
    };
  }

  get any(): boolean {
    return this.webSearches + this.fileSearches + this.images > 0n || this.#containers.size > 0;
  }
}

/**
 * A response, whole or streamed. The terminal event holds all items once more; those that came one by one count where a
 * stream broke off before it.
 */
export class ResponseReader implements AnswerReader {
  readonly paths;
  shown?: ShownText;
  readonly #asked: { readonly model: string };
  readonly #stream: boolean;
  #usage: Usage | undefined;
  #model: string | null = null;
  #tier: string | null = null;
  #failed = false;
  #over = false;
  #id: string | null = null;
  #event: unknown;
  #sequence = 0;
  #whole = new ToolUses();
  readonly #single = new ToolUses();

  constructor(asked: { readonly model: string }, stream: boolean) {
    this.paths = stream ? SSE_PATHS : JSON_PATHS;
    this.#asked = asked;
    this.#stream = stream;
  }

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    const value = parseBytes(bytes, start, end);
    if (value === null || value === undefined) return;
    switch (kept) {
      case USAGE:
        this.#usage = parseUsage(value) ?? this.#usage;
        break;
      case MODEL:
        this.#model = parseName(value) ?? this.#model;
        break;
      case TIER:
        this.#tier = parseName(value) ?? this.#tier;
        break;
      case STATUS:
        if (OVER.has(value)) this.#over = true;
        break;
      case ID:
        this.#id ??= parseName(value);
        break;
      case ERROR:
      case EVENT_ERROR:
        this.#failed = true;
        break;
      case ITEM_TYPE:
        this.#whole.type(value);
        break;
      case ACTION:
        this.#whole.action(value);
        break;
      case CONTAINER:
        this.#whole.container(value);
        break;
      case EVENT_TYPE:
        this.#event = value;
        if (value === 'error') this.#failed = true;
        // Every event about the response as a whole repeats its items.
        if (TERMINAL.has(value)) this.#whole = new ToolUses();
        break;
      case SEQUENCE:
        if (typeof value === 'number') this.#sequence = value;
        break;
      default:
        if (kept === EVENT_ITEM_TYPE && this.shown) seeItem(this.shown, value);
        if (this.#event === ITEM_DONE) this.#keepItem(kept, value);
    }
  }

  #keepItem(kept: number, value: unknown): void {
    if (kept === EVENT_ITEM_TYPE) this.#single.type(value);
    else if (kept === EVENT_ACTION) this.#single.action(value);
    else if (kept === EVENT_CONTAINER) this.#single.container(value);
  }

  read({ whole, textBytes }: Seen): Reading {
    const tools = this.#whole.any ? this.#whole : this.#single;
    const usage = this.#usage;
    return {
      usage: usage ? { ...usage, counts: tools.any ? { ...usage.counts, ...tools.counts } : usage.counts } : null,
      complete: this.#stream ? TERMINAL.has(this.#event) || this.#over : whole,
      failed: this.#failed,
      model: this.#model ?? this.#asked.model,
      serviceTier: this.#tier,
      made: this.#id === null ? null : { id: this.#id, over: this.#over || TERMINAL.has(this.#event) },
      outputTokensGuess: guessTokens(textBytes),
    };
  }

  breakOff(message: string, code: string, place: Place): Uint8Array | undefined {
    if (place.kind !== 'sse') return undefined;
    const event = { type: 'error', code, message, param: null, sequence_number: this.#sequence + 1 };
    return encodeUtf8(`event: error\ndata: ${JSON.stringify(event)}\n\n`);
  }
}

/** What is no message has tokens around it that no delta shows. */
function seeItem(shown: ShownText, type: unknown): void {
  if (type === 'message') return;
  shown.blocks++;
  shown.forget();
}
