import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type BillingServer, serveBilling } from '#billing/http/server.ts';
import { SILENT } from '#core/log.ts';
import { followHttp } from '#proxy/policies/http-feed.ts';
import { policyTable } from '#proxy/policies/policy-table.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';

/** The way of a key policy from the billing API over a real connection into the memory of a gateway. */
describe('key policies over HTTP', () => {
  let api: TestApi;
  let server: BillingServer;
  beforeAll(async () => {
    api = await testApi('pglite');
    server = await serveBilling(api.app, { host: '127.0.0.1', port: 0 });
    await api.call('POST', '/v1/customers', { body: { id: 'acme', name: 'Acme' } });
  });
  afterAll(() => api.close());

  const follow = (url: string) => {
    const table = policyTable();
    const feed = followHttp({ url, token: api.tokens.ingest, table, log: SILENT, retryMs: { min: 5, max: 20 } });
    return { table, feed };
  };

  it('reach a gateway within a second, outlive a restart of billing, and hold up neither when it closes', async () => {
    const first = await api.call('POST', '/v1/keys', { body: { id: 'first', customer: 'acme', name: 'x' } });
    expect(first.status).toBe(201);
    const { table, feed } = follow(server.url);
    await feed.ready;
    expect(table.list('billing').map((policy) => policy.key)).toEqual(['first']);
    // Only once the gateway waits for changes does it show how soon it is answered.
    await api.call('POST', '/v1/keys', { body: { id: 'second', customer: 'acme', name: 'x' } });
    const sinceMs = performance.now();
    await vi.waitFor(() => expect(table.list('billing')).toHaveLength(2), { interval: 5, timeout: 5_000 });
    // A second is the promise; the machine that runs all tests at once may be slower.
    expect(performance.now() - sinceMs).toBeLessThan(3_000);

    const closingMs = performance.now();
    await server.close(200);
    expect(performance.now() - closingMs).toBeLessThan(5_000);
    await api.call('POST', '/v1/keys/second/revoke');
    expect(table.list('billing')).toHaveLength(2);
    server = await serveBilling(api.app, { host: '127.0.0.1', port: server.port });
    await vi.waitFor(() => expect(table.list('billing').find((one) => one.key === 'second')?.state).toBe('revoked'), {
      timeout: 5_000,
    });
    await feed.close();
    await server.close(200);
  });

  it('are not waited for by a caller that has hung up', async () => {
    const listening = await serveBilling(api.app, { host: '127.0.0.1', port: 0 });
    const changesAfter = vi.spyOn(api.policies, 'changesAfter');
    const { feed } = follow(listening.url);
    await feed.ready;
    await vi.waitFor(() => expect(changesAfter).toHaveBeenCalledTimes(2));
    await feed.close();
    await expect(changesAfter.mock.results[1]?.value).resolves.toMatchObject({ policies: [] });
    await listening.close(5_000);
    changesAfter.mockRestore();
  });
});
