import { LLMock } from '@copilotkit/aimock';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisUrl, testNamespace } from '#test/servers/redis.ts';
import { emittedBy } from '#test/support/emitted-by.ts';
import { type RunningGateway, redisParts, startGateway } from '#test/support/running-gateway.ts';

/**
 * The official client in front, a third party's mock of the provider behind, and its journal as a second meter: what
 * that says it served is what our events must say was used, call by call.
 */
const KINDS = ['plain', 'stream', 'stream with usage'] as const;
const CALLS_OF_A_KIND = 12;

interface Served {
  prompt: number;
  completion: number;
}

/** Figures that no two calls share. */
function served(call: number): Served {
  return { prompt: 100 + call * 7, completion: 10 + call * 13 };
}

describe.each([
  { name: 'memory and a journal', parts: undefined },
  { name: 'Redis', parts: () => redisParts(redisUrl(), testNamespace()) },
])('the official client through a gateway on $name', ({ parts }) => {
  const mock = new LLMock({ port: 0 });
  let gateway: RunningGateway;
  let client: OpenAI;

  beforeAll(async () => {
    await mock.start();
    gateway = await startGateway({
      upstreamUrl: `${mock.url}/v1`,
      limits: '[{ concurrency: 100 }, { budget: 1000 USD, per: month }]',
      ...(parts && { parts: parts() }),
    });
    client = new OpenAI({ baseURL: gateway.url, apiKey: gateway.secret, maxRetries: 0 });
  });
  afterAll(async () => {
    await gateway.stop();
    await mock.stop();
  });

  it('is served what the mock serves, and every call has one event with the figures of its journal', async () => {
    const total = KINDS.length * CALLS_OF_A_KIND;
    for (let call = 0; call < total; call++) {
      const { prompt, completion } = served(call);
      const usage = { prompt_tokens: prompt, completion_tokens: completion };
      mock.onMessage(
        labelOf(call),
        { content: `Answer to ${labelOf(call)}, with an ünïcode tail.`, usage },
        { chunkSize: 3 },
      );
    }
    const ids = await Promise.all(Array.from({ length: total }, (_, call) => callOf(client, call)));

    expect(new Set(ids).size).toBe(total);
    const events = await emittedBy(gateway, ids);
    const entries = mock.getRequests().filter(({ path }) => path === '/v1/chat/completions');
    expect(entries).toHaveLength(total);
    for (const { body, response } of entries) {
      const call = callIn(JSON.stringify(body));
      const event = events.get(ids[call] ?? '');
      expect(response.status).toBe(200);
      expect(event?.data).toMatchObject({ usage_status: 'final', outcome: 'ok', model: 'gpt-4o-mini' });
      expect(event?.data.quantities).toEqual({
        calls: '1',
        input_tokens: String(served(call).prompt),
        output_tokens: String(served(call).completion),
      });
      // 0.15 and 0.60 dollars a million: in nanos 150 and 600 a token.
      expect(event?.data.cost).toEqual({
        amount: decimal(150n * BigInt(served(call).prompt) + 600n * BigInt(served(call).completion)),
        currency: 'USD',
      });
    }
    expect(gateway.twice).toEqual([]);
  });

  it('embeds, and the event says what the mock counted', async () => {
    mock.onEmbedding('a weir', { embedding: [0.25, -0.5, 1] });
    const { data, response, request_id } = await client.embeddings
      .create({ model: 'text-embedding-3-small', input: 'a weir across a stream', encoding_format: 'float' })
      .withResponse();
    expect(data.data[0]?.embedding).toEqual([0.25, -0.5, 1]);
    expect(response.status).toBe(200);
    const event = (await emittedBy(gateway, [request_id])).get(request_id ?? '');
    expect(event?.data).toMatchObject({ wire: 'openai-embeddings', usage_status: 'final', outcome: 'ok' });
    expect(Number(event?.data.quantities.input_tokens ?? 0)).toBe(data.usage.prompt_tokens);
    expect(event?.data.quantities.output_tokens).toBeUndefined();
  });

  it('lists the models that the key may use, and finds one by its name', async () => {
    const models = await Array.fromAsync(client.models.list());
    expect(models.map(({ id }) => id)).toEqual(expect.arrayContaining(['gpt-4o-mini', 'text-embedding-3-small']));
    expect((await client.models.retrieve('gpt-4o-mini')).id).toBe('gpt-4o-mini');
    await expect(client.models.retrieve('no-such-model-anywhere')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  it("raises the client's own error for what the provider refuses, and bills nothing for it", async () => {
    mock.onMessage('too long', { error: { message: 'Too long.', type: 'invalid_request_error' }, status: 400 });
    const failure = await client.chat.completions.create(chat('too long')).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(OpenAI.BadRequestError);
    const id = failure instanceof OpenAI.APIError ? failure.requestID : undefined;
    const event = (await emittedBy(gateway, [id])).get(id ?? '');
    expect(event?.data).toMatchObject({ usage_status: 'none', outcome: 'failed', quantities: {} });
  });

  it("raises the client's own error for a key that is not known, without an event", async () => {
    const before = gateway.events.size;
    const stranger = new OpenAI({ baseURL: gateway.url, apiKey: 'wr_live_unknown', maxRetries: 0 });
    await expect(stranger.chat.completions.create(chat('hello'))).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
    expect(gateway.events.size).toBe(before);
  });

  it("bills a stream whose client hangs up after the first chunk with the provider's own usage", async () => {
    const usage = { prompt_tokens: 321, completion_tokens: 654 };
    mock.onMessage('hang up', { content: 'word '.repeat(400), usage }, { chunkSize: 5 });
    const { data: stream, request_id } = await client.chat.completions
      .create({ ...chat('hang up'), stream: true })
      .withResponse();
    for await (const _ of stream) break;
    const event = (await emittedBy(gateway, [request_id])).get(request_id ?? '');
    expect(event?.data).toMatchObject({
      usage_status: 'final',
      quantities: { input_tokens: '321', output_tokens: '654' },
    });
  });

  it('bills a stream that the provider cuts by what went by, and says that it is an estimate', async () => {
    mock.onMessage('cut me', { content: 'word '.repeat(40) }, { chunkSize: 5, truncateAfterChunks: 10, latency: 2 });
    const { data: stream, request_id } = await client.chat.completions
      .create({ ...chat('cut me'), stream: true })
      .withResponse();
    await expect(Array.fromAsync(stream)).rejects.toThrow();
    const event = (await emittedBy(gateway, [request_id])).get(request_id ?? '');
    expect(event?.data).toMatchObject({ usage_status: 'estimated', outcome: 'cut' });
    expect(Number(event?.data.quantities.output_tokens)).toBeGreaterThan(0);
    const entry = mock.getRequests().find(({ body }) => JSON.stringify(body).includes('cut me'));
    expect(entry?.response.interrupted).toBe(true);
  });
});

function chat(content: string) {
  return { model: 'gpt-4o-mini', messages: [{ role: 'user' as const, content }] };
}

function labelOf(call: number): string {
  return `call number ${call}.`;
}

function callIn(text: string): number {
  return Number(/call number (\d+)\./.exec(text)?.[1] ?? -1);
}

/** Makes the call as its kind wants it, checks what the client gets, and answers with the request id. */
async function callOf(client: OpenAI, call: number): Promise<string> {
  const kind = KINDS[call % KINDS.length];
  const { prompt, completion } = served(call);
  const answer = `Answer to ${labelOf(call)}, with an ünïcode tail.`;
  if (kind === 'plain') {
    const { data, request_id } = await client.chat.completions.create(chat(labelOf(call))).withResponse();
    expect(data.choices[0]?.message.content).toBe(answer);
    expect(data.usage).toMatchObject({ prompt_tokens: prompt, completion_tokens: completion });
    return request_id ?? '';
  }
  const asked = kind === 'stream with usage' ? { stream_options: { include_usage: true } } : {};
  const { data: stream, request_id } = await client.chat.completions
    .create({ ...chat(labelOf(call)), stream: true, ...asked })
    .withResponse();
  const chunks = await Array.fromAsync(stream);
  expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(answer);
  const usages = chunks.filter(({ usage }) => usage);
  expect(usages.map(({ usage }) => [usage?.prompt_tokens, usage?.completion_tokens])).toEqual(
    kind === 'stream with usage' ? [[prompt, completion]] : [],
  );
  // Who did not ask for usage gets no chunk without choices, which older clients stumble over.
  if (kind === 'stream') expect(chunks.every(({ choices }) => choices.length > 0)).toBe(true);
  return request_id ?? '';
}

/** Nanos as a plain decimal of the unit. */
function decimal(nanos: bigint): string {
  const text = nanos.toString().padStart(10, '0');
  return `${text.slice(0, -9)}.${text.slice(-9)}`.replace(/\.?0+$/, '');
}
