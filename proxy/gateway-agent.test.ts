import { describe, expect, it } from 'vitest';
import type { UnitSource } from '#config/config.ts';
import { type ModelOverride, priceBook } from '#config/price-book.ts';
import { parsePrice, plainPrices } from '#core/price.ts';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  post,
  type Stub,
  startGateway,
  startStub,
  upstreamConfig,
} from '#test/gateway/harness.ts';

const units: readonly UnitSource[] = [
  { unit: 'search_units', from: 'header', at: 'x-usage-units', max: 10n },
  { unit: 'pages', from: 'json', at: 'usage.pages', max: 100n },
  { unit: 'compute_ms', from: 'event', at: 'usage.ms', max: 60_000n },
];
const research = (stub: Pick<Stub, 'url'>, own = units) =>
  upstreamConfig('research', '', { addresses: { agent: stub.url }, provider: null, units: own });
const [header, inJson, inEvent] = units as [UnitSource, UnitSource, UnitSource];
const AUTH = { 'x-api-key': 'wr_test_secret' };

const price = parsePrice('0.1', 1n);
if (!price) throw new Error('no price');
const atTenCents: ModelOverride = {
  provider: null,
  upstream: 'research',
  customer: null,
  model: '*',
  fromMs: null,
  contextTokens: null,
  outputTokensMax: null,
  factor: null,
  holdOnly: false,
  prices: plainPrices('USD', { search_units: price }),
};

describe('an agent that is asked through the gateway', () => {
  it('is metered by its calls, its time, its bytes and the units that it states', async () => {
    const body = JSON.stringify({ answer: 42, usage: { pages: 2.5 } });
    const stream = 'data: {"usage":{"ms":40}}\n\ndata: {"usage":{"ms":1200}}\n\n';
    await using stub = await startStub((response, { url }) => {
      const type = url.endsWith('stream') ? 'text/event-stream' : 'application/json';
      response.writeHead(200, { 'content-type': type, 'x-usage-units': '7' });
      response.end(url.endsWith('stream') ? stream : body);
    });
    await using weir = await startGateway(configOf([research(stub, [header, inJson])]));
    const answered = await post(`${weir.url}/agents/research/jobs/new?deep=1`, { question: '?' });
    expect(await answered.text()).toBe(body);
    await using other = await startGateway(configOf([research(stub, [inEvent])]));
    await (await fetch(`${other.url}/agents/research/stream`, { headers: AUTH })).text();
    const [{ data } = { data: undefined }] = await eventsOf(weir, 1);
    expect(data).toMatchObject({ wire: 'agent', model: 'research', outcome: 'ok', usage_status: 'final' });
    const { duration_ms = '0', ...quantities } = data?.quantities ?? {};
    expect(quantities).toEqual({
      calls: '1',
      bytes_in: '16',
      bytes_out: String(body.length),
      search_units: '7',
      pages: '3',
    });
    expect(duration_ms).toBe(String(data?.duration_ms));
    const [streamed] = await eventsOf(other, 1);
    expect(streamed?.data.quantities).toMatchObject({ compute_ms: '1200', bytes_out: String(stream.length) });
    expect(stub.requests.map(({ method, url }) => [method, url])).toEqual([
      ['POST', '/v1/jobs/new?deep=1'],
      ['GET', '/v1/stream'],
    ]);
  });

  it('is marked where it does not state what it should, and not billed where it fails', async () => {
    await using stub = await startStub((response, _, nth) => response.writeHead(nth === 0 ? 200 : 500).end('x'));
    await using weir = await startGateway(configOf([research(stub, [header])]));
    await post(`${weir.url}/agents/research/a`, {});
    await post(`${weir.url}/agents/research/a`, {});
    const [silent, failed] = await eventsOf(weir, 2);
    expect(silent?.data).toMatchObject({ usage_status: 'estimated', quantities: { calls: '1', bytes_out: '1' } });
    expect(failed?.data).toMatchObject({ outcome: 'failed', quantities: {} });
  });

  it('is in no list of models', async () => {
    const named = { ...research({ url: 'http://127.0.0.1:1/v1' }, []), models: ['research/deep'] };
    await using weir = await startGateway(configOf([named]));
    expect((await (await fetch(`${weir.url}/v1/models`, { headers: AUTH })).json()).data).toEqual([]);
  });

  it('tells where its work is to be found by an address of ours, and by no other', async () => {
    const places = ['/v1/jobs/1', 'jobs/1', 'https://elsewhere.example/jobs/1', '/other/jobs/1'];
    await using stub = await startStub((response, _, nth) => response.writeHead(202, { location: places[nth] }).end());
    await using weir = await startGateway(configOf([research(stub, [])]));
    const told = [];
    for (const _ of places) told.push((await post(`${weir.url}/agents/research/new`, {})).headers.get('location'));
    expect(told).toEqual(['/agents/research/jobs/1', '/agents/research/jobs/1', null, null]);
  });

  it.each(['..%2fadmin', 'a/..%5c..%5cadmin', '%2e%2e%2fadmin', '..;/admin', 'a%2f..'])(
    'is asked for nothing above its own address: %s',
    async (path) => {
      await using stub = await startStub((response) => response.writeHead(200).end());
      await using weir = await startGateway(configOf([research(stub, [])]));
      expect((await post(`${weir.url}/agents/research/${path}`, {})).status).toBe(404);
      expect(stub.requests).toEqual([]);
    },
  );

  it('is held at the most that a call may come to, and refused in a problem that says why', async () => {
    await using stub = await startStub((response) => response.writeHead(200, { 'x-usage-units': '4' }).end());
    const limits = [limitPolicy({ kind: 'budget', amount: '1500000000', currency: 'USD', per: 'month' })];
    const config = configOf([research(stub, [header])], { priceBook: priceBook([atTenCents], 'test') });
    await using weir = await startGateway(config, [keyPolicy({ limits })]);
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await post(`${weir.url}/agents/research/a`, {})).status);
    // Each holds 1.00 and uses 0.40: of 1.50 there is no room for a third.
    expect(statuses).toEqual([200, 200, 429]);
    const refused = await post(`${weir.url}/agents/research/a`, {});
    expect(refused.headers.get('content-type')).toBe('application/problem+json');
    expect(await refused.json()).toMatchObject({ status: 429, code: 'budget_exhausted' });
    expect(weir.sink.events.map(({ data }) => data.cost)).toEqual([
      { amount: '0.4', currency: 'USD' },
      { amount: '0.4', currency: 'USD' },
    ]);
  });
});
