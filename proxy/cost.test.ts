import { describe, expect, it } from 'vitest';
import type { Config, UpstreamConfig } from '#config/config.ts';
import { type ModelEntry, type ModelPrices, parsePrice, plainPrices } from '#core/price.ts';
import type { Unit } from '#core/quantity.ts';
import { configOf, upstreamConfig } from '#test/gateway/harness.ts';
import { costOfCall, type Served, worstCaseOf } from './cost.ts';
import { RouteTable, type Target, targetsOf } from './upstream/route-table.ts';
import { encodeUtf8 } from './wire/bytes.ts';
import { openaiChat } from './wire/openai-chat.ts';
import type { Asked } from './wire/wire.ts';

const NOW = Date.UTC(2026, 10, 20);
const MILLION = 1_000_000n;

function prices(units: Partial<Record<Unit, string>>): ModelPrices {
  const parsed = Object.entries(units).map(([unit, amount]) => [unit, parsePrice(amount, MILLION)] as const);
  return plainPrices('USD', Object.fromEntries(parsed));
}

function entry(model: string, units: Partial<Record<Unit, string>>, sizes: Partial<ModelEntry> = {}): ModelEntry {
  return {
    provider: 'p',
    model,
    contextTokens: null,
    outputTokensMax: null,
    listed: true,
    findPrices: () => prices(units),
    findHoldPrices: () => undefined,
    ...sizes,
  };
}

const BOOK: Record<string, ModelEntry> = {
  cheap: entry('cheap', { input_tokens: '1', output_tokens: '2' }, { contextTokens: 1_000n, outputTokensMax: 500n }),
  dear: entry(
    'dear',
    { input_tokens: '10', cache_write_tokens: '12.5', output_tokens: '20' },
    { outputTokensMax: 100n },
  ),
  unknown: entry('unknown', {}),
  'x-search-preview': entry('x-search-preview', { input_tokens: '1', output_tokens: '2' }),
  'y-search-preview': entry('y-search-preview', { input_tokens: '1', output_tokens: '2', web_searches: '10000' }),
};

const UPSTREAM: UpstreamConfig = upstreamConfig('p', 'http://127.0.0.1:1/v1', { provider: 'p', models: ['*'] });
const CONFIG: Config = {
  ...configOf([UPSTREAM]),
  priceBook: { version: 'test', findModel: (_provider, model) => BOOK[model], listModels: () => Object.keys(BOOK) },
};

function ask(fields: object): Asked {
  return openaiChat.parse(encodeUtf8(JSON.stringify({ messages: [], ...fields })));
}

function targets(...models: string[]): Target[] {
  return models.map((model) => ({
    upstream: UPSTREAM,
    family: 'openai',
    model,
    origin: 'http://127.0.0.1:1',
    basePath: '/v1',
  }));
}

describe('the worst case of a call', () => {
  it('is the dearest of all upstreams that may be tried, in tokens and in cost', () => {
    const asked = ask({ model: 'm', max_tokens: 1_000 });
    const worst = worstCaseOf(asked, targets('cheap', 'dear'), 'acme', CONFIG, NOW);
    // Both outputs are bounded by what the model can answer at most.
    expect(worst).toEqual({
      inputTokens: asked.inputTokensMax,
      outputTokens: 500n,
      costNanos: asked.inputTokensMax * 12_500n + 100n * 20_000n,
      currency: 'USD',
      quantities: {},
    });
  });

  it('takes the maximum of the request, for each of its answers', () => {
    const asked = ask({ model: 'm', max_tokens: 10, n: 4 });
    expect(worstCaseOf(asked, targets('cheap'), 'acme', CONFIG, NOW).outputTokens).toBe(40n);
  });

  it('takes the model, its context, or the configured bound where the request has no maximum', () => {
    expect(worstCaseOf(ask({ model: 'm' }), targets('dear'), 'acme', CONFIG, NOW).outputTokens).toBe(100n);
    expect(worstCaseOf(ask({ model: 'm' }), targets('unknown'), 'acme', CONFIG, NOW).outputTokens).toBe(4_096n);
  });

  it('is no more input than the context, and all of it where the body points elsewhere', () => {
    const long = ask({ model: 'm', user: 'x'.repeat(5_000) });
    expect(worstCaseOf(long, targets('cheap'), 'acme', CONFIG, NOW).inputTokens).toBe(1_000n);
    const elsewhere = ask({ model: 'm', web_search_options: {} });
    expect(worstCaseOf(elsewhere, targets('cheap'), 'acme', CONFIG, NOW).inputTokens).toBe(1_000n);
  });

  it('has no cost where a price is missing: of one upstream, of a tier, of a search', () => {
    expect(worstCaseOf(ask({ model: 'm' }), targets('cheap', 'unknown'), 'acme', CONFIG, NOW).costNanos).toBeNull();
    expect(
      worstCaseOf(ask({ model: 'm', service_tier: 'priority' }), targets('cheap'), 'acme', CONFIG, NOW).costNanos,
    ).toBeNull();
    expect(
      worstCaseOf(ask({ model: 'm', service_tier: 'default' }), targets('cheap'), 'acme', CONFIG, NOW).costNanos,
    ).not.toBeNull();
    const search = ask({ model: 'x-search-preview' });
    expect(worstCaseOf(search, targets('x-search-preview'), 'acme', CONFIG, NOW).costNanos).toBeNull();
    const priced = ask({ model: 'y-search-preview', max_tokens: 1 });
    expect(worstCaseOf(priced, targets('y-search-preview'), 'acme', CONFIG, NOW).costNanos).toBe(
      priced.inputTokensMax * 1_000n + 2_000n + 10_000_000n,
    );
  });
});

function served(model: string | null, tier: string | null): Served {
  return { model, tier, region: null };
}

describe('the cost of a call', () => {
  const [target = null] = targets('cheap');
  const counts = { calls: 1n, input_tokens: 3n, output_tokens: 5n };
  const asked = ask({ model: 'm' });

  it('is exact, by the model that answered, and by the one that was sent for where that is not known', () => {
    const byServed = costOfCall(counts, null, target, asked, served('dear', null), 'acme', CONFIG, NOW, NOW);
    expect(byServed).toEqual({ json: { amount: '0.00013', currency: 'USD' }, nanos: 130_000n, unpriced: [] });
    const bySent = costOfCall(counts, null, target, asked, served('nobody-knows', 'default'), 'acme', CONFIG, NOW, NOW);
    expect(bySent.json).toEqual({ amount: '0.000013', currency: 'USD' });
  });

  it('is unknown, never the list price, for a tier with prices of its own', () => {
    expect(costOfCall(counts, null, target, asked, served(null, 'priority'), 'acme', CONFIG, NOW, NOW)).toEqual({
      json: null,
      nanos: null,
      unpriced: ['input_tokens', 'output_tokens'],
    });
  });

  it('is bounded by the list price, for the limits, in a tier below it', () => {
    expect(costOfCall(counts, null, target, asked, served(null, 'flex'), 'acme', CONFIG, NOW, NOW)).toEqual({
      json: null,
      nanos: 13_000n,
      unpriced: ['input_tokens', 'output_tokens'],
    });
    const flex = ask({ model: 'm', service_tier: 'flex' });
    expect(worstCaseOf(flex, targets('cheap'), 'acme', CONFIG, NOW).costNanos).not.toBeNull();
  });

  it('names the units that have no price', () => {
    const audio = { ...counts, output_audio_tokens: 7n };
    expect(costOfCall(audio, null, target, asked, served(null, null), 'acme', CONFIG, NOW, NOW)).toEqual({
      json: null,
      nanos: null,
      unpriced: ['output_audio_tokens'],
    });
  });

  it("is the provider's own figure where its answer has one, and ours where that is no amount", () => {
    const usage = { counts, raw: null, costUsd: '0.000146625' };
    expect(costOfCall(counts, usage, target, asked, served('cheap', null), 'acme', CONFIG, NOW, NOW)).toMatchObject({
      json: { amount: '0.000146625', currency: 'USD' },
      source: 'provider',
    });
    const odd = { ...usage, costUsd: 'much' };
    const cost = costOfCall(counts, odd, target, asked, served('cheap', null), 'acme', CONFIG, NOW, NOW);
    expect(cost).toEqual({ json: { amount: '0.000013', currency: 'USD' }, nanos: 13_000n, unpriced: [] });
  });

  it('is by the tier that was asked for where nobody read which one served', () => {
    const priority = ask({ model: 'm', service_tier: 'priority' });
    const usage = { counts, raw: null };
    const read = costOfCall(counts, usage, target, priority, served('cheap', null), 'acme', CONFIG, NOW, NOW);
    expect(read.json).toEqual({ amount: '0.000013', currency: 'USD' });
    expect(costOfCall(counts, null, target, priority, served(null, null), 'acme', CONFIG, NOW, NOW).json).toBeNull();
  });

  it('is nothing where nothing was served', () => {
    expect(costOfCall({}, null, target, asked, served(null, null), 'acme', CONFIG, NOW, NOW)).toEqual({
      json: { amount: '0', currency: 'USD' },
      nanos: 0n,
      unpriced: [],
    });
  });
});

describe('the routes', () => {
  const upstreams = [
    upstreamConfig('openai', 'https://api.openai.com/v1'),
    upstreamConfig('local', 'http://gpu:8000/v1/', { provider: null, models: ['llama-*', 'qwen'] }),
  ];

  it('send a model to the first rule that matches it, else to the first upstream that has it', () => {
    const rule = {
      model: 'gpt-4o',
      to: [{ upstream: 'local', weight: 1, model: 'llama-3' }],
      fallback: [{ upstream: 'openai', model: null }],
    };
    const routes = new RouteTable(configOf(upstreams, { routes: [rule] }));
    const names = (model: string) => {
      const route = routes.find(model, 'openai');
      return route && targetsOf(route, 0).map((one) => [one.upstream.name, one.model]);
    };
    expect(names('gpt-4o')).toEqual([
      ['local', 'llama-3'],
      ['openai', null],
    ]);
    expect(names('gpt-4.1')).toEqual([['openai', null]]);
    expect(names('llama-3-70b')).toEqual([['local', null]]);
    expect(names('no-such')).toBeUndefined();
  });

  it('lead a wire only to upstreams that speak it, and each to its address for it', () => {
    const both = upstreamConfig('both', '', {
      addresses: { anthropic: 'https://api.anthropic.com', openai: 'https://api.anthropic.com/v1' },
      models: ['claude-*'],
    });
    const rule = {
      model: 'claude-1',
      to: [{ upstream: 'openai', weight: 1, model: null }],
      fallback: [{ upstream: 'both', model: null }],
    };
    const routes = new RouteTable(configOf([...upstreams, both], { routes: [rule] }));
    expect(routes.find('claude-2', 'anthropic')?.choices[0]).toMatchObject({ family: 'anthropic', basePath: '' });
    expect(routes.find('claude-2', 'openai')?.choices[0]).toMatchObject({ family: 'openai', basePath: '/v1' });
    expect(routes.find('gpt-4o', 'anthropic')).toBeUndefined();
    // The rule names one that does not speak it: what is left of the rule decides.
    expect(routes.find('claude-1', 'anthropic')).toBeUndefined();
    expect(routes.find('claude-1', 'openai')?.fallbacks.map(({ upstream }) => upstream.name)).toEqual(['both']);
    expect(routes.find('', 'anthropic')?.choices[0]?.upstream.name).toBe('both');
    expect(routes.findUpstream('openai', 'anthropic')).toBeUndefined();
    expect(routes.findUpstream('openai', 'openai')?.choices[0]?.basePath).toBe('/v1');
  });

  it('list every model that has a name', () => {
    const list = new RouteTable(configOf(upstreams)).listModels();
    expect(list).toEqual(expect.arrayContaining(['gpt-4o', 'qwen']));
    expect(list).not.toContain('llama-*');
  });

  it('take an address apart once', () => {
    const [found] = new RouteTable(configOf(upstreams)).find('qwen', 'openai')?.choices ?? [];
    expect([found?.origin, found?.basePath]).toEqual(['http://gpu:8000', '/v1']);
  });
});
