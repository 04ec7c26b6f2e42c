import type { KeyPolicy } from '#core/key-policy.ts';
import { configOf, keyPolicy, startGateway, type TestGateway, upstreamConfig } from './harness.ts';
import { type Message, type SocketAnswer, SocketClient, type SocketStub, startSocketStub } from './sockets.ts';

/** OpenAI's Realtime as a stub speaks it, with a gateway and a client in front. */

export const SESSION = {
  type: 'session.created',
  session: {
    type: 'realtime',
    model: 'gpt-realtime',
    max_output_tokens: 'inf',
    audio: { input: { transcription: null, turn_detection: { type: 'server_vad', create_response: true } } },
  },
};

export const USAGE = {
  total_tokens: 140,
  input_tokens: 100,
  output_tokens: 40,
  input_token_details: {
    text_tokens: 20,
    audio_tokens: 70,
    image_tokens: 10,
    cached_tokens: 30,
    cached_tokens_details: { text_tokens: 5, audio_tokens: 20, image_tokens: 5 },
  },
  output_token_details: { text_tokens: 15, audio_tokens: 25 },
};

let responses = 0;

/** The id of the response that was made last. */
export const lastResponse = (): string => `resp_${responses - 1}`;

/** All the events of one response. */
export function response(usage: object | null = USAGE, status = 'completed'): object[] {
  const id = `resp_${responses++}`;
  return [
    { type: 'response.created', response: { id, status: 'in_progress', usage: null } },
    { type: 'response.output_audio_transcript.delta', response_id: id, delta: 'Hello there' },
    { type: 'response.output_audio.delta', response_id: id, delta: 'A'.repeat(6_400) },
    { type: 'response.done', response: { id, status, usage } },
  ];
}

/** Answers each request for a response, and begins one when it hears that the sound ends. */
export function openai(message: Message, say: (...events: object[]) => void): void {
  if (message.type === 'response.create') say(...response());
  if (message.type === 'input_audio_buffer.append' && message.audio === 'END=') {
    say({ type: 'input_audio_buffer.committed', item_id: 'item' }, ...response());
  }
}

export interface World extends AsyncDisposable {
  upstream: SocketStub;
  running: TestGateway;
  client: SocketClient;
}

export async function openRealtime(
  answer: SocketAnswer = openai,
  {
    policy = {},
    gateway = {},
    query = 'model=gpt-realtime',
  }: { policy?: Partial<KeyPolicy>; gateway?: object; query?: string } = {},
): Promise<World> {
  const upstream = await startSocketStub(answer, { greeting: [SESSION] });
  const running = await startGateway(configOf([upstreamConfig('openai', upstream.url)], { gateway }), [
    keyPolicy(policy),
  ]);
  const client = new SocketClient(`${running.url}/v1/realtime?${query}`, { headers: { 'x-weir-user': 'u1' } });
  return {
    upstream,
    running,
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await running[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}
