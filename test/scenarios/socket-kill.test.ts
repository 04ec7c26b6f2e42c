import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lastResponse, response, SESSION, USAGE } from '../gateway/realtime.ts';
import { SocketClient, type SocketStub, startSocketStub } from '../gateway/sockets.ts';
import { type Deployment, deploy } from './deployment.ts';
import { until } from './until.ts';

/** A socket through Weir in a process of its own, which is killed or asked to leave in the middle of a response. */
let upstream: SocketStub;
let weir: Deployment;

beforeAll(async () => {
  upstream = await startSocketStub(
    (message, say) => {
      if (message.type === 'response.create') say(...response().slice(0, 3));
    },
    { greeting: [SESSION] },
  );
  weir = await deploy({
    kind: 'embedded',
    upstreamUrl: upstream.url,
    limits: '[{ budget: 10 USD, per: month, mode: hard }]',
  });
}, 60_000);
afterAll(async () => {
  await weir.stop();
  await upstream[Symbol.asyncDispose]();
});

/** Where a response has begun, and has not ended. */
async function inTheMiddle(): Promise<SocketClient> {
  const headers = { authorization: `Bearer ${weir.secret}` };
  const url = `${weir.gatewayUrls[0]}/v1/realtime?model=gpt-realtime`;
  const client = await new SocketClient(url, { headers }).opened();
  client.say({ type: 'response.create', response: { instructions: 'Say a short greeting.' } });
  await client.hears('response.output_audio.delta');
  return client;
}

describe('a response on a socket', { timeout: 120_000 }, () => {
  it('leaves one event, estimated, when its gateway is killed', async () => {
    const client = await inTheMiddle();
    await weir.killGateway(0);
    await client.ended();
    await weir.startGateway(0);
    await until(async () => (await weir.events()).length > 0, 'an event');
    const events = await weir.events();
    expect(events).toHaveLength(1);
    expect(events[0]?.data).toMatchObject({
      wire: 'openai-realtime',
      outcome: 'unknown',
      usage_status: 'estimated',
      quantities: { calls: '1', input_tokens: expect.any(String) },
    });
  });

  it('comes to its end when its gateway is asked to leave, and is billed by what it used', async () => {
    const client = await inTheMiddle();
    const gateway = weir.process('gateway-0');
    gateway.signal('SIGTERM');
    expect((await client.hears('error')).error).toMatchObject({ code: 'shutting_down' });
    const done = { id: lastResponse(), status: 'completed', usage: USAGE };
    upstream.sockets.at(-1)?.send(JSON.stringify({ type: 'response.done', response: done }));
    await client.hears('response.done');
    expect(await client.ended()).toMatchObject({ code: 1001 });
    expect(await gateway.ended).toBe(0);
    await until(async () => (await weir.events()).length > 1, 'an event');
    const statuses = (await weir.events()).map(({ data }) => data.usage_status);
    expect(statuses.sort()).toEqual(['estimated', 'final']);
  });
});
