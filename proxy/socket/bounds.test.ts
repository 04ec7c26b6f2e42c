import { describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { Fault } from '#core/fault.ts';
import { answerFetch } from '#proxy/inbound/fetch.ts';
import { memoryCounters } from '#proxy/limits/memory.ts';
import {
  configOf,
  eventsOf,
  heldBy,
  keyPolicy,
  limitPolicy,
  SECRET,
  startGateway,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import { openai, openRealtime, response, SESSION, USAGE } from '#test/gateway/realtime.ts';
import { SocketClient, startSocketStub } from '#test/gateway/sockets.ts';

const create = { type: 'response.create' };

describe('bounds of sockets', () => {
  it('hold for how many are open', async () => {
    await using world = await openRealtime(openai, { gateway: { socketsMax: 1 } });
    await world.client.opened();
    const second = new SocketClient(`${world.running.url}/v1/realtime?model=gpt-realtime`);
    expect(await second.refused()).toMatchObject({ status: 503, body: expect.stringContaining('overloaded') });
  });

  it('hold for the size of a message, and what had begun is read to its end', async () => {
    await using world = await openRealtime(openai, { gateway: { socketFrameBytesMax: 1_000 } });
    const { client, upstream } = world;
    await client.opened();
    client.say({ type: 'session.update', session: { instructions: 'x'.repeat(2_000) } });
    expect(await client.ended()).toMatchObject({ code: 1009 });
    await vi.waitFor(() => expect(upstream.closings).toHaveLength(1));
    expect(upstream.messages).toEqual([]);
  });

  it('hold for how long it is silent, and how long it is open', async () => {
    for (const gateway of [{ socketIdleTimeoutMs: 30 }, { socketTimeoutMs: 30 }]) {
      await using world = await openRealtime(openai, { gateway });
      await world.client.opened();
      expect(await world.client.ended()).toMatchObject({ code: 1001 });
    }
  });

  it('hold for how long a response takes', async () => {
    await using world = await openRealtime(() => undefined, { gateway: { callTimeoutMs: 30 } });
    const { client, running } = world;
    await client.opened();
    client.say(create);
    expect((await client.hears('error')).error).toMatchObject({ code: 'upstream_timeout' });
    expect(await client.ended()).toMatchObject({ code: 1011 });
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({ outcome: 'failed', quantities: {} });
  });

  it('are kept where a side reads slowly: the other is read no further', async () => {
    const piece = JSON.stringify({
      type: 'response.output_audio.delta',
      response_id: 'none',
      delta: 'A'.repeat(60_000),
    });
    const count = 600;
    await using world = await openRealtime((_message, _say, socket) => {
      for (let i = 0; i < count; i++) socket.send(piece);
    });
    const { client, upstream } = world;
    await client.hears('session.created');
    client.socket.pause();
    client.say({ type: 'input_audio_buffer.clear' });
    const [peer] = upstream.sockets;
    // What the kernel takes on its way is bounded: most of it stays with the upstream.
    await vi.waitFor(() => expect(peer?.bufferedAmount ?? 0).toBeGreaterThan(20_000_000));
    const memory = process.memoryUsage().arrayBuffers;
    expect(memory).toBeLessThan(200_000_000);
    client.socket.resume();
    await client.hears('response.output_audio.delta', count);
    expect(peer?.bufferedAmount).toBe(0);
  });
});

describe('a socket whose upstream', () => {
  it('refuses it answers as the upstream did', async () => {
    const body = JSON.stringify({ error: { message: 'No such model', code: 'model_not_found' } });
    await using upstream = await startSocketStub(() => undefined, { refuse: { status: 404, body } });
    await using running = await startGateway(configOf([upstreamConfig('openai', upstream.url)]));
    const client = new SocketClient(`${running.url}/v1/realtime?model=gpt-realtime`);
    expect(await client.refused()).toEqual({ status: 404, body });
    expect(running.gateway.callsInFlight).toBe(0);
  });

  it('cannot be reached is led to the next one', async () => {
    await using upstream = await startSocketStub(openai, { greeting: [SESSION] });
    const away = upstreamConfig('away', 'http://127.0.0.1:1/v1');
    const target = (name: string) => ({ upstream: name, model: null, weight: 1 });
    const routes = [
      { model: 'gpt-realtime', to: [target('away')], fallback: [{ upstream: 'openai', model: 'gpt-realtime-2' }] },
    ];
    await using running = await startGateway(configOf([away, upstreamConfig('openai', upstream.url)], { routes }));
    await using client = new SocketClient(`${running.url}/v1/realtime?model=gpt-realtime`);
    await client.hears('session.created');
    expect(upstream.opened[0]?.url).toBe('/v1/realtime?model=gpt-realtime-2');
    client.say(create);
    await client.hears('response.done');
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({ upstream: 'openai', model_sent: 'gpt-realtime-2' });
  });

  it("is Azure's is asked at its own paths, with its own header", async () => {
    await using upstream = await startSocketStub(openai, { greeting: [SESSION] });
    const azure = upstreamConfig('azure', '', {
      addresses: { azure: upstream.url.replace(/\/v1$/, '') },
      provider: 'azure',
      models: ['talk'],
    });
    await using running = await startGateway(configOf([azure]));
    const paths = ['/openai/v1/realtime?model=talk', '/openai/realtime?api-version=2025-04-01-preview&deployment=talk'];
    for (const path of paths) {
      await using client = new SocketClient(`${running.url}${path}`);
      await client.hears('session.created');
    }
    expect(upstream.opened.map(({ url }) => url)).toEqual(paths);
    expect(upstream.opened[0]?.headers).toMatchObject({ 'api-key': 'sk-upstream' });
    expect(upstream.opened[0]?.headers.authorization).toBeUndefined();
  });
});

describe('where no sockets are carried', () => {
  it('one is refused as on Workers, in words that say so', async () => {
    await using running = await startGateway(configOf([upstreamConfig('openai', 'http://127.0.0.1:1/v1')]));
    const url = `${running.url}/v1/realtime?model=gpt-realtime`;
    const headers = { authorization: `Bearer ${SECRET}`, upgrade: 'websocket' };
    const answer = await answerFetch(running.gateway, new Request(url, { headers }), () => undefined);
    expect(answer.status).toBe(501);
    expect((await answer.json()).error.code).toBe('sockets_unavailable');
  });
});

describe('a turn that is held ahead', () => {
  const append = (audio: string): object => ({ type: 'input_audio_buffer.append', audio });

  it('is never lowered: the upstream could not be told', async () => {
    const limit = limitPolicy({ kind: 'budget', amount: '150000000', currency: 'USD', per: 'month' });
    await using world = await openRealtime(openai, { policy: { limits: [limit] } });
    const { client, running } = world;
    await client.hears('session.created');
    client.say(append('AAAA'));
    expect((await client.hears('error')).error).toMatchObject({ code: 'insufficient_quota' });
    expect(await client.ended()).toMatchObject({ code: 1008, reason: expect.stringContaining('budget_exhausted') });
    expect(running.sink.opened).toHaveLength(0);
  });

  it('makes room for a response that is asked for, and is given back when the session begins none by itself', async () => {
    const updated = { ...SESSION, type: 'session.updated', session: { audio: { input: { turn_detection: null } } } };
    await using world = await openRealtime(
      (message, say) => {
        if (message.type === 'session.update') say(updated);
        openai(message, say);
      },
      { policy: { limits: [limitPolicy({ kind: 'concurrency', amount: '1' })] } },
    );
    const { client, running } = world;
    await client.hears('session.created');
    client.say(append('AAAA'), create, append('AAAA'));
    await client.hears('response.done');
    client.say(append('AAAA'), { type: 'session.update', session: { turn_detection: null } });
    await client.hears('session.updated');
    client.say(append('AAAA'), create);
    await client.hears('response.done', 2);
    await eventsOf(running, 2);
    expect(client.messages.some(({ type }) => type === 'error')).toBe(false);
    await vi.waitFor(() => expect(running.sink.abandoned).toHaveLength(running.sink.opened.length - 2));
  });

  it('is held anew when more was said than it covers, and counts as one request', async () => {
    const limits = [
      limitPolicy({ kind: 'requests', amount: '1', per: 'minute' }),
      limitPolicy({ kind: 'tokens', amount: '1000000', per: 'day' }),
    ];
    await using world = await openRealtime(openai, { policy: { limits } });
    const { client, running } = world;
    await client.hears('session.created');
    client.say(append('AAAA'));
    const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'x'.repeat(5_000) }] };
    client.say({ type: 'conversation.item.create', item }, append('END='));
    await client.hears('response.done');
    await eventsOf(running, 1);
    expect(running.sink.abandoned).toHaveLength(1);
    const [before, after] = running.sink.opened.map(({ reservation }) => reservation.holds[1]?.amount ?? 0n);
    expect(after).toBeGreaterThan((before ?? 0n) + 5_000n);
  });
});

describe('a turn that was not held', () => {
  const unasked = { type: 'nudge' };

  it('is billed, and cancelled where it does not fit', async () => {
    const [created, ...rest] = response({ ...USAGE, output_tokens: 2 }, 'cancelled');
    await using world = await openRealtime(
      (message, say) => {
        if (message.type === 'response.create') say(...response());
        if (message.type === 'nudge' && created) say(created);
        if (message.type === 'response.cancel') say(...rest);
      },
      { policy: { limits: [limitPolicy({ kind: 'requests', amount: '1', per: 'minute' })] } },
    );
    const { client, running, upstream } = world;
    await client.opened();
    client.say(create);
    await client.hears('response.done');
    client.say(unasked);
    expect((await client.hears('error')).error).toMatchObject({ code: 'rate_limit_exceeded' });
    expect(await client.ended()).toMatchObject({ code: 1008 });
    const events = await eventsOf(running, 2);
    expect(events[1]?.data).toMatchObject({ usage_status: 'final', quantities: { calls: '1' } });
    expect(upstream.messages.at(-1)).toMatchObject({ type: 'response.cancel' });
  });

  it('goes on where it fits after all', async () => {
    await using world = await openRealtime((message, say) => {
      if (message.type === 'nudge') say(...response());
    });
    await world.client.opened();
    world.client.say(unasked);
    await world.client.hears('response.done');
    expect((await eventsOf(world.running, 1))[0]?.data).toMatchObject({ outcome: 'ok', usage_status: 'final' });
    expect(world.client.closed).toBeUndefined();
  });
});

describe('an open socket', () => {
  it('meets a new configuration with its next response', async () => {
    await using world = await openRealtime();
    const { client, running, upstream } = world;
    await client.opened();
    client.say(create);
    await client.hears('response.done');
    const upstreams = [upstreamConfig('openai', upstream.url)];
    running.gateway.use({ ...configOf(upstreams), halts: [haltOf('gpt-realtime')] });
    client.say(create);
    expect((await client.hears('error')).error).toMatchObject({ code: 'model_halted' });
    running.gateway.use(configOf(upstreams));
    client.say(create);
    await client.hears('response.done', 2);
    running.gateway.use(configOf([]));
    client.say(create);
    expect((await client.hears('error', 2)).error).toMatchObject({ code: 'model_not_found' });
    expect(client.closed).toBeUndefined();
  });

  it('renews what its turns hold', async () => {
    await using world = await openRealtime(() => undefined, {
      policy: { limits: [limitPolicy({ kind: 'concurrency', amount: '1' })] },
      gateway: { holdLeaseMs: 60 },
    });
    const { client, running } = world;
    running.gateway.beat();
    await client.opened();
    client.say(create);
    await vi.waitFor(() => expect(running.sink.opened).toHaveLength(1));
    const began = Date.now();
    await vi.waitFor(
      async () => {
        running.gateway.beat();
        running.counters.sweep();
        const [opening] = running.sink.opened;
        expect(opening && (await heldBy(running.counters, opening.reservation))).toBe(1n);
        expect(Date.now() - began).toBeGreaterThan(150);
      },
      { interval: 10, timeout: 5_000 },
    );
  });

  it('refuses a response while nobody can say whether it fits', async () => {
    const counters = memoryCounters({ clock: Date.now });
    let isAway = false;
    const away = {
      ...counters,
      reserve: (...asked: Parameters<typeof counters.reserve>) => {
        if (isAway) throw new Fault('limits_unavailable');
        return counters.reserve(...asked);
      },
    };
    await using upstream = await startSocketStub(openai, { greeting: [SESSION] });
    const policy = keyPolicy({ limits: [limitPolicy({ kind: 'requests', amount: '9', per: 'minute' })] });
    await using running = await startGateway(configOf([upstreamConfig('openai', upstream.url)]), [policy], {
      counters: Object.assign(Object.create(counters), away),
    });
    await using client = await new SocketClient(`${running.url}/v1/realtime?model=gpt-realtime`).opened();
    isAway = true;
    client.say(create);
    expect((await client.hears('error')).error).toMatchObject({ code: 'limits_unavailable' });
    isAway = false;
    client.say(create);
    await client.hears('response.done');
    expect(client.socket.readyState).toBe(WebSocket.OPEN);
  });

  it('waits for what came before: responses follow one another where one at a time is allowed', async () => {
    await using world = await openRealtime(openai, {
      policy: { limits: [limitPolicy({ kind: 'concurrency', amount: '1' })] },
    });
    await world.client.opened();
    for (let n = 1; n <= 20; n++) {
      world.client.say(create);
      await world.client.hears('response.done', n);
    }
    await eventsOf(world.running, 20);
    expect(world.client.messages.some(({ type }) => type === 'error')).toBe(false);
  });
});

function haltOf(model: string) {
  return { id: 'halt', customer: null, key: null, upstream: null, model, cutOpen: false };
}
