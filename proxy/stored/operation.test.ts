import { GoogleGenAI } from '@google/genai';
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

const NATIVE = { 'x-goog-api-key': SECRET, authorization: '' };
const MODEL = 'veo-3.1-generate-001';
const BEGIN = `/v1beta/models/${MODEL}:predictLongRunning`;
const NAME = `models/${MODEL}/operations/op1`;
const VERTEX_NAME = `projects/ours/locations/eu/publishers/google/models/${MODEL}/operations/op1`;
const FILE = 'https://generativelanguage.googleapis.com/v1beta/files/clip1:download?alt=media';

const samplesOf = (...uris: string[]) => ({
  done: true,
  response: { generateVideoResponse: { generatedSamples: uris.map((uri) => ({ video: { uri } })) } },
});

/** `said` is what the operation says of itself beside its name. */
async function world(family: 'gemini' | 'vertex', policies = [keyPolicy()]) {
  const all: { said: object } = { said: {} };
  const name = family === 'gemini' ? NAME : VERTEX_NAME;
  const stub = await startStub((response, { url }) => {
    if (url.includes('/files/')) {
      response.writeHead(200, { 'content-type': 'video/mp4' }).end('the video');
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ name, ...all.said }));
  });
  const origin = stub.url.replace(/\/v1$/, '');
  const addresses = family === 'gemini' ? { gemini: origin } : { vertex: `${stub.url}/projects/ours/locations/eu` };
  const { stored, handedOver } = testStored();
  let nowMs = Date.now();
  const other = otherPolicy();
  const upstream = upstreamConfig('google', '', { addresses, provider: 'google', auth: 'bearer', models: ['*'] });
  const gateway = await startGateway(configOf([upstream]), [...policies, other], { stored, clock: () => nowMs });
  return Object.assign(all, {
    stub,
    gateway,
    handedOver,
    begin: (parameters: object = {}, more: object = {}) =>
      post(`${gateway.url}${BEGIN}`, { instances: [{ prompt: 'A weir', ...more }], parameters }, NATIVE),
    ask: (path: string, key = SECRET) => fetch(`${gateway.url}${path}`, { headers: { 'x-goog-api-key': key } }),
    round: async () => {
      nowMs += 10_000;
      await gateway.gateway.reconciler?.round();
    },
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await stub[Symbol.asyncDispose]();
    },
  });
}

/** What was billed: the calls that began something. */
const billedOf = async ({ gateway }: Pick<Awaited<ReturnType<typeof world>>, 'gateway'>, calls: number) =>
  (await eventsOf(gateway, calls))
    .filter(({ data }) => data.wire === 'gemini-videos' || data.wire === 'vertex-videos')
    .map(({ data }) => [data.outcome, data.usage_status, data.variant, data.quantities]);

describe('videos of Google', () => {
  it('are billed by their seconds when they are made, once, however often they are looked at', async () => {
    await using all = await world('gemini');
    expect((await all.begin({ durationSeconds: '6', sampleCount: 2, resolution: '1080p' })).status).toBe(200);
    await vi.waitFor(() => expect(all.handedOver).toHaveLength(1));
    await all.round();
    expect(all.gateway.sink.events).toEqual([]);
    all.said = samplesOf(FILE, FILE.replace('clip1', 'clip2'));
    await Promise.all([all.round(), all.ask(`/v1beta/${NAME}`)]);
    await all.round();
    expect(await billedOf(all, 2)).toEqual([['ok', 'final', '1080p', { calls: '1', video_seconds: '12' }]]);
    expect(all.stub.requests.filter(({ url }) => url === `/v1beta/${NAME}`).length).toBeGreaterThanOrEqual(2);
  });

  it('that were held back are not billed, nor is an operation that failed; one that says neither is billed as asked', async () => {
    const heldBack = {
      generateVideoResponse: { generatedSamples: [{ video: { uri: FILE } }], raiMediaFilteredCount: 1 },
    };
    const cases: [object, unknown][] = [
      [{ done: true, response: heldBack }, ['ok', 'final', '720p-silent', { calls: '1', video_seconds: '8' }]],
      [
        { done: true, response: { generateVideoResponse: { raiMediaFilteredCount: 2 } } },
        ['ok', 'final', '720p-silent', { calls: '1' }],
      ],
      [{ done: true, error: { code: 3, message: 'no' } }, ['failed', 'none', '720p-silent', {}]],
      [{ done: true, response: {} }, ['ok', 'estimated', '720p-silent', { calls: '1', video_seconds: '16' }]],
    ];
    for (const [said, billed] of cases) {
      await using all = await world('gemini');
      await all.begin({ sampleCount: 2, generateAudio: false });
      await vi.waitFor(() => expect(all.handedOver).toHaveLength(1));
      all.said = said;
      await all.round();
      expect(await billedOf(all, 1)).toEqual([billed]);
    }
  });

  it('are held at the most that they can be, and refused where that is not there or cannot be told', async () => {
    const limits = [limitPolicy({ kind: 'quantity', unit: 'video_seconds', amount: '40', per: 'day' })];
    await using all = await world('gemini', [keyPolicy({ version: 2, limits })]);
    expect((await all.begin()).status).toBe(200);
    expect((await all.begin({ sampleCount: 1 })).status).toBe(200);
    expect((await all.begin({ sampleCount: 1, durationSeconds: 4 })).status).toBe(429);
    for (const parameters of [{ durationSeconds: 'all' }, { sampleCount: 0 }, { storageUri: 'gs://elsewhere' }]) {
      expect((await all.begin(parameters)).status).toBe(400);
    }
  });

  it('are there for the customer who had them made alone, as operations and as files', async () => {
    await using all = await world('gemini');
    await all.begin();
    await vi.waitFor(() => expect(all.handedOver).toHaveLength(1));
    all.said = samplesOf(FILE);
    await all.round();
    const download = '/v1beta/files/clip1:download?alt=media';
    expect(await (await all.ask(download)).text()).toBe('the video');
    const before = all.stub.requests.length;
    for (const path of [`/v1beta/${NAME}`, download, '/v1beta/files/clip1']) {
      expect((await all.ask(path, OTHER)).status).toBe(404);
    }
    const theirs = { 'x-goog-api-key': OTHER, authorization: '' };
    const extended = { instances: [{ prompt: 'More', video: { uri: FILE } }] };
    expect((await post(`${all.gateway.url}${BEGIN}`, extended, theirs)).status).toBe(404);
    expect(all.stub.requests.length).toBe(before);
    expect((await all.begin({}, { video: { uri: FILE } })).status).toBe(200);
  });

  it('are made, awaited and billed with the client of Google, which has them on Vertex', async () => {
    await using all = await world('vertex');
    const client = new GoogleGenAI({ vertexai: true, apiKey: SECRET, httpOptions: { baseUrl: all.gateway.url } });
    let operation = await client.models.generateVideos({
      model: MODEL,
      source: { prompt: 'A weir' },
      config: { numberOfVideos: 1, durationSeconds: 4 },
    });
    await vi.waitFor(() => expect(all.handedOver).toHaveLength(1));
    operation = await client.operations.getVideosOperation({ operation });
    expect(operation.done ?? false).toBe(false);
    all.said = { done: true, response: { videos: [{ bytesBase64Encoded: 'dmlkZW8=', mimeType: 'video/mp4' }] } };
    operation = await client.operations.getVideosOperation({ operation });
    expect(operation.response?.generatedVideos).toHaveLength(1);
    await all.round();
    expect(await billedOf(all, 3)).toEqual([['ok', 'final', '720p', { calls: '1', video_seconds: '4' }]]);
    const another = { operationName: VERTEX_NAME };
    const path = `/v1/publishers/google/models/${MODEL}:fetchPredictOperation`;
    const headers = { 'x-goog-api-key': OTHER, authorization: '' };
    expect((await post(`${all.gateway.url}${path}`, another, headers)).status).toBe(404);
    // Of two spellings nobody knows which one Google takes.
    const both = { operationName: VERTEX_NAME, operation_name: 'projects/p/operations/of-another' };
    const own = { 'x-goog-api-key': SECRET, authorization: '' };
    expect((await post(`${all.gateway.url}${path}`, both, own)).status).toBe(400);
  });
});
