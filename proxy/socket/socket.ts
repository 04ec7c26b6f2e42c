import type { Fault } from '#core/fault.ts';
import type { HeaderList, HeaderMap } from '../inbound/call.ts';
import type { UpstreamFailure } from '../upstream/upstream.ts';

/** A WebSocket as the gateway sees it, free of any runtime: whole messages, both ways, with backpressure. */

export interface Frame {
  readonly bytes: Uint8Array;
  readonly isText: boolean;
}

/** One end of a socket: the client's, or the upstream's. */
export interface SocketEnd {
  /** False: the other side reads slower than this; `drained` says when it has caught up. */
  send(frame: Frame): boolean;
  /** No more frames until `resume`, but for the few that are here already. */
  pause(): void;
  resume(): void;
  /** Says why, and closes; `closed` follows. */
  close(code: number, reason: string): void;
  /** Breaks it, without a word. */
  cut(): void;
  /** Called once; nothing comes before. */
  listen(listener: SocketListener): void;
}

export interface SocketListener {
  frame(frame: Frame): void;
  drained(): void;
  /** Once, and nothing comes after. */
  closed(code: number, reason: string): void;
}

/** A client that asks for a socket. */
export interface SocketOffer {
  /** Undefined when it has left meanwhile, or asked wrongly. */
  accept(answer: SocketAnswer): SocketEnd | undefined;
}

export interface SocketAnswer {
  /** Of those that the client knows; undefined for none. */
  readonly protocol: string | undefined;
  readonly headers: HeaderList;
  readonly frameBytesMax: number;
}

/** The port to sockets of upstreams. */
export interface Dialer {
  /** Never rejects. */
  dial(request: DialRequest): Promise<Dialled>;
}

export interface DialRequest {
  /** `https://api.openai.com` */
  readonly origin: string;
  /** With the query. */
  readonly path: string;
  readonly headers: HeaderList;
  readonly protocols: readonly string[];
  readonly timeoutMs: number;
  readonly frameBytesMax: number;
}

export type Dialled =
  | { readonly kind: 'open'; readonly end: SocketEnd; readonly protocol: string | undefined }
  /** It answered as to any request, and opened none. */
  | { readonly kind: 'answered'; readonly status: number; readonly headers: HeaderMap; readonly body: Uint8Array }
  | { readonly kind: 'failed'; readonly failure: UpstreamFailure };

/** RFC 6455, section 7.4.1: what we say when we close. docs/sockets.md says when. */
export const CLOSE = {
  normal: 1000,
  goingAway: 1001,
  refused: 1008,
  failed: 1011,
  tryLater: 1013,
} as const;

/** Codes that mean that none was sent. */
const NO_CODE = 1005;
const ABNORMAL = 1006;
const TLS = 1015;

/** What one side was told, for the other: codes that stand for the absence of one cannot be sent. */
export function passedCode(code: number, broken: number): number {
  if (code === NO_CODE) return CLOSE.normal;
  if (code === ABNORMAL || code === TLS) return broken;
  const known = (code >= 1000 && code <= 1014 && code !== 1004) || (code >= 3000 && code <= 4999);
  return known ? code : broken;
}

/** A moment later it may be otherwise. */
const TRY_LATER: ReadonlySet<Fault['code']> = new Set([
  'limits_unavailable',
  'journal_unavailable',
  'overloaded',
  'model_halted',
]);

/** What both sides are told at the end. */
export interface Closing {
  readonly code: number;
  readonly reason: string;
}

export function closingOf(fault: Fault): Closing {
  return { code: codeOf(fault), reason: `${fault.code}: ${fault.message}` };
}

function codeOf({ code, status }: Fault): number {
  if (code === 'shutting_down') return CLOSE.goingAway;
  if (TRY_LATER.has(code)) return CLOSE.tryLater;
  return status >= 500 ? CLOSE.failed : CLOSE.refused;
}
