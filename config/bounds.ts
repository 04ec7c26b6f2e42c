/**
 * Every default and every bound that the configuration can set, and how they relate. Milliseconds, bytes, counts.
 * The relations hold for the defaults here and are checked for what a file says in schema.ts.
 */
export interface Bound {
  readonly initial: number;
  readonly min: number;
  readonly max: number;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** What a price may be multiplied by. */
export const PRICE_FACTOR_MAX = 1_000n;

export const GATEWAY_BOUNDS = {
  /** 0 takes any free port. */
  port: { initial: 8787, min: 0, max: 65_535 },
  /** Chat with images as data URLs: providers end at some 50 MB. */
  bodyBytesMax: { initial: 32 * MIB, min: KIB, max: 512 * MIB },
  headerBytesMax: { initial: 32 * KIB, min: 4 * KIB, max: MIB },
  bodyTimeoutMs: { initial: MINUTE, min: 100, max: 15 * MINUTE },
  connectTimeoutMs: { initial: 5 * SECOND, min: 10, max: MINUTE },
  /** The official SDKs wait ten minutes: a long answer that is not streamed has no head before its end. */
  headersTimeoutMs: { initial: 10 * MINUTE, min: 10, max: HOUR },
  /** Reasoning models are silent for minutes between two chunks. */
  idleTimeoutMs: { initial: 5 * MINUTE, min: 10, max: HOUR },
  callTimeoutMs: { initial: 30 * MINUTE, min: 10, max: 24 * HOUR },
  callsMax: { initial: 10_000, min: 1, max: 1_000_000 },
  retriesMax: { initial: 2, min: 0, max: 10 },
  drainsMax: { initial: 1_000, min: 0, max: 1_000_000 },
  drainTimeoutMs: { initial: 5 * MINUTE, min: 10, max: 24 * HOUR },
  /** Below the 30 seconds after which Kubernetes kills. */
  shutdownTimeoutMs: { initial: 25 * SECOND, min: 0, max: HOUR },
  /** Renewed at a third of it: what a dead gateway held ends so soon. */
  holdLeaseMs: { initial: MINUTE, min: 5 * SECOND, max: HOUR },
  /** A store that works answers in a millisecond; one that is taken over by its replica needs seconds. */
  storeTimeoutMs: { initial: SECOND, min: 20, max: 30 * SECOND },
  /** To each upstream. As many as calls, so that none waits for another unless it is meant to. */
  upstreamConnectionsMax: { initial: 10_000, min: 1, max: 1_000_000 },
  socketsMax: { initial: 2_000, min: 0, max: 1_000_000 },
  /** OpenAI takes sound in pieces of up to 15 MiB. */
  socketFrameBytesMax: { initial: 16 * MIB, min: KIB, max: 512 * MIB },
  /** Providers end sockets themselves after an hour at most. */
  socketTimeoutMs: { initial: 2 * HOUR, min: 10, max: 24 * HOUR },
  socketIdleTimeoutMs: { initial: 15 * MINUTE, min: 10, max: 24 * HOUR },
  /** What the largest models of 2026 answer at most. */
  outputTokensMax: { initial: 128_000, min: 1, max: 1_000_000_000 },
} as const satisfies Record<string, Bound>;

export const JOURNAL_BOUNDS = {
  fsyncIntervalMs: { initial: 50, min: 1, max: 10 * SECOND },
  bytesMax: { initial: 4 * GIB, min: 128 * KIB, max: 1024 * GIB },
  segmentBytesMax: { initial: 64 * MIB, min: 64 * KIB, max: 4 * GIB },
} as const satisfies Record<string, Bound>;

export const BILLING_BOUNDS = {
  port: { initial: 8788, min: 0, max: 65_535 },
} as const satisfies Record<string, Bound>;

/** The file itself: bounds what a mistake or a hostile alias can cost. */
export const FILE_BOUNDS = {
  textLengthMax: 16 * MIB,
  nodesMax: 2_000_000,
  depthMax: 32,
  problemsMax: 200,
} as const;

/** Names, patterns, labels. */
export const NAME_LENGTH_MAX = 64;
export const PATTERN_LENGTH_MAX = 200;
export const LABELS_MAX = 16;
export const LABEL_LENGTH_MAX = 100;
export const WEIGHT_MAX = 1_000_000;
/** Two while a rotation is in its grace period. */
export const SECRETS_PER_KEY_MAX = 2;
export const PLAINTEXT_SECRET_LENGTH = { min: 16, max: 200 } as const;
/** Units that one price can stand for. */
export const PRICE_PER_MAX = 1_000_000_000_000n;
export const CONTEXT_TOKENS_MAX = 1_000_000_000n;
/** Digits of an amount before and after the point. */
export const AMOUNT_DIGITS_MAX = { whole: 12, fraction: 18 } as const;

/** `[smaller, larger, why]` over settings of the gateway: the first may not exceed the second. */
export const GATEWAY_RELATIONS = [
  ['connectTimeoutMs', 'headersTimeoutMs', 'a connection comes before the head of the answer'],
  ['headersTimeoutMs', 'callTimeoutMs', 'the head of an answer is a part of the call'],
  ['idleTimeoutMs', 'callTimeoutMs', 'a pause is a part of the call'],
  ['drainTimeoutMs', 'callTimeoutMs', 'a call that is drained is still that call'],
  ['socketIdleTimeoutMs', 'socketTimeoutMs', 'a pause is a part of the socket'],
  ['drainsMax', 'callsMax', 'a call that is drained is still a call in flight'],
] as const satisfies readonly (readonly [keyof typeof GATEWAY_BOUNDS, keyof typeof GATEWAY_BOUNDS, string])[];

/** The journal needs one segment to write and one to give back. */
export const JOURNAL_SEGMENTS_MIN = 2;
