import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it, vi } from 'vitest';
import type { KeyPolicy } from '#core/key-policy.ts';
import { configOf, eventsOf, keyPolicy, limitPolicy, startGateway, upstreamConfig } from '#test/gateway/harness.ts';
import { type Message, type SocketAnswer, SocketClient, startSocketStub } from '#test/gateway/sockets.ts';
import { ResponsesTalk } from '../wire/openai-responses-talk.ts';

const USAGE = {
  input_tokens: 30,
  input_tokens_details: { cached_tokens: 10, cache_write_tokens: 0 },
  output_tokens: 7,
  output_tokens_details: { reasoning_tokens: 2 },
  total_tokens: 37,
};

let responses = 0;

function begun(message: Message): { id: string; created: object; lane: object } {
  const id = `resp_${responses++}`;
  const lane = message.stream_id === undefined ? {} : { stream_id: message.stream_id };
  const created = { type: 'response.created', sequence_number: 0, response: { id, usage: null }, ...lane };
  return { id, created, lane };
}

function rest({ id, lane }: { id: string; lane: object }, usage: object | null = USAGE): object[] {
  return [
    { type: 'response.output_text.delta', sequence_number: 1, delta: 'Hello there', ...lane },
    {
      type: 'response.completed',
      sequence_number: 2,
      response: { id, status: 'completed', model: 'gpt-4o-mini-2024-07-18', usage },
      ...lane,
    },
  ];
}

function openai(message: Message, say: (...events: object[]) => void): void {
  if (message.type !== 'response.create') return;
  const response = begun(message);
  say(response.created, ...rest(response));
}

async function open(answer: SocketAnswer = openai, policy: Partial<KeyPolicy> = {}) {
  const upstream = await startSocketStub(answer);
  const running = await startGateway(configOf([upstreamConfig('openai', upstream.url)]), [keyPolicy(policy)]);
  const client = new SocketClient(`${running.url}/v1/responses`);
  await client.opened();
  return {
    upstream,
    running,
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await running[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

const create = (changes: object = {}): object => ({
  type: 'response.create',
  model: 'gpt-4o-mini',
  input: 'Hello',
  ...changes,
});

describe('a socket of OpenAI Responses', () => {
  it('leads to the upstream of the first model, and makes an event of each response', async () => {
    await using world = await open();
    const { client, running, upstream } = world;
    client.say(create({ metadata: { session_id: 's1' } }));
    await client.hears('response.completed');
    client.say(create({ previous_response_id: `resp_${responses - 1}`, store: false }));
    await client.hears('response.completed', 2);
    const [first, second] = await eventsOf(running, 2);
    expect(first?.data).toMatchObject({
      wire: 'openai-responses',
      endpoint: '/v1/responses',
      model: 'gpt-4o-mini',
      model_served: 'gpt-4o-mini-2024-07-18',
      session: 's1',
      outcome: 'ok',
      usage_status: 'final',
      quantities: { calls: '1', input_tokens: '20', cache_read_tokens: '10', output_tokens: '7' },
    });
    expect(second?.data.session).toMatch(/^req_/);
    expect(upstream.opened.map(({ url }) => url)).toEqual(['/v1/responses']);
    expect(upstream.messages[0]).toEqual(create({ metadata: { session_id: 's1' } }));
  });

  it('keeps lanes apart, which are answered at once', async () => {
    const begunBy = new Map<unknown, ReturnType<typeof begun>>();
    await using world = await open((message, say) => {
      const response = begun(message);
      begunBy.set(message.stream_id, response);
      say(response.created);
      const [a, b] = [begunBy.get('a'), begunBy.get('b')];
      if (a && b) say(...rest(b, { ...USAGE, output_tokens: 2 }), ...rest(a, { ...USAGE, output_tokens: 1 }));
    });
    const { client, running } = world;
    client.say(create({ stream_id: 'a', user: 'first' }), create({ stream_id: 'b', user: 'second' }));
    await client.hears('response.completed', 2);
    const events = await eventsOf(running, 2);
    const output = Object.fromEntries(events.map(({ data }) => [data.user, data.quantities.output_tokens]));
    expect(output).toEqual({ first: '1', second: '2' });
  });

  it('answers each lane in its order, where several wait in it', async () => {
    const waiting: Message[] = [];
    await using world = await open((message, say) => {
      waiting.push(message);
      if (waiting.length < 2) return;
      for (const [i, one] of waiting.entries()) {
        const response = begun(one);
        say(response.created, ...rest(response, { ...USAGE, output_tokens: i + 1 }));
      }
    });
    const { client, running } = world;
    client.say(create({ user: 'first' }), create({ user: 'second' }));
    await client.hears('response.completed', 2);
    const events = await eventsOf(running, 2);
    expect(events.map(({ data }) => [data.user, data.quantities.output_tokens])).toEqual([
      ['first', '1'],
      ['second', '2'],
    ]);
  });

  it('tells a request that does not fit in its lane, and goes on', async () => {
    await using world = await open(openai, { limits: [limitPolicy({ kind: 'requests', amount: '1', per: 'minute' })] });
    const { client, upstream } = world;
    client.say(create());
    await client.hears('response.completed');
    client.say(create({ stream_id: 'b' }));
    expect(await client.hears('error')).toMatchObject({
      status: 429,
      stream_id: 'b',
      error: { code: 'rate_limit_exceeded', weir: { limit: 'requests' } },
    });
    expect(upstream.messages).toHaveLength(1);
    expect(client.closed).toBeUndefined();
  });

  it('refuses a model that another upstream serves, and one that the key may not use', async () => {
    const upstream = await startSocketStub(openai);
    await using _upstream = upstream;
    const config = configOf([
      upstreamConfig('one', upstream.url, { models: ['gpt-4o-mini'] }),
      upstreamConfig('two', upstream.url, { models: ['gpt-4o'] }),
    ]);
    await using running = await startGateway(config, [keyPolicy({ models: ['gpt-4o*'] })]);
    await using client = await new SocketClient(`${running.url}/v1/responses`).opened();
    client.say(create());
    await client.hears('response.completed');
    client.say(create({ model: 'gpt-4o' }));
    expect((await client.hears('error')).error).toMatchObject({ code: 'model_not_found' });
    client.say(create({ model: 'o3' }));
    expect((await client.hears('error', 2)).error).toMatchObject({ code: 'model_not_allowed' });
    expect(client.closed).toBeUndefined();
  });

  it('lowers the most that a response may answer to what is left', async () => {
    const limit = limitPolicy({ kind: 'tokens', amount: '1000', per: 'day' });
    await using world = await open(openai, { limits: [limit] });
    const { client, upstream } = world;
    client.say(create());
    await client.hears('response.completed');
    const [asked] = upstream.messages;
    expect(asked?.max_output_tokens).toBeGreaterThan(0);
    expect(asked?.max_output_tokens).toBeLessThan(1_000);
  });

  it('holds ahead what follows a response that is steered', async () => {
    await using world = await open((message, say) => {
      if (message.type === 'response.create') say(begun(message).created);
      if (message.type !== 'response.steer') return;
      const id = String(message.previous_response_id);
      const incomplete = { id, status: 'incomplete', incomplete_details: { reason: 'steered' }, usage: USAGE };
      const next = begun({});
      say(
        { type: 'response.steer.accepted', steer: { id: 'steer_1', previous_response_id: id } },
        { type: 'response.incomplete', response: incomplete },
        next.created,
        ...rest(next),
      );
    });
    const { client, running } = world;
    client.say(create());
    const created = await client.hears('response.created');
    const { id } = created.response as { id: string };
    client.say({ type: 'response.steer', previous_response_id: id, input: 'Shorter' });
    await client.hears('response.completed');
    const events = await eventsOf(running, 2);
    expect(running.sink.opened).toHaveLength(2);
    expect(events.map(({ data }) => data.usage_status)).toEqual(['final', 'final']);
  });

  it('bills nothing that the upstream refused, and an estimate of what it broke off', async () => {
    await using world = await open((message, say, socket) => {
      const response = begun(message);
      if (message.input === 'bad')
        return say({ type: 'error', status: 400, error: { code: 'invalid', message: 'No.' } });
      say(response.created, ...rest(response).slice(0, 1), { type: 'error', error: { code: 'server_error' } });
      return socket.close(1011);
    });
    const { client, running } = world;
    client.say(create({ input: 'bad' }));
    await client.hears('error');
    client.say(create());
    await client.hears('error', 2);
    const [refused, broken] = await eventsOf(running, 2);
    expect(refused?.data).toMatchObject({ outcome: 'failed', quantities: {} });
    expect(broken?.data).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
    expect(BigInt(broken?.data.quantities.output_tokens ?? '0')).toBeGreaterThan(0n);
  });

  it('takes nothing in the background, and nothing that names no model', async () => {
    await using world = await open();
    const { client, upstream } = world;
    client.say(create({ background: true }), { type: 'response.create', input: 'Hello' });
    await client.hears('error', 2);
    await vi.waitFor(() => expect(upstream.messages).toEqual([]));
  });
});

describe('an error on a socket of OpenAI Responses', () => {
  it('that comes before the end of its response leaves the end to say what it used, once', async () => {
    await using world = await open((message, say) => {
      const { id, created } = begun(message);
      say(
        created,
        { type: 'response.output_text.delta', sequence_number: 1, delta: 'Hello there' },
        { type: 'error', sequence_number: 2, code: 'server_error', message: 'Failed.', param: null },
        { type: 'response.failed', sequence_number: 3, response: { id, status: 'failed', usage: USAGE } },
      );
    });
    const { client, running } = world;
    client.say(create());
    await client.hears('response.failed');
    client.say(create());
    await client.hears('response.failed', 2);
    const events = await eventsOf(running, 2);
    expect(events.map(({ data }) => data.raw_usage)).toEqual([USAGE, USAGE]);
    await vi.waitFor(() => expect(running.gateway.callsInFlight).toBe(1));
    expect(running.sink.closed).toHaveLength(2);
  });

  it('whose end never comes ends its response when the next one begins', async () => {
    await using world = await open((message, say) => {
      const response = begun(message);
      const [delta, completed] = rest(response);
      say(response.created, ...(delta ? [delta] : []));
      if (message.user === 'fails')
        say({ type: 'error', sequence_number: 2, code: 'server_error', message: 'Failed.' });
      else if (completed) say(completed);
    });
    const { client, running } = world;
    client.say(create({ user: 'fails' }));
    await client.hears('error');
    client.say(create({ user: 'ends' }));
    await client.hears('response.completed');
    const events = await eventsOf(running, 2);
    expect(events.map(({ data }) => [data.user, data.usage_status])).toEqual([
      ['fails', 'estimated'],
      ['ends', 'final'],
    ]);
  });

  it('that answers a message refuses the one that waits, not the one that is being answered', async () => {
    let first: ReturnType<typeof begun> | undefined;
    await using world = await open((message, say) => {
      if (!first) {
        first = begun(message);
        say(first.created);
        return;
      }
      say({ type: 'error', status: 400, error: { code: 'previous_response_not_found', message: 'No.' } });
      say(...rest(first));
    });
    const { client, running } = world;
    client.say(create({ user: 'first' }), create({ user: 'second' }));
    await client.hears('response.completed');
    const events = await eventsOf(running, 2);
    expect(events.map(({ data }) => [data.user, data.outcome, data.raw_usage])).toEqual([
      ['second', 'failed', null],
      ['first', 'ok', USAGE],
    ]);
  });
});

describe('steering a response', () => {
  it("names no files of whom nobody has checked that they are the caller's", async () => {
    await using world = await open();
    const { client, upstream } = world;
    client.say(create());
    await client.hears('response.completed');
    const content = [{ type: 'input_file', file_id: 'file_of_somebody_else' }];
    const input = [{ role: 'user', content }];
    client.say({ type: 'response.steer', previous_response_id: `resp_${responses - 1}`, input });
    expect((await client.hears('error')).error).toMatchObject({ code: 'invalid_request' });
    expect(upstream.messages).toHaveLength(1);
  });
});

describe('a long talk', () => {
  it('keeps nothing of what its responses were asked with', () => {
    const talk = new ResponsesTalk('/v1/responses');
    const frame = (message: object) => ({ bytes: Buffer.from(JSON.stringify(message)), isText: true });
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    collect();
    const before = process.memoryUsage().arrayBuffers;
    for (let n = 0; n < 64; n++) {
      talk.fromClient(frame({ ...create(), input: 'x'.repeat(1 << 20) }));
      const response = begun({});
      for (const event of [response.created, ...rest(response)]) talk.fromUpstream(frame(event));
    }
    collect();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 << 20);
  });
});
