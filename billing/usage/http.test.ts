import { afterAll, beforeAll, expect, it } from 'vitest';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { usageEvent } from '#test/support/usage-events.ts';

let api: TestApi;
const cost = (amount: string) => ({ amount, currency: 'USD' });

beforeAll(async () => {
  api = await testApi('postgres');
  await api.call('POST', '/v1/customers', { body: { id: 'acme', name: 'Acme', timezone: 'Asia/Kolkata' } });
  const events = [
    // The last millisecond of October in Kolkata, and the first of November.
    usageEvent({ atMs: Date.UTC(2026, 9, 31, 18, 29, 59, 999), quantities: { calls: '1' }, cost: cost('1') }),
    usageEvent({ atMs: Date.UTC(2026, 9, 31, 18, 30), quantities: { calls: '2' }, cost: cost('0.0000000001') }),
    usageEvent({ atMs: Date.UTC(2026, 10, 20, 9), quantities: { output_tokens: '0.5' }, cost: null, key: 'other' }),
    usageEvent({ customer: 'nobody knows', quantities: { calls: '9' } }),
  ];
  await api.call('POST', '/v1/events', { body: events });
});
afterAll(() => api.close());

it("answers the customer's own month unless asked for other bounds", async () => {
  expect((await api.call('GET', '/v1/usage?customer=acme', { token: api.tokens.viewer })).json).toEqual({
    from: '2026-10-31T18:30:00.000Z',
    to: '2026-11-30T18:30:00.000Z',
    timezone: 'Asia/Kolkata',
    groups: [
      {
        customer: null,
        key: null,
        model: null,
        start: '2026-10-31T18:30:00.000Z',
        end: '2026-11-30T18:30:00.000Z',
        quantities: { calls: '2', output_tokens: '0.5' },
        costs: [{ amount: '0.0000000001', currency: 'USD' }],
        events: '2',
        estimated_events: '0',
        unpriced_events: '1',
      },
    ],
  });
});

it('groups by customer, key, model and day', async () => {
  const query = 'from=2026-10-31T00:00:00Z&to=2026-11-02T00:00:00Z&group_by=customer,day';
  const groups = (await api.call('GET', `/v1/usage?${query}`)).json.groups;
  expect(groups).toMatchObject([
    {
      customer: 'acme',
      start: '2026-10-31T00:00:00.000Z',
      end: '2026-11-01T00:00:00.000Z',
      quantities: { calls: '3' },
    },
  ]);
  const keys = (await api.call('GET', '/v1/usage?customer=acme&group_by=key')).json.groups;
  expect(keys.map((group: { key: string }) => group.key)).toEqual(['key_prod', 'other']);
});

it('gives a gateway what a budget has used', async () => {
  const path = '/v1/usage/since?customer=acme&since=2026-10-31T18:30:00Z';
  const [own, other] = [{ calls: '2' }, { output_tokens: '0.5' }];
  const model = expect.any(String);
  const costs = [{ amount: '0.0000000001', currency: 'USD' }];
  expect((await api.call('GET', path, { token: api.tokens.ingest })).json).toEqual({
    models: [{ model, events: '2', quantities: { ...own, ...other }, costs }],
  });
  expect((await api.call('GET', `${path}&key=other`)).json.models).toEqual([
    { model, events: '1', quantities: other, costs: [] },
  ]);
  const where = (value: object) => api.call('GET', `${path}&where=${encodeURIComponent(JSON.stringify(value))}`);
  expect((await where({ user: 'nobody' })).json).toEqual({ models: [] });
  expect((await where({ team: 'x' })).status).toBe(422);
});

it('shows the usage of customers that do not exist', async () => {
  expect((await api.call('GET', '/v1/usage/unknown-customers')).json.data).toEqual([
    {
      customer: 'nobody knows',
      events: '1',
      first_hour: '2026-11-20T09:00:00.000Z',
      last_hour: '2026-11-20T09:00:00.000Z',
    },
  ]);
});

it('recomputes the sums on demand, in bounds', async () => {
  const differences = (from: string, to: string) => api.call('GET', `/v1/usage/differences?from=${from}&to=${to}`);
  expect((await differences('2026-11-01T00:00:00Z', '2026-12-01T00:00:00Z')).json).toEqual({ data: [] });
  await api.test.db.script("update usage_hour set quantity = 7 where customer = 'nobody knows'");
  expect((await differences('2026-11-20T00:00:00Z', '2026-11-21T00:00:00Z')).json.data).toMatchObject([
    { customer: 'nobody knows', unit: 'calls', rolled_up: '7', recomputed: '9' },
  ]);
  expect((await differences('2026-11-20T00:30:00Z', '2026-11-21T00:00:00Z')).status).toBe(422);
  expect((await differences('2025-11-20T00:00:00Z', '2026-11-21T00:00:00Z')).status).toBe(422);
});

it('refuses bounds and groups that make no sense', async () => {
  for (const query of ['from=2026-11-20T00:00:00Z&to=2026-11-20T00:00:00Z', 'group_by=colour', 'from=yesterday']) {
    expect((await api.call('GET', `/v1/usage?${query}`)).json, query).toMatchObject({ code: 'validation_failed' });
  }
});
