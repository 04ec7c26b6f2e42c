import { Ollama } from 'ollama';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Stub, startStub } from '#test/gateway/harness.ts';
import { emittedInSessions } from '#test/support/emitted-by.ts';
import { type RunningGateway, startGateway } from '#test/support/running-gateway.ts';

const MODEL = 'llama3.2:latest';
const PRICES =
  '[{ provider: ollama, model: "*", prices: [{ unit: input_tokens, amount: 1, per: 1M }, { unit: output_tokens, amount: 2, per: 1M }] }]';

/** What Ollama answers: a line for each word, and counts in the last; one line where no stream is wanted. */
function ollama(): Promise<Stub> {
  return startStub((response, { url, body }) => {
    const { stream = true, messages = [], prompt = '' } = JSON.parse(body);
    const head = { model: MODEL, created_at: '2026-11-20T00:00:00Z' };
    const asked = String(messages[0]?.content ?? prompt);
    const call = Number(/\d+/.exec(asked)?.[0] ?? 0);
    const counts = {
      total_duration: 5_000_000,
      load_duration: 1,
      prompt_eval_count: 100 + call * 7,
      eval_count: 10 + call * 13,
    };
    const said = (text: string) =>
      url.endsWith('/chat') ? { message: { role: 'assistant', content: text } } : { response: text };
    const write = (...lines: object[]) => {
      response.writeHead(200, { 'content-type': stream ? 'application/x-ndjson' : 'application/json' });
      for (const line of lines) response.write(`${JSON.stringify({ ...head, ...line })}\n`);
      response.end();
    };
    const end = { done: true, done_reason: 'stop', ...counts };
    if (url.endsWith('/embed')) write({ embeddings: [[0.25, -0.5, 1]], total_duration: 14, prompt_eval_count: 8 });
    else if (!stream) write({ ...said(`Answer to ${asked}`), ...end });
    else write({ ...said('Answer '), done: false }, { ...said(`to ${asked}`), done: false }, { ...said(''), ...end });
  });
}

describe("Ollama's client through a gateway", () => {
  let stub: Stub;
  let gateway: RunningGateway;

  const start = (limits: string) =>
    startGateway({
      upstreamUrl: { ollama: stub.url.replace(/\/v1$/, '') },
      provider: 'ollama',
      models: ['llama*'],
      prices: PRICES,
      limits,
    });
  const clientOf = ({ url, secret }: RunningGateway, session: string) =>
    new Ollama({
      host: url.replace(/\/v1$/, ''),
      headers: { authorization: `Bearer ${secret}`, 'x-weir-session': session },
    });

  beforeAll(async () => {
    stub = await ollama();
    gateway = await start('[{ budget: 1000 USD, per: month }]');
  });
  afterAll(async () => {
    await gateway.stop();
    await stub[Symbol.asyncDispose]();
  });

  it('is served what Ollama serves, streamed or not, and the events have the counts of the last line', async () => {
    const sessions = Array.from({ length: 8 }, (_, call) => `call-${call}`);
    const texts = await Promise.all(
      sessions.map(async (session, call) => {
        const client = clientOf(gateway, session);
        const messages = [{ role: 'user', content: session }];
        if (call % 2 === 0) return (await client.chat({ model: MODEL, messages, stream: false })).message.content;
        const parts = await Array.fromAsync(await client.chat({ model: MODEL, messages, stream: true }));
        return parts.map(({ message }) => message.content).join('');
      }),
    );
    expect(texts).toEqual(sessions.map((session) => `Answer to ${session}`));
    const events = await emittedInSessions(gateway, sessions);
    sessions.forEach((session, call) => {
      expect(events.get(session)?.data).toMatchObject({
        wire: 'ollama-chat',
        stream: call % 2 === 1,
        outcome: 'ok',
        usage_status: 'final',
        quantities: { input_tokens: String(100 + call * 7), output_tokens: String(10 + call * 13) },
        cost: { currency: 'USD' },
      });
    });
  });

  it('completes and embeds, each with its event', async () => {
    const { response } = await clientOf(gateway, 'generate').generate({
      model: MODEL,
      prompt: 'a river',
      stream: false,
    });
    expect(response).toBe('Answer to a river');
    const { embeddings } = await clientOf(gateway, 'embed').embed({ model: MODEL, input: 'a weir' });
    expect(embeddings).toEqual([[0.25, -0.5, 1]]);
    const events = await emittedInSessions(gateway, ['generate', 'embed']);
    expect(events.get('generate')?.data).toMatchObject({
      wire: 'ollama-generate',
      quantities: { output_tokens: '10' },
    });
    expect(events.get('embed')?.data).toMatchObject({ wire: 'ollama-embed', quantities: { input_tokens: '8' } });
  });

  it("raises the client's own error when a budget is used up, streamed or not", async () => {
    const poor = await start('[{ budget: 0.000001 USD, per: month }]');
    try {
      const before = stub.requests.length;
      for (const stream of [false, true]) {
        const client = clientOf(poor, 'refused');
        const asked = { model: MODEL, messages: [{ role: 'user', content: 'a long story' }] };
        const failure = await (stream ? client.chat({ ...asked, stream }) : client.chat(asked)).catch(
          (thrown: unknown) => thrown,
        );
        expect(failure).toMatchObject({ name: 'ResponseError', status_code: 429 });
        expect(failure).toHaveProperty('error', expect.stringContaining('A budget of this key or customer is used up'));
      }
      expect(stub.requests).toHaveLength(before);
    } finally {
      await poor.stop();
    }
  });
});
