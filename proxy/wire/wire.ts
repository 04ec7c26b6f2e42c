import type { Counts } from '#core/quantity.ts';

/**
 * What the gateway asks of a wire format. One file per format; all of it pure, over bytes, free of any runtime. A wire
 * file reads the few fields that matter, changes the few bytes that metering needs, and watches the answer go by.
 */
export interface Wire {
  /** As it stands in events. */
  readonly name: string;
  /** Below the upstream's base address. */
  readonly path: string;
  /** Throws the Faults `invalid_json` and `invalid_request`. */
  parse(body: Uint8Array): Asked;
  rewrite(body: Uint8Array, asked: Asked, edits: RequestEdits): Uint8Array;
  meter(asked: Asked, answer: AnswerKind): Meter;
}

/** What the caller asks, as far as the gateway cares. */
export interface Asked {
  readonly model: string;
  readonly stream: boolean;
  /** The client itself wants the usage in the stream. */
  readonly usageAsked: boolean;
  readonly user: string | null;
  readonly session: string | null;
  readonly serviceTier: string | null;
  /** No more input tokens than this can be billed for what stands in the body. */
  readonly inputTokensMax: bigint;
  /** How many inputs there are, each of which may fill the model's context by itself. */
  readonly inputs: bigint;
  /** The body points at contents that it does not hold (files, searches): only the model's context bounds the input. */
  readonly inputElsewhere: boolean;
  /** A plain guess of the input tokens, for usage that nobody reports. */
  readonly inputTokensGuess: bigint;
  /** Per answer; null when the request does not say. */
  readonly outputTokensMax: bigint | null;
  /** Searches that the model makes for every call and that no usage object reports. */
  readonly webSearches: bigint;
  /** How many answers to the one prompt. 0n where the endpoint answers no tokens. */
  readonly answers: bigint;
}

export interface RequestEdits {
  /** The name that the upstream knows the model by; null to leave it. */
  readonly model: string | null;
  readonly includeUsage: boolean;
}

export interface AnswerKind {
  readonly eventStream: boolean;
  /** Usage was asked for by us and not by the client: what only that brought is taken out again. */
  readonly hideUsage: boolean;
}

/** Watches one answer. Never throws, whatever the upstream sends. */
export interface Meter {
  /** True when `push` may give back other bytes than it got; else the chunk can leave before it is read. */
  readonly edits: boolean;
  push(chunk: Uint8Array): Uint8Array;
  /** The answer is over: what was held back, and must still go out. */
  end(): Uint8Array;
  read(): Reading;
  /** An error at this point of a stream, in the format's own words; undefined where none can be put (inside an event, or no stream). */
  breakOff(message: string, code: string): Uint8Array | undefined;
}

export interface Reading {
  readonly usage: Usage | null;
  /** The answer has said that it is whole. */
  readonly complete: boolean;
  /** The upstream reported an error inside the answer. */
  readonly failed: boolean;
  readonly model: string | null;
  readonly serviceTier: string | null;
  /** A plain guess of the output tokens that went by. */
  readonly outputTokensGuess: bigint;
}

export interface Usage {
  readonly counts: Counts;
  /** The provider's own object. */
  readonly raw: unknown;
}

/** English prose has about four bytes a token: good enough for figures that are marked as estimated. */
export const BYTES_PER_TOKEN = 4;

export function guessTokens(bytes: number): bigint {
  return BigInt(Math.ceil(bytes / BYTES_PER_TOKEN));
}
