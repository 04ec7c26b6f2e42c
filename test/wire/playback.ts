import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Recording, SocketRecording } from './recording.ts';

/** The header by which a request says which answer it is for, so that many can be on their way at once. */
export const PLAYBACK_HEADER = 'x-playback';

/** One answer on its way, and the body of the request that got it. */
export interface Played {
  readonly id: string;
  received: Buffer;
}

/**
 * A provider that answers with recordings, in the pieces that it is told. Each piece is an HTTP chunk of its own, so that
 * the reader sees these cuts whatever the network does with them.
 */
export class Playback {
  readonly #server: Server;
  readonly #answers = new Map<string, { recording: Recording; cuts: readonly number[]; played: Played }>();
  readonly #talks = new Map<string, { recording: SocketRecording; cuts: readonly number[]; talked: Talked }>();
  #count = 0;

  private constructor() {
    this.#server = createServer({ noDelay: true }, async (request, response) => {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(part);
      const answer = this.#answers.get(String(request.headers[PLAYBACK_HEADER]));
      if (!answer) return void response.writeHead(503).end();
      const { recording, cuts, played } = answer;
      played.received = Buffer.concat(parts);
      response.writeHead(recording.status, {
        ...Object.fromEntries(recording.headers),
        'content-type': recording.contentType,
      });
      for (const piece of pieces(recording.body, cuts)) response.write(piece);
      response.end();
    });
    const upgrader = new WebSocketServer({ noServer: true });
    this.#server.on('upgrade', (request, socket, head) => {
      const talk = this.#talks.get(String(request.headers[PLAYBACK_HEADER]));
      if (!talk) return void socket.destroy();
      upgrader.handleUpgrade(request, socket, head, (peer) => {
        playSide(peer, talk.recording, 'received', talk.cuts, talk.talked.received);
      });
    });
  }

  static async start(): Promise<Playback> {
    const playback = new Playback();
    playback.#server.listen(0, '127.0.0.1');
    await once(playback.#server, 'listening');
    return playback;
  }

  /** Without a path. */
  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What requests with its id get. `cuts` are positions in the body, ascending. */
  play(recording: Recording, cuts: readonly number[]): Played {
    const played: Played = { id: String(this.#count++), received: Buffer.alloc(0) };
    this.#answers.set(played.id, { recording, cuts, played });
    return played;
  }

  /** What a socket with its id is told. `cuts` are positions in all messages, one after the other, ascending. */
  talk(recording: SocketRecording, cuts: readonly number[]): Talked {
    const talked: Talked = { id: String(this.#count++), received: [] };
    this.#talks.set(talked.id, { recording, cuts, talked });
    return talked;
  }

  forget({ id }: Pick<Played, 'id'>): void {
    this.#answers.delete(id);
    this.#talks.delete(id);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** One socket, and what it was told. */
export interface Talked {
  readonly id: string;
  readonly received: Buffer[];
}

/**
 * Says one side of a recorded socket: what is its own, each time that the other has said what comes before. A message
 * that is cut is sent in as many fragments.
 */
export function playSide(
  socket: WebSocket,
  { messages }: SocketRecording,
  own: 'sent' | 'received',
  cuts: readonly number[],
  heard: Buffer[],
): void {
  let at = 0;
  let offset = 0;
  const goOn = (): void => {
    for (; messages[at]?.direction === own; at++) {
      const { bytes } = messages[at] as SocketRecording['messages'][number];
      const within = cuts.filter((cut) => cut > offset && cut < offset + bytes.length).map((cut) => cut - offset);
      const parts = pieces(bytes, within);
      parts.forEach((part, i) => {
        socket.send(part, { binary: false, fin: i === parts.length - 1 });
      });
      offset += bytes.length;
    }
  };
  socket.on('message', (data) => {
    heard.push(Buffer.from(data as Buffer));
    offset += messages[at]?.bytes.length ?? 0;
    at++;
    goOn();
  });
  goOn();
}

function pieces(body: Buffer, cuts: readonly number[]): Buffer[] {
  const edges = [0, ...cuts, body.length];
  return edges
    .slice(1)
    .map((end, i) => body.subarray(edges[i], end))
    .filter((piece) => piece.length > 0);
}

/** Bodies up to this size are cut at every position; larger ones at random. */
const EVERY_CUT_BYTES_MAX = 4096;
const RANDOM_CUTS = 200;
const PIECES_MAX = 40;

/** Each way to cut a body that is tried: whole, byte by byte, in two at every position, or many times at random. */
export function cutsOf(length: number, random: () => number): number[][] {
  const everywhere = Array.from({ length: Math.max(length - 1, 0) }, (_, i) => i + 1);
  if (length <= EVERY_CUT_BYTES_MAX) return [[], everywhere, ...everywhere.map((at) => [at])];
  const many = Array.from({ length: RANDOM_CUTS }, () => {
    const count = 1 + Math.floor(random() * PIECES_MAX);
    const positions = Array.from({ length: count }, () => 1 + Math.floor(random() * (length - 1)));
    return [...new Set(positions)].sort((a, b) => a - b);
  });
  return [[], everywhere, ...many];
}
