import { Mistral } from '@mistralai/mistralai';
import { SDKError } from '@mistralai/mistralai/models/errors/index.js';
import { describe, expect, it } from 'vitest';
import { type Stub, startStub } from '#test/gateway/harness.ts';
import { emittedInSessions } from '#test/support/emitted-by.ts';
import { type RunningGateway, startGateway } from '#test/support/running-gateway.ts';

const MODEL = 'mistral-small-latest';
const chunk = (delta: object, more: object = {}, reason: string | null = null) => ({
  id: 'x',
  object: 'chat.completion.chunk',
  created: 1_769_088_720,
  model: MODEL,
  choices: [{ index: 0, delta, finish_reason: reason }],
  ...more,
});
const usage = { prompt_tokens: 13, total_tokens: 21, completion_tokens: 8 };

/** What Mistral answers: it refuses what it does not know, and sends usage unasked in the chunk that ends. */
function mistral(): Promise<Stub> {
  return startStub((response, { url, body }) => {
    const asked = JSON.parse(body);
    if (asked.stream_options !== undefined) {
      const detail = [
        { type: 'extra_forbidden', loc: ['body', 'stream_options'], msg: 'Extra inputs are not permitted' },
      ];
      response.writeHead(422, { 'content-type': 'application/json' }).end(JSON.stringify({ object: 'error', detail }));
    } else if (url.endsWith('/ocr')) {
      const page = { index: 0, markdown: '# A', images: [], dimensions: null };
      const read = { pages: [page], model: 'mistral-ocr-2505', usage_info: { pages_processed: 2, doc_size_bytes: 9 } };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(read));
    } else if (asked.stream === true) {
      const chunks = [
        chunk({ role: 'assistant', content: '' }),
        chunk({ content: 'Hello' }),
        chunk({ content: '' }, { usage }, 'stop'),
      ];
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`${chunks.map((one) => `data: ${JSON.stringify(one)}\n\n`).join('')}data: [DONE]\n\n`);
    } else {
      const message = { role: 'assistant', content: 'Hello' };
      const choices = [{ index: 0, message, finish_reason: 'stop' }];
      const whole = { id: 'x', object: 'chat.completion', created: 1, model: MODEL, choices, usage };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(whole));
    }
  });
}

describe("Mistral's client through a gateway", () => {
  const clientOf = ({ url, secret }: RunningGateway) =>
    new Mistral({ serverURL: url.replace(/\/v1$/, ''), apiKey: secret });
  const inSession = (session: string) => ({ headers: { 'x-weir-session': session } });
  const chat = { model: MODEL, messages: [{ role: 'user' as const, content: 'Hello' }] };

  it('chats, fills in and reads documents, and every call has one event', async () => {
    await using stub = await mistral();
    const gateway = await startGateway({ upstreamUrl: stub.url, provider: 'mistral', models: ['*'] });
    try {
      const client = clientOf(gateway);
      const plain = await client.chat.complete(chat, inSession('plain'));
      expect(plain.choices?.[0]?.message?.content).toBe('Hello');
      const events = await Array.fromAsync(await client.chat.stream(chat, inSession('stream')));
      expect(events.map(({ data }) => data.choices[0]?.delta.content).join('')).toBe('Hello');
      await client.fim.complete({ model: 'codestral-2508', prompt: 'a', suffix: 'b' }, inSession('fim'));
      const document = { type: 'document_url' as const, documentUrl: 'https://example.com/a.pdf' };
      await client.ocr.process({ model: 'mistral-ocr-latest', document }, inSession('ocr'));
      const emitted = await emittedInSessions(gateway, ['plain', 'stream', 'fim', 'ocr']);
      for (const session of ['plain', 'stream', 'fim']) {
        expect(emitted.get(session)?.data).toMatchObject({
          outcome: 'ok',
          usage_status: 'final',
          quantities: { calls: '1', input_tokens: '13', output_tokens: '8' },
        });
      }
      expect(emitted.get('ocr')?.data).toMatchObject({ usage_status: 'final', quantities: { calls: '1', pages: '2' } });
    } finally {
      await gateway.stop();
    }
  });

  it("raises the client's own error when a budget is used up", async () => {
    await using stub = await mistral();
    const limits = '[{ budget: 0.000001 USD, per: month }]';
    const gateway = await startGateway({ upstreamUrl: stub.url, provider: 'mistral', limits });
    try {
      const failure = await clientOf(gateway)
        .chat.complete(chat)
        .catch((thrown: unknown) => thrown);
      expect(failure).toBeInstanceOf(SDKError);
      expect(failure).toMatchObject({ statusCode: 429 });
      expect(stub.requests).toEqual([]);
    } finally {
      await gateway.stop();
    }
  });
});
