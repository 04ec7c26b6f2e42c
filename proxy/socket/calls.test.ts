import { describe, expect, it, vi } from 'vitest';
import type { KeyPolicy } from '#core/key-policy.ts';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  SECRET,
  startGateway,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import { response, SESSION, USAGE } from '#test/gateway/realtime.ts';
import { type SocketAnswer, SocketClient, startSocketStub } from '#test/gateway/sockets.ts';

const SDP = 'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n';

/** An upstream that takes calls, and what it was asked by HTTP. */
async function open(
  answer: SocketAnswer = () => undefined,
  policy: Partial<KeyPolicy> = {},
  status = 201,
  hangUps: number[] = [],
) {
  const asked: { url: string; body: string }[] = [];
  const upstream = await startSocketStub(answer, {
    greeting: [SESSION],
    http: (request, body, reply) => {
      asked.push({ url: request.url ?? '', body });
      const headers = { 'content-type': 'application/sdp', location: '/v1/realtime/calls/rtc_1' };
      reply.writeHead(request.url?.endsWith('/hangup') ? (hangUps.shift() ?? 200) : status, headers).end(SDP);
    },
  });
  const running = await startGateway(configOf([upstreamConfig('openai', upstream.url)]), [keyPolicy(policy)]);
  const call = (session: object = { type: 'realtime', model: 'gpt-realtime' }) => {
    const form = new FormData();
    form.append('sdp', SDP);
    form.append('session', JSON.stringify(session));
    const headers = { authorization: `Bearer ${SECRET}` };
    return fetch(`${running.url}/v1/realtime/calls`, { method: 'POST', headers, body: form });
  };
  return {
    upstream,
    running,
    asked,
    call,
    async [Symbol.asyncDispose]() {
      await running[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

describe('a call by WebRTC', () => {
  it('is answered as the upstream answers it, and metered from its side', async () => {
    await using world = await open();
    const answer = await world.call();
    expect(answer.status).toBe(201);
    expect(answer.headers.get('location')).toBe('/v1/realtime/calls/rtc_1');
    expect(await answer.text()).toBe(SDP);
    expect(world.asked[0]?.url).toBe('/v1/realtime/calls');
    expect(world.asked[0]?.body).toContain('"model":"gpt-realtime"');
    expect(world.upstream.opened[0]?.url).toBe('/v1/realtime?call_id=rtc_1');
    expect(world.running.sink.opened).toHaveLength(1);
    const [side] = world.upstream.sockets;
    for (const event of [...response(), ...response()]) side?.send(JSON.stringify(event));
    const events = await eventsOf(world.running, 2);
    expect(events.map(({ data }) => data.usage_status)).toEqual(['final', 'final']);
    expect(events[0]?.data).toMatchObject({ endpoint: '/v1/realtime/calls', raw_usage: USAGE });
    expect(events[0]?.data.session).toBe(events[1]?.data.session);
    side?.close();
    await vi.waitFor(() => expect(world.running.gateway.callsInFlight).toBe(0));
    expect(world.running.sink.abandoned.length + world.running.sink.closed.length).toBe(
      world.running.sink.opened.length,
    );
  });

  it('is hung up when the next response would not fit', async () => {
    const limits = [limitPolicy({ kind: 'requests', amount: '1', per: 'minute' })];
    await using world = await open(() => undefined, { limits });
    expect((await world.call()).status).toBe(201);
    const [side] = world.upstream.sockets;
    for (const event of response()) side?.send(JSON.stringify(event));
    await vi.waitFor(() => expect(world.asked.at(-1)?.url).toBe('/v1/realtime/calls/rtc_1/hangup'));
    await eventsOf(world.running, 1);
    await vi.waitFor(() => expect(world.running.gateway.callsInFlight).toBe(0));
  });

  it('is refused, and hung up, where its first response would not fit', async () => {
    const limits = [limitPolicy({ kind: 'tokens', amount: '1', per: 'day' })];
    await using world = await open(() => undefined, { limits });
    const answer = await world.call();
    expect(answer.status).toBe(429);
    await vi.waitFor(() => expect(world.asked.at(-1)?.url).toBe('/v1/realtime/calls/rtc_1/hangup'));
    await vi.waitFor(() => expect(world.running.gateway.callsInFlight).toBe(0));
    expect(world.running.sink.opened).toHaveLength(0);
  });

  it('that the upstream does not take is answered as it answers', async () => {
    await using world = await open(() => undefined, {}, 400);
    const answer = await world.call();
    expect(answer.status).toBe(400);
    expect(world.upstream.opened).toHaveLength(0);
    expect(world.running.gateway.callsInFlight).toBe(0);
  });

  it('is hung up by a revoked key', async () => {
    await using world = await open();
    expect((await world.call()).status).toBe(201);
    world.running.gateway.killSwitch.recheck([keyPolicy({ state: 'revoked' })]);
    await vi.waitFor(() => expect(world.asked.at(-1)?.url).toBe('/v1/realtime/calls/rtc_1/hangup'));
    expect(world.running.sink.abandoned).toHaveLength(1);
  });

  it('is hung up again where that did not get through', async () => {
    await using world = await open(() => undefined, {}, 201, [500]);
    expect((await world.call()).status).toBe(201);
    world.running.gateway.killSwitch.recheck([keyPolicy({ state: 'revoked' })]);
    await vi.waitFor(() => expect(world.running.gateway.callsInFlight).toBe(0), { timeout: 5_000 });
    expect(world.asked.filter(({ url }) => url.endsWith('/hangup'))).toHaveLength(2);
  });

  it('is not answered with a redirect, which would lead around the gateway', async () => {
    await using world = await open(() => undefined, {}, 307);
    expect((await world.call()).status).toBe(502);
  });

  it('is asked for in a form or as a bare SDP, and names one model', async () => {
    await using world = await open();
    const { running, asked } = world;
    const ask = (type: string, query = '?model=gpt-realtime', extra = {}) =>
      fetch(`${running.url}/v1/realtime/calls${query}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${SECRET}`, 'content-type': type, ...extra },
        body: SDP,
      });
    expect((await ask('application/json')).status).toBe(400);
    expect((await ask('application/sdp', '?model=gpt-realtime-mini&model=gpt-realtime')).status).toBe(400);
    expect((await ask('application/sdp', undefined, { 'content-encoding': 'gzip' })).status).toBe(400);
    expect(asked).toEqual([]);
    expect((await ask('application/sdp')).status).toBe(201);
  });

  it('cannot be begun, or joined, past the gateway', async () => {
    await using world = await open();
    const { running } = world;
    const headers = { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json' };
    const secrets = await fetch(`${running.url}/v1/realtime/client_secrets`, { method: 'POST', headers, body: '{}' });
    expect(secrets.status).toBe(403);
    expect((await secrets.json()).error.code).toBe('not_metered');
    const joined = await new SocketClient(`${running.url}/v1/realtime?call_id=rtc_1`).refused();
    expect(joined).toMatchObject({ status: 403 });
    expect(world.asked).toEqual([]);
  });
});
