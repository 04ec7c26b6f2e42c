import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KeyPolicy } from '#core/key-policy.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';
import { listPolicyChanges, refreshPrices } from './policy.ts';

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 10, 20, 12);
const budget = (amount: string, currency = 'USD') => ({
  ...{ kind: 'budget', per: 'month', basis: 'price' },
  amount: { amount, currency },
});
const priceOf = (meter: string, amount: string, more: object = {}) => ({
  ...{ name: meter, meter, model: '*' },
  price: { kind: 'unit', amount, per: '1000000' },
  ...more,
});

describe.each(DATABASE_KINDS)('budgets of what a customer pays, on %s', (kind) => {
  let api: TestApi;
  beforeAll(async () => {
    api = await testApi(kind);
  });
  afterAll(() => api.close());

  const post = async (path: string, body: object) => {
    const answer = await api.call('POST', path, { body });
    expect([path, answer.status, answer.json]).toEqual([path, 201, expect.anything()]);
    return answer.json;
  };
  const plan = (id: string, charges: object[]) => post('/v1/plans', { id, name: id, currency: 'USD', charges });
  const policyOf = async (key: string): Promise<KeyPolicy | undefined> =>
    (await listPolicyChanges(api.test.db, undefined)).policies.find((policy) => policy.key === key);

  it('are published with the prices of the plan that the customer is on, and follow it from period to period', async () => {
    await plan('linear', [priceOf('input_tokens', '3'), priceOf('output_tokens', '12', { model: 'gpt-*' })]);
    await post('/v1/customers', { id: 'acme', name: 'Acme', limits: [budget('50')] });
    const { id: key } = await post('/v1/keys', { customer: 'acme', name: 'k', limits: [budget('5')] });
    // Nobody knows yet what it pays: gateways refuse.
    expect((await policyOf(key))?.limits).toMatchObject([
      { id: 'budget/month/price', basis: 'price', prices: [], currency: 'USD', amount: '50000000000' },
      { id: `${key}/budget/month/price`, basis: 'price', prices: [] },
    ]);
    await post('/v1/subscriptions', { customer: 'acme', plan: 'linear' });
    const first = [
      { unit: 'input_tokens', model: '*', amount: '3', per: '1000000' },
      { unit: 'output_tokens', model: 'gpt-*', amount: '12', per: '1000000' },
    ];
    expect((await policyOf(key))?.limits).toMatchObject([{ prices: first }, { prices: first }]);
    expect((await api.call('GET', '/v1/customers/acme')).json.limits).toMatchObject([{ basis: 'price' }]);

    await api.call('PUT', '/v1/plans/linear', {
      body: { name: 'linear', currency: 'USD', charges: [priceOf('input_tokens', '4')] },
    });
    // The period that runs keeps its version.
    expect(await refreshPrices(api.test.db, NOW_MS)).toBe(false);
    expect(await refreshPrices(api.test.db, NOW_MS + 40 * DAY_MS)).toBe(true);
    const next = [{ unit: 'input_tokens', model: '*', amount: '4', per: '1000000' }];
    expect((await policyOf(key))?.limits).toMatchObject([{ prices: next }, { prices: next }]);
    expect(await refreshPrices(api.test.db, NOW_MS + 40 * DAY_MS)).toBe(false);
  });

  it.each([
    ['tiers', priceOf('input_tokens', '3', { allowance: '1000' })],
    ['a cap', priceOf('input_tokens', '3', { cap: '100' })],
    ['a discount', priceOf('input_tokens', '3', { discount_percent: '10' })],
    ['packages', priceOf('input_tokens', '3', { price: { kind: 'package', amount: '3', size: '1000' } })],
  ])('are refused where the plan asks for %s', async (what, charge) => {
    const id = what.replace(' ', '-');
    await plan(id, [charge]);
    await post('/v1/customers', { id, name: id });
    await post('/v1/subscriptions', { customer: id, plan: id });
    const answer = await api.call('PATCH', `/v1/customers/${id}`, { body: { limits: [budget('50')] } });
    expect(answer).toMatchObject({ status: 409, json: { code: 'state_conflict' } });
    expect(answer.json.detail).toContain('so much for each unit');
    const key = await api.call('POST', '/v1/keys', { body: { customer: id, name: 'k', limits: [budget('50')] } });
    expect(key).toMatchObject({ status: 409, json: { code: 'state_conflict' } });
  });

  it('are in the currency of the plan, as budgets of cost are in that of costs', async () => {
    await plan('simple', [priceOf('input_tokens', '3')]);
    await post('/v1/customers', { id: 'euro', name: 'Euro' });
    await post('/v1/subscriptions', { customer: 'euro', plan: 'simple' });
    const patch = (limit: object) => api.call('PATCH', '/v1/customers/euro', { body: { limits: [limit] } });
    expect(await patch(budget('50', 'EUR'))).toMatchObject({ status: 409 });
    expect(await patch({ ...budget('50', 'EUR'), basis: 'cost' })).toMatchObject({ status: 422 });
    expect(
      await patch({
        ...budget('50'),
        override: { amount: { amount: '9', currency: 'EUR' }, until: '2027-01-01T00:00:00Z' },
      }),
    ).toMatchObject({ status: 422 });
    expect(await patch(budget('50'))).toMatchObject({ status: 200 });
  });
});
