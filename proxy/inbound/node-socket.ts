import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { NodeEnd } from '../socket/node-end.ts';
import type { SocketAnswer, SocketEnd, SocketOffer } from '../socket/socket.ts';
import type { HeaderList, Reply } from './call.ts';

/**
 * A request to change to WebSocket. Until it is accepted it can be answered as any other, which is how it is refused:
 * the answer is written to the bare connection, which ends with it.
 */
export class NodeOffer implements SocketOffer, Reply {
  readonly #request: IncomingMessage;
  readonly #socket: Duplex;
  readonly #head: Buffer;
  #onGone: (() => void) | undefined;
  #ended = false;

  constructor(request: IncomingMessage, socket: Duplex, head: Buffer) {
    this.#request = request;
    this.#socket = socket;
    this.#head = head;
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (!this.#ended) this.#onGone?.();
    });
  }

  accept(answer: SocketAnswer): SocketEnd | undefined {
    if (this.#ended || this.#socket.destroyed) return undefined;
    this.#ended = true;
    let end: SocketEnd | undefined;
    const server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: answer.frameBytesMax,
      handleProtocols: () => answer.protocol ?? false,
    });
    server.on('headers', (lines) => {
      for (const [name, value] of pairsOf(answer.headers)) lines.push(`${name}: ${value}`);
    });
    server.handleUpgrade(this.#request, this.#socket, this.#head, (socket) => {
      end = new NodeEnd(socket);
    });
    return end;
  }

  head(status: number, headers: HeaderList): void {
    if (this.#ended) return;
    const lines = pairsOf(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    this.#socket.write(
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}connection: close\r\n\r\n`,
    );
  }

  write(chunk: Uint8Array): boolean {
    return this.#ended || this.#socket.write(chunk);
  }

  end(chunk?: Uint8Array): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.end(chunk, () => this.#socket.destroy());
  }

  cut(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.destroy();
  }

  onDrain(listener: () => void): void {
    this.#socket.on('drain', listener);
  }

  onGone(listener: () => void): void {
    this.#onGone = listener;
  }
}

function pairsOf(headers: HeaderList): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) pairs.push([headers[i] as string, headers[i + 1] as string]);
  return pairs;
}
