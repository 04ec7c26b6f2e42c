import { describe, expect, it, vi } from 'vitest';
import { eventsOf, heldBy, limitPolicy } from '#test/gateway/harness.ts';
import { openRealtime, SESSION } from '#test/gateway/realtime.ts';
import { type Message, SocketClient } from '#test/gateway/sockets.ts';

/** What a client says of a session is no proof of what it is. */

const create = { type: 'response.create' };
const append = { type: 'input_audio_buffer.append', audio: 'AAAA' };
const sessionWith = (changes: object): object => ({ ...SESSION, session: { ...SESSION.session, ...changes } });
const writtenBy = (model: string): object => ({ audio: { input: { transcription: { model }, turn_detection: null } } });
const heard = (item_id: string): object => ({
  type: 'conversation.item.input_audio_transcription.completed',
  item_id,
  transcript: 'Hi',
  usage: { type: 'tokens', total_tokens: 22, input_tokens: 13, output_tokens: 9 },
});

describe('the model of a Realtime socket', () => {
  it('stays the one that it was opened with: no update of the session chooses another price', async () => {
    await using world = await openRealtime();
    const { client, running, upstream } = world;
    await client.hears('session.created');
    client.say({ type: 'session.update', session: { model: 'gpt-realtime-mini' } });
    expect((await client.hears('error')).error).toMatchObject({ code: 'invalid_request' });
    client.say({ type: 'session.update', session: { model: 'gpt-realtime' } }, create);
    await client.hears('response.done');
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({ model_served: 'gpt-realtime' });
    expect(upstream.messages.map(({ type }) => type)).toEqual(['session.update', 'response.create']);
  });

  it('is named once: of two, one would be held and the other might answer', async () => {
    await using world = await openRealtime();
    const ask = (query: string) => new SocketClient(`${world.running.url}/v1/realtime?${query}`);
    for (const query of ['model=a&model=b', 'model=a&deployment=b', 'model=a&%6dodel=b']) {
      expect((await ask(query).refused()).status).toBe(400);
    }
    await using client = ask('model=gpt-realtime&deployment=gpt-realtime');
    await client.hears('session.created');
  });
});

describe('the most that a session answers', () => {
  it('is held for every change that the upstream has not answered yet, whatever it says of those before', async () => {
    const updates: Message[] = [];
    await using world = await openRealtime(
      (message, say) => {
        if (message.type !== 'session.update') return;
        updates.push(message);
        if (updates.length === 1) say({ ...sessionWith({ max_output_tokens: 20 }), type: 'session.updated' });
      },
      { policy: { limits: [limitPolicy({ kind: 'tokens', amount: '1000000', per: 'day' })] } },
    );
    const { client, running } = world;
    await client.hears('session.created');
    client.say({ type: 'session.update', session: { max_output_tokens: 20 } });
    client.say({ type: 'session.update', session: { max_output_tokens: 'inf' } });
    await client.hears('session.updated');
    await vi.waitFor(() => expect(updates).toHaveLength(2));
    client.say(create);
    await vi.waitFor(() => expect(running.sink.opened).toHaveLength(1));
    const [opening] = running.sink.opened;
    expect(opening && (await heldBy(running.counters, opening.reservation))).toBeGreaterThan(4_000n);
  });

  it('is the larger of its two names, whichever the upstream reads', async () => {
    await using world = await openRealtime(() => undefined, {
      policy: { limits: [limitPolicy({ kind: 'tokens', amount: '1000000', per: 'day' })] },
    });
    const { client, running } = world;
    await client.hears('session.created');
    client.say({ ...create, response: { max_output_tokens: 1, max_response_output_tokens: 'inf' } });
    await vi.waitFor(() => expect(running.sink.opened).toHaveLength(1));
    const [opening] = running.sink.opened;
    expect(opening && (await heldBy(running.counters, opening.reservation))).toBeGreaterThan(4_000n);
  });
});

it('holds for the pictures that a response is asked with, small as they are', async () => {
  await using world = await openRealtime(() => undefined, {
    policy: { limits: [limitPolicy({ kind: 'tokens', amount: '1000000', per: 'day' })] },
  });
  const { client, running } = world;
  await client.hears('session.created');
  const content = [{ type: 'input_image', image_url: 'data:image/png;base64,AAAA' }];
  client.say({ ...create, response: { max_output_tokens: 1, input: [{ type: 'message', role: 'user', content }] } });
  await vi.waitFor(() => expect(running.sink.opened).toHaveLength(1));
  const [opening] = running.sink.opened;
  expect(opening && (await heldBy(running.counters, opening.reservation))).toBeGreaterThan(20_000n);
});

describe('what is written down of the sound', () => {
  it('is billed at the model that the upstream says writes it, not at one that it refused', async () => {
    await using world = await openRealtime((message, say) => {
      const { session } = message as { session?: { audio?: { input?: { transcription?: { model?: string } } } } };
      const model = session?.audio?.input?.transcription?.model;
      if (model === 'gpt-4o-transcribe') say({ ...sessionWith(writtenBy(model)), type: 'session.updated' });
      else if (model) say({ type: 'error', error: { code: 'invalid_value', event_id: message.event_id } });
      if (message.type === 'input_audio_buffer.commit') say(heard('item'));
    });
    const { client, running } = world;
    await client.hears('session.created');
    client.say({ type: 'session.update', session: writtenBy('gpt-4o-transcribe') });
    await client.hears('session.updated');
    client.say({ type: 'session.update', event_id: 'e2', session: writtenBy('gpt-4o-mini-transcribe') });
    await client.hears('error');
    client.say(append, { type: 'input_audio_buffer.commit' });
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({ model: 'gpt-4o-transcribe', usage_status: 'final' });
  });

  it('is billed at the model that was to write it when it was said', async () => {
    await using world = await openRealtime((message, say) => {
      if (message.type === 'session.update') say({ ...(message as object), type: 'session.updated' });
      if (message.type === 'input_audio_buffer.commit') {
        say({ type: 'input_audio_buffer.committed', item_id: 'item' });
      }
      if (message.type === 'now') say(heard('item'));
    });
    const { client, running } = world;
    await client.hears('session.created');
    client.say({ type: 'session.update', session: writtenBy('gpt-4o-transcribe') });
    await client.hears('session.updated');
    client.say(append, { type: 'input_audio_buffer.commit' });
    await client.hears('input_audio_buffer.committed');
    client.say({ type: 'session.update', session: writtenBy('gpt-4o-mini-transcribe') });
    await client.hears('session.updated', 2);
    client.say({ type: 'now' });
    expect((await eventsOf(running, 1))[0]?.data).toMatchObject({ model: 'gpt-4o-transcribe', usage_status: 'final' });
  });
});
