import { describe, expect, it } from 'vitest';
import { configOf, eventsOf, post, startGateway, startStub, upstreamConfig } from '#test/gateway/harness.ts';

/** Servers that speak OpenAI's chat, each with what it has of its own. Streams as they send them. */

const MODEL = 'llama-3.3-70b-versatile';
const NOT_ASKED = { model: MODEL, messages: [{ role: 'user', content: 'Hello' }], stream: true };
const ASKED = { ...NOT_ASKED, stream_options: { include_usage: true } };

interface Choice {
  readonly text?: string;
  readonly finish?: string;
}

const chunkOf = ({ text = '', finish }: Choice, more: object = {}) => ({
  id: 'c1',
  object: 'chat.completion.chunk',
  model: MODEL,
  choices: [{ index: 0, delta: { content: text }, finish_reason: finish ?? null }],
  ...more,
});
const usageOf = (completion: number) => ({
  prompt_tokens: 9,
  completion_tokens: completion,
  total_tokens: 9 + completion,
});
const framesOf = (...chunks: object[]) => chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`);
const DONE = 'data: [DONE]\n\n';
const QUANTITIES = { calls: '1', input_tokens: '9', output_tokens: '3' };

async function world(frames: readonly string[], provider: string | null) {
  const stub = await startStub((response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const frame of frames) response.write(frame);
    response.end();
  });
  const upstream = upstreamConfig('server', stub.url, { provider, models: ['*'] });
  const gateway = await startGateway(configOf([upstream]));
  return {
    stub,
    gateway,
    ask: async (body: object) => (await post(`${gateway.url}/v1/chat/completions`, body)).text(),
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await stub[Symbol.asyncDispose]();
    },
  };
}

const WORDS = [{ text: 'Water' }, { text: ' flows' }, { text: '.', finish: 'stop' }] as const;
/** Usage in every chunk, as far as it has come. */
const RUNNING = WORDS.map((word, at) => chunkOf(word, { usage: usageOf(at + 1) }));
const LAST = { id: 'c1', object: 'chat.completion.chunk', model: MODEL, choices: [], usage: usageOf(3) };

describe('a server that states usage in every chunk (vLLM)', () => {
  it('is billed by the last of them, and keeps its words where a client did not ask for usage', async () => {
    const frames = [...framesOf(...RUNNING, LAST), DONE];
    await using all = await world(frames, null);
    expect(await all.ask(ASKED)).toBe(frames.join(''));
    expect(await all.ask(NOT_ASKED)).toBe([...framesOf(...RUNNING), DONE].join(''));
    for (const { data } of await eventsOf(all.gateway, 2)) {
      expect(data).toMatchObject({ outcome: 'ok', usage_status: 'final', quantities: QUANTITIES });
    }
  });

  it('that ends in the middle has not answered: what it had stated by then is billed', async () => {
    await using all = await world(framesOf(...RUNNING.slice(0, 2)), null);
    await all.ask(ASKED);
    const [event] = await eventsOf(all.gateway, 1);
    expect(event?.data).toMatchObject({
      outcome: 'cut',
      usage_status: 'partial',
      quantities: { input_tokens: '9', output_tokens: '2' },
    });
  });
});

describe('a server that states usage at its end', () => {
  const begun = WORDS.slice(0, 2).map((word) => chunkOf(word));
  const ended = (more: object) => framesOf(...begun, chunkOf({ text: '.', finish: 'stop' }, more));
  const usage = usageOf(3);
  const cases: [string, string | null, string[]][] = [
    [
      'in a chunk of its own, as OpenAI (TGI)',
      null,
      framesOf(...WORDS.map((word) => chunkOf(word, { id: '', usage: null })), LAST),
    ],
    ['with its last words (Together)', 'together', ended({ usage })],
    ['twice, with its last words (Groq)', 'groq', ended({ x_groq: { id: 'req_1', usage }, usage })],
    ['in a member of its own alone (Groq, of old)', 'groq', ended({ x_groq: { id: 'req_1', usage } })],
  ];

  it.each(cases)('%s: it counts once, and every byte is passed to who asked for it', async (_, provider, frames) => {
    await using all = await world([...frames, DONE], provider);
    expect(await all.ask(ASKED)).toBe([...frames, DONE].join(''));
    const [event] = await eventsOf(all.gateway, 1);
    expect(event?.data).toMatchObject({ outcome: 'ok', usage_status: 'final', quantities: QUANTITIES });
    expect(all.stub.requests.map(({ body }) => JSON.parse(body))).toEqual([ASKED]);
  });
});
