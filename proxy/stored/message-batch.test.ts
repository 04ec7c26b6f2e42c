import Anthropic from '@anthropic-ai/sdk';
import { describe, expect, it, vi } from 'vitest';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  OTHER,
  otherPolicy,
  post,
  SECRET,
  startGateway,
  startStub,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import { testStored } from '#test/gateway/stored.ts';

const MODEL = 'claude-sonnet-4-5';
const AWAY = 'https://api.anthropic.com/v1/messages/batches/msgbatch_1/results';

const result = (id: string, type = 'succeeded') => ({
  custom_id: id,
  result:
    type === 'succeeded'
      ? {
          type,
          message: {
            id: `msg_${id}`,
            type: 'message',
            role: 'assistant',
            model: 'claude-sonnet-4-5-20250929',
            content: [{ type: 'text', text: 'Hi' }],
            stop_reason: 'end_turn',
            usage: { input_tokens: 1_000, output_tokens: 100, service_tier: 'batch' },
          },
        }
      : { type },
});

async function world(policies = [keyPolicy()]) {
  const said: Record<string, unknown> = { processing_status: 'in_progress', results_url: null };
  let results = '';
  const stub = await startStub((response, { url }) => {
    if (url.endsWith('/results')) {
      response.writeHead(200, { 'content-type': 'application/binary' }).end(results);
      return;
    }
    const batch = { id: 'msgbatch_1', type: 'message_batch', ...said };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(batch));
  });
  const { stored, handedOver } = testStored();
  let nowMs = Date.now();
  const origin = new URL(stub.url).origin;
  const config = configOf([
    upstreamConfig('anthropic', stub.url, { addresses: { anthropic: origin }, provider: 'anthropic' }),
  ]);
  const other = otherPolicy();
  const gateway = await startGateway(config, [...policies, other], { stored, clock: () => nowMs });
  const clientOf = (apiKey: string) => new Anthropic({ apiKey, baseURL: gateway.url, maxRetries: 0 });
  return {
    stub,
    gateway,
    handedOver,
    client: clientOf(SECRET),
    other: clientOf(OTHER),
    ends(lines: object[]) {
      results = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
      Object.assign(said, { processing_status: 'ended', results_url: AWAY });
    },
    round: async () => {
      nowMs += 100_000;
      await gateway.gateway.reconciler?.round();
    },
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await stub[Symbol.asyncDispose]();
    },
  };
}

const requests = (...ids: string[]) =>
  ids.map((id) => ({
    custom_id: id,
    params: { model: MODEL, max_tokens: 100, messages: [{ role: 'user' as const, content: 'Hi' }] },
  }));

describe('a message batch', () => {
  it('is billed by its results when it ends, at the price of batches, in one event', async () => {
    await using all = await world();
    const { gateway, client, handedOver, ends, round } = all;
    const made = await client.messages.batches.create({ requests: requests('a', 'b', 'c') });
    expect(made).toMatchObject({ id: 'msgbatch_1', processing_status: 'in_progress' });
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    await round();
    expect(gateway.sink.events).toEqual([]);
    ends([result('a'), result('b'), result('c', 'errored')]);
    await round();
    const [event] = await eventsOf(gateway, 1);
    expect(event?.data).toMatchObject({
      wire: 'anthropic-batches',
      model: MODEL,
      model_served: 'claude-sonnet-4-5-20250929',
      service_tier: 'batch',
      usage_status: 'final',
      quantities: { calls: '2', input_tokens: '2000', output_tokens: '200' },
      // Half of 3 and 15 dollars a million.
      cost: { amount: '0.0045', currency: 'USD' },
    });
    await round();
    expect(gateway.sink.events).toHaveLength(1);
  });

  it('leads its client to the results through the gateway, and is settled once when they are looked for', async () => {
    await using all = await world();
    const { gateway, client, handedOver, ends, stub, round } = all;
    await client.messages.batches.create({ requests: requests('a') });
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    ends([result('a')]);
    const found = await client.messages.batches.retrieve('msgbatch_1');
    expect(found.results_url).toBe(`${gateway.url}/v1/messages/batches/msgbatch_1/results`);
    const seen: string[] = [];
    for await (const { custom_id } of await client.messages.batches.results('msgbatch_1')) seen.push(custom_id);
    expect(seen).toEqual(['a']);
    expect(stub.requests.every(({ headers }) => headers['x-api-key'] === 'sk-upstream')).toBe(true);
    await round();
    const billed = () => gateway.sink.events.filter(({ data }) => data.wire === 'anthropic-batches');
    await vi.waitFor(() => expect(billed()).toHaveLength(1));
  });

  it('is there for the customer who made it alone, in the words that its client expects', async () => {
    await using all = await world();
    const { client, other, handedOver, stub } = all;
    await client.messages.batches.create({ requests: requests('a') });
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    const before = stub.requests.length;
    await expect(other.messages.batches.retrieve('msgbatch_1')).rejects.toThrow(Anthropic.NotFoundError);
    await expect(other.messages.batches.cancel('msgbatch_1')).rejects.toThrow(Anthropic.NotFoundError);
    await expect(other.messages.batches.delete('msgbatch_1')).rejects.toThrow(Anthropic.NotFoundError);
    await expect(other.messages.batches.results('msgbatch_1')).rejects.toThrow(Anthropic.NotFoundError);
    await expect(client.messages.batches.list()).rejects.toThrow(/does not take that method/);
    expect(stub.requests.length).toBe(before);
  });

  it('is not deleted before it is billed, and cancelled whenever its client likes', async () => {
    await using all = await world();
    const { gateway, client, handedOver, ends } = all;
    await client.messages.batches.create({ requests: requests('a') });
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    await expect(client.messages.batches.delete('msgbatch_1')).rejects.toThrow(/cancel it first/);
    await client.messages.batches.cancel('msgbatch_1');
    ends([result('a')]);
    await client.messages.batches.delete('msgbatch_1');
    const billed = gateway.sink.events.filter(({ data }) => data.wire === 'anthropic-batches');
    expect(billed).toHaveLength(1);
  });

  it('is held by what all of its requests can come to, or refused', async () => {
    // Two answers of 100 tokens at half of 15 dollars a million are 1.5 thousandths of a dollar.
    const limits = [limitPolicy({ kind: 'budget', amount: '2500000', currency: 'USD', per: 'month' })];
    await using all = await world([keyPolicy({ limits })]);
    const { client, gateway } = all;
    await expect(client.messages.batches.create({ requests: requests('a', 'b', 'c', 'd', 'e') })).rejects.toThrow(
      /budget/i,
    );
    await client.messages.batches.create({ requests: requests('a') });
    expect(gateway.observer.refused).toEqual(['budget_exhausted']);
  });

  it('with a request for another model is refused, with the place of it', async () => {
    await using all = await world();
    const [first, second] = requests('a', 'b');
    const body = { requests: [first, { ...second, params: { ...second?.params, model: 'claude-haiku-4-5' } }] };
    const response = await post(`${all.gateway.url}/v1/messages/batches`, body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { message: expect.stringContaining('requests[1]') } });
    expect(all.stub.requests).toEqual([]);
  });
});
