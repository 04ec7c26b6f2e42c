import { type Dispatcher, errors, Pool } from 'undici';
import type { HeaderMap } from '../inbound/call.ts';
import type { Sending, Upstream, UpstreamFailure, UpstreamHandler, UpstreamRequest } from './upstream.ts';

/** Idle connections are kept this long unless the upstream says less. */
const KEEP_ALIVE_MS = 60_000;
const RESPONSE_HEADER_BYTES_MAX = 64 * 1024;

/** Upstreams over undici's dispatcher: one pool of HTTP/1.1 connections per origin, one call at a time on each. */
export function undiciUpstream(): Upstream & { close(): Promise<void> } {
  const pools = new Map<string, Pool>();

  function poolOf({ origin, connectTimeoutMs, connectionsMax }: UpstreamRequest): Pool {
    // The bounds belong to the pool: a reload that changes them makes a new one, and the old one runs dry.
    const name = `${origin} ${connectTimeoutMs} ${connectionsMax}`;
    let pool = pools.get(name);
    if (!pool) {
      pool = new Pool(origin, {
        connections: connectionsMax,
        pipelining: 1,
        keepAliveTimeout: KEEP_ALIVE_MS,
        maxHeaderSize: RESPONSE_HEADER_BYTES_MAX,
        allowH2: false,
        connect: { timeout: connectTimeoutMs, noDelay: true },
      });
      pools.set(name, pool);
    }
    return pool;
  }

  return {
    send(request, handler) {
      const exchange = new UndiciExchange(handler);
      try {
        poolOf(request).dispatch(
          {
            method: request.method,
            path: request.path,
            headers: request.headers as string[],
            body: request.body,
            headersTimeout: request.headersTimeoutMs,
            bodyTimeout: request.idleTimeoutMs,
          },
          exchange,
        );
      } catch (thrown) {
        exchange.fail({ kind: 'unreachable', cause: thrown });
      }
      return exchange;
    },

    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.close()));
    },
  };
}

class UndiciExchange implements Dispatcher.DispatchHandler, Sending {
  readonly #handler: UpstreamHandler;
  #controller: Dispatcher.DispatchController | undefined;
  #started = false;
  #over = false;

  constructor(handler: UpstreamHandler) {
    this.#handler = handler;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#over) controller.abort(new Error('stopped before it was sent'));
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: HeaderMap): void {
    // 1xx says nothing yet.
    if (this.#over || status < 200) return;
    this.#started = true;
    this.#handler.head(status, headers);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    if (!this.#over) this.#handler.data(chunk);
  }

  onResponseEnd(): void {
    if (this.#over) return;
    this.#over = true;
    this.#handler.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail({ kind: kindOf(error, this.#controller !== undefined, this.#started), cause: error });
  }

  fail(failure: UpstreamFailure): void {
    if (this.#over) return;
    this.#over = true;
    this.#handler.failed(failure);
  }

  abort(): void {
    const failure: UpstreamFailure = { kind: 'aborted', cause: undefined };
    if (this.#over) return;
    this.fail(failure);
    this.#controller?.abort(new Error('stopped'));
  }

  pause(): void {
    this.#controller?.pause();
  }

  resume(): void {
    this.#controller?.resume();
  }
}

function kindOf(error: Error, sent: boolean, started: boolean): UpstreamFailure['kind'] {
  if (error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError) return 'timeout';
  if (error instanceof errors.ConnectTimeoutError) return 'unreachable';
  if (error instanceof errors.HTTPParserError || error instanceof errors.HeadersOverflowError) {
    // An answer that has begun was HTTP: what comes then is a broken one.
    return started ? 'broken' : 'invalid';
  }
  return sent ? 'broken' : 'unreachable';
}
