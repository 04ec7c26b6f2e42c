import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import type { HeaderMap } from '#proxy/inbound/call.ts';
import type { Sending, Upstream, UpstreamFailure, UpstreamHandler, UpstreamRequest } from '#proxy/upstream/upstream.ts';

/** Remembers what came, and lets a test wait for it. */
class Seen implements UpstreamHandler {
  status = 0;
  headers: HeaderMap = {};
  text = '';
  failure: UpstreamFailure | undefined;
  /** What came after the end: must stay empty. */
  readonly late: string[] = [];
  readonly #ended = Promise.withResolvers<void>();
  readonly #begun = Promise.withResolvers<void>();
  #over = false;

  head(status: number, headers: HeaderMap): void {
    if (this.#over) this.late.push('head');
    this.status = status;
    this.headers = headers;
  }
  data(chunk: Uint8Array): void {
    if (this.#over) this.late.push('data');
    this.text += new TextDecoder().decode(chunk);
    this.#begun.resolve();
  }
  end(): void {
    this.#finish('end');
  }
  failed(failure: UpstreamFailure): void {
    this.failure = failure;
    this.#finish('failed');
  }

  /** Resolves with the first bytes of the body. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  #finish(how: string): void {
    if (this.#over) this.late.push(how);
    this.#over = true;
    this.#ended.resolve();
  }
}

async function serve(answer: RequestListener): Promise<{ origin: string } & AsyncDisposable> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const ASK: Omit<UpstreamRequest, 'origin'> = {
  method: 'POST',
  path: '/v1/chat?a=1',
  headers: ['content-type', 'application/json', 'x-twice', 'a', 'x-twice', 'b'],
  body: new TextEncoder().encode('{"ask":"ü"}'),
  connectTimeoutMs: 2_000,
  headersTimeoutMs: 5_000,
  idleTimeoutMs: 5_000,
  connectionsMax: 10,
};

/** One suite for every way to an upstream. */
export function upstreamConformance(name: string, make: () => Upstream & { close?(): Promise<void> }): void {
  async function exchange(
    origin: string,
    changes: Partial<UpstreamRequest> = {},
    during: (sending: Sending, seen: Seen) => unknown = () => undefined,
  ): Promise<Seen> {
    const upstream = make();
    const seen = new Seen();
    const sending = upstream.send({ ...ASK, origin, ...changes }, seen);
    await during(sending, seen);
    await seen.ended;
    sending.abort();
    await upstream.close?.();
    expect(seen.late).toEqual([]);
    return seen;
  }

  describe(`upstream: ${name}`, () => {
    test('sends what it is given and brings back what comes', async () => {
      let asked: unknown;
      await using server = await serve(async (request, response) => {
        let body = '';
        for await (const chunk of request) body += chunk;
        asked = { method: request.method, url: request.url, twice: request.headers['x-twice'], body };
        response.writeHead(201, { 'x-answer': 'yes' });
        response.write('one ');
        response.end('two');
      });
      const seen = await exchange(server.origin);
      expect(asked).toEqual({ method: 'POST', url: '/v1/chat?a=1', twice: 'a, b', body: '{"ask":"ü"}' });
      expect(seen).toMatchObject({ status: 201, text: 'one two', failure: undefined });
      expect(seen.headers['x-answer']).toBe('yes');
    });

    test('brings each chunk when it comes', async () => {
      const rest = Promise.withResolvers<void>();
      await using server = await serve((_request, response) => {
        response.write('first');
        void rest.promise.then(() => response.end(' last'));
      });
      const seen = await exchange(server.origin, {}, async (_sending, { begun }) => {
        await begun;
        rest.resolve();
      });
      expect(seen.text).toBe('first last');
    });

    test('follows no redirect', async () => {
      let calls = 0;
      await using server = await serve((_request, response) => {
        calls++;
        response.writeHead(307, { location: '/elsewhere' }).end();
      });
      expect(await exchange(server.origin)).toMatchObject({ status: 307, failure: undefined });
      expect(calls).toBe(1);
    });

    test('says that nobody is there', async () => {
      const server = await serve(() => undefined);
      await server[Symbol.asyncDispose]();
      expect((await exchange(server.origin)).failure?.kind).toBe('unreachable');
    });

    test('gives up on a head that does not come', async () => {
      await using server = await serve(() => undefined);
      const seen = await exchange(server.origin, { headersTimeoutMs: 100 });
      expect(seen).toMatchObject({ status: 0, failure: { kind: 'timeout' } });
    });

    test('gives up on a body that goes silent', async () => {
      await using server = await serve((_request, response) => {
        response.write('first');
      });
      const seen = await exchange(server.origin, { idleTimeoutMs: 100 });
      expect(seen).toMatchObject({ status: 200, text: 'first', failure: { kind: 'timeout' } });
    });

    test('says that an answer broke off', async () => {
      await using server = await serve((_request, response) => {
        response.writeHead(200, { 'content-length': '100' });
        response.write('first', () => response.destroy());
      });
      expect(await exchange(server.origin)).toMatchObject({ text: 'first', failure: { kind: 'broken' } });
    });

    test('says that something which is no HTTP went wrong', async () => {
      const server = createTcpServer((socket) => socket.resume().end('SSH-2.0-OpenSSH_9.2\r\n'));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      const seen = await exchange(`http://127.0.0.1:${port}`);
      // Not every runtime says which of the two it was.
      expect(['invalid', 'unreachable', 'broken']).toContain(seen.failure?.kind);
      await new Promise((resolve) => server.close(resolve));
    });

    test('stops when it is told to: before the head, and in the middle', async () => {
      await using silent = await serve(() => undefined);
      const before = await exchange(silent.origin, {}, (sending) => sending.abort());
      expect(before).toMatchObject({ status: 0, failure: { kind: 'aborted' } });
      const gone = Promise.withResolvers<void>();
      await using endless = await serve((_request, response) => {
        response.write('first');
        response.on('close', () => gone.resolve());
      });
      const during = await exchange(endless.origin, {}, async (sending, { begun }) => {
        await begun;
        sending.abort();
      });
      expect(during).toMatchObject({ text: 'first', failure: { kind: 'aborted' } });
      // The upstream is told as well: it need not answer into the void.
      await gone.promise;
    });

    test('reads no further while it is paused, and the idle timeout rests meanwhile', async () => {
      const chunk = 'x'.repeat(64 * 1024);
      const chunks = 400;
      let written = 0;
      await using server = await serve((_request, response) => {
        const more = () => {
          while (written < chunks) {
            written++;
            if (!response.write(chunk)) return;
          }
          response.end();
        };
        response.on('drain', more);
        more();
      });
      const seen = await exchange(server.origin, { idleTimeoutMs: 150 }, async (sending, { begun }) => {
        await begun;
        sending.pause();
        let before = -1;
        const standsStill = () => {
          const still = before === written;
          before = written;
          return still;
        };
        // Until the buffers on the way are full, and then for longer than the idle timeout.
        await expect.poll(standsStill, { interval: 200, timeout: 10_000 }).toBe(true);
        expect(written).toBeLessThan(chunks);
        sending.resume();
      });
      expect(seen.failure).toBeUndefined();
      expect(seen.text.length).toBe(chunk.length * chunks);
    });
  });
}
