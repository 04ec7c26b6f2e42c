import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';
import { IDEMPOTENCY_DAYS } from './idempotency.ts';

for (const kind of DATABASE_KINDS) {
  describe(`Idempotency-Key on ${kind}`, () => {
    let api: TestApi;
    beforeAll(async () => {
      api = await testApi(kind);
    });
    afterAll(() => api.close());

    const create = (idempotencyKey: string, body: object, token?: string) =>
      api.call('POST', '/v1/customers', { idempotencyKey, body, ...(token ? { token } : {}) });

    it('answers a repeat as the first time, whatever the order of its fields', async () => {
      const first = await create('a', { name: 'A', timezone: 'UTC' });
      const repeat = await create('a', { timezone: 'UTC', name: 'A' });
      expect(repeat.status).toBe(201);
      expect(repeat.json).toEqual(first.json);
      expect([first, repeat].map((answer) => answer.headers.get('idempotent-replayed'))).toEqual([null, 'true']);
    });

    it('refuses the key with another body, and on another path', async () => {
      await create('b', { name: 'B' });
      expect((await create('b', { name: 'C' })).json).toMatchObject({ status: 409, code: 'idempotency_conflict' });
      const elsewhere = await api.call('POST', '/v1/tokens', {
        idempotencyKey: 'b',
        body: { name: 'B', role: 'viewer' },
      });
      expect(elsewhere.json.code).toBe('idempotency_conflict');
    });

    it('keeps the keys of different tokens apart', async () => {
      const mine = await create('c', { name: 'C' });
      const theirs = await create('c', { name: 'D' }, api.tokens.ops);
      expect([mine.status, theirs.status]).toEqual([201, 201]);
    });

    it('does the work once when the same request comes many times at once', async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => create('d', { name: 'At once' })));
      expect(new Set(answers.map((answer) => answer.json.id)).size).toBe(1);
      expect(answers.map((answer) => answer.status)).toEqual(Array(20).fill(201));
      const others = await Promise.all(
        Array.from({ length: 10 }, (_, i) => create('e', { id: `race-${i}`, name: 'Race' })),
      );
      expect(others.filter((answer) => answer.status === 201)).toHaveLength(1);
      expect(others.filter((answer) => answer.json.code === 'idempotency_conflict')).toHaveLength(9);
    });

    it('leaves nothing behind when the work fails, so that the key can be used again', async () => {
      await api.call('POST', '/v1/customers', { body: { id: 'there', name: 'There' } });
      expect((await create('f', { id: 'there', name: 'Again' })).json.code).toBe('already_exists');
      expect((await create('f', { id: 'free', name: 'Again' })).status).toBe(201);
      expect((await create('g', { name: '' })).status).toBe(422);
      expect((await create('g', { name: 'Right' })).status).toBe(201);
    });

    it('takes the key anew after its days are over', async () => {
      const first = await create('h', { name: 'H' });
      api.clock.nowMs += IDEMPOTENCY_DAYS * 86_400_000;
      const later = await create('h', { name: 'Other' });
      expect(later.status).toBe(201);
      expect(later.json.id).not.toBe(first.json.id);
    });

    it('wants a key of visible ASCII', async () => {
      const answer = await create('x'.repeat(256), { name: 'Long' });
      expect(answer.json.errors).toEqual([
        { header: 'Idempotency-Key', detail: 'Wants 1 to 255 visible ASCII characters.' },
      ]);
    });
  });
}
