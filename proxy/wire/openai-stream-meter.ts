import { decodeUtf8, EMPTY, encodeUtf8, find, isObject, needle, parseJson } from './bytes.ts';
import { parseName } from './json-request.ts';
import { cutOf, isNamed, type Member, membersOf, valueText } from './json-span.ts';
import { errorEvent } from './openai-dialect.ts';
import { readText, type StreamText } from './openai-stream-text.ts';
import { parseUsage } from './openai-usage.ts';
import { ShownText, shownOf } from './shown.ts';
import { dataOf, EVENT_BYTES_MAX, eventEnds, SseSplitter, type SseVisitor } from './sse.ts';
import { guessTokens, type Meter, type Reading, type Usage } from './wire.ts';

const USAGE = needle('"usage"');
const ERROR = needle('"error"');
const NULL = needle('null');
/** `: null` with a blank or two. Farther away it is somebody else's. */
const NULL_WITHIN_BYTES = 7;
const DELTA = needle('"delta"');
const DONE = needle('[DONE]');

const NAMES = {
  error: encodeUtf8('error'),
  model: encodeUtf8('model'),
  serviceTier: encodeUtf8('service_tier'),
  usage: encodeUtf8('usage'),
  choices: encodeUtf8('choices'),
  groq: encodeUtf8('x_groq'),
};

/**
 * A chat stream. Usage is cumulative: the last object that is not null counts, wherever it stands. With `hideUsage` the
 * client gets byte for byte what it would have got had usage not been asked for: without the chunk that has usage and no
 * choices, and without the `"usage":null` of the others.
 */
export function streamMeter(hideUsage: boolean, inParts = false, behind = DELTA, words = errorEvent): Meter {
  const splitter = new SseSplitter();
  let usage: Usage | null = null;
  let model: string | null = null;
  let serviceTier: string | null = null;
  let done = false;
  /** The last usage came with an end: others state theirs all along, as far as it has come (vLLM, Perplexity). */
  let settled = false;
  let failed = false;
  const text: StreamText = { bytes: 0, shown: inParts ? new ShownText() : null };
  let dropped = false;
  // What the client gets of the chunk at hand; only with hideUsage. Null as long as that is the chunk as it came, which
  // it mostly is: up to here.
  let kept: Uint8Array | null = EMPTY;
  let keptLength = 0;
  let at: Uint8Array = EMPTY;

  /** Reads one event and says which of its bytes are hidden: none, all, or a range. */
  function readEvent(bytes: Uint8Array, start: number, end: number): Hidden {
    readText(text, behind, bytes, start, end);
    if (!done && isDone(bytes, start, end)) done = true;
    const hasUsage = mentionsUsage(bytes, start, end, hideUsage);
    if (!hasUsage && model !== null && find(bytes, ERROR, start, end) < 0) return NOTHING;
    const data = dataOf(bytes, start, end);
    const members = data && membersOf(data);
    return data && members ? readMembers(data, members, hasUsage) : NOTHING;
  }

  function readMembers(data: Uint8Array, members: readonly Member[], hasUsage: boolean): Hidden {
    const valueNamed = (name: Uint8Array): unknown => {
      const member = members.find((candidate) => isNamed(data, candidate, name));
      return member && parseJson(valueText(data, member))?.value;
    };
    if (isTruthy(valueNamed(NAMES.error))) failed = true;
    model ??= parseName(valueNamed(NAMES.model));
    serviceTier ??= parseName(valueNamed(NAMES.serviceTier));
    if (!hasUsage) return NOTHING;
    const at = members.findIndex((member) => isNamed(data, member, NAMES.usage));
    // Groq states it in a member of its own too, and there alone where nobody asked for it.
    const value = at < 0 ? usageWithin(valueNamed(NAMES.groq)) : valueNamed(NAMES.usage);
    if (at >= 0 && value === null) return cutOf(data, members, at);
    const found = parseUsage(value);
    if (!found) return NOTHING;
    usage = found;
    const choices = valueNamed(NAMES.choices);
    settled = isEndOf(choices);
    // What comes with the usage says best what is paid for.
    model = parseName(valueNamed(NAMES.model)) ?? model;
    serviceTier = parseName(valueNamed(NAMES.serviceTier)) ?? serviceTier;
    return isEmptyList(choices) ? ALL : NOTHING;
  }

  const passing: SseVisitor = (kind, bytes, start, end) => {
    if (kind === 'event') readEvent(bytes, start, end);
  };

  const hiding: SseVisitor = (kind, bytes, start, end) => {
    if (kind === 'rest') {
      if (!dropped) keep(bytes, start, end);
      return;
    }
    const hidden = kind === 'event' ? readEvent(bytes, start, end) : NOTHING;
    dropped = hidden === ALL;
    if (dropped) return;
    keep(bytes, start, start + hidden.start);
    keep(bytes, start + hidden.end, end);
  };

  function keep(bytes: Uint8Array, start: number, end: number): void {
    if (kept === null) {
      if (bytes === at && start === keptLength) {
        keptLength = end;
        return;
      }
      kept = new Uint8Array(at.length);
      kept.set(at.subarray(0, keptLength));
    }
    kept.set(bytes.subarray(start, end), keptLength);
    keptLength += end - start;
  }

  function hide(chunk: Uint8Array): Uint8Array {
    keptLength = 0;
    at = chunk;
    kept =
      splitter.between && chunk.length < EVENT_BYTES_MAX ? null : new Uint8Array(splitter.rest().length + chunk.length);
    splitter.push(chunk, hiding);
    if (kept !== null) return kept.subarray(0, keptLength);
    return keptLength === chunk.length ? chunk : chunk.subarray(0, keptLength);
  }

  return {
    edits: hideUsage,

    push(chunk) {
      if (hideUsage) return hide(chunk);
      splitter.push(chunk, passing);
      return chunk;
    },

    /** A last event without its blank line counts too: some servers do not send it. */
    end() {
      const rest = splitter.rest();
      if (rest.length === 0) return EMPTY;
      if (!hideUsage) {
        passing('event', rest, 0, rest.length);
        return EMPTY;
      }
      keptLength = 0;
      kept = new Uint8Array(rest.length);
      hiding('event', rest, 0, rest.length);
      return kept.subarray(0, keptLength);
    },

    read(): Reading {
      return {
        usage,
        complete: done || settled,
        failed,
        model,
        serviceTier,
        outputTokensGuess: guessTokens(text.bytes),
      };
    },

    breakOff(message, code) {
      // While hiding, what the client has always ends with an event: the unfinished one was held back.
      return hideUsage || splitter.between ? words(message, code) : undefined;
    },

    shown: text.shown ? shownOf(text.shown, eventEnds) : undefined,
  };
}

/** A range of an event, relative to its start. */
interface Hidden {
  readonly start: number;
  readonly end: number;
}
const NOTHING: Hidden = { start: 0, end: 0 };
const ALL: Hidden = { start: 0, end: Number.POSITIVE_INFINITY };

/** The usage chunk proper has no choices. So has Azure's first chunk, but that has no usage. */
function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** Nothing comes after a chunk that has no choices, or one that says why it stopped. */
function isEndOf(choices: unknown): boolean {
  if (!Array.isArray(choices) || choices.length === 0) return true;
  return choices.some((choice) => isObject(choice) && (choice.finish_reason ?? null) !== null);
}

function usageWithin(value: unknown): unknown {
  return isObject(value) ? value.usage : undefined;
}

function isTruthy(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false && value !== '' && value !== 0;
}

/** Whether there is a usage to read; one that is null is of interest only to those who hide it. */
function mentionsUsage(bytes: Uint8Array, start: number, end: number, nullToo: boolean): boolean {
  let at = find(bytes, USAGE, start, end);
  while (at >= 0) {
    const after = at + USAGE.bytes.length;
    if (nullToo || find(bytes, NULL, after, Math.min(end, after + NULL_WITHIN_BYTES)) < 0) return true;
    at = find(bytes, USAGE, after, end);
  }
  return false;
}

function isDone(bytes: Uint8Array, start: number, end: number): boolean {
  const at = find(bytes, DONE, start, Math.min(end, start + 32));
  return at >= 0 && decodeUtf8(bytes.subarray(start, at)).trimEnd().endsWith('data:');
}
