import type { HeaderMap } from '../inbound/call.ts';

/** The port to the upstreams: one HTTP exchange, pushed. undici on Node, fetch elsewhere. Follows no redirects, retries nothing. */
export interface Upstream {
  send(request: UpstreamRequest, handler: UpstreamHandler): Sending;
}

export interface UpstreamRequest {
  method: string;
  /** `https://api.openai.com` */
  origin: string;
  /** With the query. */
  path: string;
  headers: string[];
  body: Uint8Array | null;
  connectTimeoutMs: number;
  headersTimeoutMs: number;
  idleTimeoutMs: number;
  connectionsMax: number;
}

/** `head` once, `data` any number of times, then `end` or `failed` once; `failed` may come at any moment before `end`. */
export interface UpstreamHandler {
  head(status: number, headers: HeaderMap): void;
  data(chunk: Uint8Array): void;
  end(): void;
  failed(failure: UpstreamFailure): void;
}

export interface Sending {
  /** Stops it; `failed` follows with the kind `aborted`, unless it has ended. */
  abort(): void;
  /** No more `data` until `resume`; the idle timeout rests meanwhile. */
  pause(): void;
  resume(): void;
}

export interface UpstreamFailure {
  /** unreachable: nothing was sent. timeout: no head or no chunk in time. broken: the connection ended early. invalid: no HTTP. */
  kind: 'unreachable' | 'timeout' | 'broken' | 'invalid' | 'aborted';
  /** For the log. */
  cause: unknown;
}
