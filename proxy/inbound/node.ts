import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { listenAt } from '#config/listen.ts';
import { Fault } from '#core/fault.ts';
import type { MaybePromise } from '../limits/counters.ts';
import type { SocketOffer } from '../socket/socket.ts';
import { concat, EMPTY } from '../wire/bytes.ts';
import { openaiDialect } from '../wire/openai-dialect.ts';
import type { Call, HeaderList, HeaderMap, Reply } from './call.ts';
import { NodeOffer } from './node-socket.ts';

/** What the server needs of the configuration; bounds that change take effect with the next start. */
export interface NodeSettings {
  host: string;
  port: number;
  headerBytesMax: number;
  bodyBytesMax: number;
  bodyTimeoutMs: number;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Takes no new connections and closes idle ones; resolves when the last is gone. */
  close(): Promise<void>;
  /** Ends the connections that are still open: of clients that do not take their answer, however long one waits. */
  cut(): void;
}

/** Longer than the idle timeouts of common load balancers (60 s), so that it is they who close. */
const KEEP_ALIVE_MS = 75_000;
/** How often node:http looks for requests that are too slow. */
const SLOWNESS_CHECK_MS = 1_000;

/** How often, while it closes, the listener looks for connections that have become idle. */
const IDLE_CHECK_MS = 50;

/** node:http in front of the gateway: its own streams, no web ones. */
export async function listen(
  handler: {
    handle(call: Call, reply: Reply): unknown;
    handleSocket?(call: Call, reply: Reply, offer: SocketOffer): unknown;
  },
  settings: NodeSettings,
): Promise<Listener> {
  const begin = (request: IncomingMessage, response: ServerResponse): void => {
    handler.handle(new NodeCall(request), new NodeReply(request, response, settings));
  };
  const server = createServer(
    {
      noDelay: true,
      keepAlive: true,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: settings.headerBytesMax,
      headersTimeout: settings.bodyTimeoutMs,
      // The body has a timer of its own, which answers in the caller's dialect.
      requestTimeout: 0,
      connectionsCheckingInterval: Math.min(SLOWNESS_CHECK_MS, settings.bodyTimeoutMs),
      requireHostHeader: false,
      // What else could be changed to is no business of ours: such a request goes on as it is.
      shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket',
    },
    // A tick later a body that came with its head is there, and nothing has to wait for it.
    (request, response) => process.nextTick(begin, request, response),
  );
  if (handler.handleSocket) {
    server.on('upgrade', (request, socket, head) => {
      const offer = new NodeOffer(request, socket, head);
      handler.handleSocket?.(new NodeCall(request), offer, offer);
    });
  }
  server.on('clientError', answerClientError);
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const port = await listenAt(server, settings);
  return {
    host: settings.host,
    port,
    close: () => close(server, sockets),
    cut: () => {
      // Those that have become WebSockets are no connections of the server any more.
      for (const socket of sockets) socket.destroy();
    },
  };
}

/**
 * Node closes connections that are idle after a call. One that has never carried a call counts as busy there, though
 * clients open spares; and one that carries a call now becomes idle only later.
 */
function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
  const sweep = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
  return new Promise((resolve) => {
    server.close(() => {
      clearInterval(sweep);
      resolve();
    });
  });
}

class NodeCall implements Call {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: HeaderMap;
  readonly #request: IncomingMessage;

  constructor(request: IncomingMessage) {
    const url = request.url ?? '/';
    const mark = url.indexOf('?');
    this.method = request.method ?? 'GET';
    this.path = mark < 0 ? url : url.slice(0, mark);
    this.query = mark < 0 ? '' : url.slice(mark + 1);
    this.headers = request.headers;
    this.#request = request;
  }

  body(bytesMax: number, timeoutMs: number): MaybePromise<Uint8Array | undefined> {
    const request = this.#request;
    // It left while its key was looked up: nobody is told of that again, and nothing more comes.
    if (request.socket.destroyed) return undefined;
    const stated = Number(request.headers['content-length'] ?? 0);
    if (stated > bytesMax) throw tooLarge(bytesMax);
    // Mostly it came with its head: then there is nothing to wait for, and nothing to set up for that.
    const { readableLength: here } = request;
    const isWhole = request.complete ? here <= bytesMax : here === stated && here > 0;
    if (isWhole) return request.read() ?? EMPTY;
    return new Promise((resolve, reject) => {
      const chunks: Uint8Array[] = [];
      let length = 0;
      // The first of these settles it; the others find it settled. What still comes then is read and dropped.
      const timer = setTimeout(() => reject(new Fault('body_timeout')), timeoutMs);
      request.on('data', (chunk: Uint8Array) => {
        length += chunk.length;
        if (length <= bytesMax) chunks.push(chunk);
        else refuse(tooLarge(bytesMax));
      });
      request.on('end', () => {
        clearTimeout(timer);
        if (length <= bytesMax) resolve(chunks.length === 0 ? EMPTY : concat(chunks));
      });
      request.on('close', () => {
        clearTimeout(timer);
        resolve(undefined);
      });
      function refuse(fault: Fault): void {
        clearTimeout(timer);
        chunks.length = 0;
        reject(fault);
      }
    });
  }
}

function tooLarge(bytesMax: number): Fault {
  return new Fault('body_too_large', { detail: `It takes ${bytesMax} bytes.` });
}

class NodeReply implements Reply {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #settings: NodeSettings;
  #ended = false;
  #headSent = false;

  constructor(request: IncomingMessage, response: ServerResponse, settings: NodeSettings) {
    this.#request = request;
    this.#response = response;
    this.#settings = settings;
  }

  head(status: number, headers: HeaderList): void {
    const response = this.#response;
    if (response.destroyed) return;
    if (!this.#request.complete) this.#linger();
    response.writeHead(status, headers as string[]);
    // With the first bytes when they are here already, else by itself: a client that waits for the head gets it.
    process.nextTick(flushHead, this);
  }

  flushHead(): void {
    if (!this.#headSent && !this.#ended && !this.#response.destroyed) this.#response.flushHeaders();
  }

  write(chunk: Uint8Array): boolean {
    const response = this.#response;
    this.#headSent = true;
    return response.destroyed || response.write(chunk);
  }

  end(chunk?: Uint8Array): void {
    this.#ended = true;
    const response = this.#response;
    if (response.destroyed) return;
    if (chunk && chunk.length > 0) response.end(chunk);
    else response.end();
    if (response.writableNeedDrain) this.#hurry();
  }

  cut(): void {
    this.#ended = true;
    this.#response.destroy();
  }

  onDrain(listener: () => void): void {
    this.#response.on('drain', listener);
  }

  onGone(listener: () => void): void {
    this.#response.on('close', () => {
      if (!this.#ended) listener();
    });
  }

  /** The rest of an answer waits for a client that hardly reads. Nobody watches it any more, so it gets a bound. */
  #hurry(): void {
    const response = this.#response;
    const timer = setTimeout(() => response.destroy(), this.#settings.bodyTimeoutMs);
    response.on('close', () => clearTimeout(timer));
  }

  /**
   * The answer comes before the request is whole. Reading on for a moment lets the client see it: closing at once would
   * reset the connection under it. Not for long, and not for much.
   */
  #linger(): void {
    const request = this.#request;
    let left = this.#settings.bodyBytesMax;
    const timer = setTimeout(() => request.destroy(), this.#settings.bodyTimeoutMs);
    request.on('data', (chunk: Uint8Array) => {
      left -= chunk.length;
      if (left < 0) request.destroy();
    });
    request.on('close', () => clearTimeout(timer));
    request.on('error', () => clearTimeout(timer));
  }
}

function flushHead(reply: NodeReply): void {
  reply.flushHead();
}

/** What node:http refuses before there is a request: headers over the bound, headers that never end, no HTTP. */
function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const fault =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new Fault('headers_too_large')
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? new Fault('body_timeout', { detail: 'Its headers did not either.' })
        : new Fault('invalid_request', { detail: 'It is not HTTP.' });
  const { status, body } = openaiDialect.fault(fault, null);
  const text = new TextDecoder().decode(body);
  socket.end(
    `HTTP/1.1 ${status} \r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${text}`,
  );
}
