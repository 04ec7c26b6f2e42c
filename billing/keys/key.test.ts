import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from '#billing/db/database.ts';
import { isWellFormedSecret } from '#config/secret.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

for (const kind of DATABASE_KINDS) {
  describe(`keys on ${kind}`, () => {
    let api: TestApi;
    const said: string[] = [];
    const say = (fields: object, text: string) => said.push(JSON.stringify({ fields, text }));
    beforeAll(async () => {
      api = await testApi(kind, { log: { debug: say, info: say, warn: say, error: say } });
      await api.call('POST', '/v1/customers', { body: { id: 'acme', name: 'Acme' } });
    });
    afterAll(() => api.close());

    async function create(body: object): Promise<{ id: string; secret: string }> {
      const answer = await api.call('POST', '/v1/keys', { body: { customer: 'acme', name: 'A key', ...body } });
      expect(answer.status).toBe(201);
      return answer.json;
    }

    async function hashesOf(id: string): Promise<string[]> {
      const answer = await api.call('GET', '/v1/policies');
      return answer.json.policies.find((policy: { key: string }) => policy.key === id)?.secretHashes;
    }

    it('shows the secret once; what is kept is its SHA-256', async () => {
      const answer = await api.call('POST', '/v1/keys', {
        body: {
          customer: 'acme',
          name: 'Search',
          mode: 'test',
          models: ['gpt-*'],
          labels: { team: 'search' },
          limits: [{ kind: 'concurrency', amount: '2' }],
          expires_at: '2027-01-01T00:00:00+01:00',
        },
      });
      const { secret, ...key } = answer.json;
      expect(secret).toMatch(/^wr_test_/);
      expect(isWellFormedSecret(secret)).toBe(true);
      expect(key).toMatchObject({
        customer: 'acme',
        state: 'active',
        expires_at: '2026-12-31T23:00:00.000Z',
        limits: [{ id: `${key.id}/concurrency` }],
        secrets: [{ hint: secret.slice(-4), expires_at: null }],
      });
      expect((await api.call('GET', `/v1/keys/${key.id}`)).json).toEqual(key);
      expect(await hashesOf(key.id)).toEqual([sha256(secret)]);
      const tables = await api.test.db.query<{ name: string }>(
        sql`select table_name as name from information_schema.tables where table_schema = 'public'`,
      );
      for (const { name } of tables) {
        const rows = await api.test.db.query({ text: `select * from "${name}"`, values: [], name: undefined });
        const text = JSON.stringify(rows, (_, value) => (typeof value === 'bigint' ? value.toString() : value));
        expect(text, name).not.toContain(secret);
      }
    });

    it('keeps both secrets working through the grace period of a rotation, and then one', async () => {
      const { id, secret } = await create({});
      const rotated = await api.call('POST', `/v1/keys/${id}/rotate`, { body: { grace_seconds: 3600 } });
      expect(rotated.json.secret).not.toBe(secret);
      expect(rotated.json.id).toBe(id);
      expect(rotated.json.secrets).toHaveLength(2);
      expect(await hashesOf(id)).toEqual([sha256(secret), sha256(rotated.json.secret)]);
      api.clock.nowMs += 3_599_000;
      await api.policies.changesAfter((await api.call('GET', '/v1/policies')).json.version, 1);
      expect(await hashesOf(id)).toHaveLength(2);
      const { version } = (await api.call('GET', '/v1/policies')).json;
      api.clock.nowMs += 1_000;
      const changes = await api.policies.changesAfter(version, 10_000);
      expect(changes.policies.map((policy) => policy.secretHashes)).toEqual([[sha256(rotated.json.secret)]]);
      expect((await api.call('GET', `/v1/keys/${id}`)).json.secrets).toHaveLength(1);
    });

    it('ends the old secret at once when the grace period is zero', async () => {
      const { id } = await create({});
      const rotated = await api.call('POST', `/v1/keys/${id}/rotate`, { body: { grace_seconds: 0 } });
      expect(await hashesOf(id)).toEqual([sha256(rotated.json.secret)]);
    });

    it('revokes for good, twice as well as once', async () => {
      const { id } = await create({});
      expect((await api.call('POST', `/v1/keys/${id}/revoke`)).json.state).toBe('revoked');
      expect((await api.call('POST', `/v1/keys/${id}/revoke`)).status).toBe(200);
      expect((await api.call('POST', `/v1/keys/${id}/rotate`)).json.code).toBe('state_conflict');
      const policies = (await api.call('GET', '/v1/policies')).json.policies;
      expect(policies.find((policy: { key: string }) => policy.key === id).state).toBe('revoked');
    });

    it('changes what is given and leaves the rest', async () => {
      const { id } = await create({ models: ['a*'], labels: { team: 'a' }, expires_at: '2027-01-01T00:00:00Z' });
      const changed = await api.call('PATCH', `/v1/keys/${id}`, { body: { models: ['b*'], expires_at: null } });
      expect(changed.json).toMatchObject({ models: ['b*'], labels: { team: 'a' }, expires_at: null, name: 'A key' });
      expect((await api.call('PATCH', `/v1/keys/${id}`, { body: { name: 'New' } })).json.models).toEqual(['b*']);
    });

    it('lists those of one customer', async () => {
      await api.call('POST', '/v1/customers', { body: { id: 'other', name: 'Other' } });
      const { id } = await create({ customer: 'other' });
      const list = await api.call('GET', '/v1/keys?customer=other');
      expect(list.json.data.map((key: { id: string }) => key.id)).toEqual([id]);
      expect(list.json.data[0].secrets).toHaveLength(1);
      expect((await api.call('POST', '/v1/keys', { body: { customer: 'nobody', name: 'x' } })).json.code).toBe(
        'not_found',
      );
    });

    it('has told no secret to a log, an answer that is repeated or any other answer', async () => {
      const body = { customer: 'acme', name: 'Told once' };
      const first = await api.call('POST', '/v1/keys', { body, idempotencyKey: 'told-once' });
      const repeat = await api.call('POST', '/v1/keys', { body, idempotencyKey: 'told-once' });
      expect(repeat.headers.get('idempotent-replayed')).toBe('true');
      expect(repeat.json).toEqual({ ...first.json, secret: null });
      const answers = [];
      for (const path of ['/v1/keys?limit=200', '/v1/customers', '/v1/policies', '/v1/tokens']) {
        const answer = await api.call('GET', path);
        expect(answer.status).toBe(200);
        answers.push(JSON.stringify(answer.json));
      }
      expect(said.length).toBeGreaterThan(20);
      expect([...answers, ...said].join('\n')).not.toMatch(/wr_(live|test|api)_/);
    });
  });
}
