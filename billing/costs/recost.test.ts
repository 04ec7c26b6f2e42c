import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { verifyRollups } from '#billing/repairs/verify.ts';
import { builtinPriceBook, priceBook } from '#config/price-book.ts';
import { type PriceBook, parsePrice, plainPrices } from '#core/price.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';
import { usageEvent } from '#test/support/usage-events.ts';

const DAY = { from: '2026-11-20T00:00:00Z', to: '2026-11-21T00:00:00Z' };
const HOURS = { startMs: Date.parse(DAY.from), endMs: Date.parse(DAY.to) };

/** The catalogue, with a price for a model that it does not have: dollars for a million of input and of output. */
function bookWith(input: string, output: string, hash: string): PriceBook {
  const [first, second] = [parsePrice(input, 1_000_000n), parsePrice(output, 1_000_000n)];
  if (!first || !second) throw new Error('not a price');
  const prices = plainPrices('USD', { input_tokens: first, output_tokens: second });
  const nothing = { upstream: null, customer: null, fromMs: null, contextTokens: null, outputTokensMax: null };
  return priceBook([{ ...nothing, provider: 'openai', model: 'gpt-99', prices, factor: null, holdOnly: false }], hash);
}

/** A call of a model that had no price when it was used. */
function unpricedEvent(id: string, data: object = {}) {
  const usage = usageEvent();
  return {
    ...usage,
    id,
    data: {
      ...usage.data,
      model: 'gpt-99',
      model_served: 'gpt-99-2026-11-01',
      quantities: { calls: '1', input_tokens: '1000', output_tokens: '100' },
      cost: null,
      price_book: 'before',
      unpriced: ['input_tokens', 'output_tokens'],
      ...data,
    },
  };
}

describe.each(DATABASE_KINDS)('costs that were not known, on %s', (kind) => {
  let api: TestApi;
  let book: PriceBook = builtinPriceBook();
  beforeAll(async () => {
    api = await testApi(kind, { priceBook: () => book });
  });
  afterAll(() => api.close());
  beforeEach(async () => {
    book = builtinPriceBook();
    await api.test.db.script('truncate event, event_id, event_conflict, event_correction, usage_hour, cost_hour');
  });

  const send = (...events: object[]) => api.call('POST', '/v1/events', { body: events });
  const recost = async (body: object = {}) => {
    const answer = await api.call('POST', '/v1/costs/recost', { body: { ...DAY, ...body } });
    expect(answer.status).toBe(200);
    return answer.json;
  };
  const eventOf = async (id: string) => (await api.call('GET', `/v1/events/${id}`)).json.data[0].event;

  it('are in sight by model, with the units that have no price', async () => {
    await send(unpricedEvent('a'), unpricedEvent('b', { unpriced: ['output_tokens'] }), usageEvent());
    expect((await api.call('GET', '/v1/costs/unpriced')).json.data).toMatchObject([
      {
        provider: 'openai',
        upstream: 'openai',
        model: 'gpt-99-2026-11-01',
        events: '2',
        units: ['input_tokens', 'output_tokens'],
      },
    ]);
  });

  it('are found once there is a price, while the event keeps what it cost first', async () => {
    await send(unpricedEvent('a'), unpricedEvent('b'));
    expect(await recost()).toMatchObject({ examined: 2, recosted: 0, unknown: 2, changes: [], next_cursor: null });
    book = bookWith('2', '10', 'one');
    const found = { price_book: book.version, examined: 2, recosted: 2, unchanged: 0, unknown: 0 };
    const changes = [{ currency: 'USD', before: '0', after: '0.006' }];
    expect(await recost({ dry_run: true })).toMatchObject({ ...found, changes });
    expect((await eventOf('a')).data.cost).toBeNull();
    expect(await recost()).toMatchObject({ ...found, changes });
    expect((await eventOf('a')).data).toMatchObject({
      cost: { amount: '0.003', currency: 'USD' },
      cost_before: { cost: null, price_book: 'before' },
      price_book: book.version,
      unpriced: [],
    });
    expect(await recost()).toMatchObject({ examined: 0 });
    const { revisions, corrections } = (await api.call('GET', '/v1/events/a/history')).json;
    expect(revisions.map((row: { counts: string }) => row.counts)).toEqual(['added', 'taken_back', 'added']);
    expect(revisions[0].event.data.cost).toBeNull();
    expect(corrections).toMatchObject([{ applied: true, reason: `Costed anew by the prices ${book.version}` }]);
    const usage = await api.call('GET', `/v1/usage?from=${DAY.from}&to=${DAY.to}`);
    expect(usage.json.groups).toMatchObject([
      { costs: [{ amount: '0.006', currency: 'USD' }], unpriced_events: '0', events: '2' },
    ]);
    expect(await verifyRollups(api.test.db, HOURS)).toEqual([]);
  });

  it('change again with the prices, and name the first of them still', async () => {
    await send(unpricedEvent('a'));
    book = bookWith('2', '10', 'one');
    await recost();
    book = bookWith('1', '10', 'two');
    expect(await recost({ events: 'older' })).toMatchObject({
      recosted: 1,
      changes: [{ currency: 'USD', before: '0.003', after: '0.002' }],
    });
    expect((await eventOf('a')).data).toMatchObject({
      cost: { amount: '0.002', currency: 'USD' },
      cost_before: { cost: null, price_book: 'before' },
    });
    book = bookWith('1', '10', 'three');
    expect(await recost({ events: 'older' })).toMatchObject({ examined: 1, recosted: 0, unchanged: 1 });
    expect(await verifyRollups(api.test.db, HOURS)).toEqual([]);
  });

  it('stay where they are: with the customer of the key, at the instant when the event came', async () => {
    await api.call('POST', '/v1/customers', { body: { id: 'by-key', name: 'By key' } });
    const key = (await api.call('POST', '/v1/keys', { body: { customer: 'by-key', name: 'A key' } })).json.id;
    const { customer: _, ...data } = unpricedEvent('a', { key }).data;
    const { subject: __, time: ___, ...event } = { ...unpricedEvent('a'), data };
    await send(event);
    const listed = async () => (await api.call('GET', '/v1/events?customer=by-key')).json.data;
    const [before] = await listed();
    expect(before).toMatchObject({ event: { id: 'a' } });
    api.clock.nowMs += 3_600_000;
    book = bookWith('2', '10', 'one');
    expect(await recost()).toMatchObject({ recosted: 1 });
    const cost = { amount: '0.003', currency: 'USD' };
    expect(await listed()).toMatchObject([{ time: before.time, event: { data: { cost } } }]);
    // Nor does a correction by its source, which names as little, take it from its customer.
    const corrected = { ...event, data: { ...data, quantities: { calls: '1' } } };
    const target = { source: event.source, id: 'a', reason: 'counted wrong' };
    const type = 'weir.correction.v1';
    await send({ specversion: '1.0', id: 'c', source: '/app', type, data: { ...target, event: corrected } });
    expect(await listed()).toMatchObject([{ event: { data: { quantities: { calls: '1' } } } }]);
    expect(await verifyRollups(api.test.db, HOURS)).toEqual([]);
  });

  it('give way to a correction by the source that comes later, though it was made before', async () => {
    await send(unpricedEvent('a'));
    book = bookWith('2', '10', 'one');
    await recost();
    const corrected = unpricedEvent('a', { quantities: { calls: '1', input_tokens: '1' } });
    const correction = {
      specversion: '1.0',
      id: 'correction',
      source: corrected.source,
      type: 'weir.correction.v1',
      time: new Date(Date.parse(corrected.time) + 1).toISOString(),
      data: { source: corrected.source, id: 'a', reason: 'counted wrong', event: corrected },
    };
    await send(correction);
    expect((await eventOf('a')).data.quantities).toEqual({ calls: '1', input_tokens: '1' });
    expect(await recost()).toMatchObject({ recosted: 1, changes: [{ after: '0.000002' }] });
    expect(await verifyRollups(api.test.db, HOURS)).toEqual([]);
  });

  it('sum over the models that served one call', async () => {
    const parts = [
      { model: 'gpt-99', quantities: { calls: '1', input_tokens: '900' }, cost: null },
      { model: 'gpt-4o', quantities: { input_tokens: '100', output_tokens: '100' }, cost: null },
    ];
    await send(unpricedEvent('a', { parts }));
    book = bookWith('2', '10', 'one');
    await recost();
    const { data } = await eventOf('a');
    expect(data.cost).toEqual({ amount: '0.00305', currency: 'USD' });
    expect(data.parts.map((part: { cost: unknown }) => part.cost)).toEqual([
      { amount: '0.0018', currency: 'USD' },
      { amount: '0.00125', currency: 'USD' },
    ]);
    expect(await verifyRollups(api.test.db, HOURS)).toEqual([]);
  });

  it("are left where nobody can know them: unread calls, a provider's own figure, fractions", async () => {
    await send(
      unpricedEvent('unread', { quantities: { calls: '1' }, unpriced: ['calls'] }),
      unpricedEvent('own', { cost: { amount: '1', currency: 'USD' }, cost_source: 'provider', unpriced: [] }),
      unpricedEvent('half', { quantities: { input_tokens: '0.5' } }),
    );
    book = bookWith('2', '10', 'one');
    expect(await recost({ events: 'older' })).toMatchObject({ examined: 2, recosted: 0, unknown: 2 });
  });

  it('are costed in pages', async () => {
    await send(...['a', 'b', 'c'].map((id) => unpricedEvent(id)));
    book = bookWith('2', '10', 'one');
    const first = await recost({ limit: 2 });
    expect(first).toMatchObject({ recosted: 2 });
    const second = await recost({ limit: 2, cursor: first.next_cursor });
    expect(second).toMatchObject({ recosted: 1, next_cursor: null });
    const wrong = await api.call('POST', '/v1/costs/recost', { body: { from: DAY.to, to: DAY.from } });
    expect(wrong).toMatchObject({ status: 422, json: { code: 'validation_failed' } });
  });
});
