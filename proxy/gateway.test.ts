import { describe, expect, it } from 'vitest';
import { configOf, eventsOf, post, startGateway, startStub, upstreamConfig } from '#test/gateway/harness.ts';

const USAGE = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 };
const ANSWER = JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  model: 'gpt-4o-2024-08-06',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hi' }, finish_reason: 'stop' }],
  usage: USAGE,
  service_tier: 'default',
});
const ASK = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hello' }] };

describe('a chat call', () => {
  it('gives the client the bytes of the upstream and emits one event', async () => {
    await using stub = await startStub((response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'x-request-id': 'up-1' }).end(ANSWER);
    });
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const answer = await post(`${weir.url}/v1/chat/completions`, ASK);
    expect(answer.status).toBe(200);
    expect(await answer.text()).toBe(ANSWER);
    const [event] = await eventsOf(weir, 1);
    expect(event?.id).toBe(answer.headers.get('x-request-id'));
    expect(event?.data).toMatchObject({
      customer: 'acme',
      model: 'gpt-4o',
      model_served: 'gpt-4o-2024-08-06',
      outcome: 'ok',
      usage_status: 'final',
      quantities: { calls: '1', input_tokens: '12', output_tokens: '5' },
      cost: { amount: '0.00008', currency: 'USD' },
    });
    expect(stub.requests[0]?.headers.authorization).toBe('Bearer sk-upstream');
  });

  it('streams, hides the usage that the client did not ask for, and meters it', async () => {
    const asked = [
      'data: {"id":"1","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}\n\n',
      `data: {"id":"1","model":"gpt-4o-2024-08-06","choices":[],"usage":${JSON.stringify(USAGE)}}\n\n`,
      'data: [DONE]\n\n',
    ];
    await using stub = await startStub((response, { body }) => {
      expect(JSON.parse(body)).toEqual({ ...ASK, stream: true, stream_options: { include_usage: true } });
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const event of asked) response.write(event);
      response.end();
    });
    await using weir = await startGateway(configOf([upstreamConfig('openai', stub.url)]));
    const answer = await post(`${weir.url}/v1/chat/completions`, { ...ASK, stream: true });
    expect(await answer.text()).toBe(
      'data: {"id":"1","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n',
    );
    const [event] = await eventsOf(weir, 1);
    expect(event?.data).toMatchObject({ outcome: 'ok', usage_status: 'final', raw_usage: USAGE });
  });
});
