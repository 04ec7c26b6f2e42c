import { afterAll, describe, expect, it, vi } from 'vitest';
import type { LimitPolicy } from '#core/key-policy.ts';
import {
  configOf,
  eventsOf,
  heldBy,
  keyPolicy,
  limitPolicy,
  post,
  SECRET,
  type StubAnswer,
  startGateway,
  startStub,
  type TestGateway,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import type { CounterStore } from './limits/counters.ts';
import { memoryCounters } from './limits/memory.ts';
import { tiktokenCounter } from './tokens/tiktoken-node.ts';

const tokens = tiktokenCounter();
afterAll(() => tokens.close());

/** gpt-4o: 2.50 USD per million in, 10 out. */
const OUT_NANOS = 10_000n;

function budget(nanos: bigint, changes: Partial<LimitPolicy> = {}): LimitPolicy {
  return limitPolicy({ kind: 'budget', amount: nanos.toString(), currency: 'USD', per: 'month', ...changes });
}

function ask(max: number | null, stream = false, content = 'Hello'): object {
  return { model: 'gpt-4o', messages: [{ role: 'user', content }], stream, ...(max !== null && { max_tokens: max }) };
}

/** Answers as many tokens as it is asked for, `token` each, and says so. */
function answering(token = ' a'): StubAnswer {
  return (response, { body }) => {
    const asked = JSON.parse(body) as {
      model: string;
      max_tokens?: number;
      max_completion_tokens?: number;
      stream?: boolean;
    };
    const max = asked.max_completion_tokens ?? asked.max_tokens ?? 50;
    const usage = { prompt_tokens: 8, completion_tokens: max, total_tokens: max + 8 };
    if (asked.stream) {
      response.setHeader('content-type', 'text/event-stream');
      for (let i = 0; i < max; i++) response.write(chunkOf(token));
      response.write(`data: ${JSON.stringify({ model: asked.model, choices: [], usage })}\n\n`);
      response.end('data: [DONE]\n\n');
      return;
    }
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ model: 'gpt-4o', choices: [{ message: { content: token.repeat(max) } }], usage }));
  };
}

function chunkOf(content: string): string {
  return `data: ${JSON.stringify({ model: 'gpt-4o', choices: [{ index: 0, delta: { content } }] })}\n\n`;
}

function textOf(stream: string): string {
  return [...stream.matchAll(/"content":("(?:[^"\\]|\\.)*")/g)].map(([, json]) => JSON.parse(json as string)).join('');
}

async function start(limits: LimitPolicy[], stub: { url: string }): Promise<TestGateway> {
  return startGateway(configOf([upstreamConfig('openai', stub.url)]), [keyPolicy({ limits })], {
    tokens,
    random: Math.random,
  });
}

const call = (weir: TestGateway, body: object, headers: Record<string, string> = {}) =>
  post(`${weir.url}/v1/chat/completions`, body, headers);

async function costOf(weir: TestGateway, count: number): Promise<bigint> {
  let nanos = 0n;
  for (const { data } of await eventsOf(weir, count)) {
    const [whole = '0', fraction = ''] = (data.cost?.amount ?? '0').split('.');
    nanos += BigInt(whole + fraction.padEnd(9, '0').slice(0, 9));
  }
  return nanos;
}

describe('a call whose whole answer does not fit', () => {
  it('may answer what the rest of a budget buys, and is told so', async () => {
    await using stub = await startStub(answering());
    await using weir = await start([budget(1_000n * OUT_NANOS)], stub);
    const answer = await call(weir, ask(5_000));
    expect(answer.status).toBe(200);
    const clamped = Number(answer.headers.get('x-weir-max-output-clamped'));
    expect(clamped).toBeGreaterThan(900);
    expect(clamped).toBeLessThan(1_000);
    expect(JSON.parse(stub.requests[0]?.body ?? '')).toMatchObject({ max_tokens: clamped });
    await answer.text();
    expect(await costOf(weir, 1)).toBeLessThanOrEqual(1_000n * OUT_NANOS);
  });

  it('may answer what a rate of tokens has left, whether it asks for a maximum or not', async () => {
    await using stub = await startStub(answering());
    const limit = limitPolicy({ kind: 'tokens', amount: '1000', per: 'minute' });
    await using weir = await start([limit], stub);
    const answer = await call(weir, ask(null));
    expect(answer.status).toBe(200);
    expect(JSON.parse(stub.requests[0]?.body ?? '')).toMatchObject({
      max_completion_tokens: Number(answer.headers.get('x-weir-max-output-clamped')),
    });
  });

  it('is refused where the caller or the configuration wants all of it or nothing', async () => {
    await using stub = await startStub(answering());
    const limits = [budget(1_000n * OUT_NANOS)];
    await using weir = await start(limits, stub);
    const refused = await call(weir, ask(5_000), { 'x-weir-clamp': 'off' });
    expect(refused.status).toBe(429);
    const config = configOf([upstreamConfig('openai', stub.url)], { gateway: { clampOutput: false } });
    await using strict = await startGateway(config, [keyPolicy({ limits })], { tokens });
    expect((await call(strict, ask(5_000))).status).toBe(429);
    expect(stub.requests).toHaveLength(0);
  });

  it('is refused, with the limit and its figures named, when what is left would buy next to nothing', async () => {
    await using stub = await startStub(answering());
    await using weir = await start([budget(10n * OUT_NANOS)], stub);
    const refused = await call(weir, ask(5_000));
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({
      error: { weir: { code: 'budget_exhausted', limit: 'budget', used: '0', reserved: '0', left: '0.0001' } },
    });
  });

  it('has its text counted when only the bound of its bytes does not fit', async () => {
    await using stub = await startStub(answering());
    // The text has some 2,400 bytes and 400 tokens.
    const text = 'internationalization '.repeat(115);
    await using weir = await start([budget(400n * OUT_NANOS)], stub);
    const answer = await call(weir, ask(200, false, text));
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-weir-max-output-clamped')).toBeNull();
  });

  it('shares its maximum among the answers that it wants', async () => {
    await using stub = await startStub(answering());
    await using weir = await start([budget(1_000n * OUT_NANOS)], stub);
    const answer = await call(weir, { ...ask(5_000), n: 4 });
    const each = Number(answer.headers.get('x-weir-max-output-clamped'));
    expect(each).toBeGreaterThan(220);
    expect(each).toBeLessThan(250);
  });
});

describe('a stream', () => {
  it('holds a part of what it may answer, and more as it flows, until nothing of it is held any more', async () => {
    await using stub = await startStub(answering());
    await using weir = await start([budget(100_000n * OUT_NANOS)], stub);
    const answer = await call(weir, ask(3_000, true));
    expect(textOf(await answer.text())).toBe(' a'.repeat(3_000));
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({ outcome: 'ok', usage_status: 'final', quantities: { output_tokens: '3000' } });
    expect(await heldBy(weir.counters, weir.sink.closed[0]?.reservation ?? reservationNone())).toBe(0n);
  });

  it('is held whole at once where there is plenty', async () => {
    await using stub = await startStub(answering());
    await using weir = await start([budget(900_000_000_000n)], stub);
    const extended: unknown[] = [];
    const extend = weir.counters.extend.bind(weir.counters);
    weir.counters.extend = (reservation, amounts) => {
      extended.push(amounts);
      return extend(reservation, amounts);
    };
    await (await call(weir, ask(1_000, true))).text();
    const before = extended.length;
    await (await call(weir, ask(1_000, true))).text();
    expect(before).toBeGreaterThan(0);
    expect(extended.length).toBe(before);
  });

  it('ends in its own words where its budget does, billed for what it got, and never above the budget', async () => {
    // A stream that does not stop by itself, whatever it was asked for.
    await using stub = await startStub((response) => {
      response.setHeader('content-type', 'text/event-stream');
      const more = (): void => {
        for (let i = 0; i < 20; i++) if (!response.destroyed) response.write(chunkOf(' internationalization'));
        if (!response.destroyed) setImmediate(more);
      };
      more();
    });
    const limit = 1_000n * OUT_NANOS;
    await using weir = await start([budget(limit)], stub);
    const answer = await call(weir, ask(5_000, true));
    const text = await answer.text();
    expect(text.trimEnd().split('\n\n').at(-1)).toContain('budget_exhausted');
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
    expect(event?.data.quantities.output_tokens).toBe(`${await tokens.count('gpt-4o', textOf(text))}`);
    const cost = await costOf(weir, 1);
    expect(cost).toBeLessThanOrEqual(limit);
    // What is held for prompts that a provider may add is all that is left.
    expect(cost).toBeGreaterThan((limit * 98n) / 100n);
    const { counter } = weir.sink.closed[0]?.reservation.holds[0] ?? { counter: '' };
    expect(weir.counters.read('acme', counter)).toEqual({ used: cost, held: 0n });
  });

  it('of many at the end of a budget: all begin, and together they use it up and never pass it', async () => {
    const streams = 20;
    await using stub = await startStub((response) => {
      response.setHeader('content-type', 'text/event-stream');
      const more = (): void => {
        if (response.destroyed) return;
        response.write(chunkOf(' token'));
        setTimeout(more, 1);
      };
      more();
    });
    const limit = 50_000_000n;
    await using weir = await start([budget(limit)], stub);
    const texts = await Promise.all(
      Array.from({ length: streams }, async () => (await call(weir, ask(5_000, true))).text()),
    );
    const received = texts.filter((text) => textOf(text) !== '');
    expect(received.length).toBeGreaterThanOrEqual(18);
    const cost = await costOf(weir, received.length);
    expect(cost).toBeLessThanOrEqual(limit);
    expect(cost).toBeGreaterThanOrEqual(49_500_000n);
  }, 30_000);

  it('of a model that may think unseen is held whole, and its maximum lowered where that does not fit', async () => {
    await using stub = await startStub(answering());
    await using weir = await start([budget(1_000n * OUT_NANOS)], stub);
    const answer = await call(weir, { ...ask(100_000, true), model: 'o3' });
    expect(Number(answer.headers.get('x-weir-max-output-clamped'))).toBeGreaterThan(100);
    await answer.text();
    expect(await costOf(weir, 1)).toBeLessThanOrEqual(1_000n * OUT_NANOS);
  });
});

function reservationNone() {
  return { id: '', customer: 'acme', atMs: 0, leaseMs: 1, holds: [] };
}

describe('what a caller is told of its limits', () => {
  const LIMITS = [
    limitPolicy({ id: 'rpm', kind: 'requests', amount: '60', per: 'minute' }),
    limitPolicy({ id: 'tpm', kind: 'tokens', amount: '100000', per: 'minute' }),
    limitPolicy({ id: 'calls', kind: 'concurrency', amount: '5' }),
    budget(10_000_000_000n, { id: 'month', warnAt: [50] }),
    limitPolicy({ id: 'hidden', kind: 'requests', amount: '1', per: 'hour', mode: 'shadow' }),
  ];

  it('stands on every answer, in the headers of its dialect and in those of the IETF', async () => {
    await using stub = await startStub(answering());
    await using weir = await start(LIMITS, stub);
    const { headers } = await call(weir, ask(10));
    expect(headers.get('x-ratelimit-limit-requests')).toBe('60');
    expect(headers.get('x-ratelimit-remaining-requests')).toBe('59');
    expect(headers.get('x-ratelimit-reset-requests')).toBe('1s');
    expect(headers.get('x-ratelimit-limit-tokens')).toBe('100000');
    expect(Number(headers.get('x-ratelimit-remaining-tokens'))).toBeLessThan(100_000);
    expect(headers.get('ratelimit-policy')).toBe(
      '"rpm";q=60;w=60, "tpm";q=100000;w=60;qu="tokens", "calls";q=5;qu="concurrent-requests", "month";q=10000000;qu="micro-USD"',
    );
    expect(headers.get('ratelimit')).toMatch(
      /^"rpm";r=59;t=1, "tpm";r=99\d{3};t=0, "calls";r=4, "month";r=99\d{5};t=\d+$/,
    );
    expect(headers.get('x-weir-limit-warning')).toBeNull();
  });

  it('is not said where the configuration says so, or where nothing limits it', async () => {
    await using stub = await startStub(answering());
    const config = configOf([upstreamConfig('openai', stub.url)], { gateway: { limitHeaders: false } });
    await using silent = await startGateway(config, [keyPolicy({ limits: LIMITS })]);
    expect((await call(silent, ask(10))).headers.get('ratelimit')).toBeNull();
    await using free = await start([], stub);
    expect((await call(free, ask(10))).headers.get('ratelimit')).toBeNull();
  });

  it('has a warning once a threshold is reached', async () => {
    await using stub = await startStub(answering());
    await using weir = await start([budget(1_000n * OUT_NANOS, { warnAt: [10, 40, 90] })], stub);
    expect((await call(weir, ask(500))).headers.get('x-weir-limit-warning')).toBeNull();
    await eventsOf(weir, 1);
    expect((await call(weir, ask(100))).headers.get('x-weir-limit-warning')).toBe('"budget";at=40');
  });

  it('can be asked for, with the key itself', async () => {
    await using stub = await startStub(answering());
    await using weir = await start(LIMITS, stub);
    await (await call(weir, ask(10))).text();
    await eventsOf(weir, 1);
    const asked = await fetch(`${weir.url}/v1/limits`, { headers: { authorization: `Bearer ${SECRET}` } });
    expect(asked.status).toBe(200);
    const { data } = (await asked.json()) as { data: object[] };
    expect(data).toMatchObject([
      { id: 'rpm', kind: 'requests', per: 'minute', amount: '60', used: '1', reserved: '0', left: '59' },
      { id: 'tpm', amount: '100000', used: expect.stringMatching(/^\d+$/) },
      { id: 'calls', amount: '5', used: '0', reserved: '0', left: '5', resets_at: null },
      { id: 'month', currency: 'USD', amount: '10', used: '0.00012', reserved: '0', left: '9.99988' },
    ]);
    expect((await fetch(`${weir.url}/v1/limits`)).status).toBe(401);
  });
});

it('is not cut for want of a count: what is held whole is trusted to its upstream, however its text reads', async () => {
  // More bytes than tokens, many times over, and nobody who counts.
  await using stub = await startStub(answering(' internationalization'));
  await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]), [
    keyPolicy({ limits: [budget(1_000_000n * OUT_NANOS)] }),
  ]);
  const answer = await call(weir, ask(2_000, true));
  const text = await answer.text();
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  expect(textOf(text)).toBe(' internationalization'.repeat(2_000));
});

it('holds and bills all of an answer that is no stream although one was asked for', async () => {
  await using stub = await startStub((response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ model: 'gpt-4o', choices: [{ message: { content: 'word '.repeat(800) } }] }));
  });
  const config = configOf([upstreamConfig('openai', stub.url)]);
  await using weir = await startGateway(config, [keyPolicy({ limits: [budget(100_000_000n)] })]);
  await (await post(`${weir.url}/v1/chat/completions`, ask(4_000, true))).text();
  const [event] = await eventsOf(weir, 1);
  expect(event?.data).toMatchObject({ usage_status: 'estimated' });
  expect(Number(event?.data.quantities.output_tokens)).toBeGreaterThan(900);
});

it('settles such an answer only when all of it is held, however long that takes', async () => {
  await using stub = await startStub((response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ model: 'gpt-4o', choices: [{ message: { content: 'word '.repeat(800) } }] }));
  });
  const memory = memoryCounters({ clock: Date.now });
  const { promise: mayHold, resolve: hold } = Promise.withResolvers<void>();
  const said: string[] = [];
  const counters: CounterStore = {
    ...memory,
    async extend(reservation, amounts) {
      said.push('extend');
      await mayHold;
      const answer = await memory.extend(reservation, amounts);
      said.push('extended');
      return answer;
    },
    settle(reservation, used) {
      said.push('settle');
      return memory.settle(reservation, used);
    },
  };
  const config = configOf([upstreamConfig('openai', stub.url)]);
  const policies = [keyPolicy({ limits: [budget(100_000_000n)] })];
  await using weir = await startGateway(config, policies, { counters });
  await (await post(`${weir.url}/v1/chat/completions`, ask(4_000, true))).text();
  await vi.waitFor(() => expect(said).toEqual(['extend']));
  expect(weir.sink.events).toEqual([]);
  hold();
  await eventsOf(weir, 1);
  expect(said).toEqual(['extend', 'extended', 'settle']);
});
