import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestApi, testApi } from '#test/support/billing-api.ts';

describe('prices over the API', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await testApi('pglite');
    api.clock.nowMs = Date.parse('2026-03-10T00:00:00Z');
  });
  afterAll(() => api.close());

  const post = (path: string, body: unknown) => api.call('POST', path, { body });
  const evaluate = (body: object) => post('/v1/prices/evaluate', { currency: 'USD', ...body });
  const graduated = {
    kind: 'graduated',
    tiers: [
      { up_to: '1000', amount: '1.50' },
      { up_to: null, amount: '1.35' },
    ],
  };

  it('are evaluated with their working: the first 1,000 at 1.50, then 1.35', async () => {
    const { status, json } = await evaluate({ price: graduated, quantity: '1500' });
    expect(status).toBe(200);
    expect(json).toEqual({
      quantity: '1500',
      amount: { amount: '2175.00', currency: 'USD' },
      amount_exact: '2175',
      steps: [
        { formula: 'tier 1 (0 to 1000): 1000 x 1.5 + 0', quantity: '1000', amount_exact: '1500' },
        { formula: 'tier 2 (1000 to any): 500 x 1.35 + 0', quantity: '500', amount_exact: '675' },
      ],
      unrated: 0,
      points: [],
    });
  });

  it('are evaluated for many quantities at once, with all that a charge has', async () => {
    const { json } = await evaluate({
      price: { kind: 'unit', amount: '0.0333333' },
      allowance: '10',
      discount_percent: '50',
      cap: '2',
      minimum: '0.5',
      quantities: ['0', '11', '100', '1000'],
    });
    const points: { amount: { amount: string }; amount_exact: string; steps: { formula: string }[] }[] = json.points;
    expect(points.map((point) => point.amount.amount)).toEqual(['0.50', '0.50', '1.50', '2.00']);
    expect(points[2]).toMatchObject({ amount_exact: '1.4999985' });
    expect(points[3]?.steps.map(({ formula }) => formula)).toEqual([
      'allowance: 10 free',
      '990 x 0.0333333',
      'discount of 50 %',
      'cap of 2',
    ]);
  });

  it('are evaluated for events, at their time, with their dimensions and what they carry', async () => {
    const matrix = {
      kind: 'matrix',
      dimensions: ['model', 'labels.team'],
      cells: [{ of: ['big', 'search'], price: { kind: 'unit', amount: '2' } }],
    };
    const event = (quantity: string, model: string, team: string) => ({
      ...{ quantity, model },
      dimensions: { 'labels.team': team },
    });
    const { json } = await evaluate({ price: matrix, events: [event('3', 'big', 'search'), event('1', 'big', 'x')] });
    expect(json).toMatchObject({ amount: { amount: '6.00' }, unrated: 1 });

    const changed = await evaluate({
      price: { kind: 'unit', amount: '1' },
      changes: [{ effective_at: '2026-03-05T00:00:00Z', price: { kind: 'unit', amount: '3' } }],
      events: ['2026-03-04T23:59:59Z', '2026-03-05T00:00:00Z'].map((time) => ({ time, quantity: '10' })),
    });
    expect(changed.json.amount.amount).toBe('40.00');

    const cost = await evaluate({
      price: { kind: 'dynamic', of: 'provider_cost', multiplier: '1.33333' },
      events: [
        { quantity: '1', cost: '4' },
        { quantity: '1', cost: '6' },
      ],
    });
    expect(cost.json).toMatchObject({ amount: { amount: '13.33' }, amount_exact: '13.3333' });

    const night = {
      kind: 'time_of_day',
      bands: [{ from: '22:00', to: '06:00', price: { kind: 'unit', amount: '1' } }],
      fallback: { kind: 'unit', amount: '5' },
    };
    const inKolkata = await evaluate({
      price: night,
      timezone: 'Asia/Kolkata',
      events: [
        { quantity: '1', time: '2026-03-05T00:15:00Z' },
        { quantity: '1', time: '2026-03-05T00:30:00Z' },
      ],
    });
    expect(inKolkata.json.amount.amount).toBe('6.00');
  });

  it.each([
    ['a quantity below zero', { price: graduated, quantity: '-1' }, '#/quantity'],
    ['a quantity that is no decimal', { price: graduated, quantity: 'NaN' }, '#/quantity'],
    ['a quantity in scientific notation', { price: graduated, quantity: '1e9' }, '#/quantity'],
    ['a JSON number', { price: graduated, quantity: 5 }, '#/quantity'],
    ['a number without bound', { price: graduated, quantity: '9'.repeat(61) }, '#/quantity'],
    ['no quantity', { price: graduated }, '#/quantity'],
    ['a kind that is not known', { price: { kind: 'lottery' }, quantity: '1' }, '#/price/kind'],
    ['an amount below zero', { price: { kind: 'unit', amount: '-1' }, quantity: '1' }, '#/price/amount'],
    ['an unknown field', { price: { kind: 'unit', amount: '1', rate: '1' }, quantity: '1' }, '#/price/rate'],
    ['a package of nothing', { price: { kind: 'package', size: '0', amount: '1' }, quantity: '1' }, '#/price/size'],
    [
      'tiers in disorder',
      {
        price: {
          kind: 'volume',
          tiers: [
            { up_to: null, amount: '1' },
            { up_to: '5', amount: '1' },
          ],
        },
        quantity: '1',
      },
      '#/price/tiers',
    ],
    [
      'an allowance that nothing takes off',
      { price: { kind: 'dynamic', of: 'event_price' }, allowance: '1', events: [{ quantity: '1' }] },
      '#/allowance',
    ],
    ['a sum where it wants events', { price: { kind: 'percentage', percent: '1' }, quantity: '1' }, '#/events'],
  ])('are refused with %s', async (_, body, pointer) => {
    const { status, json } = await evaluate(body);
    expect(status).toBe(422);
    expect(json.errors.map((error: { pointer: string }) => error.pointer)).toContain(pointer);
  });

  it('are read with the version of the plan that they stand in, and change at an instant that is to come', async () => {
    const plan = await post('/v1/plans', {
      ...{ id: 'team', name: 'Team', currency: 'USD' },
      charges: [
        { meter: 'calls', price: graduated, cap: '5000' },
        { price: { kind: 'flat', amount: '10', billed: 'once' } },
      ],
    });
    expect(plan.status).toBe(201);
    const [charge, flat] = plan.json.charges;
    expect(flat).toMatchObject({ meter: null, unit: null, price: { kind: 'flat', billed: 'once' } });
    const change = { effective_at: '2026-04-01T02:00:00+02:00', price: { kind: 'unit', amount: '1' } };
    expect(await post(`/v1/prices/${charge.price_id}/changes`, change)).toMatchObject({ status: 201 });
    const { json } = await api.call('GET', `/v1/prices/${charge.price_id}`);
    expect(json).toMatchObject({
      ...{ plan: 'team', plan_version: 1, cap: '5000' },
      changes: [{ effective_at: '2026-04-01T00:00:00.000Z', price: { kind: 'unit', amount: '1', per: '1' } }],
    });
    const past = await post(`/v1/prices/${charge.price_id}/changes`, {
      ...change,
      effective_at: '2026-03-09T00:00:00Z',
    });
    expect(past).toMatchObject({ status: 422, json: { errors: [{ pointer: '#/effective_at' }] } });
    expect(await post('/v1/prices/prc_never/changes', change)).toMatchObject({ status: 404 });
  });

  it('of plans are refused with all that is wrong, each with its pointer', async () => {
    const { status, json } = await post('/v1/plans', {
      ...{ name: 'Odd', currency: 'USD' },
      charges: [
        { meter: 'calls', price: { kind: 'percentage', percent: 'many' } },
        { meter: 'calls', price: { kind: 'flat', amount: '1' } },
        { meter: 'calls', price: { kind: 'unit', amount: '1' }, minimum: '3', cap: '2' },
      ],
    });
    const twice = await post('/v1/plans', {
      ...{ name: 'Twice', currency: 'USD' },
      charges: ['calls', 'output_tokens'].map((meter) => ({ meter, price: { kind: 'dynamic', of: 'provider_cost' } })),
    });
    expect(twice).toMatchObject({ status: 422, json: { errors: [{ pointer: '#/charges/1/meter' }] } });
    expect(status).toBe(422);
    const pointers = json.errors.map((error: { pointer: string }) => error.pointer);
    expect(pointers).toEqual(
      expect.arrayContaining(['#/charges/0/price/percent', '#/charges/1/meter', '#/charges/2/minimum']),
    );
  });
});
