import { LLMock } from '@copilotkit/aimock';
import { CohereClientV2, CohereError } from 'cohere-ai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startStub } from '#test/gateway/harness.ts';
import { emittedInSessions } from '#test/support/emitted-by.ts';
import { type RunningGateway, startGateway } from '#test/support/running-gateway.ts';

const MODEL = 'command-a-03-2025';

describe("Cohere's client through a gateway", () => {
  const mock = new LLMock({ port: 0 });
  let gateway: RunningGateway;

  const clientOf = ({ url, secret }: RunningGateway) =>
    new CohereClientV2({ environment: url.replace(/\/v1$/, ''), token: secret });
  const inSession = (session: string) => ({ headers: { 'x-weir-session': session } });
  const chat = (content: string) => ({ model: MODEL, messages: [{ role: 'user' as const, content }] });

  beforeAll(async () => {
    await mock.start();
    gateway = await startGateway({
      upstreamUrl: { cohere: mock.url },
      provider: 'cohere',
      limits: '[{ budget: 1000 USD, per: month }]',
    });
  });
  afterAll(async () => {
    await gateway.stop();
    await mock.stop();
  });

  it('is served what the mock serves, streamed or not, and the events have its billed units', async () => {
    const client = clientOf(gateway);
    const sessions = Array.from({ length: 8 }, (_, call) => `call-${call}`);
    sessions.forEach((session, call) => {
      const usage = { input_tokens: 100 + call * 7, output_tokens: 10 + call * 13 };
      mock.onMessage(`${session}.`, { content: `Answer to ${session}, Ünïcode.`, usage }, { chunkSize: 3 });
    });
    const texts = await Promise.all(
      sessions.map(async (session, call) => {
        if (call % 2 === 0) {
          const { message } = await client.chat(chat(`${session}.`), inSession(session));
          return message.content?.map((part) => (part.type === 'text' ? part.text : '')).join('');
        }
        const events = await Array.fromAsync(await client.chatStream(chat(`${session}.`), inSession(session)));
        return events.map((one) => (one.type === 'content-delta' ? one.delta?.message?.content?.text : '')).join('');
      }),
    );
    expect(texts).toEqual(sessions.map((session) => `Answer to ${session}, Ünïcode.`));
    const events = await emittedInSessions(gateway, sessions);
    expect(mock.getRequests().filter(({ path }) => path === '/v2/chat')).toHaveLength(sessions.length);
    sessions.forEach((session, call) => {
      expect(events.get(session)?.data).toMatchObject({
        wire: 'cohere-chat',
        stream: call % 2 === 1,
        outcome: 'ok',
        usage_status: 'final',
        quantities: { input_tokens: String(100 + call * 7), output_tokens: String(10 + call * 13) },
        cost: { currency: 'USD' },
      });
    });
  });

  it('embeds and ranks, billed by what each answer says', async () => {
    await using stub = await startStub((response, { url }) => {
      const embedded = {
        id: 'e',
        embeddings: { float: [[0.5]] },
        texts: ['a'],
        meta: { billed_units: { input_tokens: 3 } },
      };
      const ranked = {
        id: 'r',
        results: [{ index: 0, relevance_score: 0.9 }],
        meta: { billed_units: { search_units: 1 } },
      };
      const body = JSON.stringify(url.includes('rerank') ? ranked : embedded);
      response.writeHead(200, { 'content-type': 'application/json' }).end(body);
    });
    const upstreamUrl = { cohere: stub.url.replace(/\/v1$/, '') };
    const own = await startGateway({ upstreamUrl, provider: 'cohere', limits: '[{ budget: 1 USD, per: month }]' });
    try {
      const client = clientOf(own);
      await client.embed(
        { model: 'embed-v4.0', texts: ['a'], inputType: 'search_document', embeddingTypes: ['float'] },
        inSession('embed'),
      );
      const ranking = { model: 'rerank-v3.5', query: 'a', documents: ['a', 'b'] };
      expect((await client.rerank(ranking, inSession('rerank'))).results[0]?.index).toBe(0);
      const events = await emittedInSessions(own, ['embed', 'rerank']);
      expect(events.get('embed')?.data.quantities).toEqual({ calls: '1', input_tokens: '3' });
      expect(events.get('rerank')?.data).toMatchObject({
        quantities: { calls: '1', search_units: '1' },
        cost: { amount: '0.002', currency: 'USD' },
      });
    } finally {
      await own.stop();
    }
  });

  it("raises the client's own error when a budget is used up, and is not asked again", async () => {
    const upstreamUrl = { cohere: mock.url };
    const poor = await startGateway({
      upstreamUrl,
      provider: 'cohere',
      limits: '[{ budget: 0.000001 USD, per: month }]',
    });
    try {
      const before = mock.getRequests().length;
      const failure = await clientOf(poor)
        .chat(chat('a long story'))
        .catch((thrown: unknown) => thrown);
      expect(failure).toBeInstanceOf(CohereError);
      expect(failure).toMatchObject({ statusCode: 402, body: { weir: { code: 'budget_exhausted' } } });
      expect(mock.getRequests()).toHaveLength(before);
    } finally {
      await poor.stop();
    }
  });

  it("raises the client's own error for a key that is not known", async () => {
    const stranger = clientOf({ ...gateway, secret: 'wr_live_unknown' });
    const failure = await stranger.chat(chat('x')).catch((thrown: unknown) => thrown);
    expect(failure).toMatchObject({ statusCode: 401, name: 'UnauthorizedError' });
  });
});
