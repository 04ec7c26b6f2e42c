import { describe, expect, it, vi } from 'vitest';
import type { RouteRule } from '#config/config.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import {
  configOf,
  eventsOf,
  heldBy,
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

const RENAMED = { upstream: 'openai', model: 'gpt-4o-mini', weight: 1 };

const line = (id: string, body: object = {}) => ({
  custom_id: id,
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 100, ...body },
});

const result = (
  id: string,
  status = 200,
  usage = { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100 },
) => ({
  id: `batch_req_${id}`,
  custom_id: id,
  response: {
    status_code: status,
    request_id: 'r',
    body:
      status === 200
        ? { id: 'c', object: 'chat.completion', model: 'gpt-4o-2024-08-06', choices: [], usage }
        : { error: {} },
  },
  error: null,
});

const picture = (id: string, model: string) => ({
  ...line(id),
  url: '/v1/images/generations',
  body: { model, prompt: 'A weir', n: 2 },
});

const jsonl = (lines: object[]) => lines.map((one) => `${JSON.stringify(one)}\n`).join('');

/** A provider of files and batches: `batch` is what it says of the one batch. */
async function world(policies: KeyPolicy[] = [keyPolicy()], routes: RouteRule[] = []) {
  const files = new Map<string, string>();
  const said: Record<string, unknown> = { status: 'validating', output_file_id: null, error_file_id: null };
  const stub = await startStub((response, { method, url, body }) => {
    const json = (value: object, status = 200) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    const [, kind, id, more] =
      url
        .split('?')[0]
        ?.slice('/v1'.length)
        .split('/')
        .map((part) => part) ?? [];
    if (kind === 'files' && method === 'POST') {
      const made = `file-${files.size + 1}`;
      files.set(made, body);
      return json({ id: made, object: 'file', purpose: 'batch', status: 'processed' });
    }
    if (kind === 'files' && id !== undefined) {
      const text = files.get(id);
      if (text === undefined) return json({ error: { message: 'nothing' } }, 404);
      if (method === 'DELETE') {
        files.delete(id);
        return json({ id, object: 'file', deleted: true });
      }
      if (more === 'content') return response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(text);
      return json({ id, object: 'file' });
    }
    if (more === 'cancel') said.status = 'cancelling';
    return json({ id: 'batch_1', object: 'batch', endpoint: '/v1/chat/completions', ...said });
  });
  const { stored, handedOver } = testStored();
  let nowMs = Date.now();
  const other = otherPolicy();
  const gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)], { routes }), [...policies, other], {
    stored,
    clock: () => nowMs,
  });
  const upload = async (lines: object[] | string, purpose = 'batch', secret = SECRET) => {
    const form = new FormData();
    form.set('purpose', purpose);
    form.set('file', new Blob([typeof lines === 'string' ? lines : jsonl(lines)]), 'in.jsonl');
    const headers = { authorization: `Bearer ${secret}` };
    const response = await fetch(`${gateway.url}/v1/files`, { method: 'POST', headers, body: form });
    return { status: response.status, body: (await response.json()) as { id: string; error?: { message: string } } };
  };
  const submit = (id: string, secret = SECRET) => {
    const body = { input_file_id: id, endpoint: '/v1/chat/completions', completion_window: '24h' };
    return post(`${gateway.url}/v1/batches`, body, { authorization: `Bearer ${secret}` });
  };
  const ask = (path: string, method = 'GET', secret = SECRET) =>
    fetch(`${gateway.url}/v1${path}`, { method, headers: { authorization: `Bearer ${secret}` } });
  const round = async (laterMs = 86_400) => {
    nowMs += laterMs;
    await gateway.gateway.reconciler?.round();
  };
  return {
    files,
    said,
    stub,
    handedOver,
    gateway,
    upload,
    submit,
    ask,
    round,
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await stub[Symbol.asyncDispose]();
    },
  };
}

describe('a batch', () => {
  it('is billed by its results when it is over, at the price of batches, in one event', async () => {
    await using all = await world();
    const { gateway, upload, submit, said, files, round, handedOver } = all;
    const { body } = await upload([line('a'), line('b'), line('c')]);
    const made = await submit(body.id);
    expect(await made.json()).toMatchObject({ id: 'batch_1', status: 'validating' });
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    files.set('file-out', jsonl([result('a'), result('b', 500)]));
    files.set('file-err', jsonl([result('c', 429)]));
    await round();
    expect(gateway.sink.events).toHaveLength(1);
    Object.assign(said, { status: 'completed', output_file_id: 'file-out', error_file_id: 'file-err' });
    await round();
    const [, event] = await eventsOf(gateway, 2);
    expect(event).toMatchObject({
      id: handedOver[0],
      data: {
        wire: 'openai-batches',
        model: 'gpt-4o',
        model_served: 'gpt-4o-2024-08-06',
        service_tier: 'batch',
        usage_status: 'final',
        quantities: { calls: '1', input_tokens: '1000', output_tokens: '100' },
        // Half of 2.50 and 10 dollars a million.
        cost: { amount: '0.00175', currency: 'USD' },
        unpriced: [],
      },
    });
    await round();
    expect(gateway.sink.events).toHaveLength(2);
  });

  it('holds what all of its requests can come to when it is handed in, until it is over', async () => {
    // The worst of 100 requests of 100 tokens out: 0.05 dollars at half of 10 a million, and what they send in.
    const limits = [limitPolicy({ kind: 'budget', amount: '200000000', currency: 'USD', per: 'month' })];
    await using all = await world([keyPolicy({ limits })]);
    const { gateway, upload, submit, said, files, round, handedOver } = all;
    const lines = Array.from({ length: 100 }, (_, i) => line(`${i}`));
    const { body } = await upload(lines);
    expect((await submit(body.id)).status).toBe(200);
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    const opening = gateway.sink.opened.find(({ estimate }) => estimate.data.wire === 'openai-batches');
    if (!opening) throw new Error('no batch was opened');
    expect(await heldBy(gateway.counters, opening.reservation)).toBeGreaterThanOrEqual(50_000_000n);
    const refused = await submit(body.id);
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({ error: { code: 'insufficient_quota' } });
    files.set(
      'file-out',
      jsonl(
        lines.map(({ custom_id }) =>
          result(custom_id, 200, { prompt_tokens: 10, completion_tokens: 10, total_tokens: 20 }),
        ),
      ),
    );
    Object.assign(said, { status: 'completed', output_file_id: 'file-out' });
    await round();
    const counter = opening.reservation.holds[0]?.counter ?? '';
    expect(gateway.counters.read('acme', counter)).toEqual({ used: 6_250_000n, held: 0n });
    expect((await submit(body.id)).status).toBe(200);
  });

  it('that is cancelled or expires is billed for what was done by then', async () => {
    await using all = await world();
    const { gateway, upload, submit, said, files, round, ask, handedOver } = all;
    const { body } = await upload([line('a'), line('b')]);
    await submit(body.id);
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    expect((await ask('/batches/batch_1/cancel', 'POST')).status).toBe(200);
    files.set('file-out', jsonl([result('a')]));
    Object.assign(said, { status: 'cancelled', output_file_id: 'file-out' });
    await round();
    const events = await eventsOf(gateway, 3);
    const billed = events.find(({ data }) => data.wire === 'openai-batches');
    expect(billed?.data).toMatchObject({ usage_status: 'final', quantities: { calls: '1', output_tokens: '100' } });
  });

  it('of which nothing was served is billed nothing', async () => {
    await using all = await world();
    const { gateway, upload, submit, said, round, handedOver } = all;
    const { body } = await upload([line('a')]);
    await submit(body.id);
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    said.status = 'failed';
    await round();
    const [, event] = await eventsOf(gateway, 2);
    expect(event?.data).toMatchObject({
      outcome: 'failed',
      usage_status: 'none',
      quantities: {},
      cost: { amount: '0' },
    });
  });

  it('is settled once where its client finds it over, and the results are theirs', async () => {
    await using all = await world();
    const { gateway, upload, submit, said, files, round, ask, handedOver } = all;
    const { body } = await upload([line('a')]);
    await submit(body.id);
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    const text = jsonl([result('a')]);
    files.set('file-out', text);
    Object.assign(said, { status: 'completed', output_file_id: 'file-out' });
    expect((await ask('/files/file-out/content')).status).toBe(404);
    expect(await (await ask('/batches/batch_1')).json()).toMatchObject({ output_file_id: 'file-out' });
    expect(await (await ask('/files/file-out/content')).text()).toBe(text);
    expect((await ask('/files/file-out/content', 'GET', OTHER)).status).toBe(404);
    await round();
    const isBilled = () => gateway.sink.events.filter(({ data }) => data.wire === 'openai-batches').length;
    await vi.waitFor(() => expect(isBilled()).toBe(1));
    expect((await ask('/files/file-out', 'DELETE')).status).toBe(200);
    await round();
    expect(isBilled()).toBe(1);
  });

  it('keeps its results until they are billed, whoever wants to delete them', async () => {
    await using all = await world();
    const { upload, submit, said, files, ask, handedOver } = all;
    const { body } = await upload([line('a')]);
    await submit(body.id);
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    Object.assign(said, { status: 'completed', output_file_id: 'file-out' });
    // Its provider says that they are there before they can be read.
    expect((await ask('/batches/batch_1')).status).toBe(200);
    expect((await ask('/files/file-out', 'DELETE')).status).toBe(409);
    files.set('file-out', jsonl([result('a')]));
    expect((await ask('/files/file-out', 'DELETE')).status).toBe(200);
  });

  it('costs each of its requests by itself: a price for long ones is not that of many short ones', async () => {
    await using all = await world();
    const { gateway, upload, submit, said, files, round, handedOver } = all;
    const { body } = await upload([line('a', { model: 'gpt-5.4' }), line('b', { model: 'gpt-5.4' })]);
    await submit(body.id);
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    const usage = { prompt_tokens: 200_000, completion_tokens: 0, total_tokens: 200_000 };
    const served = (id: string) => {
      const one = result(id, 200, usage);
      return { ...one, response: { ...one.response, body: { ...one.response.body, model: 'gpt-5.4' } } };
    };
    files.set('file-out', jsonl([served('a'), served('b'), served('b')]));
    Object.assign(said, { status: 'completed', output_file_id: 'file-out' });
    await round();
    const [, event] = await eventsOf(gateway, 2);
    expect(event?.data.quantities).toEqual({ calls: '2', input_tokens: '400000' });
    // 400,000 at half of 2.50 a million; above 272,000 in one request it would be twice that.
    expect(event?.data.cost).toEqual({ amount: '0.5', currency: 'USD' });
  });

  it('counts against how often is asked, and not against how fast its tokens go', async () => {
    const limits = [
      limitPolicy({ kind: 'tokens', amount: '10', per: 'minute' }),
      limitPolicy({ kind: 'requests', amount: '2', per: 'minute', burst: '2' }),
    ];
    await using all = await world([keyPolicy({ limits })]);
    const { upload, submit } = all;
    const { body } = await upload([line('a')]);
    expect((await submit(body.id)).status).toBe(200);
    expect((await submit(body.id)).status).toBe(429);
  });

  it('whose results are not what it says that was served is looked at again, and not billed nothing', async () => {
    await using all = await world();
    const { gateway, upload, submit, said, files, round, handedOver } = all;
    const { body } = await upload([line('a')]);
    await submit(body.id);
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    const request_counts = { total: 1, completed: 1, failed: 0 };
    Object.assign(said, { status: 'completed', output_file_id: 'file-out', request_counts });
    files.set('file-out', '<html>We are back in a minute.</html>');
    await round();
    expect(gateway.sink.events).toHaveLength(1);
    files.set('file-out', jsonl([result('a')]));
    await round();
    const [, event] = await eventsOf(gateway, 2);
    expect(event?.data).toMatchObject({ usage_status: 'final', quantities: { output_tokens: '100' } });
    // One model, though it answers by a longer name than it was asked by.
    expect(event?.data.parts).toBeUndefined();
  });

  it('of a model that goes by another name where it would be sent is refused: its lines name the one that was asked', async () => {
    await using all = await world([keyPolicy()], [{ model: 'gpt-4o', to: [RENAMED], fallback: [] }]);
    const { status, body } = await all.upload([line('a')]);
    expect(status).toBe(400);
    expect(body.error?.message).toContain('another name');
    expect(all.stub.requests).toEqual([]);
  });

  it.each([
    ['a line that is no JSON', `${JSON.stringify(line('a'))}\n{`, 'line 2'],
    ['another model', jsonl([line('a'), line('b', { model: 'gpt-4o-mini' })]), 'line 2'],
    ['something that is no batch', jsonl([{ ...line('a'), url: '/v1/batches' }]), 'line 1'],
    ['one id for two of them', jsonl([line('a'), line('a')]), 'line 2'],
    ['a line without an id', jsonl([line('')]), 'line 1'],
    ['a body twice in a line', `{"body":{"model":"gpt-4o"},${JSON.stringify(line('a')).slice(1)}`, 'line 1'],
    ['a model twice in a body', JSON.stringify(line('a')).replace('{"model"', '{"model":"x","model"'), 'line 1'],
    ['pictures that are billed as they were asked for', jsonl([picture('a', 'dall-e-3')]), 'line 1'],
    ['nothing', '', 'no request'],
  ])('whose file has %s is refused when it is sent', async (_, text, words) => {
    await using all = await world();
    const { status, body } = await all.upload(text);
    expect(status).toBe(400);
    expect(body.error?.message).toContain(words);
    expect(all.stub.requests).toEqual([]);
  });

  it('is made of a file that was sent to be one, by the same customer, for a model that the key may use', async () => {
    const strict = keyPolicy({ models: ['gpt-4o-mini'] });
    await using all = await world([strict]);
    const { upload, submit, stub } = all;
    expect((await upload([line('a')])).status).toBe(403);
    const notes = await upload('notes', 'user_data');
    expect(notes.status).toBe(200);
    expect((await submit(notes.body.id)).status).toBe(400);
    const others = await upload([line('a')], 'batch', OTHER);
    const before = stub.requests.length;
    expect((await submit(others.body.id)).status).toBe(404);
    expect(stub.requests.length).toBe(before);
  });
});

describe('a file', () => {
  it("is read by what its customer asks alone; one that nobody has sent is the operator's to give", async () => {
    await using all = await world();
    const { upload, gateway, stub } = all;
    const { body } = await upload('notes', 'user_data');
    await vi.waitFor(() => expect(gateway.gateway.callsInFlight).toBe(0));
    const chat = (id: string, secret: string) => {
      const content = [{ type: 'file', file: { file_id: id } }];
      const asked = { model: 'gpt-4o', messages: [{ role: 'user', content }] };
      return post(`${gateway.url}/v1/chat/completions`, asked, { authorization: `Bearer ${secret}` });
    };
    const response = (id: string, secret: string) => {
      const input = [{ role: 'user', content: [{ type: 'input_file', file_id: id }] }];
      return post(`${gateway.url}/v1/responses`, { model: 'gpt-4o', input }, { authorization: `Bearer ${secret}` });
    };
    expect((await chat(body.id, SECRET)).status).toBe(200);
    expect((await response(body.id, SECRET)).status).toBe(200);
    expect((await chat('file-of-the-operator', OTHER)).status).toBe(200);
    const before = stub.requests.length;
    expect((await chat(body.id, OTHER)).status).toBe(404);
    expect((await response(body.id, OTHER)).status).toBe(404);
    const content = [{ type: 'file', file: { file_id: body.id } }];
    expect((await upload([line('a', { messages: [{ role: 'user', content }] })], 'batch', OTHER)).status).toBe(404);
    expect(stub.requests.length).toBe(before);
  });

  it.each([
    [
      'beside a file that is none',
      { input: [{ role: 'user', content: [{ type: 'input_file', file: {}, file_id: 'ID' }] }] },
    ],
    [
      'in what a prompt is filled with',
      { prompt: { id: 'pmpt_1', variables: { doc: { type: 'input_file', file_id: 'ID' } } } },
    ],
    [
      'as the mask of a picture',
      { input: 'x', tools: [{ type: 'image_generation', input_image_mask: { file_id: 'ID' } }] },
    ],
    [
      'for a shell',
      { input: 'x', tools: [{ type: 'shell', environment: { type: 'container_auto', file_ids: ['ID'] } }] },
    ],
  ])('is not read by another customer %s', async (_, asked) => {
    await using all = await world();
    const { upload, gateway, stub } = all;
    const { body } = await upload('notes', 'user_data');
    await vi.waitFor(() => expect(gateway.gateway.callsInFlight).toBe(0));
    const request = JSON.parse(JSON.stringify({ model: 'gpt-4o', ...asked }).replace('ID', body.id));
    const ask = (secret: string) => post(`${gateway.url}/v1/responses`, request, { authorization: `Bearer ${secret}` });
    expect((await ask(SECRET)).status).toBe(200);
    const before = stub.requests.length;
    expect((await ask(OTHER)).status).toBe(404);
    expect(stub.requests.length).toBe(before);
  });

  it('is there for the customer who sent it alone', async () => {
    await using all = await world();
    const { upload, ask, stub } = all;
    const { body } = await upload('notes', 'user_data');
    expect((await ask(`/files/${body.id}`)).status).toBe(200);
    expect(await (await ask(`/files/${body.id}/content`)).text()).toContain('notes');
    const before = stub.requests.length;
    for (const [path, method] of [
      [`/files/${body.id}`, 'GET'],
      [`/files/${body.id}/content`, 'GET'],
      [`/files/${body.id}`, 'DELETE'],
    ] as const) {
      expect((await ask(path, method, OTHER)).status).toBe(404);
    }
    // What the operator has is nobody's list.
    expect((await ask('/files')).status).toBe(405);
    expect((await ask('/batches')).status).toBe(405);
    expect(stub.requests.length).toBe(before);
  });
});
