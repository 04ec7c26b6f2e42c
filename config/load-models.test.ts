import { describe, expect, it } from 'vitest';
import { costOf, type Service, STANDARD_SERVICE } from '#core/cost.ts';
import { formatNanos, pricesAtHour } from '#core/price.ts';
import type { Counts } from '#core/quantity.ts';
import { good, problems, yaml } from '#test/support/config-text.ts';

describe('the models of a file', () => {
  it('are priced per upstream and per customer, from an instant on, in tiers, services, regions and variants', async () => {
    const { priceBook } = await good(yaml`
      upstreams:
        azure: { wire: openai, provider: openai, base_url: "https://h/v1", region: eu }
        gpu: { wire: openai, base_url: "http://gpu/v1", models: [sd] }
      models:
        - provider: openai
          model: gpt-4o
          from: 2027-01-01
          prices: [{ unit: input_tokens, amount: 2, per: 1M }, { unit: web_searches, amount: 0.01 }]
          tiers: [{ above_input_tokens: 200k, prices: [{ unit: input_tokens, amount: 4, per: 1M }] }]
          services: { batch: { prices: [{ unit: input_tokens, amount: 1, per: 1M }] } }
          regions: { eu: 1.1 }
        - { upstream: azure, model: "gpt-*", factor: 0.9 }
        - { upstream: gpu, customer: acme, model: sd, prices: [{ unit: images, amount: 0.05, variant: hd }] }
        - { provider: openai, model: "*", hold_only: true, prices: [{ unit: input_tokens, amount: 30, per: 1M }] }
    `);
    const costAt = (day: string, upstream: string, model: string, counts: Counts, service: Partial<Service> = {}) => {
      const provider = upstream === 'gpu' ? null : 'openai';
      const entry = priceBook.findModel(provider, model, upstream, 'acme');
      const prices = entry?.findPrices(Date.parse(day));
      const cost = prices && costOf(counts, prices, { ...STANDARD_SERVICE, ...service });
      return cost && 'nanos' in cost ? formatNanos(cost.nanos) : undefined;
    };
    const million = { input_tokens: 1_000_000n };
    const some = { input_tokens: 100_000n };
    expect(costAt('2026-12-31', 'openai', 'gpt-4o', million)).toBe('2.5');
    expect(costAt('2027-01-01', 'openai', 'gpt-4o', million)).toBe('4');
    expect(costAt('2027-01-01', 'openai', 'gpt-4o', { ...some, web_searches: 1n })).toBe('0.21');
    expect(costAt('2027-01-01', 'openai', 'gpt-4o', { ...some, web_searches: 1n }, { tier: 'batch' })).toBe('0.11');
    expect(costAt('2027-01-01', 'openai', 'gpt-4o', some, { tier: 'flex' })).toBeUndefined();
    expect(costAt('2027-01-01', 'openai', 'gpt-4o', some, { region: 'eu' })).toBe('0.22');
    expect(costAt('2027-01-01', 'azure', 'gpt-4o', some)).toBe('0.18');
    expect(costAt('2027-01-01', 'gpu', 'sd', { images: 2n }, { variant: 'hd' })).toBe('0.1');
    expect(costAt('2027-01-01', 'gpu', 'sd', { images: 2n })).toBeUndefined();
    const unknown = priceBook.findModel('openai', 'gpt-99', 'openai', 'acme');
    expect(unknown?.findPrices(0)).toBeUndefined();
    expect(unknown?.findHoldPrices(0)).toBeDefined();
  });

  it('may cost something else at hours of the day, in UTC, past midnight too', async () => {
    const { priceBook } = await good(yaml`
      upstreams:
        deepseek: { wire: openai, provider: deepseek }
      models:
        - provider: deepseek
          model: deepseek-v4-pro
          prices: [{ unit: input_tokens, amount: 0.4, per: 1M }]
          daily:
            - { from: "01:00", to: "04:00", prices: [{ unit: input_tokens, amount: 0.8, per: 1M }] }
            - { from: "23:30", to: "00:30", prices: [{ unit: input_tokens, amount: 0.2, per: 1M }] }
        - { provider: deepseek, customer: acme, model: deepseek-v4-pro, factor: 2 }
    `);
    const priceAt = (customer: string, time: string) => {
      const atMs = Date.parse(`2026-12-01T${time}Z`);
      const prices = priceBook.findModel('deepseek', 'deepseek-v4-pro', 'deepseek', customer)?.findPrices(atMs);
      const cost = prices && costOf({ input_tokens: 1_000_000n }, pricesAtHour(prices, atMs));
      return cost && 'nanos' in cost ? formatNanos(cost.nanos) : undefined;
    };
    const times = ['00:29:59.999', '00:30:00', '01:00:00', '04:00:00', '23:29:59', '23:30:00'];
    expect(times.map((time) => priceAt('other', time))).toEqual(['0.2', '0.4', '0.8', '0.4', '0.4', '0.2']);
    expect(priceAt('acme', '01:00:00')).toBe('1.6');
  });

  it('have their mistakes reported: prices for nothing, for what is not there, twice, or half said', async () => {
    const text = yaml`
      upstreams:
        openai: { wire: openai }
      models:
        - { model: gpt-4o, factor: 1.1 }
        - { provider: openai, upstream: opnai, model: x, factor: 1001 }
        - { provider: openai, model: y, factor: 1, prices: [] }
        - { provider: openai, model: z, regions: { eu: 1.1 } }
        - { provider: openai, model: a, prices: [{ unit: images, amount: 1 }, { unit: images, amount: 2, variant: hd }, { unit: images, amount: 3, variant: hd }] }
        - { provider: openai, model: b, factor: 2, from: 2027-01-01 }
        - { provider: openai, model: b, factor: 3, from: 2027-01-01 }
        - { provider: openai, model: b, context_tokens: 8k }
        - { provider: openai, model: "*", prices: [{ unit: calls, amount: 1 }] }
        - { provider: openai, model: "*", from: 2027-01-01, prices: [{ unit: calls, amount: 2 }] }
        - { provider: openai, model: c, prices: [{ unit: calls, amount: 3 }] }
    `;
    expect(await problems(text)).toEqual([
      'w:4:5 models[0]: must have a `provider` or an `upstream`',
      'w:5:35 models[1].upstream: no upstream is named "opnai"; did you mean "openai"?',
      'w:5:60 models[1].factor: must be a factor from 0 to 1000, such as 0.9 or 1.25, not "1001"',
      'w:6:43 models[2].factor: cannot stand beside `prices`',
      'w:7:5 models[3]: says nothing: give it `prices`, a `factor` or a size',
      'w:7:44 models[3].regions: needs `prices` beside it',
      'w:8:115 models[4].prices[2]: prices a unit that has a price above',
      'w:10:32 models[6].model: is never reached: the entry for "b" holds first',
      'w:14:32 models[10].model: is never reached: the entry for "*" holds first',
    ]);
  });
});
