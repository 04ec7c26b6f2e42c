import { describe, expect, test } from 'vitest';
import { Fault } from '#core/fault.ts';
import type { Call, Reply } from './call.ts';
import { answerFetch } from './fetch.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

/** One request through the adapter, with a handler in the place of the gateway. */
async function answer(
  handle: (call: Call, reply: Reply) => void | Promise<void>,
  init: RequestInit & { duplex?: 'half' } = {},
  url = 'http://weir/v1/chat?key=a%20b&c=',
): Promise<{ response: Response; work: Promise<void> }> {
  let work: Promise<void> = Promise.resolve();
  const handler = { handle: async (call: Call, reply: Reply) => handle(call, reply) };
  const response = await answerFetch(handler, new Request(url, init), (started) => {
    work = started;
  });
  return { response, work };
}

/** A body that comes piece by piece, and then no more. */
function bodyOf(...pieces: (string | Error)[]): RequestInit & { duplex: 'half' } {
  const left = [...pieces];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const next = left.shift();
      if (next instanceof Error) controller.error(next);
      else if (next !== undefined) controller.enqueue(bytes(next));
      else return new Promise(() => undefined);
    },
  });
  return { method: 'POST', body, duplex: 'half' };
}

describe('a call', () => {
  test('is what the request says, without what the edge added', async () => {
    let seen: Call | undefined;
    await answer(
      (call, reply) => {
        seen = call;
        reply.head(200, []);
        reply.end();
      },
      { method: 'POST', headers: { 'X-Api-Key': 'k', 'cf-connecting-ip': '10.0.0.1', 'cdn-loop': 'x' } },
    );
    expect(seen).toMatchObject({ method: 'POST', path: '/v1/chat', query: 'key=a%20b&c=' });
    expect(seen?.headers).toEqual({ 'x-api-key': 'k' });
  });

  test('gives its whole body', async () => {
    let text = '';
    const { work } = await answer(
      async (call, reply) => {
        text = new TextDecoder().decode(await call.body(100, 1_000));
        reply.head(200, []);
        reply.end();
      },
      { method: 'POST', body: '{"a":"ü"}' },
    );
    await work;
    expect(text).toBe('{"a":"ü"}');
  });

  test('takes no body over the bound, whether it says its length or not', async () => {
    const faults: unknown[] = [];
    const handle = async (call: Call, reply: Reply) => {
      await Promise.resolve(call.body(10, 1_000)).catch((fault) => faults.push(fault));
      reply.head(413, []);
      reply.end();
    };
    await answer(handle, { method: 'POST', body: 'x'.repeat(11), headers: { 'content-length': '11' } });
    await answer(handle, bodyOf('x'.repeat(6), 'x'.repeat(6)));
    expect(faults).toHaveLength(2);
    for (const fault of faults) expect(fault).toMatchObject({ code: 'body_too_large', status: 413 });
  });

  test('does not wait for ever for its body', async () => {
    let fault: unknown;
    await answer(async (call, reply) => {
      fault = await Promise.resolve(call.body(100, 30)).catch((thrown) => thrown);
      reply.head(408, []);
      reply.end();
    }, bodyOf('half of it'));
    expect(fault).toBeInstanceOf(Fault);
    expect(fault).toMatchObject({ code: 'body_timeout' });
  });

  test('has no body when the client left in the middle of it', async () => {
    let body: Uint8Array | undefined = bytes('something');
    await answer(
      async (call, reply) => {
        body = await call.body(100, 1_000);
        reply.head(200, []);
        reply.end();
      },
      bodyOf('half of it', new Error('the connection is gone')),
    );
    expect(body).toBeUndefined();
  });
});

describe('an answer', () => {
  test('begins with its head, before there is a body', async () => {
    const { response } = await answer((_call, reply) => {
      reply.head(207, ['x-a', '1', 'x-a', '2', 'content-length', '5', 'connection', 'close']);
    });
    expect(response.status).toBe(207);
    expect([...response.headers]).toEqual([['x-a', '1, 2']]);
  });

  test('has the bytes as they were written', async () => {
    const { response } = await answer((_call, reply) => {
      reply.head(200, []);
      reply.write(bytes('a'));
      reply.write(bytes('b'));
      reply.end(bytes('c'));
    });
    expect(await response.text()).toBe('abc');
  });

  test('may have no body at all', async () => {
    const { response } = await answer((_call, reply) => {
      reply.head(204, []);
      reply.end();
    });
    expect(response).toMatchObject({ status: 204, body: null });
  });

  test('says when the client is slower than the upstream, and when it has caught up', async () => {
    const caughtUp = Promise.withResolvers<void>();
    let kept: Reply | undefined;
    const { response } = await answer((_call, reply) => {
      kept = reply;
      reply.head(200, []);
    });
    expect(kept?.write(new Uint8Array(1_000))).toBe(true);
    expect(kept?.write(new Uint8Array(100_000))).toBe(false);
    kept?.onDrain(() => caughtUp.resolve());
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.read();
    await caughtUp.promise;
    expect(kept?.write(new Uint8Array(1_000))).toBe(true);
  });

  test('that is cut fails in the hands of the client', async () => {
    const { response } = await answer((_call, reply) => {
      reply.head(200, []);
      reply.write(bytes('half'));
      reply.cut();
    });
    await expect(response.text()).rejects.toThrow();
  });

  test('that is cut before its head is no answer', async () => {
    const { response } = await answer((_call, reply) => reply.cut());
    expect(response.type).toBe('error');
  });

  test('says that the client has left, once, and takes what still comes', async () => {
    let gone = 0;
    let kept: Reply | undefined;
    const { response } = await answer((_call, reply) => {
      kept = reply;
      reply.onGone(() => gone++);
      reply.head(200, []);
      reply.write(bytes('first'));
    });
    await response.body?.cancel();
    expect(gone).toBe(1);
    expect(kept?.write(bytes('more'))).toBe(true);
    kept?.end(bytes('last'));
    kept?.cut();
    expect(gone).toBe(1);
  });

  test('says that the client has left before there was an answer', async () => {
    const left = new AbortController();
    let gone = 0;
    const { response } = await answer(
      (_call, reply) => {
        reply.onGone(() => gone++);
        left.abort();
      },
      { signal: left.signal },
    );
    expect(gone).toBe(1);
    expect(response.status).toBe(499);
  });
});
