import type { Sending, Upstream, UpstreamFailure, UpstreamHandler, UpstreamRequest } from './upstream.ts';

/**
 * Upstreams over the runtime's own `fetch`, where there is no undici. The runtime keeps the connections and their
 * number; connecting counts as waiting for the head.
 */
export function fetchUpstream(send: typeof fetch = fetch): Upstream {
  return {
    send(request, handler) {
      const exchange = new FetchExchange(handler);
      void exchange.run(request, send);
      return exchange;
    },
  };
}

class FetchExchange implements Sending {
  readonly #handler: UpstreamHandler;
  readonly #stop = new AbortController();
  #over = false;
  #paused: PromiseWithResolvers<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When what is waited for is overdue, and when the timer looks. */
  #dueMs = 0;
  #ringsMs = Number.POSITIVE_INFINITY;

  constructor(handler: UpstreamHandler) {
    this.#handler = handler;
  }

  /** Never rejects: what goes wrong goes to the handler. */
  async run(request: UpstreamRequest, send: typeof fetch): Promise<void> {
    let started = false;
    try {
      this.#expect(request.headersTimeoutMs);
      const response = await send(`${request.origin}${request.path}`, {
        method: request.method,
        headers: headersOf(request.headers),
        body: request.body as BodyInit | null,
        redirect: 'manual',
        signal: this.#stop.signal,
      });
      if (this.#over) return;
      started = true;
      this.#handler.head(response.status, Object.fromEntries(response.headers));
      if (response.body) await this.#read(response.body, request.idleTimeoutMs);
      if (this.#over) return;
      this.#over = true;
      this.#handler.end();
    } catch (thrown) {
      this.#fail({ kind: started ? 'broken' : 'unreachable', cause: thrown });
    } finally {
      clearTimeout(this.#timer);
    }
  }

  abort(): void {
    this.#fail({ kind: 'aborted', cause: undefined });
  }

  pause(): void {
    this.#paused ??= Promise.withResolvers<void>();
  }

  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  async #read(body: ReadableStream<Uint8Array>, idleTimeoutMs: number): Promise<void> {
    const reader = body.getReader();
    while (!this.#over) {
      // The idle timeout rests while the client is slower than the upstream.
      if (this.#paused) {
        this.#dueMs = Number.POSITIVE_INFINITY;
        await this.#paused.promise;
        continue;
      }
      this.#expect(idleTimeoutMs);
      const { done, value } = await reader.read();
      if (done || this.#over) return;
      this.#handler.data(value);
    }
  }

  /** One timer for all chunks: each moves the moment when it is overdue, and the timer looks again when it rings. */
  #expect(withinMs: number): void {
    this.#dueMs = Date.now() + withinMs;
    if (this.#dueMs < this.#ringsMs) this.#watch(withinMs);
  }

  #watch(ms: number): void {
    clearTimeout(this.#timer);
    this.#ringsMs = Date.now() + ms;
    this.#timer = setTimeout(() => {
      this.#ringsMs = Number.POSITIVE_INFINITY;
      const leftMs = this.#dueMs - Date.now();
      if (leftMs <= 0) this.#fail({ kind: 'timeout', cause: undefined });
      else if (leftMs < Number.POSITIVE_INFINITY) this.#watch(leftMs);
    }, ms);
  }

  #fail(failure: UpstreamFailure): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#handler.failed(failure);
    this.#stop.abort();
    this.resume();
  }
}

function headersOf(list: UpstreamRequest['headers']): Headers {
  const headers = new Headers();
  for (let i = 0; i + 1 < list.length; i += 2) headers.append(list[i] as string, list[i + 1] as string);
  return headers;
}
