import type { RawData, WebSocket } from 'ws';
import type { Frame, SocketEnd, SocketListener } from './socket.ts';

/** How far one side may lag behind before the other is read no further. */
const BUFFER_BYTES = 256 * 1024;
/** A reason is at most so long (RFC 6455, section 5.5). */
const REASON_BYTES_MAX = 123;
/** How often it is asked whether the other side is still there. */
const PING_MS = 30_000;
/** How long the other side may take to say goodbye. */
const CLOSE_MS = 5_000;

/** One end of a socket over the package `ws`; the same for clients and upstreams. */
export class NodeEnd implements SocketEnd {
  readonly #socket: WebSocket;
  #lagging = false;
  #listener: SocketListener | undefined;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    // Frames that come with the handshake wait until somebody listens.
    socket.pause();
    // What breaks is closed, and `close` says so.
    socket.on('error', () => undefined);
    watch(socket);
  }

  listen(listener: SocketListener): void {
    const socket = this.#socket;
    this.#listener = listener;
    socket.on('message', (data, isBinary) => listener.frame({ bytes: bytesOf(data), isText: !isBinary }));
    if (socket.readyState >= socket.CLOSING) listener.closed(1006, '');
    else socket.on('close', (code, reason) => listener.closed(code, reason.toString()));
    socket.resume();
  }

  send({ bytes, isText }: Frame): boolean {
    const socket = this.#socket;
    if (socket.readyState !== socket.OPEN) return true;
    const lags = socket.bufferedAmount + bytes.length > BUFFER_BYTES;
    if (lags) this.#lagging = true;
    socket.send(bytes, { binary: !isText }, lags ? this.#onSent : undefined);
    return !lags;
  }

  readonly #onSent = (): void => {
    if (!this.#lagging || this.#socket.bufferedAmount > BUFFER_BYTES) return;
    this.#lagging = false;
    this.#listener?.drained();
  };

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(code: number, reason: string): void {
    const socket = this.#socket;
    // Its goodbye must be read.
    socket.resume();
    socket.close(code, shortened(reason));
    const timer = setTimeout(() => socket.terminate(), CLOSE_MS);
    socket.once('close', () => clearTimeout(timer));
  }

  cut(): void {
    this.#socket.terminate();
  }
}

/** One that is gone without a word is noticed by its silence, however quiet the talk. */
function watch(socket: WebSocket): void {
  let answered = true;
  socket.on('pong', () => {
    answered = true;
  });
  const timer = setInterval(() => {
    if (socket.isPaused) return;
    if (!answered) return socket.terminate();
    answered = false;
    socket.ping();
  }, PING_MS);
  timer.unref();
  socket.once('close', () => clearInterval(timer));
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

function shortened(text: string): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= REASON_BYTES_MAX) return text;
  // No character is cut in two.
  return bytes
    .subarray(0, REASON_BYTES_MAX)
    .toString()
    .replace(/\uFFFD+$/, '');
}
