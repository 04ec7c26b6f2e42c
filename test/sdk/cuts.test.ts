import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import Anthropic from '@anthropic-ai/sdk';
import {
  BedrockRuntimeClient,
  ConverseStreamCommand,
  ServiceQuotaExceededException,
  ThrottlingException,
} from '@aws-sdk/client-bedrock-runtime';
import { ApiError, GoogleGenAI } from '@google/genai';
import { Mistral } from '@mistralai/mistralai';
import { SDKError } from '@mistralai/mistralai/models/errors/index.js';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { type LanguageModel, streamText } from 'ai';
import { CohereClientV2, CohereError } from 'cohere-ai';
import Groq from 'groq-sdk';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { startTokenUpstream } from '#test/scenarios/token-stream.ts';
import { TOKEN, TOKEN_WIRES, type TokenWire } from '#test/scenarios/token-wires.ts';
import { emittedInSessions } from '#test/support/emitted-by.ts';
import { type RunningGateway, startGateway } from '#test/support/running-gateway.ts';

const PRICES =
  '[{ provider: PROVIDER, model: "*", prices: [{ unit: input_tokens, amount: 1, per: 1M }, { unit: output_tokens, amount: 10, per: 1M }] }]';
const SESSION = 'cut';
/** All of the answer or none: else its maximum were lowered, and its upstream ended it. */
const HEADERS = { 'x-weir-session': SESSION, 'x-weir-clamp': 'off' };
const MAX = 100_000;
const ASKED = { role: 'user' as const, content: 'Hello' };

/** What the client gives of its stream, piece by piece; and what it must throw at its end. */
interface Client {
  readonly wire: TokenWire;
  stream(gateway: RunningGateway): AsyncIterable<string | null | undefined>;
  readonly thrown: unknown;
  /** And what where there is nothing left from the start. */
  readonly refused: unknown;
}

const openai = ({ url, secret }: RunningGateway) =>
  new OpenAI({ baseURL: url, apiKey: secret, defaultHeaders: HEADERS });
const API_ERROR = expect.any(OpenAI.APIError);
const OVER_RATE = expect.objectContaining({ status: 402, type: 'insufficient_quota' });

/** Vercel's tells of errors in the stream, where its text would end as if it were whole. */
async function* vercel(model: LanguageModel): AsyncIterable<string> {
  const { fullStream } = streamText({ model, prompt: 'Hello', maxOutputTokens: MAX, onError: () => undefined });
  for await (const part of fullStream) {
    if (part.type === 'text-delta') yield part.text;
    if (part.type === 'error') throw part.error;
  }
}

const CLIENTS: Readonly<Record<string, Client>> = {
  'openai, chat': {
    wire: TOKEN_WIRES['openai-chat'],
    async *stream(gateway) {
      const stream = await openai(gateway).chat.completions.create({
        model: 'gpt-4o',
        messages: [ASKED],
        max_completion_tokens: MAX,
        stream: true,
      });
      for await (const { choices } of stream) yield choices[0]?.delta.content;
    },
    thrown: API_ERROR,
    refused: OVER_RATE,
  },
  'openai, completions': {
    wire: TOKEN_WIRES['openai-completions'],
    async *stream(gateway) {
      const { model } = TOKEN_WIRES['openai-completions'];
      const stream = await openai(gateway).completions.create({ model, prompt: 'Hi', max_tokens: MAX, stream: true });
      for await (const { choices } of stream) yield choices[0]?.text;
    },
    thrown: API_ERROR,
    refused: OVER_RATE,
  },
  'openai, responses': {
    wire: TOKEN_WIRES['openai-responses'],
    async *stream(gateway) {
      const stream = await openai(gateway).responses.create({
        model: 'gpt-4o',
        input: 'Hello',
        max_output_tokens: MAX,
        stream: true,
      });
      for await (const event of stream) if (event.type === 'response.output_text.delta') yield event.delta;
    },
    thrown: API_ERROR,
    refused: OVER_RATE,
  },
  anthropic: {
    wire: TOKEN_WIRES['anthropic-messages'],
    async *stream({ origin, secret }) {
      const { model } = TOKEN_WIRES['anthropic-messages'];
      const client = new Anthropic({ baseURL: origin, apiKey: secret, defaultHeaders: HEADERS });
      const stream = await client.messages.create({ model, messages: [ASKED], max_tokens: MAX, stream: true });
      for await (const event of stream) {
        if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') yield event.delta.text;
      }
    },
    thrown: expect.any(Anthropic.APIError),
    refused: expect.objectContaining({ status: 402, type: 'billing_error' }),
  },
  google: {
    wire: TOKEN_WIRES['gemini-generate'],
    async *stream({ origin, secret }) {
      const { model } = TOKEN_WIRES['gemini-generate'];
      const client = new GoogleGenAI({ apiKey: secret, httpOptions: { baseUrl: origin, headers: HEADERS } });
      const config = { maxOutputTokens: MAX };
      for await (const { text } of await client.models.generateContentStream({ model, contents: 'Hello', config }))
        yield text;
    },
    thrown: expect.any(ApiError),
    refused: expect.any(ApiError),
  },
  'AWS, ConverseStream': {
    wire: TOKEN_WIRES['bedrock-converse'],
    async *stream({ origin, secret }) {
      const client = new BedrockRuntimeClient({
        endpoint: origin,
        region: 'us-east-1',
        token: { token: secret },
        authSchemePreference: ['httpBearerAuth'],
        requestHandler: new NodeHttpHandler(),
      });
      client.middlewareStack.add(
        (next) => async (args) => {
          Object.assign((args.request as { headers: Record<string, string> }).headers, HEADERS);
          return next(args);
        },
        { step: 'build' },
      );
      const { stream } = await client.send(
        new ConverseStreamCommand({
          modelId: TOKEN_WIRES['bedrock-converse'].model,
          messages: [{ role: 'user', content: [{ text: 'Hello' }] }],
          inferenceConfig: { maxTokens: MAX },
        }),
      );
      for await (const { contentBlockDelta } of stream ?? []) yield contentBlockDelta?.delta?.text;
    },
    thrown: expect.any(ThrottlingException),
    refused: expect.any(ServiceQuotaExceededException),
  },
  cohere: {
    wire: TOKEN_WIRES['cohere-chat'],
    async *stream({ origin, secret }) {
      const client = new CohereClientV2({ environment: origin, token: secret });
      const { model } = TOKEN_WIRES['cohere-chat'];
      const asked = { model, messages: [ASKED], maxTokens: MAX };
      for await (const event of await client.chatStream(asked, { headers: HEADERS })) {
        if (event.type === 'content-delta') yield event.delta?.message?.content?.text;
        // Cohere has no errors in streams but this end.
        if (event.type === 'message-end') throw event.delta?.finishReason;
      }
    },
    thrown: 'ERROR',
    refused: expect.any(CohereError),
  },
  ollama: {
    wire: TOKEN_WIRES['ollama-chat'],
    async *stream({ origin, secret }) {
      const client = new Ollama({ host: origin, headers: { ...HEADERS, authorization: `Bearer ${secret}` } });
      const { model } = TOKEN_WIRES['ollama-chat'];
      const options = { num_predict: MAX };
      for await (const { message } of await client.chat({ model, messages: [ASKED], options, stream: true }))
        yield message.content;
    },
    thrown: expect.any(Error),
    refused: expect.objectContaining({ name: 'ResponseError', status_code: 402 }),
  },
  groq: {
    wire: TOKEN_WIRES['openai-chat'],
    async *stream({ origin, secret }) {
      const client = new Groq({ apiKey: secret, baseURL: origin, defaultHeaders: HEADERS });
      const stream = await client.chat.completions.create({
        model: 'gpt-4o',
        messages: [ASKED],
        max_completion_tokens: MAX,
        stream: true,
      });
      for await (const { choices } of stream) yield choices[0]?.delta.content;
    },
    thrown: expect.any(Groq.APIError),
    refused: expect.any(Groq.APIError),
  },
  'mistral, fim': {
    wire: TOKEN_WIRES['mistral-fim'],
    async *stream({ origin, secret }) {
      const client = new Mistral({ serverURL: origin, apiKey: secret });
      const { model } = TOKEN_WIRES['mistral-fim'];
      const stream = await client.fim.stream({ model, prompt: 'Hi', maxTokens: MAX }, { headers: HEADERS });
      for await (const { data } of stream) {
        yield String(data.choices[0]?.delta.content ?? '');
        // It takes chunks alone, and the last one says why it is that.
        if (data.choices[0]?.finishReason) throw data.choices[0].finishReason;
      }
    },
    thrown: 'error',
    refused: expect.any(SDKError),
  },
  'vercel, openai': {
    wire: TOKEN_WIRES['openai-responses'],
    stream: ({ url, secret }) =>
      vercel(createOpenAI({ baseURL: url, apiKey: secret, headers: HEADERS }).responses('gpt-4o')),
    thrown: expect.anything(),
    refused: expect.objectContaining({ name: 'AI_APICallError', isRetryable: false }),
  },
  'vercel, openai chat': {
    wire: TOKEN_WIRES['openai-chat'],
    stream: ({ url, secret }) =>
      vercel(createOpenAI({ baseURL: url, apiKey: secret, headers: HEADERS }).chat('gpt-4o')),
    thrown: expect.anything(),
    refused: expect.objectContaining({ name: 'AI_APICallError', isRetryable: false }),
  },
  'vercel, anthropic': {
    wire: TOKEN_WIRES['anthropic-messages'],
    stream: ({ url, secret }) =>
      vercel(
        createAnthropic({ baseURL: url, apiKey: secret, headers: HEADERS })(TOKEN_WIRES['anthropic-messages'].model),
      ),
    thrown: expect.anything(),
    refused: expect.objectContaining({ name: 'AI_APICallError', isRetryable: false }),
  },
  'vercel, google': {
    wire: TOKEN_WIRES['gemini-generate'],
    stream: ({ origin, secret }) =>
      vercel(
        createGoogleGenerativeAI({ baseURL: `${origin}/v1beta`, apiKey: secret, headers: HEADERS })(
          TOKEN_WIRES['gemini-generate'].model,
        ),
      ),
    thrown: expect.anything(),
    refused: expect.objectContaining({ name: 'AI_APICallError', isRetryable: false }),
  },
};

/** What the client got of a stream behind this budget, and what it threw. */
async function streamOf({ wire, stream }: Client, budget: string, gatewaySettings = '{}') {
  const { family, provider, model } = wire;
  await using upstream = await startTokenUpstream({ tokensPerSecond: 2_000, wire });
  const gateway = await startGateway({
    upstreamUrl: { [family]: family === 'openai' ? upstream.url : upstream.url.replace('/v1', '') },
    provider,
    models: [model],
    prices: PRICES.replace('PROVIDER', provider),
    limits: `[{ budget: ${budget} USD, per: month }]`,
    gateway: gatewaySettings,
  });
  let text = '';
  let thrown: unknown;
  try {
    for await (const piece of stream(gateway)) text += piece ?? '';
  } catch (error) {
    thrown = error;
  }
  try {
    const asked = upstream.requests.length;
    const event = asked === 0 ? undefined : (await emittedInSessions(gateway, [SESSION])).get(SESSION);
    return { tokens: text.split(TOKEN).length - 1, thrown, asked, data: event?.data };
  } finally {
    await gateway.stop();
  }
}

function wordsOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : JSON.stringify(thrown);
}

describe('a stream that a budget cuts', () => {
  it.each(Object.entries(CLIENTS))("is raised by the client's own class, behind what came: %s", async (_, client) => {
    const { tokens, thrown, asked, data } = await streamOf(client, '0.01');
    expect(thrown).toEqual(client.thrown);
    expect(wordsOf(thrown)).toMatch(typeof client.thrown === 'string' ? client.thrown : /budget/i);
    expect(tokens).toBeGreaterThan(30);
    expect(asked).toBe(1);
    expect(data).toMatchObject({ outcome: 'cut', usage_status: 'estimated' });
    expect(Number(data?.cost?.amount)).toBeLessThanOrEqual(0.01);
  });

  it.each(Object.entries(CLIENTS))(
    "is refused by the client's own class when nothing is left: %s",
    async (_, client) => {
      // Vercel's asks again on every 429, whatever the headers say.
      const { tokens, thrown, asked } = await streamOf(client, '0.000000001', '{ budget_status_402: true }');
      expect(thrown).toEqual(client.refused);
      expect(tokens).toBe(0);
      expect(asked).toBe(0);
    },
  );
});
