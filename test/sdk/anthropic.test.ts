import Anthropic from '@anthropic-ai/sdk';
import { LLMock } from '@copilotkit/aimock';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startStub } from '#test/gateway/harness.ts';
import { emittedBy } from '#test/support/emitted-by.ts';
import { type RunningGateway, startGateway } from '#test/support/running-gateway.ts';

/**
 * Anthropic's client in front, a third party's mock of the provider behind, and its journal as a second meter: what that
 * says it served is what our events must say was used, call by call.
 */
const MODEL = 'claude-sonnet-4-6';
const CALLS = 24;

/** Figures that no two calls share. */
const served = (call: number) => ({ input: 100 + call * 7, output: 10 + call * 13 });
const labelOf = (call: number) => `call number ${call}.`;

describe("Anthropic's client through a gateway", () => {
  const mock = new LLMock({ port: 0 });
  let gateway: RunningGateway;
  let poor: RunningGateway;
  let slow: RunningGateway;
  let client: Anthropic;

  const clientOf = ({ origin, secret }: RunningGateway, maxRetries = 0) =>
    new Anthropic({ baseURL: origin, apiKey: secret, maxRetries });
  const ask = (content: string) => ({
    model: MODEL,
    max_tokens: 1_000,
    messages: [{ role: 'user' as const, content }],
  });

  beforeAll(async () => {
    await mock.start();
    const behind = { upstreamUrl: { anthropic: mock.url }, provider: 'anthropic' };
    gateway = await startGateway({ ...behind, limits: '[{ concurrency: 100 }, { budget: 1000 USD, per: month }]' });
    poor = await startGateway({ ...behind, limits: '[{ budget: 0.00001 USD, per: month }]' });
    slow = await startGateway({ ...behind, limits: '[{ requests: 1, per: hour }]' });
    client = clientOf(gateway);
  });
  afterAll(async () => {
    await Promise.all([gateway.stop(), poor.stop(), slow.stop()]);
    await mock.stop();
  });

  it('is served what the mock serves, streamed or not, and every call has one event with the figures of its journal', async () => {
    for (let call = 0; call < CALLS; call++) {
      const { input, output } = served(call);
      const usage = { input_tokens: input, output_tokens: output };
      mock.onMessage(labelOf(call), { content: `Answer to ${labelOf(call)} Ünïcode.`, usage }, { chunkSize: 3 });
    }
    const answers = await Promise.all(
      Array.from({ length: CALLS }, async (_, call) => {
        const asked = ask(labelOf(call));
        if (call % 2 === 0) {
          const { data, request_id } = await client.messages.create(asked).withResponse();
          const [block] = data.content;
          return { id: request_id, text: block?.type === 'text' ? block.text : '' };
        }
        const stream = client.messages.stream(asked);
        const text = await stream.finalText();
        return { id: stream.request_id, text };
      }),
    );
    expect(answers.map(({ text }) => text)).toEqual(answers.map((_, call) => `Answer to ${labelOf(call)} Ünïcode.`));
    const ids = answers.map(({ id }) => id);
    expect(new Set(ids).size).toBe(CALLS);
    const events = await emittedBy(gateway, ids);
    const entries = mock.getRequests().filter(({ path }) => path === '/v1/messages');
    expect(entries).toHaveLength(CALLS);
    for (const { body, response } of entries) {
      const call = Number(/call number (\d+)\./.exec(JSON.stringify(body))?.[1]);
      const { input, output } = served(call);
      expect(response.status).toBe(200);
      expect(events.get(ids[call] ?? '')?.data).toMatchObject({
        wire: 'anthropic-messages',
        model: MODEL,
        stream: call % 2 === 1,
        outcome: 'ok',
        usage_status: 'final',
        quantities: { calls: '1', input_tokens: String(input), output_tokens: String(output) },
        // 3 and 15 dollars a million.
        cost: { amount: decimal(3_000n * BigInt(input) + 15_000n * BigInt(output)), currency: 'USD' },
      });
    }
    expect(gateway.twice).toEqual([]);
  });

  it('counts tokens for nothing', async () => {
    await using stub = await startStub((response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"input_tokens":14}'),
    );
    const counting = await startGateway({
      upstreamUrl: { anthropic: stub.url.replace(/\/v1$/, '') },
      provider: 'anthropic',
      limits: '[{ budget: 1 USD, per: month }]',
    });
    try {
      const { max_tokens: _, ...asked } = ask('How many are these?');
      const { data, request_id } = await clientOf(counting).messages.countTokens(asked).withResponse();
      expect(data.input_tokens).toBe(14);
      const event = (await emittedBy(counting, [request_id])).get(request_id ?? '');
      expect(event?.data).toMatchObject({ wire: 'anthropic-count-tokens', usage_status: 'none', quantities: {} });
    } finally {
      await counting.stop();
    }
  });

  it('lists the models that the key may use, and finds one by its name', async () => {
    const models = await Array.fromAsync(client.models.list());
    expect(models.map(({ id }) => id)).toContain(MODEL);
    expect((await client.models.retrieve(MODEL)).id).toBe(MODEL);
    await expect(client.models.retrieve('no-such-model')).rejects.toBeInstanceOf(Anthropic.NotFoundError);
  });

  it("raises the client's own error for what the provider refuses, and bills nothing for it", async () => {
    mock.onMessage('too long', { error: { message: 'Too long.', type: 'invalid_request_error' }, status: 400 });
    const failure = await client.messages.create(ask('too long')).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(Anthropic.BadRequestError);
    const id = failure instanceof Anthropic.APIError ? failure.requestID : undefined;
    const event = (await emittedBy(gateway, [id])).get(id ?? '');
    expect(event?.data).toMatchObject({ usage_status: 'none', outcome: 'failed', quantities: {} });
  });

  it("raises the client's own error when a budget is used up, for streams too, and is not asked again", async () => {
    const before = mock.getRequests().length;
    const stranger = clientOf(poor, 3);
    const failures = await Promise.all([
      stranger.messages.create(ask('a long story')).catch((thrown: unknown) => thrown),
      stranger.messages
        .stream(ask('a long story'))
        .finalMessage()
        .catch((thrown: unknown) => thrown),
    ]);
    for (const failure of failures) {
      expect(failure).toBeInstanceOf(Anthropic.APIError);
      expect(failure).toMatchObject({ status: 402, type: 'billing_error', errorCode: 'budget_exhausted' });
      expect(failure instanceof Anthropic.APIError && failure.headers?.get('x-should-retry')).toBe('false');
      expect(String(failure)).toContain('budget');
    }
    expect(mock.getRequests()).toHaveLength(before);
    expect(poor.events.size).toBe(0);
  });

  it("raises the client's own error at a rate, with the time to wait", async () => {
    mock.onMessage('hello', { content: 'Hello.' });
    const hasty = clientOf(slow);
    await hasty.messages.create(ask('hello'));
    const failure = await hasty.messages.create(ask('hello')).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(Anthropic.RateLimitError);
    expect(failure).toMatchObject({ status: 429, type: 'rate_limit_error', errorCode: 'rate_limited' });
    const wait = failure instanceof Anthropic.RateLimitError ? failure.headers?.get('retry-after-ms') : undefined;
    expect(Number(wait)).toBeGreaterThan(0);
  });

  it("raises the client's own error for a key that is not known, in either place where clients put one", async () => {
    const strangers = [{ apiKey: 'wr_live_unknown' }, { apiKey: null, authToken: 'wr_live_unknown' }];
    for (const stranger of strangers) {
      const other = new Anthropic({ baseURL: gateway.origin, maxRetries: 0, ...stranger });
      await expect(other.messages.create(ask('hello'))).rejects.toBeInstanceOf(Anthropic.AuthenticationError);
    }
    const bearer = new Anthropic({ baseURL: gateway.origin, maxRetries: 0, apiKey: null, authToken: gateway.secret });
    expect((await bearer.messages.create(ask('hello'))).type).toBe('message');
  });

  it("bills a stream whose client hangs up after the first event with the provider's own usage", async () => {
    const usage = { input_tokens: 321, output_tokens: 654 };
    mock.onMessage('hang up', { content: 'word '.repeat(400), usage }, { chunkSize: 5 });
    const { data: stream, request_id } = await client.messages
      .create({ ...ask('hang up'), stream: true })
      .withResponse();
    for await (const _ of stream) break;
    const event = (await emittedBy(gateway, [request_id])).get(request_id ?? '');
    expect(event?.data).toMatchObject({
      usage_status: 'final',
      quantities: { input_tokens: '321', output_tokens: '654' },
    });
  });

  it('bills a stream that the provider cuts by what went by, says that it is an estimate, and makes the client throw', async () => {
    mock.onMessage('cut me', { content: 'word '.repeat(40) }, { chunkSize: 5, truncateAfterChunks: 10, latency: 2 });
    const { data: stream, request_id } = await client.messages
      .create({ ...ask('cut me'), stream: true })
      .withResponse();
    await expect(Array.fromAsync(stream)).rejects.toThrow();
    const event = (await emittedBy(gateway, [request_id])).get(request_id ?? '');
    expect(event?.data).toMatchObject({ usage_status: 'estimated', outcome: 'cut' });
    expect(Number(event?.data.quantities.output_tokens)).toBeGreaterThan(0);
  });
});

/** Nanos of a dollar as a plain decimal. */
function decimal(nanos: bigint): string {
  const text = nanos.toString().padStart(10, '0');
  return `${text.slice(0, -9)}.${text.slice(-9)}`.replace(/\.?0+$/, '');
}
