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

async function world(policies = [keyPolicy()]) {
  const said = { status: 'queued' };
  const stub = await startStub((response, { url }) => {
    if (url.endsWith('/content')) {
      response.writeHead(200, { 'content-type': 'video/mp4' }).end('the video');
      return;
    }
    const video = { id: 'video_1', object: 'video', model: 'sora-2', seconds: '8', size: '1280x720', ...said };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(video));
  });
  const { stored, handedOver } = testStored();
  let nowMs = Date.now();
  const other = otherPolicy();
  // No upstream is known by its catalogue to have a model for videos.
  const upstreams = [upstreamConfig('openai', stub.url, { models: ['sora-*'] })];
  const gateway = await startGateway(configOf(upstreams), [...policies, other], { stored, clock: () => nowMs });
  return {
    said,
    stub,
    gateway,
    handedOver,
    make: (more: object = {}) =>
      post(`${gateway.url}/v1/videos`, { model: 'sora-2', prompt: 'A weir', seconds: '8', size: '1280x720', ...more }),
    ask: (path: string, secret = SECRET, method = 'GET') =>
      fetch(`${gateway.url}/v1/videos${path}`, { method, headers: { authorization: `Bearer ${secret}` } }),
    round: async () => {
      nowMs += 10_000;
      await gateway.gateway.reconciler?.round();
    },
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await stub[Symbol.asyncDispose]();
    },
  };
}

describe('a video', () => {
  it('is billed by its seconds and its size when it is made, once', async () => {
    await using all = await world();
    const { gateway, make, said, round, handedOver, ask } = all;
    expect((await make()).status).toBe(200);
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    await round();
    expect(gateway.sink.events).toEqual([]);
    said.status = 'completed';
    await Promise.all([round(), ask('/video_1')]);
    await round();
    const events = await eventsOf(gateway, 2);
    const billed = events.filter(({ data }) => data.wire === 'openai-videos');
    expect(billed.map(({ data }) => [data.quantities, data.variant, data.usage_status])).toEqual([
      [{ calls: '1', video_seconds: '8' }, '1280x720', 'final'],
    ]);
  });

  it('that could not be made is not billed', async () => {
    await using all = await world();
    const { gateway, make, said, round, handedOver } = all;
    await make();
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    said.status = 'failed';
    await round();
    const [event] = await eventsOf(gateway, 1);
    expect(event?.data).toMatchObject({ outcome: 'failed', usage_status: 'none', quantities: {} });
  });

  it('holds its seconds of a limit until it is made', async () => {
    const limits = [limitPolicy({ kind: 'quantity', unit: 'video_seconds', amount: '20', per: 'day' })];
    await using all = await world([keyPolicy({ version: 2, limits })]);
    const { make } = all;
    expect((await make()).status).toBe(200);
    expect((await make({ seconds: 12 })).status).toBe(200);
    expect((await make({ seconds: '4' })).status).toBe(429);
    expect((await make({ seconds: 'all' })).status).toBe(400);
  });

  it('is there for the customer who had it made alone', async () => {
    await using all = await world();
    const { make, ask, handedOver, stub } = all;
    await make();
    await vi.waitFor(() => expect(handedOver).toHaveLength(1));
    expect(await (await ask('/video_1/content')).text()).toBe('the video');
    const before = stub.requests.length;
    for (const path of ['/video_1', '/video_1/content']) expect((await ask(path, OTHER)).status).toBe(404);
    expect((await ask('/video_1', OTHER, 'DELETE')).status).toBe(404);
    expect((await ask('')).status).toBe(405);
    expect(stub.requests.length).toBe(before);
  });
});
