import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { vi } from 'vitest';
import { type ClientOptions, WebSocket, WebSocketServer } from 'ws';
import { SECRET } from './harness.ts';

/** An upstream of sockets on a free port, which does with each message what a test says. */
export interface SocketStub extends AsyncDisposable {
  readonly url: string;
  readonly opened: IncomingMessage[];
  /** Those that are open, in their order. */
  readonly sockets: WebSocket[];
  /** What came, as JSON. */
  readonly messages: Message[];
  readonly closings: { code: number; reason: string }[];
}

export type Message = Record<string, unknown> & { type?: string };

export type SocketAnswer = (message: Message, say: (...events: object[]) => void, socket: WebSocket) => void;

export interface StubOptions {
  /** What is said at once. */
  greeting?: readonly object[];
  /** Answered in place of a socket. */
  refuse?: { status: number; body: string };
  binary?: boolean;
  /** What is answered to plain requests. */
  http?: (request: IncomingMessage, body: string, reply: ServerResponse) => void;
}

export async function startSocketStub(answer: SocketAnswer, options: StubOptions = {}): Promise<SocketStub> {
  const opened: IncomingMessage[] = [];
  const sockets: WebSocket[] = [];
  const messages: Message[] = [];
  const closings: { code: number; reason: string }[] = [];
  const server = createServer(async (request, reply) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    options.http?.(request, Buffer.concat(chunks).toString(), reply);
  });
  const upgrader = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    opened.push(request);
    const { refuse } = options;
    if (refuse) {
      const { status, body } = refuse;
      return socket.end(
        `HTTP/1.1 ${status} No\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
      );
    }
    return upgrader.handleUpgrade(request, socket, head, (peer) => {
      sockets.push(peer);
      const say = (...events: object[]): void => {
        for (const event of events) peer.send(Buffer.from(JSON.stringify(event)), { binary: options.binary ?? false });
      };
      peer.on('message', (data) => {
        const message = JSON.parse(data.toString()) as Message;
        messages.push(message);
        answer(message, say, peer);
      });
      peer.on('close', (code, reason) => closings.push({ code, reason: reason.toString() }));
      say(...(options.greeting ?? []));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    opened,
    sockets,
    messages,
    closings,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A client, and all that it was told. */
export class SocketClient implements AsyncDisposable {
  readonly socket: WebSocket;
  readonly messages: Message[] = [];
  closed: { code: number; reason: string } | undefined;
  /** In place of a socket. */
  answer: { status: number; body: string } | undefined;

  constructor(url: string, options: ClientOptions = {}, protocols: string[] = []) {
    const headers = { authorization: `Bearer ${SECRET}`, ...options.headers };
    this.socket = new WebSocket(url.replace('http', 'ws'), protocols, { ...options, headers });
    this.socket.on('message', (data) => this.messages.push(JSON.parse(data.toString()) as Message));
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    this.socket.on('error', () => undefined);
    this.socket.on('unexpected-response', async (_request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      this.answer = { status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() };
    });
  }

  say(...events: object[]): void {
    for (const event of events) this.socket.send(JSON.stringify(event));
  }

  async opened(): Promise<this> {
    await this.until(() => this.socket.readyState === WebSocket.OPEN, 'an open socket');
    return this;
  }

  async hears(type: string, count = 1): Promise<Message> {
    const heard = () => this.messages.filter((message) => message.type === type);
    await this.until(() => heard().length >= count, type);
    return heard()[count - 1] as Message;
  }

  async refused(): Promise<{ status: number; body: string }> {
    await this.until(() => this.answer !== undefined, 'an answer');
    return this.answer as { status: number; body: string };
  }

  async ended(): Promise<{ code: number; reason: string }> {
    await this.until(() => this.closed !== undefined, 'a closing');
    return this.closed as { code: number; reason: string };
  }

  until(condition: () => boolean, what: string): Promise<void> {
    const look = () => {
      if (condition()) return;
      const told = JSON.stringify({ heard: this.messages, closed: this.closed, answer: this.answer }).slice(0, 2_000);
      throw new Error(`waited for ${what}; ${told}`);
    };
    return vi.waitFor(look, { interval: 2, timeout: 10_000 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.terminate();
  }
}
