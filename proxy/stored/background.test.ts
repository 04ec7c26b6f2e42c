import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { Fault } from '#core/fault.ts';
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
  type StubAnswer,
  startGateway,
  startStub,
  type TestGateway,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import { testStored } from '#test/gateway/stored.ts';
import { temporaryFolder } from '#test/support/journal.ts';

const USAGE = { input_tokens: 1_000, output_tokens: 500, total_tokens: 1_500 };

/** A provider that keeps responses: each becomes what the test says. */
function keeping(responses: Map<string, object>): StubAnswer {
  return (response, { method, url, body }) => {
    const json = (status: number, value: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    const id = /\/responses\/(resp_\d+)/.exec(url)?.[1];
    const known = id === undefined ? undefined : responses.get(id);
    if (method === 'POST' && id === undefined) {
      const made = `resp_${responses.size + 1}`;
      responses.set(made, responseOf(made, 'queued', JSON.parse(body).model));
      return json(200, responses.get(made) ?? {});
    }
    if (!known || id === undefined) return json(404, { error: { message: 'nothing' } });
    if (method === 'DELETE') {
      responses.delete(id);
      return json(200, { id, object: 'response', deleted: true });
    }
    if (url.endsWith('/cancel')) responses.set(id, responseOf(id, 'cancelled', 'gpt-4o'));
    if (url.endsWith('/input_items')) return json(200, { object: 'list', data: [], first_id: null });
    if (!url.includes('stream=true')) return json(200, responses.get(id) ?? {});
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const event = { type: 'response.completed', sequence_number: 9, response: known };
    return response.end(`event: response.completed\ndata: ${JSON.stringify(event)}\n\n`);
  };
}

function responseOf(id: string, status: string, model = 'gpt-4o', usage: object | null = null): object {
  return { id, object: 'response', status, model, error: null, output: [], usage };
}

const done = (id: string) => responseOf(id, 'completed', 'gpt-4o-2024-08-06', USAGE);

async function world(policies = [keyPolicy()], nowMs = Date.now) {
  const responses = new Map<string, object>();
  const stub = await startStub(keeping(responses));
  const { stored, handedOver } = testStored();
  const config = configOf([upstreamConfig('openai', stub.url)]);
  const other = otherPolicy();
  const gateway = await startGateway(config, [...policies, other], { stored, clock: nowMs });
  const ask = (path: string, method = 'GET', secret = SECRET) =>
    fetch(`${gateway.url}/v1${path}`, { method, headers: { authorization: `Bearer ${secret}` } });
  return {
    responses,
    stub,
    stored,
    handedOver,
    gateway,
    ask,
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await stub[Symbol.asyncDispose]();
    },
  };
}

/** A call that a gateway left open that is gone now, and its store as the next one finds it. */
async function leftOpen(policy: KeyPolicy) {
  const path = join(temporaryFolder(), 'stored.db');
  await using stub = await startStub(keeping(new Map()));
  await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [policy], {
    stored: testStored(path).stored,
  });
  await inBackground(gateway, { max_output_tokens: 100 });
  await vi.waitFor(() => expect(gateway.gateway.callsInFlight).toBe(0));
  const [opening] = gateway.sink.opened;
  if (!opening) throw new Error('nothing was opened');
  return { opened: opening.reservation, stored: testStored(path, true).stored };
}

async function inBackground({ url }: TestGateway, more: object = {}): Promise<string> {
  const response = await post(`${url}/v1/responses`, { model: 'gpt-4o', input: 'Hi', background: true, ...more });
  expect(response.status).toBe(200);
  const { id } = (await response.json()) as { id: string };
  return id;
}

async function opened({ gateway }: { gateway: TestGateway }, count: number): Promise<void> {
  await vi.waitFor(() => expect(gateway.gateway.callsInFlight).toBe(0));
  expect(gateway.sink.opened).toHaveLength(count);
}

describe('a response in the background', () => {
  it('is billed when it ends, once, by what its provider says then, though its client never asks', async () => {
    let nowMs = Date.now();
    await using all = await world([keyPolicy()], () => nowMs);
    const { gateway, responses, handedOver } = all;
    const id = await inBackground(gateway);
    await opened(all, 1);
    const [opening] = gateway.sink.opened;
    expect(handedOver).toEqual([opening?.reservation.id]);
    nowMs += 3_000;
    expect(await gateway.gateway.reconciler?.round()).toBe(1);
    expect(gateway.sink.events).toEqual([]);
    responses.set(id, done(id));
    nowMs += 3_000;
    expect(await gateway.gateway.reconciler?.round()).toBe(1);
    const [event] = await eventsOf(gateway, 1);
    expect(event).toMatchObject({
      id: opening?.reservation.id,
      time: opening?.estimate.time,
      data: {
        model: 'gpt-4o',
        model_served: 'gpt-4o-2024-08-06',
        outcome: 'ok',
        usage_status: 'final',
        quantities: { input_tokens: '1000', output_tokens: '500' },
        cost: { amount: '0.0075', currency: 'USD' },
      },
    });
    nowMs += 3_000;
    expect(await gateway.gateway.reconciler?.round()).toBe(0);
  });

  it('holds its limits until it ends, and then has used what it used', async () => {
    let nowMs = Date.now();
    const limits = [limitPolicy({ kind: 'budget', amount: '5000000000', currency: 'USD', per: 'month' })];
    await using all = await world([keyPolicy({ limits })], () => nowMs);
    const { gateway, responses } = all;
    const id = await inBackground(gateway);
    await opened(all, 1);
    const reservation = gateway.sink.opened[0]?.reservation;
    if (!reservation) throw new Error('nothing was opened');
    const held = await heldBy(gateway.counters, reservation);
    expect(held).toBeGreaterThan(0n);
    // Beyond every lease of a call in flight.
    for (let i = 0; i < 40; i++) {
      nowMs += 250_000;
      await gateway.gateway.reconciler?.round();
      expect(await heldBy(gateway.counters, reservation)).toBe(held);
    }
    responses.set(id, done(id));
    nowMs += 400_000;
    await gateway.gateway.reconciler?.round();
    const counter = reservation.holds[0]?.counter ?? '';
    expect(gateway.counters.read('acme', counter)).toEqual({ used: 7_500_000n, held: 0n });
  });

  it('is settled by the look of its client that sees the end first, and counted once', async () => {
    let nowMs = Date.now();
    await using all = await world([keyPolicy()], () => nowMs);
    const { gateway, responses, ask } = all;
    const id = await inBackground(gateway);
    expect(await (await ask(`/responses/${id}`)).json()).toMatchObject({ status: 'queued' });
    responses.set(id, done(id));
    expect(await (await ask(`/responses/${id}`)).json()).toEqual(done(id));
    expect((await ask(`/responses/${id}`)).status).toBe(200);
    nowMs += 10_000;
    await gateway.gateway.reconciler?.round();
    // Three looks, that are free, and the call.
    const events = await eventsOf(gateway, 4);
    const billed = events.filter(({ data }) => data.usage_status === 'final');
    expect(billed).toHaveLength(1);
    expect(billed[0]?.data).toMatchObject({ wire: 'openai-responses', quantities: { output_tokens: '500' } });
    const looks = events.filter(({ data }) => data.wire === 'openai-stored-responses');
    expect(looks.map(({ data }) => data.quantities)).toEqual([{}, {}, {}]);
  });

  it('is counted once where its stream is taken up again', async () => {
    await using all = await world();
    const { gateway, responses, ask } = all;
    const id = await inBackground(gateway);
    responses.set(id, done(id));
    for (let i = 0; i < 2; i++) {
      const text = await (await ask(`/responses/${id}?stream=true&starting_after=3`)).text();
      expect(text).toContain('response.completed');
    }
    const events = await eventsOf(gateway, 3);
    expect(events.filter(({ data }) => data.usage_status === 'final')).toHaveLength(1);
  });

  it('is settled when both see its end at once', async () => {
    let nowMs = Date.now();
    await using all = await world([keyPolicy()], () => nowMs);
    const { gateway, responses, ask } = all;
    const id = await inBackground(gateway);
    await opened(all, 1);
    responses.set(id, done(id));
    nowMs += 3_000;
    await Promise.all([ask(`/responses/${id}`), gateway.gateway.reconciler?.round(), ask(`/responses/${id}`)]);
    const events = await eventsOf(gateway, 3);
    expect(events.filter(({ data }) => data.usage_status === 'final')).toHaveLength(1);
  });

  it('is an estimate that says so where it was cancelled: its provider says nothing of what it did', async () => {
    await using all = await world();
    const { gateway, ask } = all;
    const id = await inBackground(gateway);
    expect(await (await ask(`/responses/${id}/cancel`, 'POST')).json()).toMatchObject({ status: 'cancelled' });
    const events = await eventsOf(gateway, 2);
    const [billed] = events.filter(({ data }) => data.wire === 'openai-responses');
    expect(billed?.data).toMatchObject({ usage_status: 'estimated', quantities: { calls: '1' } });
    expect(Number(billed?.data.quantities.input_tokens)).toBeGreaterThan(0);
  });

  it('is billed by its estimate once nobody will see its end', async () => {
    let nowMs = Date.now();
    await using all = await world([keyPolicy()], () => nowMs);
    const { gateway } = all;
    await inBackground(gateway);
    await opened(all, 1);
    nowMs += 3 * 86_400_000;
    await gateway.gateway.reconciler?.round();
    const [event] = await eventsOf(gateway, 1);
    expect(event?.data).toMatchObject({ outcome: 'unknown', usage_status: 'estimated' });
    expect(event).toEqual(gateway.sink.opened[1]?.estimate);
  });

  it('is looked at as it is, whatever its caller wrote behind its path', async () => {
    let nowMs = Date.now();
    await using all = await world([keyPolicy()], () => nowMs);
    const { gateway, responses, stub } = all;
    const asked = { model: 'gpt-4o', input: 'Hi', background: true };
    const answer = await post(`${gateway.url}/v1/responses?stream=true&api-version=v1&starting_after=9`, asked);
    const { id } = (await answer.json()) as { id: string };
    await opened(all, 1);
    responses.set(id, done(id));
    nowMs += 3_000;
    await gateway.gateway.reconciler?.round();
    expect(stub.requests.at(-1)?.url).toBe(`/v1/responses/${id}?api-version=v1`);
    const [event] = await eventsOf(gateway, 1);
    expect(event?.data).toMatchObject({ usage_status: 'final', quantities: { output_tokens: '500' } });
  });

  it('is not given up because its provider says once that it does not know it', async () => {
    let nowMs = Date.now();
    await using all = await world([keyPolicy()], () => nowMs);
    const { gateway, responses } = all;
    const id = await inBackground(gateway);
    await opened(all, 1);
    responses.delete(id);
    nowMs += 3_600_000;
    await gateway.gateway.reconciler?.round();
    responses.set(id, responseOf(id, 'in_progress'));
    nowMs += 3_600_000;
    await gateway.gateway.reconciler?.round();
    responses.delete(id);
    nowMs += 3_600_000;
    await gateway.gateway.reconciler?.round();
    expect(gateway.sink.events).toEqual([]);
    nowMs += 3_600_000;
    await gateway.gateway.reconciler?.round();
    const [event] = await eventsOf(gateway, 1);
    expect(event?.data).toMatchObject({ outcome: 'unknown', usage_status: 'estimated' });
  });

  it('is not settled by an answer that ends early', async () => {
    let nowMs = Date.now();
    const whole = JSON.stringify(done('resp_1'));
    let bytes = whole.indexOf('"usage"');
    await using stub = await startStub((response, { method }) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(method === 'POST' ? JSON.stringify(responseOf('resp_1', 'queued')) : whole.slice(0, bytes));
    });
    await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [keyPolicy()], {
      stored: testStored().stored,
      clock: () => nowMs,
    });
    const id = await inBackground(gateway);
    const headers = { authorization: `Bearer ${SECRET}`, range: `bytes=0-${bytes - 1}` };
    expect(await (await fetch(`${gateway.url}/v1/responses/${id}`, { headers })).text()).toContain('"completed"');
    await vi.waitFor(() => expect(gateway.gateway.callsInFlight).toBe(0));
    bytes = whole.length;
    nowMs += 10_000;
    await gateway.gateway.reconciler?.round();
    const [, event] = await eventsOf(gateway, 2);
    expect(event?.data).toMatchObject({ usage_status: 'final', quantities: { output_tokens: '500' } });
  });

  it('is billed once where the journal does not let go of it', async () => {
    let nowMs = Date.now();
    const responses = new Map<string, object>();
    await using stub = await startStub(keeping(responses));
    const handedOver = () => Promise.reject(new Fault('journal_unavailable'));
    await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [keyPolicy()], {
      stored: { ...testStored().stored, handedOver },
      clock: () => nowMs,
    });
    const id = await inBackground(gateway);
    await vi.waitFor(() => expect(gateway.gateway.callsInFlight).toBe(0));
    expect(gateway.sink.events).toEqual([]);
    responses.set(id, done(id));
    nowMs += 3_000;
    await gateway.gateway.reconciler?.round();
    const [event] = await eventsOf(gateway, 1);
    expect(event?.data).toMatchObject({ usage_status: 'final' });
  });

  it('holds its limits again after a restart, before anybody calls', async () => {
    const limits = [limitPolicy({ kind: 'budget', amount: '200000000', currency: 'USD', per: 'month' })];
    const { opened: before, stored } = await leftOpen(keyPolicy({ limits }));
    await using gateway = await startGateway(configOf([]), [keyPolicy({ limits })], { stored });
    expect(await heldBy(gateway.counters, before)).toBe(0n);
    await gateway.gateway.reconciler?.resume();
    expect(await heldBy(gateway.counters, before)).toBeGreaterThan(0n);
  });

  it('cannot be deleted before it is billed', async () => {
    await using all = await world();
    const { gateway, responses, ask } = all;
    const id = await inBackground(gateway);
    const refused = await ask(`/responses/${id}`, 'DELETE');
    expect(refused.status).toBe(409);
    expect(await refused.json()).toMatchObject({ error: { code: 'state_conflict' } });
    responses.set(id, done(id));
    expect((await ask(`/responses/${id}`, 'DELETE')).status).toBe(200);
    const events = await eventsOf(gateway, 2);
    expect(events.filter(({ data }) => data.usage_status === 'final')).toHaveLength(1);
  });

  it('is handed over though the store was away for a moment, and estimated where that stays away', async () => {
    const { stored, handedOver } = testStored();
    let away = 1;
    const calls: typeof stored.calls = {
      ...stored.calls,
      async keep(call) {
        if (away-- > 0) throw new Fault('owners_unavailable');
        return stored.calls.keep(call);
      },
    };
    await using stub = await startStub(keeping(new Map()));
    await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [keyPolicy()], {
      stored: { ...stored, calls },
    });
    await inBackground(gateway);
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    away = Number.POSITIVE_INFINITY;
    await inBackground(gateway);
    const [event] = await eventsOf(gateway, 1);
    expect(event?.data).toMatchObject({ outcome: 'ok', usage_status: 'estimated' });
    expect(handedOver).toHaveLength(1);
  });

  it('keeps no other waiting where its upstream does not answer', async () => {
    let nowMs = Date.now();
    const hanging: string[] = [];
    await using stub = await startStub((response, { method, body }, nth) => {
      const id = `resp_${nth}`;
      if (method === 'POST') {
        const status = JSON.parse(body).input;
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(responseOf(id, status)));
      } else hanging.push(id);
    });
    await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [keyPolicy()], {
      stored: testStored().stored,
      clock: () => nowMs,
    });
    await inBackground(gateway, { input: 'queued' });
    await vi.waitFor(() => expect(gateway.gateway.callsInFlight).toBe(0));
    nowMs += 3_000;
    const { reconciler } = gateway.gateway;
    const waiting = reconciler?.round();
    await vi.waitFor(() => expect(hanging).toHaveLength(1));
    // The next round finds nothing that it does not look at already, and does not ask twice.
    nowMs += 60_000;
    void reconciler?.round();
    await reconciler?.stop();
    await waiting;
    expect(hanging).toHaveLength(1);
    expect(gateway.sink.events).toEqual([]);
  });

  it('is known and handed over while its stream lasts, and billed by the end of it once', async () => {
    let finish = (): void => undefined;
    await using stub = await startStub((response, { method }) => {
      if (method === 'GET') {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify(responseOf('resp_1', 'in_progress')));
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const say = (type: string, nth: number, said: object) =>
        response.write(`event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: nth, response: said })}\n\n`);
      say('response.created', 0, responseOf('resp_1', 'queued'));
      finish = () => {
        say('response.completed', 1, done('resp_1'));
        response.end();
      };
    });
    const { stored, handedOver } = testStored();
    let nowMs = Date.now();
    await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [keyPolicy()], {
      stored,
      clock: () => nowMs,
    });
    const body = { model: 'gpt-4o', input: 'Hi', background: true, stream: true };
    const streamed = await post(`${gateway.url}/v1/responses`, body);
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    const headers = { authorization: `Bearer ${SECRET}` };
    expect((await fetch(`${gateway.url}/v1/responses/resp_1`, { headers })).status).toBe(200);
    expect((await fetch(`${gateway.url}/v1/responses/resp_1`, { method: 'DELETE', headers })).status).toBe(409);
    nowMs += 3_000;
    expect(await gateway.gateway.reconciler?.round()).toBe(1);
    finish();
    expect(await streamed.text()).toContain('response.completed');
    await vi.waitFor(() => expect(gateway.gateway.callsInFlight).toBe(0));
    nowMs += 3_000;
    expect(await gateway.gateway.reconciler?.round()).toBe(0);
    const billed = gateway.sink.events.filter(({ data }) => data.wire === 'openai-responses');
    expect(billed).toHaveLength(1);
    expect(billed[0]).toMatchObject({
      id: handedOver[0],
      data: { usage_status: 'final', quantities: { output_tokens: '500' }, attempts: [{ status: 200 }] },
    });
  });

  it('goes on where its stream broke off, and is billed by its end', async () => {
    const stub = await startStub((response, { method }) => {
      if (method === 'GET') {
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(done('resp_1')));
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const event = { type: 'response.created', sequence_number: 0, response: responseOf('resp_1', 'queued') };
      response.write(`event: response.created\ndata: ${JSON.stringify(event)}\n\n`, () => response.destroy());
    });
    await using _stub = stub;
    let nowMs = Date.now();
    await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [keyPolicy()], {
      stored: testStored().stored,
      clock: () => nowMs,
    });
    const body = { model: 'gpt-4o', input: 'Hi', background: true, stream: true };
    await (await post(`${gateway.url}/v1/responses`, body)).text();
    await vi.waitFor(() => expect(gateway.gateway.callsInFlight).toBe(0));
    expect(gateway.sink.events).toEqual([]);
    nowMs += 3_000;
    await gateway.gateway.reconciler?.round();
    const [event] = await eventsOf(gateway, 1);
    expect(event?.data).toMatchObject({ usage_status: 'final', stream: true, quantities: { output_tokens: '500' } });
  });
});

describe('what a provider keeps', () => {
  it('is there for the customer who made it alone: all others are told that there is no such thing', async () => {
    await using all = await world();
    const { gateway, ask, stub } = all;
    const id = await inBackground(gateway);
    expect((await ask(`/responses/${id}`)).status).toBe(200);
    const before = stub.requests.length;
    for (const [path, method] of [
      [`/responses/${id}`, 'GET'],
      [`/responses/${id}`, 'DELETE'],
      [`/responses/${id}/cancel`, 'POST'],
      [`/responses/${id}/input_items`, 'GET'],
      [`/responses/${id}?stream=true`, 'GET'],
    ] as const) {
      const response = await ask(path, method, OTHER);
      expect(response.status, path).toBe(404);
      expect(await response.json()).toMatchObject({ error: { type: 'invalid_request_error', code: 'not_found' } });
    }
    const headers = { authorization: `Bearer ${OTHER}` };
    const onTop = { model: 'gpt-4o', input: 'And?', previous_response_id: id };
    expect((await post(`${gateway.url}/v1/responses`, onTop, headers)).status).toBe(404);
    expect((await ask(`/responses/resp_nobodys`)).status).toBe(404);
    expect(stub.requests.length).toBe(before);
  });

  it('is asked for where it was made, with the key of the operator', async () => {
    await using all = await world();
    const { gateway, ask, stub } = all;
    const id = await inBackground(gateway);
    await ask(`/responses/${id}/input_items?limit=5`);
    expect(stub.requests.at(-1)).toMatchObject({
      url: `/v1/responses/${id}/input_items?limit=5`,
      headers: { authorization: 'Bearer sk-upstream' },
    });
    const again = await post(`${gateway.url}/v1/responses`, { model: 'gpt-4o', input: 'x', previous_response_id: id });
    expect(again.status).toBe(200);
  });

  it('builds on what was made at one of several upstreams there, and nowhere else', async () => {
    const asked: string[] = [];
    const answer =
      (name: string): StubAnswer =>
      (response) => {
        asked.push(name);
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(done(`resp_${name}`)));
      };
    await using one = await startStub(answer('one'));
    await using two = await startStub(answer('two'));
    let random = 0;
    const to = [
      { upstream: 'one', model: null, weight: 1 },
      { upstream: 'two', model: null, weight: 1 },
    ];
    const config = configOf([upstreamConfig('one', one.url), upstreamConfig('two', two.url)], {
      routes: [{ model: 'gpt-*', to, fallback: [] }],
    });
    await using gateway = await startGateway(config, [keyPolicy()], {
      stored: testStored().stored,
      random: () => random,
    });
    const ask = (more: object = {}) => post(`${gateway.url}/v1/responses`, { model: 'gpt-4o', input: 'x', ...more });
    await (await ask()).text();
    random = 0.99;
    await (await ask()).text();
    await (await ask({ previous_response_id: 'resp_one' })).text();
    random = 0;
    await (await ask({ previous_response_id: 'resp_two' })).text();
    expect(asked).toEqual(['one', 'two', 'one', 'two']);
  });

  it('is not served where nobody keeps whose it is', async () => {
    await using stub = await startStub(keeping(new Map()));
    await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const url = `${gateway.url}/v1/responses`;
    const refused = await post(url, { model: 'gpt-4o', input: 'Hi', background: true });
    expect(refused.status).toBe(400);
    expect((await fetch(`${url}/resp_1`, { headers: { authorization: `Bearer ${SECRET}` } })).status).toBe(404);
    expect(stub.requests).toEqual([]);
  });
});
