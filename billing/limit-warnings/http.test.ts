import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { limitWarning } from '#core/limit-warning.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';

const AT_MS = Date.UTC(2026, 10, 20, 11);

describe.each(DATABASE_KINDS)('the warnings of limits on %s', (kind) => {
  let api: TestApi;
  beforeAll(async () => {
    api = await testApi(kind);
  });
  afterAll(() => api.close());
  const post = (body: unknown) => api.call('POST', '/v1/events', { token: api.tokens.ingest, body });
  const budget = (threshold: string, atMs = AT_MS) =>
    limitWarning({
      customer: 'acme',
      counter: 'budget/month/customer%2Fbudget%2Fmonth/2026-11',
      threshold,
      amount: '500000000000',
      currency: 'USD',
      atMs,
    });

  it('are taken once each, whichever gateway says them and when, and listed, and never billed', async () => {
    const first = budget('400000000000');
    expect((await post([first, budget('475000000000', AT_MS + 1)])).json.accepted).toBe(2);
    // Another gateway, later; and what Redis has lost comes from the journal.
    expect((await post([budget('400000000000', AT_MS + 5_000), first])).json).toMatchObject({
      duplicate: 2,
      conflict: 0,
    });
    const perUser = limitWarning({
      customer: 'other',
      counter: 'tokens/day/tokens/=ann%2F1/2026-11-20',
      threshold: '95',
      amount: '100',
      currency: null,
      atMs: AT_MS + 2,
    });
    await post([perUser]);
    const listed = await api.call('GET', '/v1/limit-warnings?customer=acme');
    expect(listed.json).toMatchObject({
      data: [
        { percent: '95', threshold: '475', amount: '500', currency: 'USD', period: '2026-11' },
        { percent: '80', limit: 'customer/budget/month', kind: 'budget', per: 'month', value: null },
      ],
      next_cursor: null,
    });
    const page = await api.call('GET', '/v1/limit-warnings?limit=1');
    expect(page.json.data).toMatchObject([
      {
        customer: 'other',
        limit: 'tokens',
        value: 'ann/1',
        percent: '95',
        threshold: '95',
        amount: '100',
        currency: null,
      },
    ]);
    const next = await api.call(
      'GET',
      `/v1/limit-warnings?limit=1&cursor=${encodeURIComponent(page.json.next_cursor)}`,
    );
    expect(next.json.data).toMatchObject([{ customer: 'acme', percent: '95' }]);
    expect(
      (await api.call('GET', '/v1/limit-warnings?from=2026-11-20T11:00:00.001Z&customer=acme')).json.data,
    ).toHaveLength(1);
    expect((await api.call('GET', '/v1/events/parked')).json.data).toEqual([]);
    expect((await api.call('GET', '/v1/events/conflicts')).json.data).toEqual([]);
    const usage = await api.call('GET', '/v1/usage/since?customer=acme&since=2026-11-01T00:00:00Z');
    expect(usage.json).toEqual({ models: [] });
  });

  it('are parked when they say nothing that can be read', async () => {
    const { data, ...rest } = budget('1');
    expect((await post([{ ...rest, data: { ...data, threshold: 'much' } }])).json.results).toMatchObject([
      { status: 'parked', reason: 'malformed' },
    ]);
  });
});
