import { expect, it, vi } from 'vitest';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  post,
  SECRET,
  type StubAnswer,
  startGateway,
  startStub,
  upstreamConfig,
} from '#test/gateway/harness.ts';

/** What others leak or leave out: what a call holds is given back whatever becomes of it, and every API counts. */

const CALL = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }] };
const USAGE = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };

const good: StubAnswer = (response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ model: 'gpt-4o', choices: [{ message: { content: 'Hi' } }], usage: USAGE }));
};
const failing: StubAnswer = (response) => {
  response.statusCode = 500;
  response.end('{}');
};
const breaking: StubAnswer = (response) => {
  response.setHeader('content-type', 'text/event-stream');
  response.write(`data: ${JSON.stringify({ model: 'gpt-4o', choices: [{ delta: { content: 'Hi' } }] })}\n\n`);
  setImmediate(() => response.destroy());
};

it.each<[string, StubAnswer, object]>([
  ['the upstream fails', failing, CALL],
  ['the upstream closes the connection', (response) => response.destroy(), CALL],
  ['the upstream says nothing', () => undefined, CALL],
  ['the upstream answers what is no JSON', (response) => response.end('no'), CALL],
  ['the stream breaks off', breaking, { ...CALL, stream: true }],
  ['the model is unknown', good, { ...CALL, model: 'nobody-has-it' }],
  ['the body is none', good, { model: 7 }],
])('gives back the only place of a key when %s', async (_, odd, body) => {
  let answer = odd;
  await using stub = await startStub((...asked) => answer(...asked));
  const limits = [limitPolicy({ kind: 'concurrency', amount: '1', per: null })];
  const config = configOf([upstreamConfig('openai', stub.url)], {
    gateway: { retriesMax: 0, headersTimeoutMs: 100, idleTimeoutMs: 500 },
  });
  await using weir = await startGateway(config, [keyPolicy({ limits })]);
  for (let i = 0; i < 3; i++) await (await post(`${weir.url}/v1/chat/completions`, body)).text().catch(() => '');
  answer = good;
  await vi.waitFor(async () => expect((await post(`${weir.url}/v1/chat/completions`, CALL)).status).toBe(200));
});

it('gives back the only place of a key when the client hangs up', async () => {
  let answer: StubAnswer = () => undefined;
  await using stub = await startStub((...asked) => answer(...asked));
  const limits = [limitPolicy({ kind: 'concurrency', amount: '1', per: null })];
  const config = configOf([upstreamConfig('openai', stub.url)], { gateway: { onDisconnect: 'cancel' } });
  await using weir = await startGateway(config, [keyPolicy({ limits })]);
  for (let i = 1; i <= 3; i++) {
    const leaving = new AbortController();
    const call = fetch(`${weir.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json' },
      body: JSON.stringify(CALL),
      signal: leaving.signal,
    });
    await vi.waitFor(() => expect(stub.requests.length).toBe(i));
    leaving.abort();
    await expect(call).rejects.toThrow();
    await vi.waitFor(() => expect(weir.gateway.callsInFlight).toBe(0));
  }
  answer = good;
  expect((await post(`${weir.url}/v1/chat/completions`, CALL)).status).toBe(200);
});

it('counts what every API used in one limit, whichever was called', async () => {
  const answers: Record<string, object> = {
    '/v1/chat/completions': { model: 'gpt-4o', choices: [{ message: { content: 'Hi' } }], usage: USAGE },
    '/v1/responses': {
      ...{ object: 'response', model: 'gpt-4o', output: [] },
      usage: { input_tokens: 20, output_tokens: 7, total_tokens: 27 },
    },
    '/v1/embeddings': { model: 'text-embedding-3-small', data: [], usage: { prompt_tokens: 30, total_tokens: 30 } },
  };
  await using stub = await startStub((response, { url }) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(answers[url]));
  });
  const limits = [
    limitPolicy({ id: 'tokens', kind: 'tokens', amount: '1000000', per: 'day' }),
    limitPolicy({ id: 'calls', kind: 'requests', amount: '3', per: 'day' }),
  ];
  await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [keyPolicy({ limits })]);
  expect((await post(`${weir.url}/v1/chat/completions`, CALL)).status).toBe(200);
  expect((await post(`${weir.url}/v1/responses`, { model: 'gpt-4o', input: 'Hi' })).status).toBe(200);
  const embedding = { model: 'text-embedding-3-small', input: 'Hi' };
  expect((await post(`${weir.url}/v1/embeddings`, embedding)).status).toBe(200);
  await eventsOf(weir, 3);
  const answer = await fetch(`${weir.url}/v1/limits`, { headers: { authorization: `Bearer ${SECRET}` } });
  const { data } = (await answer.json()) as { data: { id: string; used: string }[] };
  expect(data.map(({ id, used }) => [id, used])).toEqual([
    ['tokens', '72'],
    ['calls', '3'],
  ]);
  expect((await post(`${weir.url}/v1/embeddings`, embedding)).status).toBe(429);
});
