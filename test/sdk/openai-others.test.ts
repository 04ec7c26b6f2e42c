import { LLMock } from '@copilotkit/aimock';
import OpenAI, { toFile } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sseEvent, WORDS } from '#test/conformance/wire-fixture.ts';
import { type Stub, startStub } from '#test/gateway/harness.ts';
import { emittedInSessions } from '#test/support/emitted-by.ts';
import { type RunningGateway, startGateway } from '#test/support/running-gateway.ts';

const clientOf = ({ url, secret }: RunningGateway) => new OpenAI({ baseURL: url, apiKey: secret });
const inSession = (session: string) => ({ headers: { 'x-weir-session': session } });

/** Models that are gone from the catalogue, and are asked for in the APIs before those of today. */
const PRICES = `[
  { provider: openai, model: dall-e-3, prices: [{ unit: images, amount: 0.04 }] },
  { provider: openai, model: gpt-3.5-turbo-instruct, prices: [{ unit: input_tokens, amount: 1.5, per: 1M }, { unit: output_tokens, amount: 2, per: 1M }] },
]`;

/** A second of silence. */
function wave(): Buffer {
  const bytes = Buffer.alloc(44 + 16_000);
  bytes.write('RIFF', 0).toString();
  bytes.writeUInt32LE(36 + 16_000, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(8_000, 24);
  bytes.writeUInt32LE(16_000, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(16_000, 40);
  return bytes;
}

describe("OpenAI's client through a gateway, beside chats", () => {
  const mock = new LLMock({ port: 0 });
  let gateway: RunningGateway;
  let client: OpenAI;

  beforeAll(async () => {
    await mock.start();
    gateway = await startGateway({
      upstreamUrl: `${mock.url}/v1`,
      models: ['*'],
      prices: PRICES,
      limits: '[{ concurrency: 100 }, { budget: 1000 USD, per: month }]',
    });
    client = clientOf(gateway);
  });
  afterAll(async () => {
    await gateway.stop();
    await mock.stop();
  });

  it('responds, streamed or not, and every response has one event with the figures of the journal', async () => {
    const sessions = Array.from({ length: 8 }, (_, call) => `response-${call}`);
    sessions.forEach((session, call) => {
      const usage = { input_tokens: 100 + call * 7, output_tokens: 10 + call * 13 };
      mock.onMessage(`${session}.`, { content: `Answer to ${session}, Ünïcode.`, usage }, { chunkSize: 3 });
    });
    const texts = await Promise.all(
      sessions.map(async (session, call) => {
        const asked = { model: 'gpt-4o-mini', input: `${session}.` };
        if (call % 2 === 0) return (await client.responses.create(asked, inSession(session))).output_text;
        const stream = await client.responses.create({ ...asked, stream: true }, inSession(session));
        const events = await Array.fromAsync(stream);
        return events.map((event) => (event.type === 'response.output_text.delta' ? event.delta : '')).join('');
      }),
    );
    expect(texts).toEqual(sessions.map((session) => `Answer to ${session}, Ünïcode.`));
    expect(mock.getRequests().filter(({ path }) => path === '/v1/responses')).toHaveLength(sessions.length);
    const events = await emittedInSessions(gateway, sessions);
    sessions.forEach((session, call) => {
      expect(events.get(session)?.data).toMatchObject({
        wire: 'openai-responses',
        stream: call % 2 === 1,
        outcome: 'ok',
        usage_status: 'final',
        quantities: { input_tokens: String(100 + call * 7), output_tokens: String(10 + call * 13) },
      });
    });
  });

  it('draws by the image, speaks by the character, and moderates for nothing', async () => {
    mock.onImage('a weir', { images: [{ url: 'https://example.com/weir.png' }] });
    mock.onSpeech('Water flows.', { audio: wave().toString('base64'), format: 'wav' });
    const drawn = await client.images.generate(
      { model: 'dall-e-3', prompt: 'a weir', size: '1024x1024' },
      inSession('drawn'),
    );
    expect(drawn.data).toMatchObject([{ url: 'https://example.com/weir.png' }]);
    const spoken = await client.audio.speech.create(
      { model: 'tts-1', input: 'Water flows.', voice: 'alloy', response_format: 'wav' },
      inSession('spoken'),
    );
    expect((await spoken.arrayBuffer()).byteLength).toBeGreaterThan(0);
    await client.moderations.create({ model: 'omni-moderation-latest', input: 'Water flows.' }, inSession('moderated'));

    const events = await emittedInSessions(gateway, ['drawn', 'spoken', 'moderated']);
    expect(events.get('drawn')?.data).toMatchObject({
      wire: 'openai-images',
      quantities: { calls: '1', images: '1' },
      cost: { amount: '0.04', currency: 'USD' },
    });
    expect(events.get('spoken')?.data).toMatchObject({
      wire: 'openai-speech',
      quantities: { characters: '12' },
      cost: { amount: '0.00018', currency: 'USD' },
    });
    expect(events.get('moderated')?.data).toMatchObject({
      wire: 'openai-moderations',
      outcome: 'ok',
      usage_status: 'none',
      quantities: {},
    });
  });

  it('writes down what a file says, by its seconds', async () => {
    mock.onTranscription({ transcription: { text: 'Water flows.' } });
    const file = await toFile(wave(), 'weir.wav');
    const { text } = await client.audio.transcriptions.create({ model: 'whisper-1', file }, inSession('heard'));
    expect(text).toBe('Water flows.');
    const { data } = (await emittedInSessions(gateway, ['heard'])).get('heard') ?? {};
    expect(data).toMatchObject({ wire: 'openai-transcriptions', quantities: { audio_seconds: '1' } });
  });
});

const USAGE = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 };
const COMPLETION = { id: 'c', object: 'text_completion', created: 1, model: 'gpt-3.5-turbo-instruct' };
const TRANSCRIPT = {
  type: 'tokens',
  input_tokens: 14,
  input_token_details: { audio_tokens: 14, text_tokens: 0 },
  output_tokens: 5,
  total_tokens: 19,
};
const PICTURES = {
  input_tokens: 12,
  input_tokens_details: { text_tokens: 12, image_tokens: 0 },
  output_tokens: 1_056,
  total_tokens: 1_068,
};

/** What the mock has no streams of. */
function startOpenAi(): Promise<Stub> {
  return startStub((response, { url, body }) => {
    const events = url.endsWith('/completions')
      ? [
          ...WORDS.map((text) => sseEvent({ ...COMPLETION, choices: [{ index: 0, text }] })),
          ...(body.includes('include_usage') ? [sseEvent({ ...COMPLETION, choices: [], usage: USAGE })] : []),
        ]
      : url.endsWith('/speech')
        ? [
            sseEvent({ type: 'speech.audio.delta', audio: 'c291bmQ=' }),
            sseEvent({ type: 'speech.audio.done', usage: { input_tokens: 12, output_tokens: 90, total_tokens: 102 } }),
          ]
        : url.endsWith('/transcriptions')
          ? [
              ...WORDS.map((delta) => sseEvent({ type: 'transcript.text.delta', delta })),
              sseEvent({ type: 'transcript.text.done', text: WORDS.join(''), usage: TRANSCRIPT }),
            ]
          : [
              sseEvent({ type: 'image_generation.partial_image', partial_image_index: 0, b64_json: 'cGljdHVyZQ==' }),
              sseEvent({ type: 'image_generation.completed', b64_json: 'cGljdHVyZQ==', usage: PICTURES }),
            ];
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(`${events.join('')}data: [DONE]\n\n`);
  });
}

/** Every call of the client that a budget can refuse: what it takes, as a stream where it can be one. */
const CALLS = {
  chat: (client: OpenAI) =>
    client.chat.completions.create({ model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }] }),
  'streamed chat': (client: OpenAI) =>
    client.chat.completions.create({ model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }], stream: true }),
  response: (client: OpenAI) => client.responses.create({ model: 'gpt-4o', input: 'Hi' }),
  'streamed response': (client: OpenAI) => client.responses.create({ model: 'gpt-4o', input: 'Hi', stream: true }),
  completion: (client: OpenAI) => client.completions.create({ model: 'gpt-3.5-turbo-instruct', prompt: 'Hi' }),
  'streamed completion': (client: OpenAI, more: object = {}) =>
    client.completions.create({ model: 'gpt-3.5-turbo-instruct', prompt: 'Hi', stream: true }, more),
  embedding: (client: OpenAI) => client.embeddings.create({ model: 'text-embedding-3-large', input: 'Hi' }),
  image: (client: OpenAI) => client.images.generate({ model: 'dall-e-3', prompt: 'a weir' }),
  'streamed image': (client: OpenAI, more: object = {}) =>
    client.images.generate({ model: 'gpt-image-2', prompt: 'a weir', stream: true, partial_images: 1 }, more),
  speech: (client: OpenAI, more: object = {}) =>
    client.audio.speech.create(
      { model: 'gpt-4o-mini-tts', input: 'Water flows.', voice: 'alloy', stream_format: 'sse' },
      more,
    ),
  'streamed transcription': async (client: OpenAI, more: object = {}) =>
    client.audio.transcriptions.create(
      { model: 'gpt-4o-transcribe', file: await toFile(wave(), 'weir.wav'), stream: true },
      more,
    ),
} as const;

describe("streams of OpenAI's client that the mock does not have", () => {
  const STREAMS = {
    'streamed completion': { wire: 'openai-completions', input_tokens: '12', output_tokens: '5' },
    'streamed image': { wire: 'openai-images', input_tokens: '12', output_image_tokens: '1056' },
    speech: { wire: 'openai-speech', input_tokens: '12', output_audio_tokens: '90' },
    'streamed transcription': { wire: 'openai-transcriptions', input_audio_tokens: '14', output_tokens: '5' },
  } as const;

  it.each(Object.keys(STREAMS) as (keyof typeof STREAMS)[])('are metered by their last event: %s', async (name) => {
    await using stub = await startOpenAi();
    const gateway = await startGateway({ upstreamUrl: stub.url, models: ['*'], prices: PRICES });
    try {
      const answer = await CALLS[name](clientOf(gateway), inSession(name));
      const text =
        answer instanceof Response ? await answer.text() : await new Response(answer.toReadableStream()).text();
      expect(text).not.toBe('');
      const { wire, ...quantities } = STREAMS[name];
      const { data } = (await emittedInSessions(gateway, [name])).get(name) ?? {};
      expect(data).toMatchObject({ wire, outcome: 'ok', usage_status: 'final', quantities });
    } finally {
      await gateway.stop();
    }
  });
});

describe("a budget that is used up, to OpenAI's client", () => {
  it.each(Object.entries(CALLS))('is its own class, and is not asked again: %s', async (_, call) => {
    await using stub = await startOpenAi();
    const gateway = await startGateway({
      upstreamUrl: stub.url,
      models: ['*'],
      prices: PRICES,
      limits: '[{ budget: 0.000000001 USD, per: month }]',
    });
    try {
      let asked = 0;
      const client = new OpenAI({
        baseURL: gateway.url,
        apiKey: gateway.secret,
        maxRetries: 3,
        fetch: (url, init) => {
          if (String(url).startsWith(gateway.url)) asked++;
          return fetch(url, init);
        },
      });
      const failure = await Promise.resolve(call(client)).catch((thrown: unknown) => thrown);
      expect(failure).toBeInstanceOf(OpenAI.RateLimitError);
      expect(failure).toMatchObject({ status: 429, type: 'insufficient_quota' });
      expect(asked).toBe(1);
      expect(stub.requests).toHaveLength(0);
    } finally {
      await gateway.stop();
    }
  });
});
