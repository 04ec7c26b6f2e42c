import { LLMock } from '@copilotkit/aimock';
import { ApiError, GoogleGenAI } from '@google/genai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { getConfig } from '#config/load.ts';
import {
  configOf,
  eventsOf,
  SECRET,
  startStub,
  startGateway as startTestGateway,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import { emittedInSessions } from '#test/support/emitted-by.ts';
import { type RunningGateway, startGateway } from '#test/support/running-gateway.ts';

/**
 * Google's client in front, a third party's mock of the provider behind, and its journal as a second meter. Each call is
 * a session of its own, so that its event is found whatever the client shows of the answer.
 */
const MODEL = 'gemini-3.5-flash-lite';
const CALLS = 12;

/** Figures that no two calls share. */
const served = (call: number) => ({ prompt: 100 + call * 7, answer: 10 + call * 13 });
const labelOf = (call: number) => `call number ${call}.`;

describe("Google's client through a gateway", () => {
  const mock = new LLMock({ port: 0 });
  let gateway: RunningGateway;
  let poor: RunningGateway;
  let client: GoogleGenAI;

  const clientOf = ({ url, secret }: RunningGateway) =>
    new GoogleGenAI({ apiKey: secret, apiVersion: 'v1beta', httpOptions: { baseUrl: url.replace(/\/v1$/, '') } });
  const inSession = (session: string) => ({ httpOptions: { headers: { 'x-weir-session': session } } });

  beforeAll(async () => {
    await mock.start();
    const behind = { upstreamUrl: { gemini: mock.url }, provider: 'google' };
    gateway = await startGateway({ ...behind, limits: '[{ concurrency: 100 }, { budget: 1000 USD, per: month }]' });
    poor = await startGateway({ ...behind, limits: '[{ budget: 0.000001 USD, per: month }]' });
    client = clientOf(gateway);
  });
  afterAll(async () => {
    await gateway.stop();
    await poor.stop();
    await mock.stop();
  });

  it('is served what the mock serves, streamed or not, and every call has one event with the figures of its journal', async () => {
    for (let call = 0; call < CALLS; call++) {
      const { prompt, answer } = served(call);
      const usage = { prompt_tokens: prompt, completion_tokens: answer };
      mock.onMessage(labelOf(call), { content: `Answer to ${labelOf(call)} Ünïcode.`, usage }, { chunkSize: 3 });
    }
    const sessions = Array.from({ length: CALLS }, (_, call) => `call-${call}`);
    const texts = await Promise.all(
      sessions.map(async (session, call) => {
        const asked = { model: MODEL, contents: labelOf(call), config: inSession(session) };
        if (call % 2 === 0) return (await client.models.generateContent(asked)).text;
        const chunks = await Array.fromAsync(await client.models.generateContentStream(asked));
        return chunks.map(({ text }) => text ?? '').join('');
      }),
    );
    expect(texts).toEqual(sessions.map((_, call) => `Answer to ${labelOf(call)} Ünïcode.`));
    const events = await emittedInSessions(gateway, sessions);
    const entries = mock.getRequests().filter(({ path }) => /:(stream)?generateContent/i.test(path));
    expect(entries).toHaveLength(CALLS);
    for (const { body, response } of entries) {
      const call = Number(/call number (\d+)\./.exec(JSON.stringify(body))?.[1]);
      const { prompt, answer } = served(call);
      expect(response.status).toBe(200);
      expect(events.get(`call-${call}`)?.data).toMatchObject({
        wire: 'gemini-generate',
        model: MODEL,
        stream: call % 2 === 1,
        outcome: 'ok',
        usage_status: 'final',
        quantities: { calls: '1', input_tokens: String(prompt), output_tokens: String(answer) },
        cost: { currency: 'USD' },
      });
    }
    expect(gateway.twice).toEqual([]);
  });

  it('lists the models that the key may use, and finds one by its name', async () => {
    const models = await Array.fromAsync(await client.models.list());
    expect(models.map(({ name }) => name)).toContain(`models/${MODEL}`);
    expect((await client.models.get({ model: MODEL })).name).toBe(`models/${MODEL}`);
    await expect(client.models.get({ model: 'no-such-model' })).rejects.toMatchObject({
      name: 'ApiError',
      status: 404,
    });
  });

  it('embeds with an event for it, and counts tokens for nothing', async () => {
    await using stub = await startStub((response, { url }) => {
      const counted = { totalTokens: 7 };
      const usageMetadata = { promptTokenCount: 7, promptTokenDetails: [{ modality: 'TEXT', tokenCount: 7 }] };
      const embedded = { embeddings: [{ values: [0.25, -0.5, 1] }], usageMetadata };
      const isCount = url.includes(':countTokens');
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(isCount ? counted : embedded));
    });
    const upstreamUrl = { gemini: stub.url.replace(/\/v1$/, '') };
    const embedding = await startGateway({
      upstreamUrl,
      provider: 'google',
      limits: '[{ budget: 1 USD, per: month }]',
    });
    try {
      const own = clientOf(embedding);
      const model = 'gemini-embedding-001';
      const { embeddings } = await own.models.embedContent({ model, contents: 'a weir', config: inSession('embed') });
      expect(embeddings?.[0]?.values).toEqual([0.25, -0.5, 1]);
      const counting = { model: MODEL, contents: 'a weir', config: inSession('count') };
      expect((await own.models.countTokens(counting)).totalTokens).toBe(7);
      const events = await emittedInSessions(embedding, ['embed']);
      expect(events.get('embed')?.data).toMatchObject({
        wire: 'gemini-embed',
        usage_status: 'final',
        quantities: { calls: '1', input_tokens: '7' },
        cost: { amount: '0.00000105', currency: 'USD' },
      });
      const free = [...embedding.events.values()].find(({ data }) => data.wire === 'gemini-count');
      expect(free?.data).toMatchObject({ usage_status: 'none', quantities: {} });
    } finally {
      await embedding.stop();
    }
  });

  it('draws at Vertex, billed by the picture', async () => {
    const prices = '[{ provider: google, model: "imagen*", prices: [{ unit: images, amount: 0.04 }] }]';
    const predictions = ['AAAA', 'BBBB'].map((bytesBase64Encoded) => ({ mimeType: 'image/png', bytesBase64Encoded }));
    await using stub = await startStub((response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ predictions }));
    });
    const upstreamUrl = { vertex: `${stub.url}beta1` };
    const to = upstreamConfig('vertex', '', {
      addresses: upstreamUrl,
      provider: 'google',
      auth: 'x-goog-api-key',
      models: ['*'],
    });
    const priced = await getConfig(`models: ${prices}`, { env: {}, file: 'test' });
    await using drawing = await startTestGateway(configOf([to], { priceBook: priced.priceBook }));
    const client = new GoogleGenAI({ vertexai: true, apiKey: SECRET, httpOptions: { baseUrl: drawing.url } });
    const { generatedImages } = await client.models.generateImages({
      model: 'imagen-4.0-generate-001',
      prompt: 'a weir',
      config: { numberOfImages: 2 },
    });
    expect(generatedImages).toHaveLength(2);
    const [event] = await eventsOf(drawing, 1);
    expect(event?.data).toMatchObject({
      wire: 'vertex-predict',
      quantities: { images: '2' },
      cost: { amount: '0.08', currency: 'USD' },
    });
  });

  it("raises the client's own error for what the provider refuses, and bills nothing for it", async () => {
    mock.onMessage('too long', { error: { message: 'Too long.', type: 'INVALID_ARGUMENT' }, status: 400 });
    const asked = { model: MODEL, contents: 'too long', config: inSession('refused upstream') };
    const failure = await client.models.generateContent(asked).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(ApiError);
    expect(failure).toMatchObject({ status: 400 });
    const event = (await emittedInSessions(gateway, ['refused upstream'])).get('refused upstream');
    expect(event?.data).toMatchObject({ usage_status: 'none', outcome: 'failed', quantities: {} });
  });

  it("raises the client's own error when a budget is used up, for streams too, and is not asked again", async () => {
    const before = mock.getRequests().length;
    const stranger = clientOf(poor);
    const contents = 'a long story';
    const failures = await Promise.all([
      stranger.models.generateContent({ model: MODEL, contents }).catch((thrown: unknown) => thrown),
      stranger.models.generateContentStream({ model: MODEL, contents }).catch((thrown: unknown) => thrown),
    ]);
    for (const failure of failures) {
      expect(failure).toBeInstanceOf(ApiError);
      expect(failure).toMatchObject({ status: 429 });
      const { error } = JSON.parse(failure instanceof Error ? failure.message : '{}');
      expect(error).toMatchObject({ code: 429, status: 'RESOURCE_EXHAUSTED' });
      expect(error.details[0]).toMatchObject({ reason: 'BUDGET_EXHAUSTED', metadata: { currency: 'USD' } });
      expect(JSON.stringify(error.details)).not.toContain('RetryInfo');
    }
    expect(mock.getRequests()).toHaveLength(before);
    expect(poor.events.size).toBe(0);
  });

  it("raises the client's own error for a key that is not known", async () => {
    const stranger = new GoogleGenAI({
      apiKey: 'wr_live_unknown',
      httpOptions: { baseUrl: gateway.url.replace(/\/v1$/, '') },
    });
    const failure = await stranger.models
      .generateContent({ model: MODEL, contents: 'x' })
      .catch((thrown: unknown) => thrown);
    expect(failure).toMatchObject({ status: 401, name: 'ApiError' });
  });

  it("bills a stream whose client hangs up after the first chunk with the provider's own usage", async () => {
    mock.onMessage(
      'hang up',
      { content: 'word '.repeat(400), usage: { prompt_tokens: 321, completion_tokens: 654 } },
      { chunkSize: 5 },
    );
    const asked = { model: MODEL, contents: 'hang up', config: inSession('hung up') };
    for await (const _ of await client.models.generateContentStream(asked)) break;
    const event = (await emittedInSessions(gateway, ['hung up'])).get('hung up');
    expect(event?.data).toMatchObject({
      usage_status: 'final',
      quantities: { input_tokens: '321', output_tokens: '654' },
    });
  });

  it('bills a stream that the provider cuts by what went by, and says that it is an estimate', async () => {
    mock.onMessage('cut me', { content: 'word '.repeat(40) }, { chunkSize: 5, truncateAfterChunks: 10, latency: 2 });
    const asked = { model: MODEL, contents: 'cut me', config: inSession('cut') };
    await expect(Array.fromAsync(await client.models.generateContentStream(asked))).rejects.toThrow();
    const event = (await emittedInSessions(gateway, ['cut'])).get('cut');
    expect(event?.data).toMatchObject({ usage_status: 'estimated', outcome: 'cut' });
    expect(Number(event?.data.quantities.output_tokens)).toBeGreaterThan(0);
  });

  it('interacts, streamed or not, and every interaction has one event', async () => {
    mock.onMessage('interact', { content: 'Water flows.', usage: { prompt_tokens: 12, completion_tokens: 34 } });
    const options = (session: string) => ({ headers: { 'x-weir-session': session } });
    const whole = await client.interactions.create(
      { model: MODEL, input: 'interact', stream: false },
      options('whole'),
    );
    expect(JSON.stringify(whole)).toContain('Water flows.');
    const stream = await client.interactions.create(
      { model: MODEL, input: 'interact', stream: true },
      options('stream'),
    );
    expect((await Array.fromAsync(stream)).length).toBeGreaterThan(1);
    const events = await emittedInSessions(gateway, ['whole', 'stream']);
    for (const [session, { data }] of events) {
      expect(data).toMatchObject({
        wire: 'gemini-interactions',
        stream: session === 'stream',
        outcome: 'ok',
        usage_status: 'final',
        quantities: { input_tokens: '12', output_tokens: '34' },
      });
    }
  });

  it('is not asked again when an interaction meets a budget that is used up', async () => {
    const failure = await clientOf(poor)
      .interactions.create({ model: MODEL, input: 'a long story' })
      .catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(Error);
    expect(failure).toMatchObject({ status: 402 });
  });
});
