import { expect, it } from 'vitest';
import { type ModelOverride, priceBook } from '#config/price-book.ts';
import { parsePrice, plainPrices } from '#core/price.ts';
import {
  CUSTOMER,
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  post,
  startGateway,
  startStub,
  upstreamConfig,
} from '#test/gateway/harness.ts';

const BUDGET = limitPolicy({ kind: 'budget', amount: '1000000000', currency: 'USD', per: 'month' });

/** One dollar for a million of input, ten for a million of output. */
function override(changes: Partial<ModelOverride>): ModelOverride {
  const [first, second] = [parsePrice('1', 1_000_000n), parsePrice('10', 1_000_000n)];
  if (!first || !second) throw new Error('not a price');
  return {
    ...{ provider: 'openai', upstream: null, customer: null, model: '*', fromMs: null, contextTokens: null },
    ...{ outputTokensMax: null, prices: plainPrices('USD', { input_tokens: first, output_tokens: second }) },
    ...{ factor: null, holdOnly: false },
    ...changes,
  };
}

async function callWith(overrides: ModelOverride[], answer: object, upstream = {}) {
  await using stub = await startStub((response) => {
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({ usage: { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100 }, ...answer }),
    );
  });
  const book = priceBook(overrides, 'test');
  const config = configOf([upstreamConfig('openai', stub.url, { models: ['*'], ...upstream })], { priceBook: book });
  await using weir = await startGateway(config, [keyPolicy({ limits: [BUDGET] })]);
  const response = await post(`${weir.url}/v1/chat/completions`, { model: 'gpt-99', max_tokens: 100, messages: [] });
  const event = response.status === 200 ? (await eventsOf(weir, 1))[0] : undefined;
  return { status: response.status, data: event?.data, used: weir.sink.closed[0]?.used, book };
}

it('refuses a model without a price under a budget', async () => {
  expect(await callWith([], {})).toMatchObject({ status: 403, data: undefined });
});

it('holds a model without a price at what the operator says, and counts it so, while its cost stays unknown', async () => {
  const { status, data, used } = await callWith([override({ holdOnly: true })], {});
  expect(status).toBe(200);
  expect(data).toMatchObject({ cost: null, unpriced: ['input_tokens', 'output_tokens'] });
  expect(used).toEqual([2_000_000n]);
});

it('costs by the prices of the customer and the region of the upstream, under the version of the book', async () => {
  const prices = override({}).prices;
  const regional = prices && { ...prices, regions: { eu: { num: 11n, den: 10n } } };
  const entries = [override({}), override({ customer: CUSTOMER, prices: regional })];
  const { data, book } = await callWith(entries, {}, { region: 'eu' });
  expect(data).toMatchObject({
    ...{ cost: { amount: '0.0022', currency: 'USD' }, unpriced: [] },
    ...{ price_book: book.version, region: 'eu' },
  });
});

it('marks a call unpriced whose service tier has no price, and charges its hold', async () => {
  const { data, used } = await callWith([override({})], { service_tier: 'ultrafast' });
  expect(data).toMatchObject({ cost: null, service_tier: 'ultrafast', unpriced: ['input_tokens', 'output_tokens'] });
  expect(used?.[0]).toBeGreaterThan(1_000_000n);
});

it('costs the next call by new prices once they are reloaded, and names their version', async () => {
  await using stub = await startStub((response) => {
    response.setHeader('content-type', 'application/json');
    response.end('{"model":"gpt-99","usage":{"prompt_tokens":1000,"completion_tokens":0,"total_tokens":1000}}');
  });
  const configWith = (hash: string, changes: Partial<ModelOverride>) =>
    configOf([upstreamConfig('openai', stub.url, { models: ['*'] })], {
      priceBook: priceBook([override({}), override({ ...changes, customer: CUSTOMER })], hash),
    });
  await using weir = await startGateway(configWith('one', {}));
  const call = () => post(`${weir.url}/v1/chat/completions`, { model: 'gpt-99', messages: [] });
  await (await call()).text();
  weir.gateway.use(configWith('two', { prices: null, factor: { num: 3n, den: 2n } }));
  await (await call()).text();
  const events = await eventsOf(weir, 2);
  expect(events.map(({ data }) => [data.cost?.amount, data.price_book.split('+')[1]])).toEqual([
    ['0.001', 'one'],
    ['0.0015', 'two'],
  ]);
});
