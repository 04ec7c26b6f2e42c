import { describe, expect, it, vi } from 'vitest';
import type { KeyPolicy } from '#core/key-policy.ts';
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
import { type Message, type SocketAnswer, SocketClient, startSocketStub } from '#test/gateway/sockets.ts';

const MODEL = 'gemini-2.5-flash-native-audio-preview-09-2025';
const PATH = '/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent';
const VERTEX_PATH = '/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent';

const USAGE = {
  promptTokenCount: 1236,
  responseTokenCount: 77,
  totalTokenCount: 1313,
  promptTokensDetails: [
    { modality: 'TEXT', tokenCount: 1_000 },
    { modality: 'AUDIO', tokenCount: 236 },
  ],
  responseTokensDetails: [
    { modality: 'TEXT', tokenCount: 13 },
    { modality: 'AUDIO', tokenCount: 64 },
  ],
};

const setup = (model = `models/${MODEL}`): object => ({ setup: { model, generationConfig: { maxOutputTokens: 500 } } });
const text = (words: string): object => ({
  client_content: { turns: [{ role: 'user', parts: [{ text: words }] }], turnComplete: true },
});
const sound = {
  serverContent: { modelTurn: { parts: [{ inlineData: { mimeType: 'audio/pcm', data: 'A'.repeat(5_120) } }] } },
};

const isAsked = (message: Message): boolean =>
  message.client_content !== undefined || message.tool_response !== undefined || message.realtimeInput !== undefined;

function google(message: Message, say: (...events: object[]) => void): void {
  if (message.setup) say({ setupComplete: {} });
  if (isAsked(message)) say(sound, { serverContent: { turnComplete: true }, usageMetadata: USAGE });
}

async function open(answer: SocketAnswer = google, policy: Partial<KeyPolicy> = {}) {
  const upstream = await startSocketStub(answer, { binary: true });
  const addresses = {
    gemini: upstream.url.replace(/\/v1$/, ''),
    vertex: `${upstream.url}/projects/ours/locations/europe-west4`,
  };
  const google = upstreamConfig('google', upstream.url, {
    addresses,
    provider: 'google',
    auth: 'x-goog-api-key',
    models: ['*'],
  });
  const running = await startGateway(configOf([google]), [keyPolicy(policy)]);
  const connect = (path = `${PATH}?key=${SECRET}`) =>
    new SocketClient(`${running.url}${path}`, { headers: { authorization: '' } });
  return {
    upstream,
    running,
    connect,
    async [Symbol.asyncDispose]() {
      await running[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

const hears = (client: SocketClient, name: string, count = 1) =>
  client.until(() => client.messages.filter((message) => name in message).length >= count, name);

describe("a socket of Gemini's Live API", () => {
  it('leads to the upstream of the model in its first message, and makes an event of each turn', async () => {
    await using world = await open();
    await using client = await world.connect().opened();
    client.say(setup());
    await hears(client, 'setupComplete');
    client.say(text('Hello'));
    await hears(client, 'usageMetadata');
    client.say(text('Again'));
    await hears(client, 'usageMetadata', 2);
    const [first, second] = await eventsOf(world.running, 2);
    expect(first?.data).toMatchObject({
      wire: 'gemini-live',
      model: MODEL,
      outcome: 'ok',
      usage_status: 'final',
      quantities: {
        calls: '1',
        input_tokens: '1000',
        input_audio_tokens: '236',
        output_tokens: '13',
        output_audio_tokens: '64',
      },
      raw_usage: USAGE,
    });
    expect(second?.data.session).toBe(first?.data.session);
    const [request] = world.upstream.opened;
    expect(request?.url).toBe(PATH);
    expect(request?.headers['x-goog-api-key']).toBe('sk-upstream');
    expect(world.upstream.messages).toEqual([setup(), text('Hello'), text('Again')]);
  });

  it('counts figures that grow for one prompt once, and a second generation of a turn beside the first', async () => {
    await using world = await open((message, say) => {
      if (message.setup) say({ setupComplete: {} });
      if (message.client_content) {
        say(
          sound,
          { usageMetadata: { promptTokenCount: 100, responseTokenCount: 1, totalTokenCount: 101 } },
          { usageMetadata: { promptTokenCount: 100, responseTokenCount: 5, totalTokenCount: 105 } },
          { toolCall: { functionCalls: [{ id: 'f', name: 'f', args: {} }] } },
        );
      }
      if (message.tool_response) {
        const usageMetadata = { promptTokenCount: 120, responseTokenCount: 7, totalTokenCount: 127 };
        say(sound, { serverContent: { turnComplete: true }, usageMetadata });
      }
    });
    await using client = await world.connect().opened();
    client.say(setup(), text('Use the tool'));
    await hears(client, 'toolCall');
    client.say({ tool_response: { functionResponses: [{ id: 'f', name: 'f', response: {} }] } });
    const [event] = await eventsOf(world.running, 1);
    expect(event?.data.quantities).toEqual({ calls: '1', input_tokens: '220', output_tokens: '12' });
  });

  it('estimates a turn whose usage nobody says', async () => {
    await using world = await open((message, say) => {
      if (message.setup) say({ setupComplete: {} });
      if (isAsked(message)) say(sound, { serverContent: { turnComplete: true } });
    });
    await using client = await world.connect().opened();
    client.say(setup(), text('Hello'));
    await hears(client, 'serverContent', 2);
    client.say(text('Again'));
    const [event] = await eventsOf(world.running, 1);
    expect(event?.data).toMatchObject({ outcome: 'ok', usage_status: 'estimated' });
    expect(event?.data.quantities.output_tokens).toBe('3');
  });

  it('ends with a reason where a turn does not fit, since it has no other words', async () => {
    const limits = [limitPolicy({ kind: 'requests', amount: '1', per: 'minute' })];
    await using world = await open(google, { limits });
    await using client = await world.connect().opened();
    client.say(setup(), text('Hello'));
    await hears(client, 'usageMetadata');
    client.say(text('Again'));
    expect(await client.ended()).toMatchObject({ code: 1008, reason: expect.stringContaining('rate_limited') });
    expect(world.upstream.messages).toHaveLength(2);
    await eventsOf(world.running, 1);
  });

  it('ends with a reason where it cannot lead anywhere', async () => {
    await using world = await open(google, { models: ['gemini-2.5*'] });
    const ask = async (...messages: object[]) => {
      await using client = await world.connect().opened();
      client.say(...messages);
      return await client.ended();
    };
    expect(await ask(setup('models/gemini-9'))).toMatchObject({
      code: 1008,
      reason: expect.stringContaining('model_not_allowed'),
    });
    expect(await ask(text('Hello'))).toMatchObject({ code: 1008, reason: expect.stringContaining('setup') });
    expect((await world.connect(PATH).refused()).status).toBe(401);
  });

  it('puts the project and region of the upstream into the model of Vertex', async () => {
    await using world = await open();
    await using client = await world.connect(`${VERTEX_PATH}?key=${SECRET}`).opened();
    client.say(setup(`projects/theirs/locations/us-central1/publishers/google/models/${MODEL}`));
    await hears(client, 'setupComplete');
    await vi.waitFor(() => expect(world.upstream.messages).toHaveLength(1));
    expect(world.upstream.messages[0]?.setup).toMatchObject({
      model: `projects/ours/locations/europe-west4/publishers/google/models/${MODEL}`,
    });
    expect(world.upstream.opened[0]?.url).toBe(VERTEX_PATH);
  });
});

describe("what is held for a turn of Gemini's Live API", () => {
  const limits = [limitPolicy({ kind: 'tokens', amount: '10000000', per: 'day' })];
  const inline = { inlineData: { mimeType: 'image/png', data: 'AAAA' } };

  it('is for all that a message brings: pictures in turns, and what is said beside sound', async () => {
    const picture = { mimeType: 'image/jpeg', data: 'AAAA' };
    const messages: [object, bigint][] = [
      [
        { clientContent: { turns: [{ parts: Array.from({ length: 10 }, () => inline) }], turnComplete: true } },
        70_000n,
      ],
      [{ toolResponse: { functionResponses: [{ id: 'f', name: 'f', parts: [inline, inline] }] } }, 15_000n],
      [{ realtimeInput: { audio: { data: 'AAAA' }, text: 'x'.repeat(50_000) } }, 50_000n],
      [{ realtimeInput: { audio: { data: 'AAAA' }, video: { data: 'AAAA' } } }, 6_000n],
      [{ realtimeInput: { mediaChunks: Array.from({ length: 10 }, () => picture) } }, 22_000n],
      [{ clientContent: { turns: [{ parts: [{ fileData: { fileUri: 'gs://bucket/film.mp4' } }] }] } }, 100_000n],
    ];
    for (const [message, least] of messages) {
      await using world = await open(() => undefined, { limits });
      await using client = await world.connect().opened();
      client.say(setup(), message);
      await vi.waitFor(() => expect(world.running.sink.opened).toHaveLength(1));
      const [opening] = world.running.sink.opened;
      expect(opening && (await heldBy(world.running.counters, opening.reservation))).toBeGreaterThan(least);
    }
  });

  it("is no file of whom nobody has checked that it is the caller's", async () => {
    await using world = await open();
    await using client = await world.connect().opened();
    const file = { fileData: { fileUri: 'https://generativelanguage.googleapis.com/v1beta/files/of-another' } };
    client.say(setup(), { clientContent: { turns: [{ parts: [file] }], turnComplete: true } });
    expect(await client.ended()).toMatchObject({ code: 1008, reason: expect.stringContaining('invalid_request') });
    expect(world.upstream.messages).toEqual([setup()]);
  });
});

it('a token that chooses who pays does not reach Google', async () => {
  await using world = await open();
  for (const path of [PATH, VERTEX_PATH]) {
    const client = world.connect(`${path}?key=${SECRET}&access_token=auth_tokens/1`);
    expect(await client.refused()).toMatchObject({ status: 403, body: expect.stringContaining('NOT_METERED') });
  }
  expect(world.upstream.opened).toEqual([]);
});
