import { Fault } from '#core/fault.ts';
import type { Frame } from '../socket/socket.ts';
import type { Target } from '../upstream/route-table.ts';
import type { ErrorAnswer } from './dialect.ts';
import type { Params } from './path-pattern.ts';
import type { Asked, CallHead, Reading } from './wire.ts';

/**
 * What the gateway asks of a wire that is carried by a socket. The socket is no call: each thing that its provider bills
 * is one, a `Turn`, held before it can begin and closed when the upstream says what it used. All of it is pure.
 */
export interface SocketWire {
  /** Begins to read one socket. Throws the Fault `invalid_request`. */
  talk(call: CallHead, params: Params): Talk;
  /** Subprotocols that the upstream is offered, of those that the client names: never one that holds a secret. */
  readonly protocols: readonly RegExp[];
  /** Where the query names the model, to be written anew where a route gives it another name. */
  readonly modelParams?: readonly string[];
  /** Its path stands at the root of an upstream's address, whatever path that has. */
  readonly atRoot?: true;
}

/** One socket, read on both of its sides. Never throws but for Faults that a frame of the client deserves. */
export interface Talk {
  /** Which upstream it needs; null as long as nothing has said. Empty where any that speaks the wire will do. */
  readonly model: string | null;
  /**
   * What must be held before the frame may pass: mostly nothing, else turns that it asks for, or that the upstream may
   * begin by itself after it.
   */
  fromClient(frame: Frame): readonly Turn[];
  /** What has become of turns, once the client has the frame. */
  fromUpstream(frame: Frame): readonly TurnStep[];
  /** The message that has said where it leads to, as the upstream shall have it; as it is where this is absent. */
  leading?(bytes: Uint8Array, target: Target): Uint8Array;
  /** What must be held all the time, since nothing of the client's is seen: what the upstream may begin next. */
  standing?(): readonly Turn[];
  /** A turn that was not held: as if it had never been asked for. */
  forget(turn: Turn): void;
  /** How the client is told, in the words of the dialect; undefined where it has none but the reason of a closing. */
  errorFrame(answer: ErrorAnswer, turn: Turn | null): Frame | undefined;
  /** Asks the upstream to end a turn that was begun without leave; undefined where that cannot be asked. */
  cancelFrame(turn: Turn): Frame | undefined;
}

/** A call whose sound goes past the gateway, which listens at its side. Paths are as callers ask for them. */
export interface Sideband {
  path(id: string): string;
  hangUpPath(id: string): string;
  talk(model: string): Talk;
}

/** One thing that is billed. */
export interface Turn {
  /** As it stands now: bounds grow with what is said before it begins. */
  readonly asked: Asked;
  /** The message that asks for it, where it is a body like that of a request. */
  readonly body?: Uint8Array;
  /** The upstream may begin it by itself: it is held ahead, and where it cannot be held the socket ends. */
  readonly ahead: boolean;
  /** It is billed at a model of its own, beside the one that the socket leads to. */
  readonly beside: boolean;
  /** What was held ahead and need not be while this one is asked for. */
  readonly inPlaceOf?: Turn | null;
  /** What was held for it still bounds it. */
  covers(held: Asked): boolean;
  read(): Reading;
}

export type TurnStep =
  | { readonly kind: 'began'; readonly turn: Turn }
  | { readonly kind: 'ended'; readonly turn: Turn }
  /** The upstream refused it. */
  | { readonly kind: 'refused'; readonly turn: Turn }
  /** It was held ahead, and will not begin. */
  | { readonly kind: 'dropped'; readonly turn: Turn };

/** What is carried by a socket was asked for without one, or where none is carried. */
export function refusePlain({ headers }: Pick<CallHead, 'headers'>): never {
  throw new Fault(headers.upgrade === undefined ? 'upgrade_required' : 'sockets_unavailable');
}

/** The longest context of a model that talks, for those of which the price book knows none (November 2026). */
const TALK_CONTEXT_TOKENS = 131_072n;

/** The bound of an input of which `elsewhere` says that more than was seen may belong to it. */
export function talkInputMax(seenTokens: bigint, elsewhere: boolean): bigint {
  return elsewhere && seenTokens < TALK_CONTEXT_TOKENS ? TALK_CONTEXT_TOKENS : seenTokens;
}

export const NO_TURNS: readonly Turn[] = [];
export const NO_STEPS: readonly TurnStep[] = [];
