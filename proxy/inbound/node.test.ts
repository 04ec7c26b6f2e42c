import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { Call, Reply } from './call.ts';
import { listen } from './node.ts';

const SETTINGS = { host: '127.0.0.1', port: 0, headerBytesMax: 16_384, bodyBytesMax: 1024, bodyTimeoutMs: 60_000 };

describe('the listener', () => {
  it('closes although a client holds a connection that it never used', async () => {
    const listener = await listen({ handle: () => undefined }, SETTINGS);
    const spare = connect(listener.port, '127.0.0.1');
    await once(spare, 'connect');
    const gone = once(spare, 'close');
    await listener.close();
    await gone;
  });

  it('closes a kept connection once its last call has been answered', async () => {
    let reply: Reply | undefined;
    const arrived = Promise.withResolvers<void>();
    const handler = {
      handle(_call: Call, given: Reply) {
        reply = given;
        arrived.resolve();
      },
    };
    const listener = await listen(handler, SETTINGS);
    const agent = new Agent({ keepAlive: true });
    const outgoing = request({ port: listener.port, agent }).end();
    const answered = once(outgoing, 'response');
    await arrived.promise;
    const closed = listener.close();
    reply?.head(200, ['content-length', '2']);
    reply?.end(Buffer.from('ok'));
    const [response] = await answered;
    expect((await response.toArray()).join('')).toBe('ok');
    await closed;
    agent.destroy();
  });

  it('has a body that came with its head at once, of each of several requests that came together', async () => {
    const bodies: unknown[] = [];
    const handler = {
      handle(call: Call, reply: Reply) {
        const body = call.body(SETTINGS.bodyBytesMax, SETTINGS.bodyTimeoutMs);
        bodies.push(body instanceof Uint8Array ? Buffer.from(body).toString() : body);
        reply.head(204, []);
        reply.end();
      },
    };
    const listener = await listen(handler, SETTINGS);
    const client = connect(listener.port, '127.0.0.1');
    const post = (head: string, body: string) => `POST / HTTP/1.1\r\n${head}\r\n\r\n${body}`;
    const chunked = post('transfer-encoding: chunked', '3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n');
    client.end(post('content-length: 5', 'first') + post('content-length: 6', 'second') + chunked);
    const answer = (await client.toArray()).join('');
    expect(answer.match(/^HTTP\/1\.1 204/gm)).toHaveLength(3);
    expect(bodies.slice(0, 2)).toEqual(['first', 'second']);
    expect(Buffer.from((await bodies[2]) as Uint8Array).toString()).toBe('onetwo');
    await listener.close();
  });

  it.each([
    ['whole', 'hello'],
    ['in part', 'he'],
  ])('has no body for those who left before it was asked for, though it came %s', async (_, sent) => {
    const asked = Promise.withResolvers<Uint8Array | undefined>();
    const left = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    const handler = {
      async handle(call: Call, reply: Reply) {
        reply.onGone(left.resolve);
        arrived.resolve();
        await left.promise;
        asked.resolve(call.body(SETTINGS.bodyBytesMax, SETTINGS.bodyTimeoutMs));
      },
    };
    const listener = await listen(handler, SETTINGS);
    const client = connect(listener.port, '127.0.0.1');
    client.write(`POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n${sent}`);
    await arrived.promise;
    client.resetAndDestroy();
    expect(await asked.promise).toBeUndefined();
    await listener.close();
  });
});
