import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { memoryCounters } from '#proxy/limits/memory.ts';
import { configOf, eventsOf, keyPolicy, limitPolicy, startGateway, upstreamConfig } from '#test/gateway/harness.ts';
import { openRealtime, response, SESSION, USAGE } from '#test/gateway/realtime.ts';
import { type SocketAnswer, SocketClient, startSocketStub } from '#test/gateway/sockets.ts';
import { Relay } from './relay.ts';
import type { SocketListener } from './socket.ts';

/** Whatever ends while something is decided leaves nothing behind: no hold, no call in flight, nothing unbilled. */

/** Begins a response that nobody asked for, and ends it when it is told to. */
const nudged: SocketAnswer = (message, say) => {
  if (message.type === 'nudge') say(...response().slice(0, 1));
  if (message.type !== 'response.cancel') return;
  say({ type: 'response.done', response: { id: message.response_id, status: 'cancelled', usage: USAGE } });
};

/** Writes down what was said with the model that the client wants. */
const writes: SocketAnswer = (message, say) => {
  if (message.type === 'session.update') say({ ...(message as object), type: 'session.updated' });
  if (message.type === 'input_audio_buffer.commit') {
    const usage = { type: 'tokens', total_tokens: 22, input_tokens: 13, output_tokens: 9 };
    say({ type: 'conversation.item.input_audio_transcription.completed', item_id: 'item', transcript: 'Hi', usage });
  }
};
const quiet = { audio: { input: { turn_detection: null, transcription: null } } };
const writtenBy = (model: string): object => ({ audio: { input: { turn_detection: null, transcription: { model } } } });

describe('what began without having been held', () => {
  it('is billed though its key may not use the model', async () => {
    await using world = await openRealtime(writes, { policy: { models: ['gpt-realtime'] } });
    const { client, running } = world;
    await client.hears('session.created');
    client.say({ type: 'session.update', session: quiet });
    await client.hears('session.updated');
    client.say({ type: 'input_audio_buffer.append', audio: 'AAAA' });
    client.say({ type: 'session.update', session: writtenBy('gpt-4o-transcribe') });
    await client.hears('session.updated', 2);
    client.say({ type: 'input_audio_buffer.commit' });
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({
      model: 'gpt-4o-transcribe',
      usage_status: 'final',
      quantities: { input_tokens: '13', output_tokens: '9' },
    });
    expect(await client.ended()).toMatchObject({ code: 1008, reason: expect.stringContaining('model_not_allowed') });
  });

  it('is billed where a budget has no price to hold it by', async () => {
    const limits = [limitPolicy({ kind: 'budget', amount: '9000000000', currency: 'USD', per: 'month' })];
    await using world = await openRealtime(writes, { policy: { limits } });
    const { client, running } = world;
    await client.hears('session.created');
    client.say({ type: 'session.update', session: quiet });
    await client.hears('session.updated');
    client.say({ type: 'input_audio_buffer.append', audio: 'AAAA' });
    client.say({ type: 'session.update', session: writtenBy('priced-by-nobody') });
    await client.hears('session.updated', 2);
    client.say({ type: 'input_audio_buffer.commit' });
    const [event] = await eventsOf(running, 1);
    expect(event?.data).toMatchObject({ model: 'priced-by-nobody', usage_status: 'final', cost: null });
    expect(event?.data.unpriced).not.toEqual([]);
    expect(await client.ended()).toMatchObject({ code: 1008 });
  });

  it('is billed, and cancelled, though its model is halted by now', async () => {
    await using world = await openRealtime(nudged);
    const { client, running } = world;
    await client.hears('session.created');
    const halt = { id: 'halt', customer: null, key: null, upstream: null, model: 'gpt-realtime', cutOpen: false };
    running.gateway.killSwitch.use('billing', [halt]);
    client.say({ type: 'nudge' });
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({ usage_status: 'final', raw_usage: USAGE });
    expect(await client.ended()).toMatchObject({ code: 1013 });
  });

  it('is closed where its socket ended while its limits were asked', async () => {
    const counters = memoryCounters({ clock: Date.now });
    const asked = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const slow = {
      reserve: async (...reservation: Parameters<typeof counters.reserve>) => {
        asked.resolve();
        await goOn.promise;
        return counters.reserve(...reservation);
      },
    };
    await using upstream = await startSocketStub(nudged, { greeting: [SESSION] });
    const limits = [limitPolicy({ kind: 'concurrency', amount: '1' })];
    await using running = await startGateway(
      configOf([upstreamConfig('openai', upstream.url)]),
      [keyPolicy({ limits })],
      { counters: Object.assign(Object.create(counters), slow) },
    );
    await using client = new SocketClient(`${running.url}/v1/realtime?model=gpt-realtime`);
    await client.hears('session.created');
    client.say({ type: 'nudge' });
    await asked.promise;
    const drained = running.gateway.drain(2_000);
    goOn.resolve();
    await client.ended();
    await drained;
    expect(running.gateway.callsInFlight).toBe(0);
    expect(running.sink.opened).toHaveLength(1);
    expect(running.sink.closed).toHaveLength(1);
  });
});

describe('a message that nobody foresaw', () => {
  it('ends its socket, and not the process', () => {
    let listener: SocketListener | undefined;
    const thrown: unknown[] = [];
    const relay = new Relay({
      handle: () => {
        throw new RangeError('too deep');
      },
      broke: (what) => thrown.push(what),
    });
    const nothing = (): void => undefined;
    const end = { send: () => true, pause: nothing, resume: nothing, close: nothing, cut: nothing };
    relay.add('upstream', {
      ...end,
      listen: (one) => {
        listener = one;
      },
    });
    listener?.frame({ bytes: new Uint8Array(1), isText: true });
    expect(thrown).toEqual([new RangeError('too deep')]);
  });
});

describe('a socket that is being opened', () => {
  /** An upstream that opens no socket before it may. */
  async function slowUpstream() {
    const asked = Promise.withResolvers<void>();
    const open = Promise.withResolvers<void>();
    const upgrader = new WebSocketServer({ noServer: true });
    const server = createServer().on('upgrade', (request, socket, head) => {
      asked.resolve();
      void open.promise.then(() => upgrader.handleUpgrade(request, socket, head, () => undefined));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const running = await startGateway(
      configOf([upstreamConfig('openai', `http://127.0.0.1:${port}/v1`)], { gateway: { socketsMax: 1 } }),
    );
    return {
      running,
      asked: asked.promise,
      open: open.resolve,
      ask: () => new SocketClient(`${running.url}/v1/realtime?model=gpt-realtime`),
      async [Symbol.asyncDispose]() {
        open.resolve();
        await running[Symbol.asyncDispose]();
        for (const peer of upgrader.clients) peer.terminate();
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      },
    };
  }

  it('takes room as one that is open does', async () => {
    await using world = await slowUpstream();
    await using first = world.ask();
    await world.asked;
    await using second = world.ask();
    expect(await second.refused()).toMatchObject({ status: 503, body: expect.stringContaining('overloaded') });
    world.open();
    await first.opened();
  });

  it('is not opened where the gateway drains by then', async () => {
    await using world = await slowUpstream();
    await using client = world.ask();
    await world.asked;
    const drained = world.running.gateway.drain(5_000);
    world.open();
    expect(await client.refused()).toMatchObject({ status: 503, body: expect.stringContaining('shutting_down') });
    await drained;
  });

  it('is not opened where its key is revoked by then', async () => {
    await using world = await slowUpstream();
    await using client = world.ask();
    await world.asked;
    world.running.gateway.killSwitch.recheck([keyPolicy({ state: 'revoked' })]);
    world.open();
    expect(await client.refused()).toMatchObject({ status: 401 });
  });
});
