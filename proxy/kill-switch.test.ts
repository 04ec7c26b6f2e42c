import { ReadableStream } from 'node:stream/web';
import { expect, it, vi } from 'vitest';
import type { Halt } from '#core/key-policy.ts';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  post,
  SECRET,
  type Stub,
  type StubAnswer,
  sha256,
  startGateway,
  startStub,
  type TestGateway,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import { memoryCounters } from './limits/memory.ts';
import { policyTable } from './policies/policy-table.ts';

function halt(names: Partial<Halt>): Halt {
  return { id: 'halt_1', customer: null, key: null, upstream: null, model: null, cutOpen: false, ...names };
}

const USAGE = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
const CHUNK = `data: ${JSON.stringify({ model: 'gpt-4o', choices: [{ index: 0, delta: { content: 'Hello there' } }] })}\n\n`;

const answer: StubAnswer = (response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ model: 'gpt-4o', choices: [{ message: { content: 'Hi' } }], usage: USAGE }));
};

/** Sends a chunk and then nothing more, until it is cut. */
const endless: StubAnswer = (response) => {
  response.setHeader('content-type', 'text/event-stream');
  response.write(CHUNK);
};

const CALL = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }] };

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { error: { weir: { code: string } } }).error.weir.code;
}

/** One call whose stream has begun, and the text that still comes. */
async function openStream(gateway: TestGateway, secret = SECRET) {
  const response = await post(
    `${gateway.url}/v1/chat/completions`,
    { ...CALL, stream: true },
    { authorization: `Bearer ${secret}` },
  );
  const reader = (response.body as globalThis.ReadableStream<Uint8Array>).getReader();
  const first = await reader.read();
  let text = new TextDecoder().decode(first.value);
  const rest = async (): Promise<string> => {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      text += new TextDecoder().decode(next.value);
    }
    return text;
  };
  return { rest };
}

function upstreams(a: Stub, b: Stub) {
  return [upstreamConfig('a', a.url), upstreamConfig('b', b.url)];
}

it('refuses a caller whose customer or key is halted, and nobody else, until the halt is lifted', async () => {
  await using stub = await startStub(answer);
  const other = keyPolicy({ key: 'other', secretHashes: [sha256('other')] });
  await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [keyPolicy(), other]);
  const call = (secret: string) =>
    post(`${gateway.url}/v1/chat/completions`, CALL, { authorization: `Bearer ${secret}` });
  const { killSwitch } = gateway.gateway;

  killSwitch.use('billing', [halt({ customer: 'acme', key: 'other' }), halt({ customer: 'somebody' })]);
  const refused = await call('other');
  expect(refused.status).toBe(403);
  expect(await codeOf(refused)).toBe('customer_paused');
  expect((await call(SECRET)).status).toBe(200);

  killSwitch.use('config', [halt({ customer: 'acme' })]);
  expect((await call(SECRET)).status).toBe(403);
  killSwitch.use('billing', []);
  expect((await call('other')).status).toBe(403);
  killSwitch.use('config', []);
  expect((await call('other')).status).toBe(200);
});

it('sends nothing to a halted upstream, and lets the others of the route take over', async () => {
  await using a = await startStub(answer);
  await using b = await startStub(answer);
  const route = {
    model: 'gpt-4o',
    to: [{ upstream: 'a', weight: 9, model: null }],
    fallback: [{ upstream: 'b', model: null }],
  };
  await using gateway = await startGateway(configOf(upstreams(a, b), { routes: [route] }));
  const { killSwitch } = gateway.gateway;
  const call = () => post(`${gateway.url}/v1/chat/completions`, CALL);

  killSwitch.use('config', [halt({ upstream: 'a' })]);
  expect((await call()).status).toBe(200);
  expect([a.requests.length, b.requests.length]).toEqual([0, 1]);

  killSwitch.use('billing', [halt({ upstream: 'b', customer: 'acme' })]);
  const refused = await call();
  expect(refused.status).toBe(503);
  expect(refused.headers.get('x-should-retry')).toBe('false');
  expect(await codeOf(refused)).toBe('model_halted');
});

it('halts a model by the name that was asked for, and by the one that the upstream knows', async () => {
  await using stub = await startStub(answer);
  const routes = [
    { model: 'smart', to: [{ upstream: 'openai', weight: 1, model: 'gpt-4o' }], fallback: [] },
    { model: 'gpt-*', to: [{ upstream: 'openai', weight: 1, model: null }], fallback: [] },
  ];
  await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)], { routes }));
  const statusOf = async (model: string) =>
    (await post(`${gateway.url}/v1/chat/completions`, { ...CALL, model })).status;
  const { killSwitch } = gateway.gateway;
  killSwitch.use('billing', [halt({ model: 'gpt-4o' })]);
  expect([await statusOf('smart'), await statusOf('gpt-4o'), await statusOf('gpt-4o-mini')]).toEqual([503, 503, 200]);
  killSwitch.use('billing', [halt({ model: 'sma*' })]);
  expect([await statusOf('smart'), await statusOf('gpt-4o')]).toEqual([503, 200]);
});

it('lets open streams go on, and ends them where the halt says so: in their own words, and billed for what they got', async () => {
  await using stub = await startStub(endless);
  await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
  const { killSwitch } = gateway.gateway;
  const streams = [await openStream(gateway), await openStream(gateway)];
  killSwitch.use('billing', [halt({ model: 'gpt-4o' }), halt({ customer: 'acme' })]);
  expect(gateway.gateway.callsInFlight).toBe(2);
  killSwitch.use('billing', [halt({ model: 'gpt-4o', cutOpen: true })]);
  for (const { rest } of streams) {
    const text = await rest();
    expect(text.startsWith(CHUNK)).toBe(true);
    expect(text).toContain('"code":"model_halted"');
  }
  for (const { data } of await eventsOf(gateway, 2)) {
    expect(data).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
    expect(BigInt(data.quantities.output_tokens ?? '0')).toBeGreaterThan(0n);
  }
});

it('ends the open streams of a paused customer, of a key with it, and of nobody else', async () => {
  await using stub = await startStub(endless);
  const other = keyPolicy({ key: 'other', customer: 'globex', secretHashes: [sha256('other')] });
  await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [keyPolicy(), other]);
  const mine = await openStream(gateway);
  const theirs = await openStream(gateway, 'other');
  gateway.gateway.killSwitch.use('billing', [halt({ customer: 'acme', cutOpen: true })]);
  expect(await mine.rest()).toContain('"code":"customer_paused"');
  expect(gateway.gateway.callsInFlight).toBe(1);
  gateway.gateway.killSwitch.use('config', [halt({ key: 'other', cutOpen: true })]);
  expect(await theirs.rest()).toContain('"code":"customer_paused"');
});

it('ends the open streams of a revoked key where that is asked', async () => {
  await using stub = await startStub(endless);
  const table = policyTable();
  table.replace('billing', [keyPolicy()]);
  await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [], { policies: table });
  gateway.gateway.killSwitch.follow(table);
  const stream = await openStream(gateway);
  table.change('billing', [keyPolicy({ state: 'revoked' })], []);
  expect(gateway.gateway.callsInFlight).toBe(1);
  expect((await post(`${gateway.url}/v1/chat/completions`, CALL)).status).toBe(401);
  table.change('billing', [keyPolicy({ state: 'revoked', cutOpen: true })], []);
  expect(await stream.rest()).toContain('"code":"revoked_key"');
});

it('does not send what was still coming in when its key was revoked or its model halted', async () => {
  await using stub = await startStub(answer);
  const table = policyTable();
  table.replace('billing', [keyPolicy()]);
  await using gateway = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [], { policies: table });
  const { killSwitch } = gateway.gateway;
  killSwitch.follow(table);
  /** A call whose body waits for its second half until `off` has been done. */
  async function slowCall(off: () => void): Promise<Response> {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const text = JSON.stringify(CALL);
    async function* halves() {
      yield new TextEncoder().encode(text.slice(0, 10));
      await released;
      yield new TextEncoder().encode(text.slice(10));
    }
    const answered = fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json' },
      body: ReadableStream.from(halves()),
      duplex: 'half',
    } as RequestInit);
    await vi.waitFor(() => expect(gateway.gateway.callsInFlight).toBe(1));
    off();
    release();
    return answered;
  }
  const halted = await slowCall(() => table.replaceHalts([halt({ model: 'gpt-*' })]));
  expect(await codeOf(halted)).toBe('model_halted');
  table.replaceHalts([]);
  const revoked = await slowCall(() => table.change('billing', [keyPolicy({ state: 'revoked' })], []));
  expect(await codeOf(revoked)).toBe('revoked_key');
  table.change('billing', [keyPolicy()], []);
  const removed = await slowCall(() => table.change('billing', [], [keyPolicy().key]));
  expect(await codeOf(removed)).toBe('revoked_key');
  // One that another source has as well is still there.
  table.change('billing', [keyPolicy()], []);
  const moved = await slowCall(() => {
    table.replace('config', [keyPolicy()]);
    table.change('billing', [], [keyPolicy().key]);
  });
  expect(moved.status).toBe(200);
  expect(stub.requests).toHaveLength(1);
});

it('does not let a key pass that is revoked or removed while it is looked up', async () => {
  await using stub = await startStub(answer);
  const table = policyTable();
  let looked = (): void => undefined;
  // Found before, given after: as by a look-up that another turn of events comes between.
  const find = async (hash: string) => {
    const found = table.find(hash);
    looked();
    return found;
  };
  const config = configOf([upstreamConfig('openai', stub.url)]);
  await using gateway = await startGateway(config, [], { policies: { find } });
  gateway.gateway.killSwitch.follow(table);
  const off = [
    () => table.change('billing', [keyPolicy({ state: 'revoked' })], []),
    () => table.change('billing', [], [keyPolicy().key]),
  ];
  const codes: string[] = [];
  for (const each of off) {
    table.replace('billing', [keyPolicy()]);
    looked = () => {
      looked = () => undefined;
      each();
    };
    codes.push(await codeOf(await post(`${gateway.url}/v1/chat/completions`, CALL)));
  }
  expect(codes).toEqual(['revoked_key', 'invalid_key']);
  expect(stub.requests).toHaveLength(0);
});

it('goes on at the next upstream of the route where one has been halted since the call was routed', async () => {
  await using a = await startStub((response) => {
    response.statusCode = 503;
    response.end();
  });
  await using b = await startStub(answer);
  const route = {
    model: 'gpt-4o',
    to: [{ upstream: 'a', weight: 1, model: null }],
    fallback: [{ upstream: 'b', model: null }],
  };
  const memory = memoryCounters({ clock: Date.now });
  let held = (): void => undefined;
  const counters: typeof memory = {
    ...memory,
    reserve(reservation) {
      held();
      return memory.reserve(reservation);
    },
  };
  const limits = [limitPolicy({ kind: 'requests', amount: '100', per: 'minute' })];
  const config = configOf(upstreams(a, b), { routes: [route], gateway: { retriesMax: 1 } });
  await using gateway = await startGateway(config, [keyPolicy({ limits })], { counters });
  held = () => gateway.gateway.killSwitch.use('billing', [halt({ upstream: 'a' })]);
  expect((await post(`${gateway.url}/v1/chat/completions`, CALL)).status).toBe(200);
  expect([a.requests.length, b.requests.length]).toEqual([0, 1]);

  // Halted between two tries: what failed is what is said, and what is halted is not asked.
  gateway.gateway.killSwitch.use('billing', []);
  held = () => gateway.gateway.killSwitch.use('billing', [halt({ upstream: 'b' })]);
  expect((await post(`${gateway.url}/v1/chat/completions`, CALL)).status).toBeGreaterThanOrEqual(500);
  expect(b.requests.length).toBe(1);
  expect(a.requests.length).toBeGreaterThan(0);
});

it('does not try again at an upstream that was halted meanwhile', async () => {
  let halts = (): void => undefined;
  await using stub = await startStub((response) => {
    halts();
    response.statusCode = 503;
    response.end();
  });
  const config = configOf([upstreamConfig('openai', stub.url)], { gateway: { retriesMax: 3 } });
  await using gateway = await startGateway(config);
  halts = () => gateway.gateway.killSwitch.use('billing', [halt({ upstream: 'openai' })]);
  const refused = await post(`${gateway.url}/v1/chat/completions`, CALL);
  expect(await codeOf(refused)).toBe('model_halted');
  expect(stub.requests).toHaveLength(1);
});

it('does not try again what fails for a caller that has been paused meanwhile', async () => {
  await using stub = await startStub((response) => {
    gateway.gateway.killSwitch.use('billing', [halt({ customer: 'acme' })]);
    response.statusCode = 503;
    response.end();
  });
  const config = configOf([upstreamConfig('openai', stub.url)], { gateway: { retriesMax: 2 } });
  await using gateway = await startGateway(config);
  const response = await post(`${gateway.url}/v1/chat/completions`, CALL);
  expect(response.status).toBeGreaterThanOrEqual(500);
  expect(stub.requests).toHaveLength(1);
});
