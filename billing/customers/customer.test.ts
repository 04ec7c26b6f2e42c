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
      expect(created.json.limits).toEqual([
        { id: 'requests/minute', kind: 'requests', amount: '600', per: 'minute', burst: '50' },
        { id: 'tokens/minute', kind: 'tokens', amount: '200000', per: 'minute', burst: null },
        { id: 'concurrency', kind: 'concurrency', amount: '50', per: null, burst: null },
        {
          id: 'budget/month',
          kind: 'budget',
          amount: { amount: '499.999999999', currency: 'USD' },
          per: 'month',
          burst: null,
        },
      ]);
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
