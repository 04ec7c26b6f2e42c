import type { WireFamily } from '#config/wires.ts';
import type { LimitPolicy } from '#core/key-policy.ts';
import type { TokensMax } from '../cost.ts';
import type { Closing, Opening } from '../sink/sink.ts';
import type { Asked } from '../wire/wire.ts';

/**
 * What a provider keeps beyond the call that made it: stored responses, files, batches, videos. It stands in the
 * operator's account, so whoever knows its id could reach it; here stands whose it is, and what is still to be billed.
 * Two ports that are implemented together (SQLite for one gateway, Redis for several), with one conformance suite.
 */
export interface Stored {
  readonly objects: StoredObjects;
  readonly calls: OpenCalls;
}

export interface StoredObjects {
  /**
   * Resolves when it can be found, by every gateway. The same id again replaces what stood there for the customer. A file
   * is whose it was last at an upstream: its sender may choose a name, that somebody's deleted one had before.
   */
  keep(object: StoredObject): Promise<void>;
  /** Undefined where the customer has none of that id, whoever else has. */
  find(customer: string, id: string): Promise<StoredObject | undefined>;
  /** True for a file that some customer has sent, or a batch of one has written. Of other kinds nobody asks. */
  isFile(id: string): Promise<boolean>;
}

/**
 * Calls whose answer was not their end: the provider goes on, and bills at the end. Whoever sees the end concludes the
 * call; of several, the first one's closing counts, so that it is billed once and always with the same event.
 */
export interface OpenCalls {
  /** Durable when it resolves. */
  keep(call: OpenCall): Promise<void>;
  /** `forgotten`: it was kept here, and is settled. A store that one gateway has for itself need not remember that. */
  find(customer: string, id: string): Promise<Claimed | 'forgotten' | undefined>;
  /**
   * Some of those that are to be looked at by now. Each is due again after an eighth of its age, so that the longer
   * something takes the less it is asked for, and that no two gateways look at once.
   */
  claim(nowMs: number, max: number): Promise<Claimed[]>;
  /** The closing that counts: this one, or that of whoever came first. Undefined where the call is forgotten already. */
  conclude(call: OpenCall, closing: Closing): Promise<Closing | undefined>;
  /** It is settled, and its event is kept. */
  forget(call: OpenCall): Promise<void>;
}

export interface Claimed {
  readonly call: OpenCall;
  /** It was concluded, and whoever did so did not come to the end of it. */
  readonly closing: Closing | null;
}

export type StoredKind = 'response' | 'file' | 'batch' | 'message_batch' | 'video' | 'operation';

export interface StoredObject {
  /** The provider's. */
  readonly id: string;
  readonly customer: string;
  readonly key: string;
  readonly kind: StoredKind;
  /** Where it was made: the only one that knows it. */
  readonly upstream: string;
  /** Empty where it has none. */
  readonly model: string;
  readonly madeAtMs: number;
  readonly keptUntilMs: number;
  /** The request that made it, while that may still be open; null where nothing is billed later. */
  readonly call: string | null;
  /** Of a file of requests: what they can come to, all together. */
  readonly asked?: Asked;
}

/** A file that a call has written, as its results: it is the customer's, and stays until the call is billed. */
export function fileOf(
  { customer, key, upstream, call }: Pick<StoredObject, 'customer' | 'key' | 'upstream' | 'call'>,
  id: string,
  nowMs: number,
): StoredObject {
  const keptUntilMs = nowMs + KEPT_MS.file;
  return { id, customer, key, kind: 'file', upstream, model: '', madeAtMs: nowMs, keptUntilMs, call };
}

const DAY_MS = 86_400_000;
/** How long it is known whose it is: as long as its provider keeps it, or longer. */
export const KEPT_MS: Readonly<Record<StoredKind, number>> = {
  response: 30 * DAY_MS,
  file: 400 * DAY_MS,
  batch: 60 * DAY_MS,
  message_batch: 60 * DAY_MS,
  video: 30 * DAY_MS,
  operation: 30 * DAY_MS,
};
/** How long an end is waited for: longer than any provider takes. */
export const OPEN_MS: Readonly<Record<StoredKind, number>> = {
  response: 2 * DAY_MS,
  file: 0,
  batch: 16 * DAY_MS,
  message_batch: 3 * DAY_MS,
  video: 2 * DAY_MS,
  operation: 2 * DAY_MS,
};

export interface OpenCall {
  /** Its request id, which is that of its reservation and of its event. */
  readonly id: string;
  readonly customer: string;
  /** The provider's id of what it made. */
  readonly object: string;
  readonly kind: StoredKind;
  readonly upstream: string;
  readonly family: WireFamily;
  /** The name that the upstream was asked by, where that is another one. */
  readonly modelSent: string | null;
  /** Where it was asked for, with the version of its API that stood there. */
  readonly path: string;
  readonly query: string;
  readonly atMs: number;
  /** From then on it is billed by its estimate. */
  readonly untilMs: number;
  readonly opening: Opening;
  readonly limits: readonly LimitPolicy[];
  readonly asked: Asked;
  /** The most that a guess of ours may come to. */
  readonly heldMax: TokensMax;
}

/** Between two looks at one call. */
export const LOOK_MS = { min: 2_000, max: 300_000 } as const;
/** A look comes after so much of the call's age: 1/8. */
export const LOOK_AGE_SHARE = 8;
/** How long a call's holds outlive the last look: beyond the longest time between two, and what they take. */
export const OPEN_LEASE_MS = 4 * LOOK_MS.max;
