import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Anthropic from '@anthropic-ai/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { getConfig } from '#config/load.ts';
import { startSampleUpstream } from '#proxy/upstream/sample-node.ts';
import { eventsOf, keyPolicy, SETTINGS, sha256, startGateway } from '#test/gateway/harness.ts';
import { prepareDemo } from './demo.ts';

describe('demonstration mode', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weir-demo-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const upstreamsOf = async (env: Record<string, string>) => {
    const { config } = await prepareDemo(folder, 'http://127.0.0.1:9', env);
    const text = `${config.upstreams}${await readFile(config.file, 'utf8')}`;
    const { upstreams } = await getConfig(text, { env: { ...env }, file: 'demo' });
    return Object.fromEntries([...upstreams].map(([name, { addresses }]) => [name, addresses]));
  };

  it('has the sample for the providers whose key is not in the environment, each in its own API', async () => {
    expect(await upstreamsOf({})).toEqual({
      sample: { openai: 'http://127.0.0.1:9/v1' },
      'sample-claude': { anthropic: 'http://127.0.0.1:9' },
    });
    expect(await upstreamsOf({ ANTHROPIC_API_KEY: 'k' })).toEqual({
      anthropic: { anthropic: 'https://api.anthropic.com', openai: 'https://api.anthropic.com/v1' },
      sample: { openai: 'http://127.0.0.1:9/v1' },
    });
  });

  it("answers Anthropic's client, streamed or not, and meters it", async () => {
    const sample = await startSampleUpstream();
    try {
      const { config: origin, secret } = await prepareDemo(folder, sample.url, {});
      const text = `${origin.upstreams}${await readFile(origin.file, 'utf8')}`;
      const config = { ...(await getConfig(text, { env: {}, file: 'demo' })), gateway: SETTINGS };
      await using weir = await startGateway(config, [keyPolicy({ secretHashes: [sha256(secret)] })]);
      const client = new Anthropic({ baseURL: weir.url, apiKey: secret, maxRetries: 0 });
      const ask = {
        model: 'claude-sonnet-4-6',
        max_tokens: 100,
        messages: [{ role: 'user' as const, content: 'Hello' }],
      };
      const message = await client.messages.create(ask);
      expect(message.usage).toMatchObject({ input_tokens: 1, output_tokens: 48 });
      expect(await client.messages.stream(ask).finalText()).toContain('sample upstream');
      const { max_tokens: _, ...counted } = ask;
      expect((await client.messages.countTokens(counted)).input_tokens).toBe(1);
      const events = await eventsOf(weir, 3);
      expect(events.map(({ data }) => [data.usage_status, data.quantities])).toEqual([
        ['final', { calls: '1', input_tokens: '1', output_tokens: '48' }],
        ['final', { calls: '1', input_tokens: '1', output_tokens: '48' }],
        ['none', {}],
      ]);
      expect(events[0]?.data.cost).toEqual({ amount: '0.000723', currency: 'USD' });
    } finally {
      await sample.close();
    }
  });
});
