import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { FAMILIES } from '#config/wires.ts';
import type { UsageEventData } from '#core/usage-event.ts';
import {
  configOf,
  heldBy,
  keyPolicy,
  limitPolicy,
  SECRET,
  startGateway,
  type TestGateway,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import { undeclaredUnits } from '#test/wire/expectation.ts';
import type { WireFixture } from './wire-fixture.ts';

const BODY_BYTES = 20 << 20;
/** Says which answer a request is for. */
const PLAY = 'x-play';

/** How an upstream plays one answer. */
type Play = (response: ServerResponse, body: Buffer) => void | Promise<void>;

/**
 * What every wire must bear: clients that hang up and upstreams that break off at every event, answers that are
 * compressed against our wish, large bodies, and what is yet to come.
 */
export function wireConformance(name: string, fixture: WireFixture): void {
  describe(`the wire ${name}`, () => {
    const { pieces, widened } = fixture;
    const ownUnits: readonly string[] = fixture.upstream?.units?.map(({ unit }) => unit) ?? [];
    const answer = Buffer.concat(pieces);
    const requestType = fixture.requestType ?? 'application/json';
    const encode = (text: string): Buffer => {
      const request = fixture.request(text);
      return Buffer.isBuffer(request) ? request : Buffer.from(JSON.stringify(request));
    };
    const plays = new Map<string, Play>();
    const upstream = createServer({ noDelay: true }, async (incoming, response) => {
      const parts: Buffer[] = [];
      for await (const part of incoming) parts.push(part);
      response.on('error', () => undefined);
      await plays.get(String(incoming.headers[PLAY]))?.(response, Buffer.concat(parts));
    });
    let weir: TestGateway;
    let cancelling: TestGateway;

    beforeAll(async () => {
      upstream.listen(0, '127.0.0.1');
      await once(upstream, 'listening');
      const { prefix } = FAMILIES[fixture.family];
      const address = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
      const to = upstreamConfig('upstream', '', {
        addresses: { [fixture.family]: `${address}${typeof prefix === 'string' ? prefix : ''}` },
        auth: 'bearer',
        provider: fixture.provider,
        models: ['*'],
        ...fixture.upstream,
      });
      const limits = [
        limitPolicy({ kind: 'concurrency', amount: '1000' }),
        limitPolicy({ kind: 'tokens', amount: '1000000000', per: 'minute' }),
      ];
      const gateway = { bodyBytesMax: 2 * BODY_BYTES };
      weir = await startGateway(configOf([to], { gateway }), [keyPolicy({ limits })]);
      const cancel = { ...gateway, onDisconnect: 'cancel' as const };
      cancelling = await startGateway(configOf([to], { gateway: cancel }), [keyPolicy({ limits })]);
    });
    afterAll(async () => {
      await weir[Symbol.asyncDispose]();
      await cancelling[Symbol.asyncDispose]();
      upstream.closeAllConnections();
      upstream.close();
    });

    const head = fixture.headers;
    /** A call that is answered by this play; its session finds its event. */
    async function call(play: Play, text = 'Hello', from = weir) {
      const session = `play-${plays.size}`;
      plays.set(session, play);
      const outgoing = request(`${from.url}${fixture.path}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${SECRET}`,
          'content-type': requestType,
          'x-weir-session': session,
          [PLAY]: session,
        },
      });
      outgoing.on('error', () => undefined);
      outgoing.end(encode(text));
      const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
      return { response, outgoing, event: () => eventOf(from, session) };
    }

    /** Its one event; nothing of it is held any more. */
    async function eventOf({ sink, counters }: TestGateway, session: string): Promise<UsageEventData> {
      return vi.waitFor(
        async () => {
          const own = sink.closed.filter(({ event }) => event.data.session === session);
          expect(own).toHaveLength(1);
          const [closing] = own;
          if (!closing) throw new Error('no event');
          const others = sink.opened.length - sink.closed.length - sink.abandoned.length;
          if (others === 0) expect(await heldBy(counters, closing.reservation)).toBe(0n);
          return closing.event.data;
        },
        { interval: 2, timeout: 10_000 },
      );
    }

    const whole: Play = (response) => void response.writeHead(200, head).end(answer);
    function expectFinal(data: UsageEventData, when?: string): void {
      expect(data, when).toMatchObject({ outcome: 'ok', usage_status: 'final' });
      expect(withoutTime(data), when).toEqual(fixture.quantities);
      expect(undeclaredUnits(data).filter((unit) => !ownUnits.includes(unit))).toEqual([]);
    }

    it('is metered as the provider counted, and passes as it is', async () => {
      const { response, event } = await call(whole);
      expect((await bytesOf(response)).equals(answer)).toBe(true);
      expectFinal(await event());
    });

    it("is billed by the provider's figures when the client hangs up, at every event", async () => {
      for (let seen = 0; seen <= pieces.length; seen++) {
        const gone = Promise.withResolvers<void>();
        const { response, event } = await call(async (to) => {
          to.writeHead(200, head).flushHeaders();
          for (const one of pieces.slice(0, seen)) to.write(one);
          await gone.promise;
          to.end(Buffer.concat(pieces.slice(seen)));
        });
        await bytesOf(response, Buffer.concat(pieces.slice(0, seen)).length);
        response.destroy();
        gone.resolve();
        expectFinal(await event(), `hung up after ${seen} events`);
      }
    });

    it('is billed by what went by when the client hangs up and the rest is not read, at every event', async () => {
      for (let seen = 1; seen < pieces.length; seen++) {
        const { response, event } = await call(
          (to) => {
            to.writeHead(200, head);
            for (const one of pieces.slice(0, seen)) to.write(one);
          },
          'Hello',
          cancelling,
        );
        await bytesOf(response, Buffer.concat(pieces.slice(0, seen)).length);
        response.destroy();
        const data = await event();
        expect(data.outcome, `hung up after ${seen} events`).toBe('gone');
        expect(['partial', 'estimated']).toContain(data.usage_status);
        expectNoMore(data);
      }
    });

    it('is billed by what went by when the upstream breaks off, at every event, and the client is told', async () => {
      for (let sent = 0; sent <= pieces.length; sent++) {
        const part = Buffer.concat(pieces.slice(0, sent));
        const { response, event } = await call((to) => {
          to.writeHead(200, head).flushHeaders();
          to.write(part, () => to.destroy());
        });
        const got = await bytesOf(response).catch((): Buffer => Buffer.alloc(0));
        // Either the connection breaks, or there is an error behind what came.
        expect(got.equals(answer), `broken off after ${sent} events`).toBe(false);
        const data = await event();
        expect(['cut', 'failed']).toContain(data.outcome);
        expect(['partial', 'estimated', 'none']).toContain(data.usage_status);
        expectNoMore(data);
        if (sent === pieces.length) expect(withoutTime(data)).toEqual(fixture.quantities);
      }
    });

    it.each([
      ['gzip', gzipSync, gunzipSync],
      ['br', brotliCompressSync, brotliDecompressSync],
    ] as const)('is metered when it is compressed against our wish: %s', async (encoding, compress, expand) => {
      const body = compress(answer);
      const { response, event } = await call((to) => {
        to.writeHead(200, { ...head, 'content-encoding': encoding });
        for (let at = 0; at < body.length; at += 7) to.write(body.subarray(at, at + 7));
        to.end();
      });
      expect(response.headers['content-encoding']).toBe(encoding);
      expect(expand(await bytesOf(response)).equals(answer)).toBe(true);
      expectFinal(await event());
    });

    it('passes a request of 20 MB as it is', async () => {
      const text = 'wörter '.repeat(BODY_BYTES / 8);
      let received = '';
      const { response, event } = await call((to, body) => {
        received = createHash('sha256').update(body).digest('hex');
        to.writeHead(200, head).end(answer);
      }, text);
      expect((await bytesOf(response)).equals(answer)).toBe(true);
      expectFinal(await event());
      expect(received).toBe(createHash('sha256').update(encode(text)).digest('hex'));
    });

    it('passes an answer of 20 MB as it is, and is metered by its end', async () => {
      const long = fixture.long(BODY_BYTES);
      const { response, event } = await call((to) => void to.writeHead(200, head).end(long));
      expect((await bytesOf(response)).equals(long)).toBe(true);
      expectFinal(await event());
    });

    it('is metered the same with members and events that are yet to come', async () => {
      const { response, event } = await call((to) => void to.writeHead(200, head).end(widened));
      expect((await bytesOf(response)).equals(widened)).toBe(true);
      expectFinal(await event());
    });

    /** No more output than the whole of it; a guess of the input may be above what the provider counts. */
    function expectNoMore({ quantities, usage_status }: UsageEventData): void {
      const output = (of: Readonly<Record<string, unknown>>): bigint => BigInt(String(of.output_tokens ?? 0));
      if (usage_status !== 'estimated') expect(output(quantities)).toBeLessThanOrEqual(output(fixture.quantities));
      if (usage_status === 'none') expect(quantities).toEqual({});
    }
  });
}

/** Of calls that are billed for the time that they take: nobody knows it before. */
function withoutTime({
  quantities: { duration_ms: _time, ...others },
}: UsageEventData): Readonly<Record<string, string>> {
  return others;
}

/** So many, or all of them. Rejects when it breaks. */
async function bytesOf(response: IncomingMessage, enough = Number.POSITIVE_INFINITY): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  if (enough === 0) return Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    response.on('data', (part: Buffer) => {
      parts.push(part);
      length += part.length;
      if (length >= enough) resolve(Buffer.concat(parts));
    });
    response.on('end', () => resolve(Buffer.concat(parts)));
    response.on('error', reject);
    response.on('close', () => reject(new Error('closed early')));
  });
}
