import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyConfig } from '#billing/apply-config.ts';
import type { CustomerConfig } from '#config/config.ts';
import { KEY_POLICY_VERSION, type KeyPolicy } from '#core/key-policy.ts';
import { SILENT } from '#core/log.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';
import { DATABASE_KINDS } from '#test/support/database.ts';
import { policyFeed } from './feed.ts';

function configKey(key: string, customer: string): KeyPolicy {
  return {
    version: KEY_POLICY_VERSION,
    key,
    customer,
    secretHashes: ['0'.repeat(64)],
    state: 'active',
    expiresAtMs: null,
    models: ['gpt-*'],
    labels: {},
    limits: [
      {
        id: 'requests/minute',
        scope: 'customer',
        kind: 'requests',
        amount: '5',
        currency: null,
        per: 'minute',
        burst: null,
        timezone: 'UTC',
      },
      {
        id: 'k/concurrency',
        scope: 'key',
        kind: 'concurrency',
        amount: '2',
        currency: null,
        per: null,
        burst: null,
        timezone: 'UTC',
      },
    ],
  };
}

function configCustomer(id: string, ...keys: string[]): CustomerConfig {
  const limits = configKey('x', id).limits.filter((limit) => limit.scope === 'customer');
  const policies = keys.map((key) => configKey(key, id));
  return { id, name: id, timezone: 'UTC', currency: 'USD', plan: null, limits, keys: policies };
}

for (const kind of DATABASE_KINDS) {
  describe(`key policies on ${kind}`, () => {
    let api: TestApi;
    beforeAll(async () => {
      api = await testApi(kind);
      await api.call('POST', '/v1/customers', {
        body: { id: 'acme', name: 'Acme', limits: [{ kind: 'requests', amount: '600', per: 'minute' }] },
      });
    });
    afterAll(() => api.close());

    const policies = async (after?: string) => {
      const query = after === undefined ? '' : `?wait_seconds=0&after=${after}`;
      return (await api.call('GET', `/v1/policies${query}`, { token: api.tokens.ingest })).json;
    };
    const createKey = (id: string, customer = 'acme') =>
      api.call('POST', '/v1/keys', {
        body: { id, customer, name: id, limits: [{ kind: 'concurrency', amount: '3' }] },
      });

    it('tell what a key may do, with the limits of its customer', async () => {
      await createKey('one');
      const { policies: all, reset } = await policies();
      expect(reset).toBe(true);
      expect(all).toEqual([
        {
          version: 1,
          key: 'one',
          customer: 'acme',
          secretHashes: [expect.stringMatching(/^[0-9a-f]{64}$/)],
          state: 'active',
          expiresAtMs: null,
          models: [],
          labels: {},
          limits: [
            {
              id: 'requests/minute',
              scope: 'customer',
              kind: 'requests',
              amount: '600',
              currency: null,
              per: 'minute',
              burst: null,
              timezone: 'UTC',
            },
            {
              id: 'one/concurrency',
              scope: 'key',
              kind: 'concurrency',
              amount: '3',
              currency: null,
              per: null,
              burst: null,
              timezone: 'UTC',
            },
          ],
        },
      ]);
    });

    it('tell only what changed after a version, and everything to whom the version means nothing', async () => {
      await createKey('two');
      const { version } = await policies();
      expect(await policies(version)).toEqual({ version, reset: false, policies: [], removed: [], halts: [] });
      await api.call('PATCH', '/v1/keys/two', { body: { models: ['a*'] } });
      const changes = await policies(version);
      expect(changes.reset).toBe(false);
      expect(changes.policies.map((one: KeyPolicy) => [one.key, one.models])).toEqual([['two', ['a*']]]);
      const [epoch, number] = version.split('.');
      for (const unknown of [`other.${number}`, `${epoch}.999999`, 'rubbish']) {
        expect(await policies(unknown)).toMatchObject({ reset: true, version: changes.version });
      }
    });

    it('reach who waits as soon as they are committed, and nobody waits longer than asked', async () => {
      const { version } = await policies();
      const waiting = api.policies.changesAfter(version, 20_000);
      await createKey('three');
      expect((await waiting).policies.map((one) => one.key)).toEqual(['three']);
      const now = (await policies()).version;
      expect(await api.policies.changesAfter(now, 10)).toMatchObject({ version: now, policies: [] });
      const gone = new AbortController();
      const hungUp = api.policies.changesAfter(now, 20_000, gone.signal);
      gone.abort();
      expect((await hungUp).policies).toEqual([]);
    });

    it('let everybody go when the server closes, and refuse who comes then', async () => {
      const feed = policyFeed({ db: api.test.db, clock: () => api.clock.nowMs, log: SILENT });
      const { version } = await policies();
      const waiting = feed.changesAfter(version, 20_000);
      feed.close();
      await expect(Promise.race([waiting, feed.changesAfter(version, 20_000)])).rejects.toMatchObject({
        code: 'shutting_down',
      });
      expect((await waiting).policies).toEqual([]);
    });

    it('reach who waits when another process has changed them', async () => {
      const { version } = await policies();
      const waiting = api.policies.changesAfter(version, 20_000);
      await api.test.db.transaction(async () => undefined);
      // No nudge: as from a process that shares nothing but the database.
      await applyConfig(api.test.db, { customers: [configCustomer('acme')], meters: [], plans: [] }, api.clock.nowMs);
      expect((await waiting).policies.length).toBeGreaterThan(0);
    });

    it('follow the customer: its limits and its time zone', async () => {
      await api.call('POST', '/v1/customers', { body: { id: 'mover', name: 'Mover' } });
      await createKey('moving', 'mover');
      const { version } = await policies();
      await api.call('PATCH', '/v1/customers/mover', {
        body: {
          timezone: 'Asia/Tokyo',
          limits: [{ kind: 'budget', amount: { amount: '5', currency: 'USD' }, per: 'month' }],
        },
      });
      const changes = await policies(version);
      expect(changes.policies).toHaveLength(1);
      expect(changes.policies[0].limits).toEqual([
        expect.objectContaining({ id: 'budget/month', amount: '5000000000', timezone: 'Asia/Tokyo' }),
        expect.objectContaining({ id: 'moving/concurrency', timezone: 'Asia/Tokyo' }),
      ]);
    });

    it('miss nothing when keys and their customer change at the same time', async () => {
      await api.call('POST', '/v1/customers', { body: { id: 'busy', name: 'Busy' } });
      let version: string = (await policies()).version;
      const told = new Map<string, KeyPolicy>();
      let working = true;
      const follow = async () => {
        while (working) {
          const changes = await policies(version);
          for (const policy of changes.policies) told.set(policy.key, policy);
          version = changes.version;
        }
      };
      const following = follow();
      await Promise.all([
        ...Array.from({ length: 12 }, (_, i) => createKey(`busy-${i}`, 'busy')),
        ...Array.from({ length: 12 }, (_, i) =>
          api.call('PATCH', '/v1/customers/busy', { body: { limits: [{ kind: 'concurrency', amount: `${i + 1}` }] } }),
        ),
      ]);
      working = false;
      await following;
      for (const policy of (await policies(version)).policies) told.set(policy.key, policy);
      const wanted = (await policies()).policies.filter((one: KeyPolicy) => one.customer === 'busy');
      expect(wanted).toHaveLength(12);
      expect(new Set(wanted.map((one: KeyPolicy) => one.limits[0]?.amount)).size).toBe(1);
      for (const policy of wanted) expect(told.get(policy.key)).toEqual(policy);
    });
  });

  describe(`customers and keys of the configuration on ${kind}`, () => {
    let api: TestApi;
    beforeAll(async () => {
      api = await testApi(kind);
    });
    afterAll(() => api.close());

    const apply = (...customers: CustomerConfig[]) =>
      applyConfig(api.test.db, { customers, meters: [], plans: [] }, api.clock.nowMs);
    const get = async (path: string) => (await api.call('GET', path)).json;

    it('stand in the database, read-only for the API, and applying them again changes nothing', async () => {
      await apply(configCustomer('acme', 'prod'));
      const [customer, key] = [await get('/v1/customers/acme'), await get('/v1/keys/prod')];
      expect(customer).toMatchObject({ managed_by: 'config', limits: [{ id: 'requests/minute', amount: '5' }] });
      expect(key).toMatchObject({ managed_by: 'config', limits: [{ id: 'k/concurrency' }], secrets: [] });
      api.clock.nowMs += 1000;
      await apply(configCustomer('acme', 'prod'));
      expect([await get('/v1/customers/acme'), await get('/v1/keys/prod')]).toEqual([customer, key]);
      for (const [method, path, body] of [
        ['PATCH', '/v1/customers/acme', { name: 'x' }],
        ['PATCH', '/v1/keys/prod', { name: 'x' }],
        ['POST', '/v1/keys/prod/rotate', {}],
        ['POST', '/v1/keys/prod/revoke', {}],
      ] as const) {
        expect((await api.call(method, path, { body })).json).toMatchObject({ status: 409, code: 'managed_by_config' });
      }
      expect((await get('/v1/policies')).policies).toEqual([]);
    });

    it('are marked when they are dropped, and are back when they come back', async () => {
      await apply(configCustomer('acme'), configCustomer('brief', 'short'));
      expect((await get('/v1/keys/prod')).removed_at).not.toBeNull();
      await apply(configCustomer('acme', 'prod'));
      expect((await get('/v1/keys/prod')).removed_at).toBeNull();
      expect((await get('/v1/customers/brief')).removed_at).not.toBeNull();
      const refused = await api.call('POST', '/v1/keys', { body: { customer: 'brief', name: 'x' } });
      expect(refused.json.code).toBe('state_conflict');
    });

    it('switch off the keys that the API has made for a customer that is dropped', async () => {
      await api.call('POST', '/v1/keys', { body: { id: 'made-here', customer: 'acme', name: 'x' } });
      const stateOf = async () =>
        (await get('/v1/policies')).policies.find((one: KeyPolicy) => one.key === 'made-here')?.state;
      expect(await stateOf()).toBe('active');
      await apply();
      expect(await stateOf()).toBe('revoked');
      await apply(configCustomer('acme', 'prod'));
      expect(await stateOf()).toBe('active');
    });

    it('take over what the API has made: its secret works no more, and gateways forget it', async () => {
      const { version } = await get('/v1/policies');
      await apply(configCustomer('acme', 'prod', 'made-here'));
      const changes = await get(`/v1/policies?after=${version}`);
      expect(changes).toMatchObject({ policies: [], removed: ['made-here'] });
      expect((await get('/v1/policies')).policies).toEqual([]);
      expect(await get('/v1/keys/made-here')).toMatchObject({ managed_by: 'config', secrets: [] });
    });
  });
}
