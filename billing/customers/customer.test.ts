import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';

for (const kind of DATABASE_KINDS) {
  describe(`customers on ${kind}`, () => {
    let api: TestApi;
    beforeAll(async () => {
      api = await testApi(kind);
    });
    afterAll(() => api.close());

    it('creates one with defaults and an id of its own, and gives it back', async () => {
      const created = await api.call('POST', '/v1/customers', { body: { name: 'Plain' } });
      expect(created.status).toBe(201);
      expect(created.json).toEqual({
        id: expect.stringMatching(/^cus_[0-9A-Z]{26}$/),
        name: 'Plain',
        timezone: 'UTC',
        currency: 'USD',
        limits: [],
        managed_by: 'api',
        created_at: '2026-11-20T12:00:00.000Z',
        updated_at: '2026-11-20T12:00:00.000Z',
        removed_at: null,
      });
      expect((await api.call('GET', `/v1/customers/${created.json.id}`)).json).toEqual(created.json);
    });

    it('shows limits as they were given, each with the id that refusals name', async () => {
      const limits = [
        { kind: 'requests', amount: '600', per: 'minute', burst: '50' },
        { kind: 'tokens', amount: '200000', per: 'minute' },
        { kind: 'concurrency', amount: '50' },
        { kind: 'budget', amount: { amount: '499.999999999', currency: 'USD' }, per: 'month' },
      ];
      const created = await api.call('POST', '/v1/customers', {
        body: { id: 'limited', name: 'Limited', timezone: 'Europe/Paris', limits },
      });
      const plain = {
        ...{ unit: null, burst: null, mode: 'hard', warn_at: [], models: [], labels: {}, by: null, override: null },
        ...{ basis: null, on_store_down: 'closed', local_amount: null },
      };
      expect(created.json.limits).toEqual([
        { ...plain, id: 'requests/minute', kind: 'requests', amount: '600', per: 'minute', burst: '50' },
        { ...plain, id: 'tokens/minute', kind: 'tokens', amount: '200000', per: 'minute' },
        { ...plain, id: 'concurrency', kind: 'concurrency', amount: '50', per: null },
        {
          ...plain,
          id: 'budget/month',
          kind: 'budget',
          amount: { amount: '499.999999999', currency: 'USD' },
          per: 'month',
          basis: 'cost',
        },
      ]);
    });

    it('takes and shows limits of every kind, and gives them to gateways as a file would', async () => {
      const usd = (amount: string) => ({ amount, currency: 'USD' });
      const limits = [
        {
          kind: 'tokens',
          amount: '5',
          per: 'day',
          models: ['gpt-*'],
          labels: { team: 'a' },
          by: 'user',
          warn_at: [95, 80],
        },
        { kind: 'quantity', unit: 'images', amount: '9', per: 'quarter', mode: 'shadow' },
        { kind: 'quantity', unit: 'images', amount: '9', per: 'quarter' },
        {
          kind: 'budget',
          amount: usd('5'),
          per: 'session',
          override: { amount: usd('7.00'), until: '2027-01-01T00:00:00+01:00' },
          on_store_down: 'local',
          local_amount: usd('0.50'),
        },
      ];
      const created = await api.call('POST', '/v1/customers', { body: { id: 'many', name: 'Many', limits } });
      expect(created.status).toBe(201);
      expect(created.json.limits).toMatchObject([
        { id: 'tokens/day/gpt-*/team=a/by-user', labels: { team: 'a' }, by: 'user', warn_at: [80, 95] },
        { id: 'quantity/images/quarter/shadow', unit: 'images', mode: 'shadow', on_store_down: 'open' },
        { id: 'quantity/images/quarter', mode: 'hard' },
        {
          id: 'budget/session',
          override: { amount: usd('7.00'), until: '2026-12-31T23:00:00.000Z' },
          on_store_down: 'local',
          local_amount: usd('0.50'),
        },
      ]);
      await api.call('POST', '/v1/keys', { body: { id: 'many-key', customer: 'many', name: 'k' } });
      const { policies } = await api.policies.changesAfter(undefined, 0);
      const policy = policies.find(({ key }) => key === 'many-key');
      expect(policy?.version).toBe(2);
      expect(policy?.limits[3]).toEqual({
        id: 'budget/session',
        scope: 'customer',
        kind: 'budget',
        amount: '5000000000',
        currency: 'USD',
        per: 'session',
        burst: null,
        timezone: 'UTC',
        override: { amount: '7000000000', untilMs: Date.UTC(2026, 11, 31, 23) },
        onStoreDown: 'local',
        localAmount: '500000000',
      });
    });

    it('names every mistake of a body at its place', async () => {
      const answer = await api.call('POST', '/v1/customers', {
        body: {
          id: 'bad id',
          name: '',
          timezone: 'Europe/Atlantis',
          currency: 'usd',
          plan: 'x',
          limits: [
            { kind: 'requests', amount: '1.5', per: 'minute' },
            { kind: 'tokens', amount: '9000000000000000', per: 'hour' },
            { kind: 'budget', amount: { amount: '9000001', currency: 'USD' }, per: 'month' },
            { kind: 'concurrency', amount: '5', per: 'minute' },
            { kind: 'wishes', amount: '3' },
            { kind: 'requests', amount: '3', per: 'day', burst: '4' },
            { kind: 'tokens', amount: '3', per: 'hour', warn_at: [80] },
            { kind: 'quantity', amount: '3', per: 'day' },
            { kind: 'requests', amount: '3', per: 'year', on_store_down: 'local' },
            { kind: 'budget', amount: { amount: '5', currency: 'USD' }, per: 'session', by: 'session' },
          ],
        },
      });
      expect(answer.status).toBe(422);
      const pointers = answer.json.errors.map((error: { pointer: string }) => error.pointer);
      expect(pointers.sort()).toEqual([
        '#/currency',
        '#/id',
        '#/limits/0/amount',
        '#/limits/1/amount',
        '#/limits/2/amount',
        '#/limits/3/per',
        '#/limits/4/kind',
        '#/limits/5/burst',
        '#/limits/6/warn_at',
        '#/limits/7/unit',
        '#/limits/8/local_amount',
        '#/limits/9/by',
        '#/name',
        '#/plan',
        '#/timezone',
      ]);
    });

    it('refuses two limits of a kind and window, and an id that is taken', async () => {
      const limit = { kind: 'requests', amount: '1', per: 'second' };
      const twice = await api.call('POST', '/v1/customers', { body: { name: 'Twice', limits: [limit, limit] } });
      expect(twice.json.errors).toEqual([
        { pointer: '#/limits/1', detail: 'There is a limit requests/second already.' },
      ]);
      await api.call('POST', '/v1/customers', { body: { id: 'taken', name: 'First' } });
      const second = await api.call('POST', '/v1/customers', { body: { id: 'taken', name: 'Second' } });
      expect(second.json).toMatchObject({ status: 409, code: 'already_exists' });
    });

    it('changes what is given and leaves the rest', async () => {
      await api.call('POST', '/v1/customers', {
        body: { id: 'moving', name: 'Moving', limits: [{ kind: 'concurrency', amount: '5' }] },
      });
      api.clock.nowMs += 60_000;
      const changed = await api.call('PATCH', '/v1/customers/moving', { body: { timezone: 'Asia/Tokyo' } });
      expect(changed.json).toMatchObject({ name: 'Moving', timezone: 'Asia/Tokyo', limits: [{ amount: '5' }] });
      expect(changed.json.updated_at).not.toBe(changed.json.created_at);
      const currency = await api.call('PATCH', '/v1/customers/moving', { body: { currency: 'EUR' } });
      expect(currency.json.errors[0].pointer).toBe('#/currency');
      expect((await api.call('PATCH', '/v1/customers/nobody', { body: {} })).json.code).toBe('not_found');
    });

    it('pages through all of them once, while others are added', async () => {
      for (let i = 0; i < 7; i++) {
        await api.call('POST', '/v1/customers', { body: { id: `page-${i}`, name: `Page ${i}` } });
      }
      const seen: string[] = [];
      let cursor: string | null = null;
      let round = 0;
      do {
        const query: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
        const page = await api.call('GET', `/v1/customers?limit=3${query}`);
        expect(page.json.data.length).toBeLessThanOrEqual(3);
        seen.push(...page.json.data.map((customer: { id: string }) => customer.id));
        cursor = page.json.next_cursor;
        await api.call('POST', '/v1/customers', { body: { id: `page-${round}-late`, name: 'Late' } });
        round++;
      } while (cursor !== null);
      expect(new Set(seen).size).toBe(seen.length);
      for (let i = 0; i < 7; i++) expect(seen).toContain(`page-${i}`);
      for (const bad of [
        'nonsense',
        Buffer.from('["a","b"]').toString('base64url'),
        Buffer.from('7').toString('base64url'),
      ]) {
        const answer = await api.call('GET', `/v1/customers?cursor=${bad}`);
        expect(answer.json.errors).toEqual([{ parameter: 'cursor', detail: 'This is no cursor of this list.' }]);
      }
      const many = await api.call('GET', '/v1/customers?limit=201&limits=1');
      expect(many.json.errors.map((error: { parameter: string }) => error.parameter)).toEqual(['limit', 'limits']);
    });
  });
}
