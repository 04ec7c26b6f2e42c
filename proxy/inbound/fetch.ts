import { Fault } from '#core/fault.ts';
import { concat, EMPTY } from '../wire/bytes.ts';
import type { Call, HeaderList, HeaderMap, Reply } from './call.ts';

/** Statuses that come without a body; `Response` refuses to be given one. */
const BODILESS: ReadonlySet<number> = new Set([204, 205, 304]);
/** What the edge adds on the way in: its own business, not the upstream's. */
const EDGE_HEADERS = /^(cf-|cdn-loop$)/;
/** How far the client may lag behind before the upstream is read no further. */
const BUFFER_BYTES = 64 * 1024;

/**
 * A gateway behind the fetch API: Request in, Response out. `finish` gets what goes on after the answer has begun (and
 * after the client has left), so that the runtime lets it come to its end.
 */
export async function answerFetch(
  handler: { handle(call: Call, reply: Reply): Promise<void> },
  request: Request,
  finish: (work: Promise<void>) => void,
): Promise<Response> {
  const reply = new FetchReply(request);
  finish(handler.handle(new FetchCall(request), reply));
  return reply.response;
}

class FetchCall implements Call {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: HeaderMap;
  readonly #request: Request;

  constructor(request: Request) {
    const { pathname, search } = new URL(request.url);
    this.method = request.method;
    this.path = pathname;
    this.query = search.slice(1);
    this.headers = Object.fromEntries([...request.headers].filter(([name]) => !EDGE_HEADERS.test(name)));
    this.#request = request;
  }

  async body(bytesMax: number, timeoutMs: number): Promise<Uint8Array | undefined> {
    if (Number(this.#request.headers.get('content-length') ?? 0) > bytesMax) throw tooLarge(bytesMax);
    const reader = this.#request.body?.getReader();
    if (!reader) return EMPTY;
    const chunks: Uint8Array[] = [];
    let length = 0;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      // The read that waits ends with it.
      void reader.cancel().catch(() => undefined);
    }, timeoutMs);
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        length += next.value.length;
        if (length > bytesMax) throw tooLarge(bytesMax);
        chunks.push(next.value);
      }
    } catch (thrown) {
      if (thrown instanceof Fault) throw thrown;
      // The client left in the middle of it.
      if (!late) return undefined;
    } finally {
      clearTimeout(timer);
    }
    if (late) throw new Fault('body_timeout');
    return chunks.length === 0 ? EMPTY : concat(chunks);
  }
}

function tooLarge(bytesMax: number): Fault {
  return new Fault('body_too_large', { detail: `It takes ${bytesMax} bytes.` });
}

class FetchReply implements Reply {
  readonly response: Promise<Response>;
  readonly #answer: (response: Response) => void;
  readonly #body: ReadableStream<Uint8Array>;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #told = false;
  #over = false;
  #onDrain: (() => void) | undefined;
  #onGone: (() => void) | undefined;

  constructor(request: Request) {
    const { promise, resolve } = Promise.withResolvers<Response>();
    this.response = promise;
    this.#answer = resolve;
    this.#body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#onDrain?.(),
        cancel: () => this.#leave(),
      },
      { highWaterMark: BUFFER_BYTES, size: (chunk) => chunk?.byteLength ?? 0 },
    );
    request.signal.addEventListener('abort', () => this.#leave());
  }

  head(status: number, headers: HeaderList): void {
    if (this.#told) return;
    this.#told = true;
    const all = new Headers();
    for (let i = 0; i + 1 < headers.length; i += 2) all.append(headers[i] as string, headers[i + 1] as string);
    // The runtime frames the body itself.
    all.delete('content-length');
    all.delete('connection');
    this.#answer(new Response(BODILESS.has(status) ? null : this.#body, { status, headers: all }));
  }

  write(chunk: Uint8Array): boolean {
    if (this.#over || !this.#controller) return true;
    this.#controller.enqueue(chunk);
    return (this.#controller.desiredSize ?? 0) > 0;
  }

  end(chunk?: Uint8Array): void {
    if (this.#over) return;
    if (chunk && chunk.length > 0) this.#controller?.enqueue(chunk);
    this.#over = true;
    this.#controller?.close();
  }

  cut(): void {
    if (this.#over) return;
    this.#over = true;
    this.#controller?.error(new Error('the answer is not whole'));
    if (!this.#told) this.#answer(Response.error());
  }

  onDrain(listener: () => void): void {
    this.#onDrain = listener;
  }

  onGone(listener: () => void): void {
    this.#onGone = listener;
  }

  #leave(): void {
    if (this.#over) return;
    this.#over = true;
    // Nobody listens, but the runtime waits for an answer all the same.
    if (!this.#told) this.#answer(new Response(null, { status: 499 }));
    this.#onGone?.();
  }
}
