import type { HeaderMap } from '../inbound/call.ts';
import { type AwsMessage, AwsMessages } from './aws-event-stream.ts';
import { exceptionMessage } from './bedrock-dialect.ts';
import { parseConverseUsage, parseInvocationHeaders, parseInvocationMetrics } from './bedrock-usage.ts';
import { decodeUtf8, EMPTY, encodeUtf8, isObject, parseBytes, parseJson } from './bytes.ts';
import { pathsOf } from './json-path-tree.ts';
import { parseName } from './json-request.ts';
import { type AnswerReader, jsonMeter, type Seen } from './paths-meter.ts';
import { ShownText, shownOf } from './shown.ts';
import { guessTokens, type Meter, type Reading, type Usage } from './wire.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What a kind of stream makes of its events. */
interface EventReader {
  event(type: string, fields: Fields): void;
  read(): Omit<Reading, 'failed'>;
}

/** Watches a stream of messages; one that is an exception says that the answer has failed. */
function eventMeter(reader: EventReader, shown?: ShownText): Meter {
  let failed = false;
  const messages = new AwsMessages(({ headers, payload }: AwsMessage) => {
    if (headers[':message-type'] !== 'event') {
      failed = true;
      return;
    }
    const fields = parseBytes(payload, 0, payload.length);
    if (isObject(fields)) reader.event(headers[':event-type'] ?? '', fields);
  });
  return {
    edits: false,
    push(chunk) {
      messages.push(chunk);
      return chunk;
    },
    end: () => EMPTY,
    read: () => ({ ...reader.read(), failed }),
    breakOff: (message, code) => (messages.between ? exceptionMessage(message, code) : undefined),
    shown: shown && shownOf(shown, (chunk) => messages.endsOf(chunk)),
  };
}

/** ConverseStream: the usage comes last, in an event of its own. */
export function converseStreamMeter(inParts = false): Meter {
  const shown = inParts ? new ShownText() : undefined;
  let usage: Usage | undefined;
  let tier: string | null = null;
  let textBytes = 0;
  return eventMeter(
    {
      event(type, fields) {
        if (type === 'contentBlockDelta') {
          textBytes += textBytesOf(fields.delta);
          if (shown) show(shown, fields.delta);
        } else if (type === 'contentBlockStart' && shown) shown.blocks++;
        if (type !== 'metadata') return;
        usage = parseConverseUsage(fields.usage) ?? usage;
        tier = isObject(fields.serviceTier) ? parseName(fields.serviceTier.type) : tier;
      },
      read: () => ({
        usage: usage ?? null,
        complete: usage !== undefined,
        model: null,
        serviceTier: tier,
        outputTokensGuess: guessTokens(textBytes),
      }),
    },
    shown,
  );
}

/** In the bytes of UTF-8; of anything but text nobody counts the tokens. */
function show(shown: ShownText, delta: unknown): void {
  if (!isObject(delta)) return;
  const { text, ...others } = delta;
  const own = encodeUtf8(typeof text === 'string' ? JSON.stringify(text).slice(1, -1) : '');
  shown.bytes += own.length;
  shown.add(own, 0, own.length, true);
  if (Object.keys(others).length === 0) return;
  shown.bytes += encodeUtf8(JSON.stringify(others)).length;
  shown.forget();
}

/** Text, what a tool is called with, and what was thought: the strings in a delta, one level down where it has one. */
function textBytesOf(delta: unknown): number {
  if (typeof delta === 'string') return delta.length;
  return isObject(delta) ? Object.values(delta).reduce<number>((sum, value) => sum + textBytesOf(value), 0) : 0;
}

const CONVERSE = pathsOf(['usage', 'serviceTier.type'], ['output.message.content[].text']);
const [USAGE, TIER] = [0, 1];

class ConverseReader implements AnswerReader {
  readonly paths = CONVERSE;
  #usage: Usage | undefined;
  #tier: string | null = null;

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    const value = parseBytes(bytes, start, end);
    if (kept === USAGE) this.#usage = parseConverseUsage(value);
    else if (kept === TIER) this.#tier = parseName(value);
  }

  read({ whole, textBytes }: Seen): Reading {
    return {
      usage: this.#usage ?? null,
      complete: whole,
      failed: false,
      model: null,
      serviceTier: this.#tier,
      outputTokensGuess: guessTokens(textBytes),
    };
  }

  breakOff(): undefined {
    return undefined;
  }
}

export const converseMeter = (): Meter => jsonMeter(new ConverseReader());

const METRICS = 'amazon-bedrock-invocationMetrics';

/** InvokeModelWithResponseStream: pieces of the model's own answer in base64; the last has Bedrock's figures in it. */
export function invokeStreamMeter(): Meter {
  let usage: Usage | undefined;
  let bytes = 0;
  return eventMeter({
    event(_type, fields) {
      if (typeof fields.bytes !== 'string') return;
      bytes += fields.bytes.length;
      const piece = parseJson(decodeUtf8(Uint8Array.from(atob(fields.bytes), (char) => char.charCodeAt(0))))?.value;
      if (isObject(piece)) usage = parseInvocationMetrics(piece[METRICS]) ?? usage;
    },
    read: () => ({
      usage: usage ?? null,
      complete: usage !== undefined,
      model: null,
      serviceTier: null,
      outputTokensGuess: guessTokens(Math.floor(bytes / ENVELOPE_FACTOR)),
    }),
  });
}

/** A piece of text comes in some ten times its size of JSON and base64. */
const ENVELOPE_FACTOR = 10;

/** InvokeModel: the headers say it all, before the body. */
export function invokeMeter(headers: HeaderMap): Meter {
  const usage = parseInvocationHeaders(headers) ?? null;
  let bytes = 0;
  return {
    edits: false,
    push(chunk) {
      bytes += chunk.length;
      return chunk;
    },
    end: () => EMPTY,
    read: () => ({
      usage,
      complete: true,
      failed: false,
      model: null,
      serviceTier: null,
      outputTokensGuess: guessTokens(bytes),
    }),
    breakOff: () => undefined,
  };
}
