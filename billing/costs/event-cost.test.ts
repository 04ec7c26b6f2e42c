import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { builtinPriceBook, priceBook } from '#config/price-book.ts';
import { type PriceBook, parsePrice, plainPrices } from '#core/price.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { costOfData } from './event-cost.ts';

const AT = '2026-11-20T10:00:00Z';
const DAY = { startMs: Date.UTC(2026, 10, 20), endMs: Date.UTC(2026, 10, 21) };

/** Dollars for a million tokens of gpt-99, and for one customer. */
function bookWith(
  input: string,
  output: string,
  hash: string,
  { customer = null, from }: { customer?: string | null; from?: { ms: number; input: string } } = {},
): PriceBook {
  const [first, second] = [parsePrice(input, 1_000_000n), parsePrice(output, 1_000_000n)];
  if (!first || !second) throw new Error('not a price');
  const prices = plainPrices('USD', { input_tokens: first, output_tokens: second });
  const rest = { upstream: null, fromMs: null, contextTokens: null, outputTokensMax: null, factor: null };
  const entry = { ...rest, provider: 'openai', model: 'gpt-99', customer, prices, holdOnly: false };
  const later = from && parsePrice(from.input, 1_000_000n);
  if (!later) return priceBook([entry], hash);
  const changed = {
    ...entry,
    fromMs: from.ms,
    prices: plainPrices('USD', { input_tokens: later, output_tokens: second }),
  };
  return priceBook([entry, changed], hash);
}

describe.each(DATABASE_KINDS)('events whose sender knows no cost, on %s', (kind) => {
  let api: TestApi;
  let book: PriceBook = builtinPriceBook();
  beforeAll(async () => {
    api = await testApi(kind, { priceBook: () => book });
  });
  afterAll(() => api.close());
  beforeEach(async () => {
    book = bookWith('2', '10', 'one');
    await api.test.db.script(
      'truncate event, event_id, event_conflict, event_correction, event_parked, usage_hour, cost_hour, otlp_point',
    );
  });

  const send = async (path: string, body: unknown, status = 200) => {
    const answer = await api.call('POST', path, { body });
    expect(answer, JSON.stringify(answer.json)).toMatchObject({ status });
    return answer.json;
  };
  const dataOf = async (id: string) => (await api.call('GET', `/v1/events/${id}`)).json.data[0].event.data;
  const completion = { id: 'a', time: AT, customer: 'acme', provider: 'openai', model: 'gpt-99' };
  const used = { input_tokens: 1000, output_tokens: 100 };
  const costed = { cost: { amount: '0.003', currency: 'USD' }, unpriced: [] };

  it('have the cost of the price book when they come, as recosting would find it', async () => {
    await send('/v1/events/completions', { ...completion, ...used });
    expect(await dataOf('a')).toMatchObject({ ...costed, price_book: book.version });
    const recosted = await send('/v1/costs/recost', { from: AT, to: '2026-11-20T11:00:00Z', events: 'older' });
    expect(recosted).toMatchObject({ examined: 0 });
    const usage = await api.call('GET', '/v1/usage?from=2026-11-20T00:00:00Z&to=2026-11-21T00:00:00Z');
    expect(usage.json.groups).toMatchObject([{ costs: [costed.cost], unpriced_events: '0' }]);
    expect(await verifyRollups(api.test.db, DAY)).toEqual([]);
  });

  it('are repeats when they come again, whatever the prices are by then', async () => {
    await send('/v1/events/completions', { ...completion, ...used });
    book = bookWith('4', '20', 'two');
    expect(await send('/v1/events/completions', [{ ...completion, ...used }])).toMatchObject({ duplicate: 1 });
    expect(await dataOf('a')).toMatchObject(costed);
  });

  it('cost what holds at the hour in which the answer was whole, where the price hangs on that', async () => {
    // 0.27 dollars a million from 00:30 on, 0.135 before.
    const data = { provider: 'deepseek', model: 'deepseek-chat', quantities: { input_tokens: '1000' } };
    const facts = { customer: 'acme', timeMs: Date.parse('2026-11-20T00:29:59Z') };
    const costOf = (duration_ms: number) =>
      costOfData(builtinPriceBook(), facts, { ...data, duration_ms })?.json?.amount;
    expect([costOf(999), costOf(1000)]).toEqual(['0.000135', '0.00027']);
  });

  it('are unpriced and in sight where the book knows no price, and never cost nothing', async () => {
    await send('/v1/events/completions', { ...completion, ...used, model: 'gpt-100' });
    await send('/v1/events/completions', { ...completion, ...used, id: 'b', provider: undefined });
    await send('/v1/events/audio', { ...completion, id: 'c', audio_seconds: '1.5' });
    for (const id of ['a', 'b', 'c'])
      expect(await dataOf(id)).toMatchObject({ cost: null, unpriced: expect.any(Array) });
    const { json } = await api.call('GET', '/v1/costs/unpriced');
    expect(json.data.map((row: { model: string; units: string[] }) => [row.model, row.units])).toEqual(
      expect.arrayContaining([
        ['gpt-100', ['input_tokens', 'output_tokens']],
        ['gpt-99', expect.arrayContaining(['audio_seconds'])],
      ]),
    );
  });

  it('keep a cost that they name, and what gateways found', async () => {
    await send('/v1/events/completions', { ...completion, ...used, cost: { amount: '7', currency: 'USD' } });
    expect(await dataOf('a')).toMatchObject({ cost: { amount: '7', currency: 'USD' } });
    const event = usageEvent({ id: 'g', atMs: Date.parse(AT), model: 'gpt-99', cost: null });
    await send('/v1/events', { ...event, data: { ...event.data, price_book: 'theirs' } });
    expect(await dataOf('g')).toMatchObject({ cost: null, price_book: 'theirs' });
  });

  it('cost what their customer pays, found by their key', async () => {
    await send('/v1/customers', { id: 'by-key', name: 'By key' }, 201);
    const key = (await send('/v1/keys', { customer: 'by-key', name: 'A key' }, 201)).id;
    book = bookWith('1', '10', 'own', { customer: 'by-key' });
    await send('/v1/events/completions', { ...completion, ...used, customer: undefined, key });
    expect(await dataOf('a')).toMatchObject({ cost: { amount: '0.002', currency: 'USD' } });
  });

  it('cost what they cost when they happened, also where what corrects them names no time', async () => {
    book = bookWith('2', '10', 'raised', { from: { ms: Date.parse(AT) + 1, input: '4' } });
    await send('/v1/events/completions', { ...completion, ...used });
    const { event } = (await api.call('GET', '/v1/events/a')).json.data[0];
    const { time: _, ...timeless } = event;
    const { cost: __, price_book: ___, unpriced: ____, ...data } = event.data;
    const corrected = { ...timeless, data: { ...data, quantities: { input_tokens: '2000' } } };
    await send('/v1/events/corrections', { source: event.source, id: 'a', reason: 'more', event: corrected });
    expect(await dataOf('a')).toMatchObject({ cost: { amount: '0.004', currency: 'USD' } });
  });

  it('are costed from templates, spans, metrics and corrections', async () => {
    const mapping = {
      id: '/id',
      customer: { const: 'acme' },
      time: '/at',
      provider: { const: 'openai' },
      model: '/model',
      quantities: { input_tokens: '/in', output_tokens: '/out' },
    };
    const put = await api.call('PUT', '/v1/templates/logs', { body: { name: 'Logs', mapping } });
    expect(put, JSON.stringify(put.json)).toMatchObject({ status: 200 });
    await send('/v1/templates/logs/events', [{ id: 't', at: AT, model: 'gpt-99', in: 1000, out: 100 }]);
    expect(await dataOf('t')).toMatchObject(costed);

    const attributes = (given: Record<string, string | number>) =>
      Object.entries(given).map(([key, value]) => ({
        key,
        value: typeof value === 'string' ? { stringValue: value } : { intValue: String(value) },
      }));
    const nanos = `${BigInt(Date.parse(AT)) * 1_000_000n}`;
    const resource = { attributes: attributes({ 'weir.customer': 'acme' }) };
    const of = { 'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': 'openai', 'gen_ai.request.model': 'gpt-99' };
    const span = {
      ...{ traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7', name: 'chat', kind: 3 },
      ...{ startTimeUnixNano: nanos, endTimeUnixNano: nanos },
      attributes: attributes({ ...of, 'gen_ai.usage.input_tokens': 1000, 'gen_ai.usage.output_tokens': 100 }),
    };
    await send('/v1/otlp/v1/traces', { resourceSpans: [{ resource, scopeSpans: [{ spans: [span] }] }] });
    expect(await dataOf('4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7')).toMatchObject(costed);

    const metric = (name: string, count: number) => ({
      resourceMetrics: [
        {
          resource,
          scopeMetrics: [
            {
              metrics: [
                {
                  name: `gen_ai.client.inference.usage.${name}`,
                  sum: {
                    ...{ aggregationTemporality: 1, isMonotonic: true },
                    dataPoints: [
                      { asInt: count, startTimeUnixNano: '1', timeUnixNano: nanos, attributes: attributes(of) },
                    ],
                  },
                },
              ],
            },
          ],
        },
      ],
    });
    await send('/v1/otlp/v1/metrics', metric('input_tokens', 1000));
    const listed = async () =>
      (await api.call('GET', '/v1/events?model=gpt-99')).json.data
        .map((row: { event: { data: { wire?: string; labels: object } } }) => row.event)
        .find((event: { id: string }) => event.id.length === 64).data;
    expect(await listed()).toMatchObject({ cost: { amount: '0.002', currency: 'USD' } });
    await send('/v1/otlp/v1/metrics', metric('output_tokens', 100));
    expect(await listed()).toMatchObject(costed);

    const event = usageEvent({
      id: 'k',
      atMs: Date.parse(AT),
      model: 'gpt-99',
      cost: null,
      quantities: { calls: '1' },
    });
    const { price_book: _, unpriced: __, ...data } = event.data;
    await send('/v1/events', { ...event, data });
    const quantities = { input_tokens: '1000', output_tokens: '100' };
    const corrected = { ...event, data: { ...data, quantities } };
    await send('/v1/events/corrections', { source: event.source, id: 'k', reason: 'more', event: corrected });
    expect(await dataOf('k')).toMatchObject(costed);
    expect(await verifyRollups(api.test.db, DAY)).toEqual([]);
  });
});
