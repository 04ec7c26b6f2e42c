import { AzureOpenAI } from 'openai';
import { expect, it } from 'vitest';
import { configOf, eventsOf, SECRET, startGateway, startStub, upstreamConfig } from '#test/gateway/harness.ts';

const ANSWER = {
  id: 'chatcmpl-1',
  object: 'chat.completion',
  model: 'gpt-4o-2024-11-20',
  choices: [{ index: 0, message: { role: 'assistant', content: 'It flows.' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 },
};

it('serves the official client of Azure: the deployment in the path, the credential as its API wants it', async () => {
  await using stub = await startStub((response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(ANSWER));
  });
  const addresses = { azure: stub.url.replace(/\/v1$/, '') };
  const azure = upstreamConfig('azure', '', { addresses, provider: 'openai', models: ['*'] });
  await using weir = await startGateway(configOf([azure]));
  const client = new AzureOpenAI({
    endpoint: weir.url,
    apiKey: SECRET,
    apiVersion: '2026-05-01',
    deployment: 'chat-eu',
  });
  const made = await client.chat.completions.create({ model: '', messages: [{ role: 'user', content: 'Hello' }] });
  expect(made.choices[0]?.message.content).toBe('It flows.');
  const [asked] = stub.requests;
  expect(asked?.url).toBe('/openai/deployments/chat-eu/chat/completions?api-version=2026-05-01');
  expect(asked?.headers['api-key']).toBe('sk-upstream');
  const [event] = await eventsOf(weir, 1);
  expect(event?.data).toMatchObject({
    wire: 'openai-chat',
    model: 'chat-eu',
    model_served: 'gpt-4o-2024-11-20',
    quantities: { calls: '1', input_tokens: '9', output_tokens: '3' },
  });
});
