import { describe, expect, it, vi } from 'vitest';
import type { KeyPolicy } from '#core/key-policy.ts';
import { eventsOf, heldBy, keyPolicy, limitPolicy, SECRET } from '#test/gateway/harness.ts';
import { lastResponse, openRealtime as open, openai, response, SESSION, USAGE } from '#test/gateway/realtime.ts';
import { type Message, SocketClient } from '#test/gateway/sockets.ts';

const append = (audio = 'AAAA'): object => ({ type: 'input_audio_buffer.append', audio });
const budget = (usd: string): Partial<KeyPolicy> => ({
  limits: [
    limitPolicy({ kind: 'budget', amount: `${BigInt(Number(usd) * 1_000_000)}000`, currency: 'USD', per: 'month' }),
  ],
});

describe('a socket of OpenAI Realtime', () => {
  it('passes what both sides say, and makes an event of each response with all details', async () => {
    await using world = await open();
    const { client, upstream, running } = world;
    await client.hears('session.created');
    client.say({ type: 'response.create' });
    await client.hears('response.done');
    client.say({ type: 'response.create', response: { instructions: 'Again.' } });
    await client.hears('response.done', 2);
    const [first, second] = await eventsOf(running, 2);
    expect(first?.data).toMatchObject({
      wire: 'openai-realtime',
      endpoint: '/v1/realtime',
      model: 'gpt-realtime',
      model_served: 'gpt-realtime',
      user: 'u1',
      outcome: 'ok',
      usage_status: 'final',
      stream: true,
      quantities: {
        calls: '1',
        input_tokens: '15',
        input_audio_tokens: '50',
        input_image_tokens: '5',
        cache_read_tokens: '5',
        cache_read_audio_tokens: '20',
        cache_read_image_tokens: '5',
        output_tokens: '15',
        output_audio_tokens: '25',
      },
      raw_usage: USAGE,
    });
    expect(first?.data.cost).not.toBeNull();
    expect(second?.data.session).toBe(first?.data.session);
    expect(first?.data.session).toMatch(/^req_/);
    expect(second?.id).not.toBe(first?.id);
    expect(upstream.messages).toEqual([
      { type: 'response.create' },
      { type: 'response.create', response: { instructions: 'Again.' } },
    ]);
    expect(client.messages.map(({ type }) => type)).toEqual([
      'session.created',
      ...['response.created', 'response.output_audio_transcript.delta', 'response.output_audio.delta', 'response.done'],
      ...['response.created', 'response.output_audio_transcript.delta', 'response.output_audio.delta', 'response.done'],
    ]);
  });

  it("takes the key from the subprotocol, and sends the operator's", async () => {
    await using world = await open();
    const { running, upstream } = world;
    await using client = new SocketClient(
      `${running.url}/v1/realtime?model=gpt-realtime`,
      { headers: { authorization: '' } },
      ['realtime', `openai-insecure-api-key.${SECRET}`],
    );
    await client.hears('session.created');
    expect(client.socket.protocol).toBe('realtime');
    const [, request] = upstream.opened;
    expect(request?.headers.authorization).toBe('Bearer sk-upstream');
    expect(request?.headers['sec-websocket-protocol']).toBe('realtime');
    expect(request?.url).toBe('/v1/realtime?model=gpt-realtime');
  });

  it('refuses before it opens as it refuses requests', async () => {
    await using world = await open();
    const { running } = world;
    const ask = async (query: string, headers = {}) =>
      new SocketClient(`${running.url}/v1/realtime${query}`, { headers }).refused();
    expect(await ask('?model=gpt-realtime', { authorization: 'Bearer wrong' })).toMatchObject({ status: 401 });
    expect(JSON.parse((await ask('?model=nobody-serves-it')).body).error.code).toBe('model_not_found');
    expect(await ask('')).toMatchObject({ status: 400 });
    const plain = await fetch(`${running.url}/v1/realtime?model=gpt-realtime`, {
      headers: { authorization: `Bearer ${SECRET}` },
    });
    expect(plain.status).toBe(426);
    const elsewhere = new SocketClient(`${running.url}/v1/chat/completions`);
    expect((await elsewhere.refused()).status).toBe(405);
  });

  it('tells a response that does not fit in an error, and stays open for one that does', async () => {
    await using world = await open(openai, {
      policy: { limits: [limitPolicy({ kind: 'requests', amount: '1', per: 'minute' })] },
    });
    const { client, running, upstream } = world;
    await client.opened();
    client.say({ type: 'response.create' });
    await client.hears('response.done');
    client.say({ type: 'response.create', event_id: 'mine' });
    const error = await client.hears('error');
    expect(error).toMatchObject({
      event_id: expect.stringMatching(/^event_req_/),
      error: { type: 'requests', code: 'rate_limit_exceeded', event_id: 'mine', weir: { limit: 'requests' } },
    });
    expect(upstream.messages.filter(({ type }) => type === 'response.create')).toHaveLength(1);
    expect(client.closed).toBeUndefined();
    await eventsOf(running, 1);
  });

  it('holds the worst case of a response before it is sent, and gives back what it did not use', async () => {
    let heldThen = -1n;
    const asking = Promise.withResolvers<(...events: object[]) => void>();
    await using world = await open(
      (message, say) => {
        if (message.type === 'response.create') asking.resolve(say);
      },
      { policy: budget('10') },
    );
    const { client, running } = world;
    const held = async (): Promise<bigint> => {
      const [opening] = running.sink.opened;
      return opening ? heldBy(running.counters, opening.reservation) : -1n;
    };
    await client.opened();
    client.say({ type: 'response.create' });
    const say = await asking.promise;
    heldThen = await held();
    say(...response());
    await client.hears('response.done');
    await eventsOf(running, 1);
    // The model's context at the price of sound does not come into it: so little has been said.
    expect(heldThen).toBeGreaterThan(4_096n * 64_000n);
    expect(await held()).toBe(0n);
  });

  it('lowers the most that a response may answer to what is left', async () => {
    await using world = await open(openai, { policy: budget('0.3') });
    const { client, upstream } = world;
    await client.opened();
    client.say({ type: 'response.create', response: { instructions: 'Talk.' } });
    await client.hears('response.done');
    const [asked] = upstream.messages;
    expect(asked?.response).toMatchObject({ instructions: 'Talk.', max_output_tokens: expect.any(Number) });
  });

  it('holds ahead for what the upstream may begin by itself, and ends the socket where that does not fit', async () => {
    await using world = await open(openai, {
      policy: { limits: [limitPolicy({ kind: 'requests', amount: '1', per: 'minute' })] },
    });
    const { client, running } = world;
    await client.hears('session.created');
    client.say(append());
    await vi.waitFor(() => expect(running.sink.opened).toHaveLength(1));
    client.say(append('END='));
    await client.hears('response.done');
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({ outcome: 'ok', usage_status: 'final' });
    client.say(append());
    expect((await client.hears('error')).error).toMatchObject({ code: 'rate_limit_exceeded' });
    expect(await client.ended()).toMatchObject({ code: 1008, reason: expect.stringContaining('rate_limited') });
    expect(running.sink.abandoned).toHaveLength(0);
  });

  it('gives back what was held ahead and never began', async () => {
    await using world = await open();
    const { client, running } = world;
    await client.hears('session.created');
    client.say(append());
    await vi.waitFor(() => expect(running.sink.opened).toHaveLength(1));
    client.socket.close();
    await vi.waitFor(() => expect(running.sink.abandoned).toHaveLength(1));
    expect(running.sink.closed).toHaveLength(0);
  });

  it('meters what is written down of the sound at the model that writes it', async () => {
    const listening = {
      ...SESSION,
      session: {
        ...SESSION.session,
        audio: { input: { transcription: { model: 'gpt-4o-transcribe' }, turn_detection: null } },
      },
    };
    await using world = await open((message, say) => {
      if (message.type === 'session.update') say({ ...listening, type: 'session.updated' });
      if (message.type !== 'input_audio_buffer.commit') return;
      const usage = {
        type: 'tokens',
        total_tokens: 22,
        input_tokens: 13,
        input_token_details: { text_tokens: 0, audio_tokens: 13 },
        output_tokens: 9,
      };
      say({ type: 'conversation.item.input_audio_transcription.completed', transcript: 'Hi', usage });
    });
    const { client, running } = world;
    await client.opened();
    client.say({ type: 'session.update', session: listening.session });
    await client.hears('session.updated');
    client.say(append(), { type: 'input_audio_buffer.commit' });
    const [event] = await eventsOf(running, 1);
    expect(event?.data).toMatchObject({
      model: 'gpt-4o-transcribe',
      usage_status: 'final',
      quantities: { calls: '1', input_audio_tokens: '13', output_tokens: '9' },
    });
  });

  it('passes a refusal of the upstream and makes an event without quantities of it', async () => {
    await using world = await open((message, say) => {
      if (message.type === 'response.create') {
        say({
          type: 'error',
          error: {
            type: 'invalid_request_error',
            code: 'conversation_already_has_active_response',
            event_id: message.event_id,
          },
        });
      }
    });
    const { client, running } = world;
    await client.opened();
    client.say({ type: 'response.create', event_id: 'e1' });
    await client.hears('error');
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({
      outcome: 'failed',
      usage_status: 'none',
      quantities: {},
    });
  });

  it('answers what it cannot read with an error, and does not pass it', async () => {
    await using world = await open();
    const { client, upstream } = world;
    await client.opened();
    client.socket.send('no json');
    await client.hears('error');
    client.socket.send('{"type":"session.update","type":"response.create"}');
    await client.hears('error', 2);
    expect(upstream.messages).toEqual([]);
  });
});

describe('an ending of a socket', () => {
  /** Begins, and says nothing more. */
  const begins = (message: Message, say: (...events: object[]) => void): void => {
    if (message.type === 'response.create') say(...response().slice(0, 3));
    if (message.type === 'finish')
      say({ type: 'response.done', response: { id: lastResponse(), status: 'completed', usage: USAGE } });
  };

  it('by the client in the middle of a response leaves the upstream to say what it used', async () => {
    await using world = await open(begins);
    const { client, running, upstream } = world;
    await client.opened();
    client.say({ type: 'response.create' });
    await client.hears('response.output_audio.delta');
    client.socket.terminate();
    await vi.waitFor(() => expect(running.gateway.callsInFlight).toBe(2));
    upstream.sockets[0]?.send(
      JSON.stringify({
        type: 'response.done',
        response: { id: lastResponse(), status: 'completed', usage: USAGE },
      }),
    );
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({ outcome: 'ok', usage_status: 'final' });
    await vi.waitFor(() => expect(upstream.closings).toHaveLength(1));
    await vi.waitFor(() => expect(running.gateway.callsInFlight).toBe(0));
  });

  it('by the client is billed as far as it was seen, where calls are cancelled', async () => {
    await using world = await open(begins, { gateway: { onDisconnect: 'cancel' } });
    const { client, running, upstream } = world;
    await client.opened();
    client.say({ type: 'response.create' });
    await client.hears('response.output_audio.delta');
    client.socket.terminate();
    const [event] = await eventsOf(running, 1);
    expect(event?.data).toMatchObject({ outcome: 'gone', usage_status: 'estimated' });
    expect(BigInt(event?.data.quantities.output_tokens ?? '0')).toBeGreaterThan(0n);
    await vi.waitFor(() => expect(upstream.closings).toHaveLength(1));
  });

  it('by the upstream is passed on, and what had come is billed as an estimate', async () => {
    await using world = await open(begins);
    const { client, running, upstream } = world;
    await client.opened();
    client.say({ type: 'response.create' });
    await client.hears('response.output_audio.delta');
    upstream.sockets[0]?.close(4001, 'session expired');
    expect(await client.ended()).toEqual({ code: 4001, reason: 'session expired' });
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
  });

  it('by a revoked key lets what has begun end, and nothing begin', async () => {
    await using world = await open(begins);
    const { client, running, upstream } = world;
    await client.opened();
    client.say({ type: 'response.create' });
    await client.hears('response.output_audio.delta');
    running.gateway.killSwitch.recheck([keyPolicy({ state: 'revoked' })]);
    expect((await client.hears('error')).error).toMatchObject({ code: 'invalid_api_key' });
    upstream.sockets[0]?.send(
      JSON.stringify({
        type: 'response.done',
        response: { id: lastResponse(), status: 'completed', usage: USAGE },
      }),
    );
    await client.hears('response.done');
    expect(await client.ended()).toMatchObject({ code: 1008 });
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({ outcome: 'ok', usage_status: 'final' });
  });

  it('by a revoked key ends what has begun where the operator wants that', async () => {
    await using world = await open(begins);
    const { client, running } = world;
    await client.opened();
    client.say({ type: 'response.create' });
    await client.hears('response.output_audio.delta');
    running.gateway.killSwitch.recheck([keyPolicy({ state: 'revoked', cutOpen: true })]);
    expect(await client.ended()).toMatchObject({ code: 1008 });
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
  });

  it('by a drain lets what has begun end within its bound, and then says that it goes away', async () => {
    await using world = await open(begins);
    const { client, running, upstream } = world;
    await client.opened();
    client.say({ type: 'response.create' });
    await client.hears('response.output_audio.delta');
    const drained = running.gateway.drain(5_000);
    expect((await client.hears('error')).error).toMatchObject({ code: 'shutting_down' });
    upstream.sockets[0]?.send(
      JSON.stringify({
        type: 'response.done',
        response: { id: lastResponse(), status: 'completed', usage: USAGE },
      }),
    );
    await drained;
    expect(await client.ended()).toMatchObject({ code: 1001 });
    expect(running.sink.events[0]?.data).toMatchObject({ outcome: 'ok' });
  });

  it('by a drain that lasts too long bills what had come', async () => {
    await using world = await open(begins);
    const { client, running } = world;
    await client.opened();
    client.say({ type: 'response.create' });
    await client.hears('response.output_audio.delta');
    await running.gateway.drain(20);
    expect(running.sink.events[0]?.data).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
    expect(await client.ended()).toMatchObject({ code: 1001 });
  });
});
