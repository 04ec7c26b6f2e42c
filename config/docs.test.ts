import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  BILLING_BOUNDS,
  type Bound,
  GATEWAY_BOUNDS,
  GATEWAY_RELATIONS,
  JOURNAL_BOUNDS,
  JOURNAL_SEGMENTS_MIN,
} from './bounds.ts';
import { ENVIRONMENT_NAMES, readEnvironment } from './environment.ts';
import { checkConfig, loadConfig } from './file.ts';
import { configJsonSchemaText } from './json-schema.ts';
import { parseConfig } from './load.ts';
import { parseRedisUrl } from './redis-address.ts';
import { withReference } from './reference.ts';
import { newSecret } from './secret.ts';

function read(path: string): string {
  return readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
}

describe('the documentation', () => {
  it('has the JSON Schema that the code has (node config/write-docs.ts)', () => {
    expect(read('docs/config.schema.json')).toBe(configJsonSchemaText());
  });

  it('lists every field (node config/write-docs.ts)', () => {
    const document = read('docs/configuration.md');
    expect(withReference(document)).toBe(document);
    for (const path of ['gateway.journal.fsync', 'customers.<name>.keys.<name>.secret', 'routes[].to[].weight']) {
      expect(document).toContain(`| \`${path}\` |`);
    }
  });

  it('describes every field', () => {
    const table = withReference(read('docs/configuration.md')).split('| field |')[1] ?? '';
    const bare = table.split('\n').filter((line) => line.startsWith('| `') && line.endsWith('|  |'));
    expect(bare).toEqual([]);
  });

  it('names every variable of the environment', () => {
    for (const name of Object.values(ENVIRONMENT_NAMES)) expect(read('docs/configuration.md')).toContain(`\`${name}\``);
    expect(readEnvironment({ REDIS_URL: 'redis://x', DATABASE_URL: '' })).toMatchObject({
      redisUrl: 'redis://x',
      databaseUrl: null,
      configFile: null,
    });
  });

  it('takes a server or a cluster for Redis, and nothing that is neither', () => {
    const urls = (text: string) => parseRedisUrl(text)?.urls;
    expect(parseRedisUrl('rediss://u:p@host:1/0')).toEqual({ urls: ['rediss://u:p@host:1/0'], isCluster: false });
    expect(parseRedisUrl('redis+cluster://a')).toEqual({ urls: ['redis://a'], isCluster: true });
    expect(urls('rediss+cluster://u:p@a:1,b:2')).toEqual(['rediss://u:p@a:1', 'rediss://u:p@b:2']);
    expect(urls('redis://a:1,redis://b:2')).toEqual(['redis://a:1', 'redis://b:2']);
    for (const wrong of ['', 'a:1', 'http://a', 'redis+cluster://a/3', 'redis+cluster://a,', 'redis://a,http://b']) {
      expect(() => readEnvironment({ REDIS_URL: wrong || 'x' })).toThrow();
    }
  });

  it('takes no namespace that says itself where its keys lie', () => {
    expect(readEnvironment({ WEIR_NAMESPACE: 'prod:a' })).toMatchObject({ namespace: 'prod:a' });
    expect(() => readEnvironment({ WEIR_NAMESPACE: 'prod{1}:a' })).toThrow();
  });
});

describe('the prices in the documentation', () => {
  it('are right', async () => {
    const [, block = ''] = read('docs/configuration.md').split('```yaml\nmodels:');
    const [models = ''] = block.split('```');
    const text = `upstreams:
  openai: {}
  azure-eu: { wire: openai, provider: openai, base_url: "https://h/v1" }
  gpu: { wire: openai, base_url: "http://gpu/v1", models: ["sd-*"] }
models:${models}`;
    expect(await parseConfig(text, { env: {} })).toHaveProperty('config');
  });
});

describe('the example', () => {
  const env = {
    OPENAI_API_KEY: 'a',
    GEMINI_API_KEY: 'b',
    AZURE_EU_KEY: 'c',
    ACME_DEV_SECRET: newSecret('test'),
  };
  const file = new URL('../examples/weir.yaml', import.meta.url).pathname;

  it('is right', async () => {
    expect(await checkConfig(file, env)).toEqual([]);
    const config = await loadConfig(file, env);
    expect(config.customers[0]?.keys.map((key) => key.limits.length)).toEqual([4, 5, 8]);
    expect(config.routes[1]?.to[0]?.model).toBe('gemini-2.5-flash');
  });

  it('of tools and agents is right', async () => {
    const agents = new URL('../examples/agents.yaml', import.meta.url).pathname;
    const keys = { FILES_TOKEN: 'a', PLANNER_TOKEN: 'b', RESEARCH_KEY: 'c', ACME_SECRET: newSecret('test') };
    expect(await checkConfig(agents, keys)).toEqual([]);
    const { upstreams } = await loadConfig(agents, keys);
    expect(upstreams.get('research')?.units[1]).toEqual({
      unit: 'web_searches',
      from: 'header',
      at: 'x-usage-searches',
      max: 50n,
    });
  });

  it('says which variables it wants', async () => {
    const lines = await checkConfig(file, {});
    expect(lines.map((line) => /variable (\w+)/.exec(line)?.[1])).toEqual(
      Object.keys(env).sort(byPlace(read('examples/weir.yaml'))),
    );
  });

  function byPlace(text: string) {
    return (a: string, b: string) => text.indexOf(a) - text.indexOf(b);
  }
});

describe('the bounds', () => {
  it('hold for their own defaults', () => {
    const bounds: [string, Bound][] = [GATEWAY_BOUNDS, JOURNAL_BOUNDS, BILLING_BOUNDS].flatMap((one) =>
      Object.entries(one),
    );
    const wrong = bounds.filter(([, { initial, min, max }]) => initial < min || initial > max);
    expect(wrong).toEqual([]);
  });

  it('relate as they say, for the defaults and for the largest', () => {
    for (const [part, whole] of GATEWAY_RELATIONS) {
      expect(GATEWAY_BOUNDS[part].initial, part).toBeLessThanOrEqual(GATEWAY_BOUNDS[whole].initial);
      expect(GATEWAY_BOUNDS[part].max, part).toBeLessThanOrEqual(GATEWAY_BOUNDS[whole].max);
      expect(GATEWAY_BOUNDS[part].min, part).toBeLessThanOrEqual(GATEWAY_BOUNDS[whole].min);
    }
    for (const which of ['initial', 'min', 'max'] as const) {
      expect(JOURNAL_BOUNDS.segmentBytesMax[which] * JOURNAL_SEGMENTS_MIN).toBeLessThanOrEqual(
        JOURNAL_BOUNDS.bytesMax[which],
      );
    }
  });
});
