import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import { openTestJournal, temporaryFolder } from '#test/support/journal.ts';
import { closeCall, openCall } from '#test/support/journal-calls.ts';
import { httpShipping } from './http-shipping.ts';

const TAKEN = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}';
const TLS_HANDSHAKE = 22;

/** Something that listens, and what comes of two batches, one after the other, that are brought to it. */
async function shipTwo(scheme: string, onData: (socket: Socket, chunk: Buffer) => void): Promise<string[]> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => onData(socket, chunk));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const { ship, close } = httpShipping({ url: `${scheme}://127.0.0.1:${port}`, token: 'wr_api_secret' });
  const journal = await openTestJournal(temporaryFolder());
  onTestFinished(async () => {
    await close();
    await journal.close();
    server.close();
  });
  const seen: string[] = [];
  for (const id of ['req_1', 'req_2']) {
    await openCall(journal, id);
    await closeCall(journal, id);
    const range = journal.range(journal.cursor, { count: 1, bytes: 1_000_000 });
    await ship(range, () => undefined, new AbortController().signal).then(
      async (next) => {
        await journal.shipped(next);
        seen.push('shipped');
      },
      (error: unknown) => seen.push(String(error)),
    );
  }
  return seen;
}

/** Whole requests come in pieces; each ends with the only `]` that they have. */
const isEnd = (chunk: Buffer): boolean => chunk.at(-1) === ']'.charCodeAt(0);

it('speaks TLS to an https address, however that is written', async () => {
  for (const scheme of ['https', 'HTTPS']) {
    const first: (number | undefined)[] = [];
    await shipTwo(scheme, (socket, chunk) => {
      first.push(chunk[0]);
      socket.destroy();
    });
    expect(first).toEqual([TLS_HANDSHAKE, TLS_HANDSHAKE]);
  }
});

it('sends a batch again at once where the connection was let go of meanwhile', async () => {
  let requests = 0;
  const seen = await shipTwo('http', (socket, chunk) => {
    if (!isEnd(chunk)) return;
    requests++;
    if (requests === 2) socket.destroy();
    else socket.write(TAKEN);
  });
  expect(seen).toEqual(['shipped', 'shipped']);
  expect(requests).toBe(3);
});

it('fails a batch that is answered with something else than an answer', async () => {
  const seen = await shipTwo('http', (socket, chunk) => {
    if (isEnd(chunk)) socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n');
  });
  expect(seen).toEqual(Array(2).fill('Error: billing gave no answer'));
});

it('lets go of a connection that is idle for some seconds, which something between may have dropped without a word', async () => {
  const sockets = new Set<Socket>();
  await shipTwo('http', (socket, chunk) => {
    sockets.add(socket);
    if (isEnd(chunk)) socket.write(TAKEN);
  });
  expect(sockets.size).toBe(1);
  await vi.waitFor(() => expect([...sockets].every(({ readableEnded }) => readableEnded)).toBe(true), 15_000);
});
