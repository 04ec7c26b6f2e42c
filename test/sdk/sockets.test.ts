import { connect } from 'node:net';
import { LLMock } from '@copilotkit/aimock';
import { GoogleGenAI, Modality } from '@google/genai';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type SocketStub, startSocketStub } from '#test/gateway/sockets.ts';
import { type RunningGateway, startGateway } from '#test/support/running-gateway.ts';

/** The official clients over WebSocket, a third party's mock of the provider behind; Google's says no usage there, so a stub does. */
const USAGE = {
  promptTokenCount: 20,
  responseTokenCount: 4,
  totalTokenCount: 24,
  responseTokensDetails: [{ modality: 'AUDIO', tokenCount: 4 }],
};

describe('the official clients over a socket', () => {
  const mock = new LLMock({ port: 0 });
  let google: SocketStub;
  let gateway: RunningGateway;
  let poor: RunningGateway;

  beforeAll(async () => {
    await mock.start();
    google = await startSocketStub((message, say) => {
      if (message.setup) say({ setupComplete: {} });
      const asked = message.clientContent ?? message.client_content;
      if (asked) say({ serverContent: { turnComplete: true }, usageMetadata: USAGE });
    });
    const upstreamUrl = { openai: `${mock.url}/v1`, gemini: google.url.replace(/\/v1$/, '') };
    const behind = { upstreamUrl, models: ['*'] };
    gateway = await startGateway(behind);
    poor = await startGateway({ ...behind, limits: '[{ tokens: 1, per: day }]' });
  });
  afterAll(async () => {
    await gateway.stop();
    await poor.stop();
    await google[Symbol.asyncDispose]();
    await mock.stop();
  });

  const openai = ({ url, secret }: RunningGateway) => new OpenAI({ baseURL: url, apiKey: secret, maxRetries: 0 });
  /** OpenAI's client asks for TLS whatever its base address says; a gateway without any is reached past it. */
  const realtime = (to: RunningGateway) => {
    const { hostname: host, port } = new URL(to.url);
    const options = { createConnection: () => connect({ host, port: Number(port) }) };
    return new OpenAIRealtimeWS({ model: 'gpt-realtime', options }, openai(to));
  };
  const eventsOf = async (to: RunningGateway, wire: string, count: number) => {
    const found = () => [...to.events.values()].filter(({ data }) => data.wire === wire);
    await vi.waitFor(() => expect(found()).toHaveLength(count), { interval: 2, timeout: 10_000 });
    return found();
  };

  it("OpenAI's for Realtime is answered, and each response has one event", async () => {
    mock.onMessage('Say a short greeting.', { content: 'Hi there!', usage: { input_tokens: 16, output_tokens: 9 } });
    const socket = realtime(gateway);
    const done = new Promise<OpenAI.Realtime.ResponseDoneEvent>((resolve, reject) => {
      socket.once('response.done', resolve);
      socket.on('error', reject);
    });
    await new Promise((resolve) => socket.socket.once('open', resolve));
    const content = [{ type: 'input_text' as const, text: 'Say a short greeting.' }];
    socket.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
    socket.send({ type: 'response.create' });
    const { response } = await done;
    socket.close();
    expect(response.status).toBe('completed');
    const [event] = await eventsOf(gateway, 'openai-realtime', 1);
    expect(event?.data).toMatchObject({ model: 'gpt-realtime', outcome: 'ok', usage_status: 'final' });
    expect(event?.data.raw_usage).toEqual(response.usage);
  });

  it("OpenAI's for Realtime raises what a limit refuses", async () => {
    const socket = realtime(poor);
    const error = new Promise<Error>((resolve) => {
      socket.once('error', resolve);
    });
    await new Promise((resolve) => socket.socket.once('open', resolve));
    socket.send({ type: 'response.create', event_id: 'mine' });
    expect(await error).toMatchObject({
      name: 'OpenAIRealtimeError',
      error: { code: 'rate_limit_exceeded', event_id: 'mine' },
    });
    socket.close();
  });

  it("OpenAI's for Responses is answered, and raises what a limit refuses", async () => {
    mock.onMessage('Hello there', { content: 'Hi.', usage: { input_tokens: 12, output_tokens: 3, total_tokens: 15 } });
    const ask = async (to: RunningGateway) => {
      const socket = new ResponsesWS(openai(to));
      const end = new Promise<unknown>((resolve) => {
        socket.once('response.completed', resolve);
        socket.once('error', resolve);
      });
      socket.send({ type: 'response.create', model: 'gpt-4o-mini', input: 'Hello there' });
      const ended = await end;
      socket.close();
      return ended;
    };
    expect(await ask(gateway)).toMatchObject({ type: 'response.completed' });
    const [event] = await eventsOf(gateway, 'openai-responses', 1);
    expect(event?.data).toMatchObject({ outcome: 'ok', usage_status: 'final', quantities: { output_tokens: '3' } });
    expect(await ask(poor)).toMatchObject({ error: { error: { code: 'rate_limit_exceeded' } } });
  });

  it("Google's for Live is answered, and told why it is not", async () => {
    const open = async ({ origin, secret }: RunningGateway) => {
      const client = new GoogleGenAI({ apiKey: secret, apiVersion: 'v1beta', httpOptions: { baseUrl: origin } });
      const { promise, resolve } = Promise.withResolvers<unknown>();
      const session = await client.live.connect({
        model: 'gemini-3.8-live',
        config: { responseModalities: [Modality.AUDIO] },
        callbacks: {
          onmessage: (message) => {
            if (message.usageMetadata) resolve(message.usageMetadata);
          },
          onclose: ({ code, reason }) => resolve({ code, reason }),
        },
      });
      session.sendClientContent({ turns: 'Hello', turnComplete: true });
      const end = await promise;
      session.close();
      return end;
    };
    expect(await open(gateway)).toMatchObject({ totalTokenCount: 24 });
    const [event] = await eventsOf(gateway, 'gemini-live', 1);
    expect(event?.data.quantities).toEqual({ calls: '1', input_tokens: '20', output_audio_tokens: '4' });
    expect(await open(poor)).toMatchObject({ code: 1008, reason: expect.stringContaining('budget_exhausted') });
  });
});
