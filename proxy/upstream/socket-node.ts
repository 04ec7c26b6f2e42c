import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { NodeEnd } from '../socket/node-end.ts';
import type { Dialer, Dialled } from '../socket/socket.ts';
import { concat } from '../wire/bytes.ts';

/** Of an answer that opens no socket, more is not worth reading. */
const ANSWER_BYTES_MAX = 64 * 1024;

/** Sockets to upstreams over the package `ws`. Follows no redirects, retries nothing. */
export function nodeDialer(): Dialer {
  return {
    dial({ origin, path, headers, protocols, timeoutMs, frameBytesMax }) {
      const { promise, resolve } = Promise.withResolvers<Dialled>();
      const fail = (kind: 'unreachable' | 'timeout' | 'broken', cause: unknown): void =>
        resolve({ kind: 'failed', failure: { kind, cause } });
      const socket = new WebSocket(`${origin}${path}`, [...protocols], {
        headers: recordOf(headers),
        handshakeTimeout: timeoutMs,
        maxPayload: frameBytesMax,
        perMessageDeflate: false,
        followRedirects: false,
      });
      socket.once('open', () => {
        resolve({ kind: 'open', end: new NodeEnd(socket), protocol: socket.protocol || undefined });
      });
      socket.once('unexpected-response', (_request, response) => {
        void readAnswer(response).then((answer) => {
          resolve(answer);
          socket.terminate();
        });
      });
      // What breaks later is told by its closing.
      socket.on('error', (error) => fail('unreachable', error));
      return promise;
    },
  };
}

async function readAnswer(response: IncomingMessage): Promise<Dialled> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > ANSWER_BYTES_MAX) break;
      chunks.push(chunk);
    }
  } catch (cause) {
    return { kind: 'failed', failure: { kind: 'broken', cause } };
  }
  return { kind: 'answered', status: response.statusCode ?? 0, headers: response.headers, body: concat(chunks) };
}

/** Several values of one name are one list, as node:http takes them. */
function recordOf(headers: readonly string[]): Record<string, string | string[]> {
  const record: Record<string, string | string[]> = {};
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    const known = record[name];
    record[name] = known === undefined ? value : [...(Array.isArray(known) ? known : [known]), value];
  }
  return record;
}
