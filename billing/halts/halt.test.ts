import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';

for (const kind of DATABASE_KINDS) {
  describe(`halts on ${kind}`, () => {
    let api: TestApi;
    beforeAll(async () => {
      api = await testApi(kind);
      await api.call('POST', '/v1/customers', { body: { id: 'acme', name: 'Acme' } });
      await api.call('POST', '/v1/keys', { body: { id: 'acme-prod', customer: 'acme', name: 'A key' } });
    });
    afterAll(() => api.close());

    const forGateways = async () => (await api.policies.changesAfter(undefined, 0)).halts;
    const version = async () => (await api.policies.changesAfter(undefined, 0)).version;

    it('are told to gateways from when they are made to when they are lifted, and stay on record', async () => {
      const before = await version();
      const made = await api.call('POST', '/v1/halts', {
        token: api.tokens.ops,
        body: { upstream: 'openai', model: 'gpt-*', cut_open: true, reason: 'an incident' },
      });
      expect(made.status).toBe(201);
      expect(made.json).toMatchObject({ customer: null, upstream: 'openai', cut_open: true, lifted_at: null });
      expect(await forGateways()).toEqual([
        { id: made.json.id, customer: null, key: null, upstream: 'openai', model: 'gpt-*', cutOpen: true },
      ]);
      // Whoever follows the policies hears of it: with nothing else that is new.
      const changes = await api.policies.changesAfter(before, 0);
      expect(changes).toMatchObject({ reset: false, policies: [], halts: [{ id: made.json.id }] });
      expect((await api.call('GET', '/v1/policies')).json.halts).toEqual(changes.halts);

      const lifted = await api.call('POST', `/v1/halts/${made.json.id}/lift`);
      expect(lifted.json.lifted_at).not.toBeNull();
      expect((await api.call('POST', `/v1/halts/${made.json.id}/lift`)).json).toEqual(lifted.json);
      expect(await forGateways()).toEqual([]);
      expect((await api.call('GET', '/v1/halts')).json.data).toEqual([]);
      expect((await api.call('GET', '/v1/halts?state=all')).json.data).toEqual([lifted.json]);
      expect((await api.call('GET', `/v1/halts/${made.json.id}`)).json).toEqual(lifted.json);
    });

    it('pause a customer once, however often it is asked, and resume it as a whole', async () => {
      const first = await api.call('POST', '/v1/customers/acme/pause', { body: { reason: 'unpaid' } });
      expect(first.json).toMatchObject({ customer: 'acme', key: null, cut_open: false, reason: 'unpaid' });
      expect((await api.call('POST', '/v1/customers/acme/pause')).json.id).toBe(first.json.id);
      const cut = await api.call('POST', '/v1/customers/acme/pause', { body: { cut_open: true } });
      expect(cut.json.id).not.toBe(first.json.id);
      expect(await forGateways()).toHaveLength(2);
      const other = await api.call('POST', '/v1/halts', { body: { customer: 'acme', model: 'o1*' } });
      const resumed = await api.call('POST', '/v1/customers/acme/resume');
      expect(resumed.json.data.map((one: { id: string }) => one.id)).toEqual([first.json.id, cut.json.id].sort());
      expect((await forGateways()).map(({ id }) => id)).toEqual([other.json.id]);
      expect((await api.call('POST', '/v1/customers/acme/resume')).json.data).toEqual([]);
      await api.call('POST', `/v1/halts/${other.json.id}/lift`);
    });

    it('name something, and only customers and keys that there are', async () => {
      expect((await api.call('POST', '/v1/halts', { body: { cut_open: true } })).status).toBe(422);
      expect((await api.call('POST', '/v1/halts', { body: { customer: 'nobody' } })).status).toBe(404);
      expect((await api.call('POST', '/v1/halts', { body: { key: 'none' } })).status).toBe(404);
      expect((await api.call('POST', '/v1/customers/nobody/pause')).status).toBe(404);
      expect((await api.call('POST', '/v1/customers/nobody/resume')).status).toBe(404);
      expect((await api.call('POST', '/v1/halts/none/lift')).status).toBe(404);
      expect(
        (await api.call('POST', '/v1/halts', { token: api.tokens.finance, body: { key: 'acme-prod' } })).status,
      ).toBe(403);
    });

    it('of a revoked key end its open calls where that was asked, at once or later', async () => {
      const policy = async () =>
        (await api.policies.changesAfter(undefined, 0)).policies.find(({ key }) => key === 'acme-prod');
      await api.call('POST', '/v1/keys/acme-prod/revoke');
      expect(await policy()).toMatchObject({ state: 'revoked' });
      expect(await policy()).not.toHaveProperty('cutOpen');
      const revoked = await api.call('POST', '/v1/keys/acme-prod/revoke', { body: { cut_open: true } });
      expect(revoked.json.state).toBe('revoked');
      expect(await policy()).toMatchObject({ state: 'revoked', cutOpen: true });
      await api.call('POST', '/v1/keys/acme-prod/revoke');
      expect(await policy()).toMatchObject({ state: 'revoked', cutOpen: true });
    });
  });
}
