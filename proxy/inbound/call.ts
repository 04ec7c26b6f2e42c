import type { MaybePromise } from '../limits/counters.ts';

/**
 * What comes in and what goes back, free of any runtime. `inbound/node.ts` is node:http; another runtime brings its own
 * adapter and the gateway does not notice.
 */
export interface Call {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** Without the question mark; empty when there is none. */
  readonly query: string;
  /** Names in lower case. */
  readonly headers: HeaderMap;

  /** The whole body, or undefined when the client left before it was whole. Throws or rejects with `body_too_large` and `body_timeout`. */
  body(bytesMax: number, timeoutMs: number): MaybePromise<Uint8Array | undefined>;
}

export interface Reply {
  /** Status and headers; they leave with the first bytes, or by themselves when no bytes follow at once. */
  head(status: number, headers: HeaderList): void;
  /** False: the client reads slower than this; `onDrain` says when it has caught up. */
  write(chunk: Uint8Array): boolean;
  end(chunk?: Uint8Array): void;
  /** Breaks the connection: the client must see that the answer is not whole. */
  cut(): void;
  /** Both are set at most once, before anything is written. `gone`: the connection broke before the answer was whole. */
  onDrain(listener: () => void): void;
  onGone(listener: () => void): void;
}

export type HeaderMap = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Names and values in turn: `['content-type', 'text/plain', …]`, the cheapest form for node:http and undici both. */
export type HeaderList = readonly string[];
