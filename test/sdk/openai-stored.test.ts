import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI, { toFile } from 'openai';
import { describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  OTHER,
  otherPolicy,
  SECRET,
  type StubAnswer,
  startGateway,
  startStub,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import { testStored } from '#test/gateway/stored.ts';

/** What OpenAI keeps, through its own client. */

const USAGE = { input_tokens: 1_000, output_tokens: 500, total_tokens: 1_500 };
const RECORDED = join(import.meta.dirname, '../../../shared/data/wire/openai-responses-background.vcr.yaml');

async function world(answer: StubAnswer, policy = keyPolicy()) {
  const stub = await startStub(answer);
  const { stored, handedOver } = testStored();
  let nowMs = Date.now();
  const other = otherPolicy();
  const gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [policy, other], {
    stored,
    clock: () => nowMs,
  });
  const clientOf = (apiKey: string) => new OpenAI({ apiKey, baseURL: `${gateway.url}/v1`, maxRetries: 0 });
  return {
    stub,
    gateway,
    client: clientOf(SECRET),
    other: clientOf(OTHER),
    handedOver: (count: number) => vi.waitFor(() => expect(handedOver).toHaveLength(count)),
    round: async () => {
      nowMs += 100_000;
      await gateway.gateway.reconciler?.round();
    },
    billed: (wire: string) => gateway.sink.events.filter(({ data }) => data.wire === wire),
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await stub[Symbol.asyncDispose]();
    },
  };
}

function keepsOne(): { answer: StubAnswer; say(status: string): void } {
  let status = 'queued';
  const body = () => ({
    id: 'resp_1',
    object: 'response',
    model: 'gpt-4o-2024-08-06',
    status,
    error: null,
    output: [],
    usage: status === 'completed' ? USAGE : null,
  });
  const answer: StubAnswer = (response, { url }) => {
    if (url.endsWith('/cancel')) status = 'cancelled';
    if (url.includes('stream=true')) {
      const event = { type: 'response.completed', sequence_number: 8, response: body() };
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`event: response.completed\ndata: ${JSON.stringify(event)}\n\n`);
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body()));
  };
  return {
    answer,
    say(next) {
      status = next;
    },
  };
}

describe('the client of OpenAI', () => {
  it('begins a response in the background, polls it, streams it again, and deletes it: one call is billed', async () => {
    const { answer, say } = keepsOne();
    await using all = await world(answer);
    const { client, billed, handedOver } = all;
    const begun = await client.responses.create({ model: 'gpt-4o', input: 'Hi', background: true });
    expect(begun).toMatchObject({ id: 'resp_1', status: 'queued' });
    await handedOver(1);
    expect((await client.responses.retrieve('resp_1')).status).toBe('queued');
    await expect(client.responses.delete('resp_1')).rejects.toThrow(OpenAI.ConflictError);
    say('completed');
    const types: string[] = [];
    const stream = await client.responses.retrieve('resp_1', { stream: true, starting_after: 7 });
    for await (const { type } of stream) types.push(type);
    expect(types).toEqual(['response.completed']);
    expect((await client.responses.retrieve('resp_1')).usage).toMatchObject(USAGE);
    await client.responses.delete('resp_1');
    const [event, ...more] = billed('openai-responses');
    expect(more).toEqual([]);
    expect(event?.data).toMatchObject({ usage_status: 'final', quantities: { output_tokens: '500' } });
  });

  it('cancels one, which is billed by an estimate', async () => {
    await using all = await world(keepsOne().answer);
    const { client, billed, handedOver } = all;
    await client.responses.create({ model: 'gpt-4o', input: 'Hi', background: true });
    await handedOver(1);
    expect((await client.responses.cancel('resp_1')).status).toBe('cancelled');
    await vi.waitFor(() => expect(billed('openai-responses')).toHaveLength(1));
    expect(billed('openai-responses')[0]?.data.usage_status).toBe('estimated');
  });

  it('is told that there is no such thing as what another customer has', async () => {
    await using all = await world(keepsOne().answer);
    const { client, other, handedOver } = all;
    await client.responses.create({ model: 'gpt-4o', input: 'Hi', background: true });
    await handedOver(1);
    await expect(other.responses.retrieve('resp_1')).rejects.toThrow(OpenAI.NotFoundError);
    await expect(other.responses.cancel('resp_1')).rejects.toThrow(OpenAI.NotFoundError);
    await expect(other.responses.inputItems.list('resp_1')).rejects.toThrow(OpenAI.NotFoundError);
    const onTop = { model: 'gpt-4o', input: 'And?', previous_response_id: 'resp_1' };
    await expect(other.responses.create(onTop)).rejects.toThrow(OpenAI.NotFoundError);
  });

  it('is refused what its budget cannot hold, in the class that it has for that', async () => {
    const limits = [limitPolicy({ kind: 'budget', amount: '1000', currency: 'USD', per: 'month' })];
    await using all = await world(keepsOne().answer, keyPolicy({ limits }));
    const begin = all.client.responses.create({ model: 'gpt-4o', input: 'Hi', background: true });
    await expect(begin).rejects.toThrow(OpenAI.RateLimitError);
    expect(all.stub.requests).toEqual([]);
  });

  it('sends a file, makes a batch of it, and reads the results: one call is billed', async () => {
    const usage = { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100 };
    const results = `${JSON.stringify({
      custom_id: 'a',
      response: {
        status_code: 200,
        body: { object: 'chat.completion', model: 'gpt-4o-2024-08-06', choices: [], usage },
      },
    })}\n`;
    let status = 'in_progress';
    await using all = await world((response, { method, url }) => {
      const json = (value: object) =>
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
      if (url.endsWith('/content')) return response.writeHead(200).end(results);
      if (url.endsWith('/cancel')) status = 'completed';
      if (url.includes('/files'))
        return json({ id: 'file-1', object: 'file', purpose: 'batch', deleted: method === 'DELETE' });
      return json({ id: 'batch_1', object: 'batch', status, output_file_id: status === 'completed' ? 'file-2' : null });
    });
    const { client, other, billed, handedOver, round } = all;
    const body = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 100 };
    const line = { custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body };
    const file = await client.files.create({
      file: await toFile(Buffer.from(JSON.stringify(line)), 'in.jsonl'),
      purpose: 'batch',
    });
    const endpoint = '/v1/chat/completions';
    const batch = { input_file_id: file.id, endpoint, completion_window: '24h' } as const;
    await expect(other.batches.create(batch)).rejects.toThrow(OpenAI.NotFoundError);
    expect((await client.batches.create(batch)).status).toBe('in_progress');
    await handedOver(1);
    await client.batches.cancel('batch_1');
    const done = await client.batches.retrieve('batch_1');
    expect(await (await client.files.content(done.output_file_id ?? '')).text()).toBe(results);
    await expect(other.files.content('file-2')).rejects.toThrow(OpenAI.NotFoundError);
    await expect(client.batches.list()).rejects.toThrow(/does not take that method/);
    await round();
    await vi.waitFor(() => expect(billed('openai-batches')).toHaveLength(1));
    expect(billed('openai-batches')[0]?.data).toMatchObject({
      service_tier: 'batch',
      quantities: { calls: '1', input_tokens: '1000', output_tokens: '100' },
    });
  });
});

describe.skipIf(!existsSync(RECORDED))('recorded traffic of a response in the background', () => {
  interface Recording {
    interactions: { request: { method: string }; response: { body?: { string: string }; parsed_body?: object } }[];
  }

  it('is counted once: the stream that was begun, and the response that was looked up after it', async () => {
    const { interactions }: Recording = parse(readFileSync(RECORDED, 'utf8'));
    const [begun, found] = interactions.map(
      ({ response }) => response.body?.string ?? JSON.stringify(response.parsed_body),
    );
    await using all = await world((response, { method }) => {
      const type = method === 'POST' ? 'text/event-stream' : 'application/json';
      response.writeHead(200, { 'content-type': type }).end(method === 'POST' ? begun : found);
    });
    const { client, gateway, round } = all;
    const stream = await client.responses.create({
      model: 'gpt-4o',
      input: 'What is 2 + 2?',
      background: true,
      stream: true,
    });
    let id = '';
    for await (const event of stream) if (event.type === 'response.created') id = event.response.id;
    const response = await client.responses.retrieve(id);
    await round();
    const [call, look] = await eventsOf(gateway, 2);
    expect(call?.data).toMatchObject({ wire: 'openai-responses', usage_status: 'final' });
    expect(call?.data.quantities).toMatchObject({ output_tokens: String(response.usage?.output_tokens) });
    expect(look?.data).toMatchObject({ wire: 'openai-stored-responses', quantities: {} });
  });

  it('is billed by the response that is looked up, where its stream was cut at any event', async () => {
    const { interactions }: Recording = parse(readFileSync(RECORDED, 'utf8'));
    const [begun = '', found] = interactions.map(
      ({ response }) => response.body?.string ?? JSON.stringify(response.parsed_body),
    );
    const events = begun.split('\n\n').filter((event) => event.trim() !== '');
    for (let cut = 1; cut < events.length; cut++) {
      const part = `${events.slice(0, cut).join('\n\n')}\n\n`;
      await using all = await world((response, { method }) => {
        if (method === 'GET') {
          response.writeHead(200, { 'content-type': 'application/json' }).end(found);
          return;
        }
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(part, () => response.destroy());
      });
      const { client, gateway, handedOver, round } = all;
      const stream = await client.responses.create({ model: 'gpt-4o', input: 'x', background: true, stream: true });
      await expect(stream.toReadableStream().pipeTo(new WritableStream())).rejects.toThrow();
      await handedOver(1);
      await round();
      const [event] = await eventsOf(gateway, 1);
      expect(event?.data.usage_status, `cut after ${cut} events`).toBe('final');
    }
  });
});
