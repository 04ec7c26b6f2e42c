import { describe, expect, it } from 'vitest';
import type { Config } from './config.ts';
import { getConfig } from './load.ts';
import { listServedModels, resolveRoute } from './routes.ts';

async function parse(routes: string): Promise<Config> {
  const text = `
upstreams:
  openai: { wire: openai }
  azure: { wire: openai, base_url: https://azure.example/v1, provider: openai, models: ["gpt-4o*"] }
  gemini: { wire: openai }
  lab: { wire: openai, base_url: http://gpu-1:8000/v1, models: [llama-3.3-70b, "qwen-*"] }
routes: [${routes}]
`;
  return await getConfig(text, { env: {}, file: 'weir.yaml' });
}

function names(config: Config, model: string, random = 0): string[] {
  return resolveRoute(config, model, random).map((target) => `${target.upstream.name}:${target.model}`);
}

describe('a model without a rule', () => {
  it('goes to the upstreams that have it, in the order of the file', async () => {
    const config = await parse('');
    expect(names(config, 'gpt-4o-2024-08-06')).toEqual(['openai:gpt-4o-2024-08-06', 'azure:gpt-4o-2024-08-06']);
    expect(names(config, 'gpt-4.1')).toEqual(['openai:gpt-4.1']);
    expect(names(config, 'gemini-2.5-pro')).toEqual(['gemini:gemini-2.5-pro']);
    expect(names(config, 'qwen-3')).toEqual(['lab:qwen-3']);
  });

  it('goes nowhere when nobody serves it', async () => {
    const config = await parse('');
    expect(names(config, 'gpt-99')).toEqual([]);
    expect(names(config, '')).toEqual([]);
    expect(names(config, 'x'.repeat(100_000))).toEqual([]);
  });
});

describe('a rule', () => {
  it('holds before the rules after it, and before what upstreams have', async () => {
    const config = await parse('{ model: "gpt-4o", to: [azure] }, { model: "gpt-*", to: [lab] }');
    expect(names(config, 'gpt-4o')).toEqual(['azure:gpt-4o']);
    expect(names(config, 'gpt-4.1')).toEqual(['lab:gpt-4.1']);
    expect(names(config, 'gemini-2.5-pro')).toEqual(['gemini:gemini-2.5-pro']);
  });

  it('chooses one by weight, then falls back in order', async () => {
    const config = await parse(
      '{ model: "gpt-*", to: [{ upstream: openai, weight: 9 }, azure, { upstream: lab, weight: 0 }], fallback: [{ upstream: lab, model: llama-3.3-70b }, azure] }',
    );
    expect(names(config, 'gpt-4o', 0)).toEqual(['openai:gpt-4o', 'lab:llama-3.3-70b', 'azure:gpt-4o']);
    expect(names(config, 'gpt-4o', 0.899999)[0]).toBe('openai:gpt-4o');
    expect(names(config, 'gpt-4o', 0.9)).toEqual(['azure:gpt-4o', 'lab:llama-3.3-70b']);
    expect(names(config, 'gpt-4o', 1 - Number.EPSILON / 2)[0]).toBe('azure:gpt-4o');
  });

  it('gives each upstream its share', async () => {
    const config = await parse('{ model: "*", to: [{ upstream: openai, weight: 2 }, { upstream: azure, weight: 3 }] }');
    const counts = { openai: 0, azure: 0 };
    for (let i = 0; i < 1_000; i++) {
      const [first] = resolveRoute(config, 'm', i / 1_000);
      if (first?.upstream.name === 'openai') counts.openai++;
      else counts.azure++;
    }
    expect(counts).toEqual({ openai: 400, azure: 600 });
  });

  it('is found again without being looked for, whatever names are asked for in between', async () => {
    const config = await parse('{ model: "gpt-*", to: [openai] }');
    expect(resolveRoute(config, 'gpt-4o', 0)).toBe(resolveRoute(config, 'gpt-4o', 0.5));
    for (let i = 0; i < 10_001; i++) expect(names(config, `nobody-${i}`)).toEqual([]);
    expect(names(config, 'gpt-4o')).toEqual(['openai:gpt-4o']);
  });
});

describe('the models that are served', () => {
  it('are those that the file and the catalogue name, each once, with their owner', async () => {
    const models = listServedModels(
      await parse('{ model: fast, to: [{ upstream: gemini, model: gemini-2.5-flash }] }, { model: "o*", to: [lab] }'),
    );
    expect(models[0]).toEqual({ model: 'fast', owner: 'google' });
    expect(models).toContainEqual({ model: 'gpt-4o-mini', owner: 'openai' });
    expect(models).toContainEqual({ model: 'llama-3.3-70b', owner: 'lab' });
    expect(models).toContainEqual({ model: 'gemini-2.5-pro', owner: 'google' });
    const only = models.map(({ model }) => model);
    expect(only.filter((model) => model.includes('*') || model.startsWith('claude'))).toEqual([]);
    expect(new Set(only).size).toBe(only.length);
  });

  it('of a pattern are those of the catalogue that it matches', async () => {
    const config = await getConfig(
      'upstreams: { azure: { wire: openai, base_url: http://a/v1, provider: openai, models: ["gpt-4o*"] } }',
      { env: {}, file: 'weir.yaml' },
    );
    const only = listServedModels(config).map(({ model }) => model);
    expect(only).toContain('gpt-4o-mini');
    expect(only).not.toContain('gpt-4.1');
  });
});
