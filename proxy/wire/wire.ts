import type { WireFamily } from '#config/wires.ts';
import type { PartUsed } from '#core/call-cost.ts';
import type { Counts, Unit } from '#core/quantity.ts';
import type { Call, HeaderMap } from '../inbound/call.ts';
import type { StoredKind } from '../stored/stored.ts';
import type { Target } from '../upstream/route-table.ts';
import type { CallId, Dialect } from './dialect.ts';
import type { Params } from './path-pattern.ts';
import type { Sideband, SocketWire } from './socket-wire.ts';

/**
 * What the gateway asks of a wire format. One file per format; all of it pure, over bytes, free of any runtime. A wire
 * file reads the few fields that matter, changes the few bytes that metering needs, and watches the answer go by.
 */
export interface Wire {
  /** As it stands in events. */
  readonly name: string;
  /** Which upstreams take it: those that have an address for this family. */
  readonly family: WireFamily;
  /** And, where none of them serves the model, those of another family that has the same bytes at another path. */
  readonly otherFamily?: WireFamily;
  /** How its callers are told of faults and refusals. */
  readonly dialect: Dialect;
  /** What it serves, all of it with the same bytes. */
  readonly endpoints: readonly WireEndpoint[];
  /** Whoever sends this header means another API at the same paths. */
  readonly forHeader?: { readonly header: string; readonly wire: Wire };
  /** The `gen_ai.operation.name` of OpenTelemetry's conventions. */
  readonly operation: string;
  /** What docs/wires.md says of it. */
  readonly facts: WireFacts;
  /** `params` are the values of the names in the endpoint's path. Throws the Faults `invalid_json` and `invalid_request`. */
  parse(body: Uint8Array, call: CallHead, params: Params): Asked;
  rewrite(body: Uint8Array, asked: Asked, edits: RequestEdits): Uint8Array;
  meter(asked: Asked, answer: AnswerHead): Meter;
  /** The headers of an answer as its caller shall have them, where some lead around the gateway. */
  answerHeaders?(headers: HeaderMap, call: CallHead, from: Target | null): HeaderMap;
  /** `rewrite` can lower the most that the call may answer. Without it such a call is held whole, or refused. */
  readonly lowersOutput?: true;
  /**
   * Every output token that this model bills for shows in a stream as at least a byte, and meters have `shown`: such a
   * stream can be held in parts. Never of a model that thinks where nobody sees it.
   */
  showsOutput?(model: string): boolean;
  /** What its calls make may go on when they are over (`Asked.background`). */
  readonly goesOn?: true;
  /** It is carried by a WebSocket: what comes to its endpoints without one is refused by `parse`. */
  readonly socket?: SocketWire;
  /** It begins a call that is metered from its side. */
  readonly sideband?: Sideband;
  /** What a model reads of the body, to be counted; undefined where that is not text alone. */
  inputText?(body: Uint8Array): InputText | undefined;
}

export interface InputText {
  readonly texts: readonly string[];
  /** Tokens beside those of the texts. */
  readonly extraTokens: bigint;
}

export interface WireFacts {
  /** The units of its events, beside calls. */
  readonly units: readonly Unit[];
  /** Where its usage stands; or why there is none. */
  readonly usage: string;
  /** What is estimated, beside what every wire estimates: an answer that breaks off before its usage. Null for nothing. */
  readonly estimated: string | null;
  /** What is edited, beside the name of a model that a route gives another one. Null for nothing. */
  readonly edited: string | null;
}

export interface WireEndpoint {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /**
   * As callers ask for it: `/v1/chat/completions`, `/v1beta/models/{model}:generateContent`. Where it names `{model}`, a
   * route that gives the model another name changes it there.
   */
  readonly path: string;
}

export type CallHead = Pick<Call, 'method' | 'path' | 'query' | 'headers'>;

/** What the caller asks, as far as the gateway cares. */
export interface Asked {
  /** Empty where the endpoint has none. */
  readonly model: string;
  readonly stream: boolean;
  /**
   * usage: the answer says what to bill. free: the provider bills nothing (counting tokens, looking up what is stored);
   * it counts against limits of requests, and its event has no quantities. unmetered: nobody knows what it costs.
   */
  readonly metering: 'usage' | 'free' | 'unmetered';
  /** The client itself wants the usage in the stream. */
  readonly usageAsked: boolean;
  readonly user: string | null;
  readonly session: string | null;
  /** In the words of the price book, as everywhere: null or `default`, `batch`, `flex`, `priority`, `fast`. */
  readonly serviceTier: string | null;
  /** Where the model shall run, where the request says so. */
  readonly region?: string | null;
  /** Size, quality or length of context, where prices hang on it: `1024x1024`, `720x1280`, `high`. */
  readonly variant?: string | null;
  /** No more input tokens than this can be billed for what stands in the body. */
  readonly inputTokensMax: bigint;
  /**
   * The units that its input, and its output, may come to be billed in, where the request rules some out. Lists that are
   * made once: the dearest price of each is remembered by the list itself.
   */
  readonly inputUnits?: readonly Unit[] | null;
  readonly outputUnits?: readonly Unit[] | null;
  /** How many inputs there are, each of which may fill the model's context by itself. */
  readonly inputs: bigint;
  /** The body points at contents that it does not hold (files, searches): only the model's context bounds the input. */
  readonly inputElsewhere: boolean;
  /** A plain guess of the input tokens, for usage that nobody reports. */
  readonly inputTokensGuess: bigint;
  /** Per answer; null when the request does not say. */
  readonly outputTokensMax: bigint | null;
  /** A request with a lower maximum would be one that its API refuses. */
  readonly outputTokensMin?: bigint;
  /** How many answers to the one prompt. 0n where the endpoint answers no tokens. */
  readonly answers: bigint;
  /** The most of every unit that is no token: images, seconds, searches. */
  readonly bounds: Counts;
  /** Units that every served call is billed for and no answer reports; they are within `bounds`. */
  readonly fixed: Counts;
  /** What it comes to where nobody can say, beside `fixed`: what was asked for. */
  readonly estimate?: Counts;
  /** Of videos: how long each of them is. */
  readonly secondsEach?: bigint;
  /** What its body calls it, where answers must say it again. */
  readonly callId?: CallId;
  /** It is of a server as a whole: whoever may use something below its model may ask it. */
  readonly anyBelow?: boolean;
  /** The client's leaving means that it wants no more, to the upstream too: nothing is read behind its back. */
  readonly cancelOnGone?: boolean;
  /** It may do something that must not be done twice: once it may have reached an upstream, it is not sent again. */
  readonly once?: boolean;
  /** It asks for output that is billed and does not show: thoughts, tools of the provider's own, the best of several. */
  readonly hidesOutput?: boolean;
  /** The time that it takes is billed too (`duration_ms`, from its coming to its end), and what its agent says of its work. */
  readonly timed?: boolean;
  /** What it belongs to, for the label `run` where the caller says none: a task. */
  readonly run?: string | null;
  /** What the provider keeps and the path names: it must be the customer's own, and is asked for where it was made. */
  readonly object?: string;
  /** Likewise, what the body builds on. */
  readonly buildsOn?: readonly string[];
  /** Files that the body names: none of them may be another customer's. */
  readonly reads?: readonly string[];
  /** The requests of a batch, or of a file that is one: what they come to together is what the batch can. */
  readonly requests?: Iterable<BatchRequest>;
  /** Of a file that is to be a batch: what its requests come to. */
  readonly batch?: Asked;
  /** Of a batch: the path that each of its requests would be asked at by itself. */
  readonly each?: string;
  /** It is worked off at the provider's leisure: no limit of speed counts what it does there. */
  readonly atLeisure?: true;
  /** The answer names something that the provider keeps. */
  readonly makes?: StoredKind;
  /** And goes on with when the call is over: what it comes to is known at its end. */
  readonly background?: true;
}

/** The `bounds` and `fixed` of calls that use tokens only. */
export const NO_COUNTS: Counts = {};

/** What is asked of a call that can use no tokens and says nothing of its caller; others say what they have beside it. */
export const NOTHING_ASKED = {
  stream: false,
  usageAsked: true,
  user: null,
  session: null,
  serviceTier: null,
  inputTokensMax: 0n,
  inputs: 1n,
  inputElsewhere: false,
  inputTokensGuess: 0n,
  outputTokensMax: 0n,
  answers: 0n,
  bounds: NO_COUNTS,
  fixed: NO_COUNTS,
} as const satisfies Omit<Asked, 'model' | 'metering'>;

export interface RequestEdits {
  /** The name that the upstream knows the model by; null to leave it. */
  readonly model: string | null;
  readonly includeUsage: boolean;
  /** The most tokens that each answer may have, lower than what was asked; absent to leave it. */
  readonly outputTokensMax?: bigint | undefined;
}

export interface AnswerHead {
  readonly status: number;
  readonly headers: HeaderMap;
  /** Where it comes from. */
  readonly from?: Target | null;
  /** Usage was asked for by us and not by the client: what only that brought is taken out again. */
  readonly hideUsage: boolean;
  /** The call holds a part of what it may answer: `shown` is wanted. */
  readonly inParts?: boolean;
}

/** Watches one answer. Never throws, whatever the upstream sends. */
export interface Meter {
  /** True when `push` may give back other bytes than it got; else the chunk can leave before it is read. */
  readonly edits: boolean;
  push(chunk: Uint8Array): Uint8Array;
  /** The answer is over: what was held back, and must still go out. */
  end(): Uint8Array;
  /** Set where reading takes its time: when this resolves, all that was pushed has been read. Never rejects. */
  settle?(): Promise<void>;
  read(): Reading;
  /** An error at this point of a stream, in the format's own words; undefined where none can be put (inside an event, or no stream). */
  breakOff(message: string, code: string): Uint8Array | undefined;
  /** Where it is wanted (`inParts`) and can be said. */
  readonly shown?: Shown | undefined;
}

/** What a stream has shown of its output so far. */
export interface Shown {
  /** No more tokens than this can have been generated for what went by. */
  readonly tokensMax: number;
  /** The text that went by since it was last taken; undefined once there was something else than text. */
  takeText(): string | undefined;
  /** The places in a chunk behind which the client can be told that the answer breaks off: its events end there. */
  endsOf(chunk: Uint8Array): number[];
}

export interface Reading {
  readonly usage: Usage | null;
  /** The answer has said that it is whole. */
  readonly complete: boolean;
  /** The upstream reported an error inside the answer. */
  readonly failed: boolean;
  readonly model: string | null;
  readonly serviceTier: string | null;
  /** Where the model ran, where the answer says so. */
  readonly region?: string | null;
  /** The answer is whole, and says that nothing was done. */
  readonly undone?: boolean;
  /** What the call belongs to, where the caller says none: as `Asked.run` and `Asked.session`. */
  readonly run?: string | null;
  readonly session?: string | null;
  /** What the provider keeps of it. */
  readonly made?: Made | null;
  /** A plain guess of the output tokens that went by. */
  readonly outputTokensGuess: bigint;
}

/** What stays at a provider. */
export interface Made {
  readonly id: string;
  /** Nothing of it changes any more. */
  readonly over: boolean;
  /** Files that it has written. */
  readonly files?: readonly string[];
  /** Of a batch: how many requests were served, where that is said. */
  readonly answers?: number | undefined;
}

/** One of the requests of a batch. */
export interface BatchRequest {
  /** Where it stands, for people: `line 3`. */
  readonly place: string;
  /** The caller's own name for it (`custom_id`), by which its result is found. */
  readonly id: unknown;
  /** As a caller would ask it by itself. */
  readonly path: string;
  readonly body: Uint8Array;
}

export interface Usage {
  readonly counts: Counts;
  /** The provider's own object. */
  readonly raw: unknown;
  /** Where several models served one call: what each used. Together they are `counts`. */
  readonly parts?: readonly PartUsed[] | undefined;
  /** Part of the counts is a guess of ours: the answer broke off before the provider had said all of it. */
  readonly estimated?: boolean | undefined;
  /** What the provider itself says that the call costs, in dollars: plain decimals. It goes before any price list. */
  readonly costUsd?: string | undefined;
}

export function isEventStream({ headers }: AnswerHead): boolean {
  const type = headers['content-type'];
  return typeof type === 'string' && type.startsWith('text/event-stream');
}

/** English prose has about four bytes a token: good enough for figures that are marked as estimated. */
export const BYTES_PER_TOKEN = 4;

export function guessTokens(bytes: number): bigint {
  return BigInt(Math.ceil(bytes / BYTES_PER_TOKEN));
}
