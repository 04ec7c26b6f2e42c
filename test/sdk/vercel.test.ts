import { createAmazonBedrock } from '@ai-sdk/amazon-bedrock';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import { LLMock } from '@copilotkit/aimock';
import { APICallError, generateText, type LanguageModel, streamText } from 'ai';
import Groq from 'groq-sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { emittedInSessions } from '#test/support/emitted-by.ts';
import { type RunningGateway, startGateway } from '#test/support/running-gateway.ts';

/**
 * Vercel's AI SDK with each of its providers in front, one gateway, a third party's mock of all of them behind. Each call
 * is a session of its own.
 */
const WIRES = {
  openai: 'openai-responses',
  'openai chat': 'openai-chat',
  anthropic: 'anthropic-messages',
  google: 'gemini-generate',
  bedrock: 'bedrock-converse',
} as const;
type Provider = keyof typeof WIRES;
const PROVIDERS = Object.keys(WIRES) as Provider[];
const MODEL = 'model-1';
const PRICED =
  '[{ provider: openai, model: "*", prices: [{ unit: input_tokens, amount: 1, per: 1M }, { unit: output_tokens, amount: 5, per: 1M }] }]';

function modelOf(provider: Provider, { origin, url, secret }: RunningGateway, session: string): LanguageModel {
  const headers = { 'x-weir-session': session };
  const settings = { apiKey: secret, headers };
  switch (provider) {
    case 'openai':
      return createOpenAI({ ...settings, baseURL: url }).responses(MODEL);
    case 'openai chat':
      return createOpenAI({ ...settings, baseURL: url }).chat(MODEL);
    case 'anthropic':
      return createAnthropic({ ...settings, baseURL: url })(MODEL);
    case 'google':
      return createGoogleGenerativeAI({ ...settings, baseURL: `${origin}/v1beta` })(MODEL);
    case 'bedrock':
      return createAmazonBedrock({ ...settings, region: 'us-east-1', baseURL: origin })(MODEL);
  }
}

describe("Vercel's AI SDK through a gateway", () => {
  const mock = new LLMock({ port: 0 });
  let gateway: RunningGateway;

  beforeAll(async () => {
    await mock.start();
    const addresses = { openai: `${mock.url}/v1`, anthropic: mock.url, gemini: mock.url, bedrock: mock.url };
    gateway = await startGateway({ upstreamUrl: addresses, models: ['*'], prices: PRICED });
  });
  afterAll(async () => {
    await gateway.stop();
    await mock.stop();
  });

  it.each(PROVIDERS)('is served and metered with its provider for %s, streamed and not', async (provider) => {
    const sessions = [`${provider} whole`, `${provider} streamed`] as const;
    sessions.forEach((session, i) => {
      const usage = { prompt_tokens: 50 + i, completion_tokens: 7 + i, input_tokens: 50 + i, output_tokens: 7 + i };
      mock.onMessage(`${session}.`, { content: `Answer to ${session}.`, usage }, { chunkSize: 4 });
    });
    const [whole, streamed] = sessions;
    const { text } = await generateText({ model: modelOf(provider, gateway, whole), prompt: `${whole}.` });
    expect(text).toBe(`Answer to ${whole}.`);
    const result = streamText({ model: modelOf(provider, gateway, streamed), prompt: `${streamed}.` });
    expect(await result.text).toBe(`Answer to ${streamed}.`);
    const events = await emittedInSessions(gateway, sessions);
    sessions.forEach((session, i) => {
      expect(events.get(session)?.data).toMatchObject({
        wire: WIRES[provider],
        model: MODEL,
        stream: i === 1,
        outcome: 'ok',
        usage_status: 'final',
        quantities: { input_tokens: String(50 + i), output_tokens: String(7 + i) },
      });
    });
  });

  it.each(PROVIDERS)(
    'raises its class on a budget that is used up, once, with its provider for %s',
    async (provider) => {
      const poor = await startGateway({
        upstreamUrl: { openai: `${mock.url}/v1`, anthropic: mock.url, gemini: mock.url, bedrock: mock.url },
        models: ['*'],
        prices: PRICED,
        limits: '[{ budget: 0.000000001 USD, per: month }]',
        // It asks again on every 429, whatever the headers say.
        gateway: '{ budget_status_402: true }',
      });
      const before = mock.getRequests().length;
      const thrown = await generateText({ model: modelOf(provider, poor, 'poor'), prompt: 'Hello' }).catch(
        (error: unknown) => error,
      );
      await poor.stop();
      expect(APICallError.isInstance(thrown)).toBe(true);
      expect(thrown).toMatchObject({ isRetryable: false });
      expect(mock.getRequests()).toHaveLength(before);
    },
  );
});

describe("Groq's client through a gateway", () => {
  it('is served and metered, and raises its class on a budget that is used up without asking again', async () => {
    const mock = new LLMock({ port: 0 });
    await mock.start();
    mock.onMessage('groq.', { content: 'Answer.', usage: { prompt_tokens: 9, completion_tokens: 3 } });
    const upstreamUrl = { openai: `${mock.url}/v1` };
    const rich = await startGateway({ upstreamUrl, models: ['*'] });
    const poor = await startGateway({
      upstreamUrl,
      models: ['*'],
      prices: PRICED,
      limits: '[{ budget: 0.000000001 USD, per: month }]',
    });
    const ask = ({ origin, secret }: RunningGateway, stream: boolean) =>
      new Groq({
        apiKey: secret,
        baseURL: origin,
        defaultHeaders: { 'x-weir-session': `groq ${stream}` },
      }).chat.completions.create({
        model: MODEL,
        messages: [{ role: 'user', content: 'groq.' }],
        stream,
      });
    try {
      expect(await ask(rich, false)).toMatchObject({ choices: [{ message: { content: 'Answer.' } }] });
      const streamed = await ask(rich, true);
      if (Symbol.asyncIterator in streamed) await Array.fromAsync(streamed);
      const events = await emittedInSessions(rich, ['groq false', 'groq true']);
      for (const { data } of events.values()) {
        expect(data).toMatchObject({ wire: 'openai-chat', quantities: { input_tokens: '9', output_tokens: '3' } });
      }
      const before = mock.getRequests().length;
      await expect(ask(poor, false)).rejects.toBeInstanceOf(Groq.RateLimitError);
      expect(mock.getRequests()).toHaveLength(before);
    } finally {
      await rich.stop();
      await poor.stop();
      await mock.stop();
    }
  });
});
