import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { UsageEvent } from '#core/usage-event.ts';
import { type Stub, sha256, startStub } from '../gateway/harness.ts';
import { callOnce } from './caller.ts';
import { type Deployment, type DeploymentOptions, deploy } from './deployment.ts';
import { FIVE_MISTAKES } from './five-mistakes.ts';
import { until } from './until.ts';

const USAGE = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 };
const WORD = 'data: {"id":"1","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"12345678"}}]}\n\n';
const LAST = `data: {"id":"1","model":"gpt-4o","choices":[],"usage":${JSON.stringify(USAGE)}}\n\ndata: [DONE]\n\n`;
const WHOLE = JSON.stringify({ model: 'gpt-4o', choices: [{ message: { content: 'Hi' } }], usage: USAGE });
const FREE = 'wr_test_no_budget';

/** How a gateway is ended, and what it is without the billing role. */
describe('a gateway', { timeout: 90_000 }, () => {
  let stub: Stub | undefined;
  let weir: Deployment | undefined;
  /** Ends the streams that the upstream holds open. */
  let endStreams: (() => void)[] = [];

  afterEach(async () => {
    await weir?.stop();
    await stub?.[Symbol.asyncDispose]();
    endStreams = [];
  });

  async function start(options: Partial<DeploymentOptions> = {}): Promise<Deployment> {
    stub = await startStub((response, { body }) => {
      if (!JSON.parse(body).stream) {
        response.writeHead(200, { 'content-type': 'application/json' }).end(WHOLE);
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(WORD);
      endStreams.push(() => response.end(LAST));
    });
    weir = await deploy({
      kind: 'embedded',
      upstreamUrl: stub.url,
      customers: `  free:
    name: Without a budget
    limits: [{ concurrency: 100 }]
    keys:
      free-prod: { secret: "sha256:${sha256(FREE)}" }`,
      ...options,
    });
    return weir;
  }

  function send(secret: string, stream: boolean): Promise<Response> {
    return fetch(`${weir?.gatewayUrls[0]}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'gpt-4o', stream, max_tokens: 100, messages: [{ role: 'user', content: 'Hi' }] }),
    });
  }

  /** The event of the call that was answered so. */
  async function eventOf(response: Response): Promise<UsageEvent> {
    let event: UsageEvent | undefined;
    await until(async () => {
      event = (await weir?.events())?.find(({ id }) => id === response.headers.get('x-request-id'));
      return event !== undefined;
    }, 'the event of a call');
    return event as UsageEvent;
  }

  it.each(['embedded', 'shared'] as const)(
    'that is told to end in the middle of a stream finishes it, takes nothing new and keeps its event, %s',
    async (kind) => {
      const { secret, ...running } = await start({ kind });
      const stream = await send(secret, true);
      const gateway = running.process('gateway-0');
      gateway.signal('SIGTERM');
      await until(
        async () =>
          (await callOnce({ gatewayUrl: running.gatewayUrls[0] as string, secret, number: 1 })).end === 'failed',
        'no new calls to be taken',
      );
      endStreams[0]?.();
      expect(await stream.text()).toContain('[DONE]');
      expect(await gateway.ended).toBe(0);
      const event = await eventOf(stream);
      expect(event.data).toMatchObject({
        usage_status: 'final',
        quantities: { input_tokens: '12', output_tokens: '5' },
      });
    },
  );

  it('that is told to end cuts at its bound what does not end, and bills what came', async () => {
    const { secret, ...running } = await start({ gateway: 'shutdown_timeout: 500ms' });
    const stream = await send(secret, true);
    // A client that reads nothing any more holds nobody up either.
    expect(await running.process('gateway-0').terminate()).toBe(0);
    expect(await stream.text().catch(() => 'cut')).toMatch(/shutting_down|cut/);
    await until(async () => (await running.events()).length === 1, 'the event of the stream');
    expect((await running.events())[0]?.data).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
  });

  it('that is told twice ends at once, and its next start bills what it left', async () => {
    const { secret, ...running } = await start();
    const stream = await send(secret, true);
    const gateway = running.process('gateway-0');
    gateway.signal('SIGTERM');
    await until(
      async () =>
        (await callOnce({ gatewayUrl: running.gatewayUrls[0] as string, secret, number: 1 })).end === 'failed',
      'the drain',
    );
    gateway.signal('SIGTERM');
    expect(await gateway.ended).toBe(143);
    await stream.text().catch(() => 'cut');
    await running.startGateway(0);
    expect((await eventOf(stream)).data).toMatchObject({ outcome: 'unknown', usage_status: 'estimated' });
    expect((await send(secret, false)).status).toBe(200);
  });

  it('that starts while billing is away serves keys without a budget, journals their calls, and takes the others when it is back', async () => {
    const { secret, ...running } = await start({ waits: true });
    await running.startGateway(0);
    const refused = await send(secret, false);
    expect([refused.status, ((await refused.json()) as { error: { code: string } }).error.code]).toEqual([
      503,
      'limits_unavailable',
    ]);
    const served: string[] = [];
    const serve = async (): Promise<void> => {
      const response = await send(FREE, false);
      expect(response.status).toBe(200);
      await response.text();
      served.push(response.headers.get('x-request-id') ?? '');
    };
    for (let i = 0; i < 5; i++) await serve();

    // Ended and started again, it still has what nobody has taken.
    expect(await running.process('gateway-0').terminate()).toBe(0);
    await running.startGateway(0);
    let busy = true;
    const load = (async () => {
      while (busy) await serve();
    })();
    try {
      await running.startBilling();
      // By itself, and while other keys go on without a pause.
      await until(async () => {
        const response = await send(secret, false);
        if (response.status === 200) served.push(response.headers.get('x-request-id') ?? '');
        return response.status === 200;
      }, 'the key with a budget to be served');
    } finally {
      busy = false;
      await load;
    }
    await until(async () => (await running.events()).length >= served.length, 'all events');
    expect((await running.events()).map(({ id }) => id).sort()).toEqual([...served].sort());
  });

  it('that is told to end while billing is away ends with 0 and ships at its next start', async () => {
    const { secret, ...running } = await start();
    // A budget is trusted once billing has said what was used of it.
    const before = await send(secret, false);
    await until(async () => (await running.events()).length === 1, 'the first event');
    await running.killBilling();
    const response = await send(secret, false);
    expect([before.status, response.status]).toEqual([200, 200]);
    expect(await running.process('gateway-0').terminate()).toBe(0);
    await running.startBilling();
    expect(await running.events()).toHaveLength(1);
    await running.startGateway(0);
    await until(async () => (await running.events()).length === 2, 'the second event');
    const ids = (await running.events()).map(({ id }) => id);
    expect(ids.sort()).toEqual([before, response].map(({ headers }) => headers.get('x-request-id')).sort());
  });

  it('keeps the configuration that it has when the new one has five mistakes, and says all of them', async () => {
    const { secret, ...running } = await start();
    const file = path.join(running.folder, 'gateway-0.yaml');
    await writeFile(file, FIVE_MISTAKES);
    const gateway = running.process('gateway-0');
    await until(() => gateway.output().includes('the configuration stays as it was'), 'the mistakes');
    for (const place of ['gateway.prot', 'base_url', 'limits[0].per', 'plan', 'prod.secret']) {
      expect(gateway.output()).toContain(place);
    }
    expect((await send(secret, false)).status).toBe(200);
    expect(await gateway.terminate()).toBe(0);
  });
});
