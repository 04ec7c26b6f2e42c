import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { UsageEvent } from '#core/usage-event.ts';
import { type Deployment, deploy } from './deployment.ts';
import { until } from './until.ts';

/** A gateway is killed this often while responses are begun, go on and end. The promise is shown with more (`WEIR_KILLS=20`); every run does one. */
const KILLS = Number.parseInt(process.env.WEIR_KILLS ?? '1', 10);
const BEGUN_PER_KILL = 12;
const BEGUN_WHOLE = 4;

interface Kept {
  readonly number: number;
  readonly endsAtMs: number;
}

/** Keeps responses, each of which goes on for a while; what it used is a function of its number. */
class Provider {
  readonly kept = new Map<string, Kept>();
  #server: Server | undefined;

  async start(): Promise<string> {
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      const id = /\/responses\/(resp_\d+)$/.exec(request.url ?? '')?.[1];
      if (id !== undefined) return this.#tell(response, id);
      const { input } = JSON.parse(Buffer.concat(chunks).toString()) as { input: string };
      const made = `resp_${this.kept.size + 1}`;
      this.kept.set(made, { number: Number(input), endsAtMs: Date.now() + (Number(input) % 5) * 700 });
      return this.#tell(response, made);
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  }

  #tell(response: ServerResponse, id: string): void {
    const kept = this.kept.get(id);
    if (!kept) return void response.writeHead(404, { 'content-type': 'application/json' }).end('{}');
    const isOver = Date.now() >= kept.endsAtMs;
    const usage = isOver
      ? { input_tokens: 20, output_tokens: 100 + kept.number, total_tokens: 120 + kept.number }
      : null;
    const status = isOver ? 'completed' : 'in_progress';
    const body = { id, object: 'response', model: 'gpt-4o', status, error: null, output: [], usage };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => (this.#server ? this.#server.close(resolve) : resolve(undefined)));
  }
}

let provider: Provider | undefined;
let deployment: Deployment | undefined;

afterEach(async () => {
  await deployment?.stop();
  await provider?.stop();
});

describe.each(['embedded', 'shared'] as const)('%s, responses in the background', (kind) => {
  it(`are each billed once by what they used, though gateways die in between (${KILLS} kills)`, {
    timeout: 120_000 + KILLS * 20_000,
  }, async () => {
    provider = new Provider();
    const upstreamUrl = await provider.start();
    deployment = await deploy({ kind, upstreamUrl, gateways: kind === 'shared' ? 2 : 1 });
    const weir = deployment;
    const { kept } = provider;
    let next = 0;
    const known: { id: string; gatewayUrl: string }[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      const begin = async (): Promise<void> => {
        const number = next++;
        const gatewayUrl = weir.gatewayUrls[number % weir.gatewayUrls.length] as string;
        const id = await begun(gatewayUrl, weir.secret, number);
        if (id !== undefined) known.push({ id, gatewayUrl });
      };
      const before = kept.size;
      const beginning = Array.from({ length: BEGUN_PER_KILL }, begin);
      // In the middle of them: some are asked for, some answered, some handed over.
      await until(() => kept.size >= before + BEGUN_PER_KILL / 3, 'responses to begin');
      await weir.killGateway(0);
      await Promise.all(beginning);
      await weir.startGateway(0);
      // And some with nothing in their way, however many of the others had been handed over when it died.
      await Promise.all(Array.from({ length: BEGUN_WHOLE }, begin));
      // Clients look at some of them meanwhile.
      await Promise.all(known.slice(-4).map(({ id, gatewayUrl }) => looked(gatewayUrl, weir.secret, id)));
    }

    let events: UsageEvent[] = [];
    await until(async () => {
      events = (await weir.events()).filter(({ data }) => data.wire === 'openai-responses');
      return [...kept.values()].every(({ number }) => events.some(({ data }) => data.labels.number === `${number}`));
    }, 'an event for each response that was begun');
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    const begunNumbers = [...kept.values()].map(({ number }) => `${number}`);
    const billed = events.map(({ data }) => data.labels.number);
    for (const number of begunNumbers) expect(billed.filter((one) => one === number)).toEqual([number]);
    for (const { data } of events) {
      // One whose gateway died before it was kept is estimated, and says so.
      if (data.usage_status === 'estimated') expect(data.outcome).toBe('unknown');
      else expect(data.quantities.output_tokens).toBe(`${100 + Number(data.labels.number)}`);
    }
    const estimated = events.filter(({ data }) => data.usage_status === 'estimated');
    expect(estimated.length).toBeLessThanOrEqual(KILLS * BEGUN_PER_KILL);
    const final = new Set(
      events.filter(({ data }) => data.usage_status === 'final').map(({ data }) => data.labels.number),
    );
    // Those that a client looked at were kept: none of them is guessed.
    expect(final.size).toBeGreaterThan(0);
    const conflicts: { data: unknown[] } = await weir.get('/v1/events/conflicts');
    expect(conflicts.data).toEqual([]);
  });
});

async function begun(gatewayUrl: string, secret: string, number: number): Promise<string | undefined> {
  try {
    const response = await fetch(`${gatewayUrl}/v1/responses`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${secret}`,
        'content-type': 'application/json',
        'x-weir-labels': `number=${number}`,
      },
      body: JSON.stringify({ model: 'gpt-4o', input: `${number}`, background: true, max_output_tokens: 500 }),
    });
    const { id } = (await response.json()) as { id?: string };
    return id;
  } catch {
    // The gateway was killed, which is what this is about.
    return undefined;
  }
}

async function looked(gatewayUrl: string, secret: string, id: string): Promise<void> {
  const response = await fetch(`${gatewayUrl}/v1/responses/${id}`, { headers: { authorization: `Bearer ${secret}` } });
  // Kept, or lost with its gateway before that: then it is nobody's.
  expect([200, 404]).toContain(response.status);
  await response.arrayBuffer();
}
