import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { modelAllowed } from '#core/key-policy.ts';
import { good, problems, yaml } from '#test/support/config-text.ts';
import { newSecret } from './secret.ts';

const HASH = `sha256:${'a'.repeat(64)}`;

/** `${NAME}`, which a template cannot hold as it is. */
function variable(name: string): string {
  return `\${${name}}`;
}

const FULL = yaml`
  gateway: { port: 9000, call_timeout: 2m, body_bytes_max: 1.5MiB, journal: { fsync: always, bytes_max: 1MiB } }
  upstreams:
    openai: { wire: openai, base_url: https://api.openai.com/v1/, key: ${variable('OPENAI_API_KEY')} }
    local-vllm: { wire: openai, base_url: http://gpu-1:8000/v1, provider: lab, models: ["llama-*"] }
  routes:
    - { model: "gpt-*", to: [{ upstream: openai, weight: 9 }, { upstream: local-vllm, model: llama-3.3-70b }], fallback: [local-vllm] }
  halts:
    - { customer: acme, cut_open: true }
    - { upstream: openai, model: "o1*" }
  models:
    - provider: lab
      model: llama-*
      context_tokens: 128k
      prices:
        - { unit: input_tokens, amount: 0.10, per: 1M }
        - { unit: output_tokens, amount: 0.40 USD, per: 1M }
  customers:
    acme:
      name: Acme Inc
      timezone: Europe/Paris
      plan: growth
      limits:
        - { requests: 600, per: minute }
        - { tokens: 200k, per: minute, burst: 50k }
        - { concurrency: 50 }
        - { budget: 500 USD, per: month, mode: hard }
      keys:
        acme-prod: { secret: "${HASH}", models: ["gpt-*", "claude-*"], labels: { team: search }, expires: 2027-01-01 }
        acme-old: { secret: ["sha256:${'b'.repeat(64)}", "sha256:${'c'.repeat(64)}"], revoked: true, rpm_limit: 60, tpm_limit: 1M, max_parallel_requests: 4, max_budget: 12.50, budget_duration: 1mo }
  plans:
    growth:
      fee: 49
      prices:
        - { unit: input_tokens, model: "gpt-4o*", amount: 3.10, per: 1M }
        - { unit: calls, amount: 0.001 }
`;

describe('a configuration', () => {
  it('is what the file says, with every default filled in', async () => {
    const config = await good(FULL, { OPENAI_API_KEY: 'sk-1' });
    expect(config.gateway).toMatchObject({
      port: 9000,
      host: '0.0.0.0',
      bodyBytesMax: 1_572_864,
      callTimeoutMs: 120_000,
      headersTimeoutMs: 120_000,
      idleTimeoutMs: 120_000,
      connectTimeoutMs: 5_000,
      onDisconnect: 'drain',
      journal: { fsync: 'always', bytesMax: 1_048_576, segmentBytesMax: 524_288 },
    });
    expect(config.upstreams.get('openai')).toEqual({
      name: 'openai',
      addresses: { openai: 'https://api.openai.com/v1' },
      auth: null,
      provider: 'openai',
      region: null,
      credential: 'sk-1',
      headers: {},
      models: null,
      includeUsage: true,
      passthrough: false,
      units: [],
    });
    expect(config.upstreams.get('local-vllm')).toMatchObject({
      provider: 'lab',
      credential: null,
      models: ['llama-*'],
    });
    expect(config.routes).toEqual([
      {
        model: 'gpt-*',
        to: [
          { upstream: 'openai', weight: 9, model: null },
          { upstream: 'local-vllm', weight: 1, model: 'llama-3.3-70b' },
        ],
        fallback: [{ upstream: 'local-vllm', model: null }],
      },
    ]);
    expect(config.plans).toEqual([
      {
        id: 'growth',
        name: 'growth',
        currency: 'USD',
        interval: 'month',
        fee: '49',
        prices: [
          { unit: 'input_tokens', model: 'gpt-4o*', amount: '3.10', per: '1000000' },
          { unit: 'calls', model: '*', amount: '0.001', per: '1' },
        ],
        charges: [],
      },
    ]);
    expect(config.priceBook.findModel('lab', 'llama-3.3-70b', 'lab', '')?.contextTokens).toBe(128_000n);
  });

  it('compiles a key to a policy with the limits of its customer and its own', async () => {
    const [acme] = (await good(FULL, { OPENAI_API_KEY: 'sk-1' })).customers;
    const [prod, old] = acme?.keys ?? [];
    expect(acme).toMatchObject({ id: 'acme', name: 'Acme Inc', currency: 'USD', plan: 'growth' });
    expect(prod).toMatchObject({
      version: 1,
      key: 'acme-prod',
      customer: 'acme',
      secretHashes: ['a'.repeat(64)],
      state: 'active',
      // Midnight in Paris
      expiresAtMs: Date.parse('2026-12-31T23:00:00Z'),
      labels: { team: 'search' },
    });
    const base = { scope: 'customer', currency: null, burst: null, timezone: 'Europe/Paris' };
    expect(prod?.limits).toEqual([
      { ...base, id: 'customer/requests/minute', kind: 'requests', amount: '600', per: 'minute' },
      { ...base, id: 'customer/tokens/minute', kind: 'tokens', amount: '200000', per: 'minute', burst: '50000' },
      { ...base, id: 'customer/concurrency', kind: 'concurrency', amount: '50', per: null },
      { ...base, id: 'customer/budget/month', kind: 'budget', amount: '500000000000', per: 'month', currency: 'USD' },
    ]);
    expect(old?.state).toBe('revoked');
    expect(old?.secretHashes).toHaveLength(2);
    expect(old?.limits.slice(4).map(({ id, amount }) => [id, amount])).toEqual([
      ['key/acme-old/requests/minute', '60'],
      ['key/acme-old/tokens/minute', '1000000'],
      ['key/acme-old/concurrency', '4'],
      ['key/acme-old/budget/month', '12500000000'],
    ]);
    expect(modelAllowed(prod?.models ?? [], 'gpt-4o')).toBe(true);
  });

  it('says what is switched off', async () => {
    const nothing = { customer: null, key: null, upstream: null, model: null, cutOpen: false };
    expect((await good(FULL, { OPENAI_API_KEY: 'sk-1' })).halts).toEqual([
      { ...nothing, id: 'config/0', customer: 'acme', cutOpen: true },
      { ...nothing, id: 'config/1', upstream: 'openai', model: 'o1*' },
    ]);
  });

  it('may be empty', async () => {
    for (const text of ['', '# nothing yet\n', 'customers:\nplans:\n', '{}']) {
      const config = await good(text);
      expect(config.customers).toEqual([]);
      expect(config.gateway.port).toBe(8787);
    }
  });

  it('has a version that changes with its meaning and with nothing else', async () => {
    const env = { OPENAI_API_KEY: 'sk-1' };
    const version = (await good(FULL, env)).version;
    expect((await good(`# a comment\n${FULL.replaceAll('200k', '200000')}`, env)).version).toBe(version);
    expect((await good(FULL.replaceAll('200k', '201k'), env)).version).not.toBe(version);
    expect((await good(FULL.replaceAll('0.10', '0.11'), env)).version).not.toBe(version);
    expect((await good(FULL, { OPENAI_API_KEY: 'sk-2' })).version).not.toBe(version);
  });

  it('compiles every kind of limit, and says no more of one than the file does', async () => {
    const [acme] = (
      await good(yaml`
        plans:
          growth: { currency: EUR, prices: [{ unit: input_tokens, amount: 3, per: 1M, model: "gpt-*" }] }
        customers:
          acme:
            timezone: Europe/Paris
            plan: growth
            limits:
              - { tokens: 2M, per: day, models: ["gpt-4o*", "a"], labels: { team: search, app: x }, by: user }
              - { quantity: 100, unit: images, per: quarter, mode: shadow, override: { quantity: 150, until: 2026-12-01 } }
              - { budget: 5 USD, per: session, on_store_down: local, local: { budget: 1 USD } }
              - { budget: 400 EUR, per: year, basis: price, warn_at: [95%, 80%] }
              - { requests: 10, per: second, by: label:team, on_store_down: open }
            keys:
              k: { secret: "${HASH}", max_budget: 9, soft_budget: 7, budget_duration: 30d, max_budget_per_session: 0.5, model_rpm_limit: { gpt-4o: 3 }, model_tpm_limit: { gpt-4o: 4k } }
              total: { secret: "${HASH.replace(/.$/, 'f')}", max_budget: 9 }
      `)
    ).customers;
    const [k, total] = acme?.keys ?? [];
    expect(k?.version).toBe(2);
    const base = { scope: 'customer', currency: null, burst: null, timezone: 'Europe/Paris' };
    expect(acme?.limits).toEqual([
      {
        ...base,
        id: 'customer/tokens/day/a/gpt-4o*/app=x/team=search/by-user',
        kind: 'tokens',
        amount: '2000000',
        per: 'day',
        models: ['gpt-4o*', 'a'],
        labels: { team: 'search', app: 'x' },
        by: 'user',
      },
      {
        ...base,
        id: 'customer/quantity/images/quarter/shadow',
        kind: 'quantity',
        unit: 'images',
        amount: '100',
        per: 'quarter',
        mode: 'shadow',
        override: { amount: '150', untilMs: Date.parse('2026-11-30T23:00:00Z') },
      },
      {
        ...base,
        id: 'customer/budget/session',
        kind: 'budget',
        amount: '5000000000',
        currency: 'USD',
        per: 'session',
        onStoreDown: 'local',
        localAmount: '1000000000',
      },
      {
        ...base,
        id: 'customer/budget/year/price',
        kind: 'budget',
        amount: '400000000000',
        currency: 'EUR',
        per: 'year',
        warnAt: [80, 95],
        basis: 'price',
        prices: [{ unit: 'input_tokens', model: 'gpt-*', amount: '3', per: '1000000' }],
      },
      {
        ...base,
        id: 'customer/requests/second/by-label:team',
        kind: 'requests',
        amount: '10',
        per: 'second',
        by: 'label:team',
        onStoreDown: 'open',
      },
    ]);
    expect(k?.limits.slice(5).map(({ id, amount }) => [id, amount])).toEqual([
      ['key/k/budget/month', '9000000000'],
      ['key/k/budget/month/soft', '7000000000'],
      ['key/k/budget/session', '500000000'],
      ['key/k/requests/minute/gpt-4o', '3'],
      ['key/k/tokens/minute/gpt-4o', '4000'],
    ]);
    expect(total?.limits.slice(5).map(({ id }) => id)).toEqual(['key/total/budget/total']);
  });

  it('takes a budget in the price of a plan only where that is so much for each unit', async () => {
    const file = (plan: string, budget = '5 EUR') => `
      plans: { p: { currency: EUR, ${plan} } }
      customers: { a: { plan: p, limits: [{ budget: ${budget}, per: month, basis: price }] } }`;
    const prices = 'prices: [{ unit: calls, amount: 1 }]';
    expect(await problems(file(prices))).toEqual([]);
    expect((await problems(file('fee: 5'))).join()).toContain('limits[0].basis: needs a plan with `prices`');
    expect((await problems(file(prices, '5 USD'))).join()).toContain('limits[0].budget: must be in EUR');
  });

  it('keeps the ids of limits when their amounts change, so that the counters go on', async () => {
    const env = { OPENAI_API_KEY: 'sk-1' };
    const ids = async (text: string) => (await good(text, env)).customers[0]?.keys[0]?.limits.map((limit) => limit.id);
    expect(await ids(FULL.replace('600', '6k').replace('500 USD', '900 USD').replace(', burst: 50k', ''))).toEqual(
      await ids(FULL),
    );
  });

  it('knows a provider by its address, by its name, and takes its address from the catalogue', async () => {
    const config = await good(yaml`
      allow_plaintext_secrets: true
      upstreams:
        gemini: { wire: openai, key: k }
        main: { wire: openai, base_url: https://api.anthropic.com/v1, key: k }
    `);
    expect(config.upstreams.get('gemini')).toMatchObject({
      provider: 'google',
      addresses: { openai: 'https://generativelanguage.googleapis.com/v1beta/openai' },
    });
    expect(config.upstreams.get('main')?.provider).toBe('anthropic');
  });

  it('takes the addresses of every wire that a provider has, or those that the file gives', async () => {
    const config = await good(yaml`
      allow_plaintext_secrets: true
      upstreams:
        anthropic: { key: k }
        native: { wire: anthropic, provider: anthropic, key: k, auth: bearer }
        gpu: { models: [m], base_urls: { anthropic: "http://gpu:8000/", openai: "http://gpu:8000/v1" }, passthrough: true }
    `);
    const addressesOf = (name: string) => config.upstreams.get(name)?.addresses;
    expect(addressesOf('anthropic')).toEqual({
      anthropic: 'https://api.anthropic.com',
      openai: 'https://api.anthropic.com/v1',
    });
    expect(addressesOf('native')).toEqual({ anthropic: 'https://api.anthropic.com' });
    expect(config.upstreams.get('native')?.auth).toBe('bearer');
    expect(addressesOf('gpu')).toEqual({ anthropic: 'http://gpu:8000', openai: 'http://gpu:8000/v1' });
    expect(config.upstreams.get('gpu')?.passthrough).toBe(true);
  });

  it('bills in the currency of the plan unless told otherwise', async () => {
    const config = await good(yaml`
      customers: { a: { plan: p }, b: {}, c: { currency: JPY } }
      plans: { p: { currency: EUR, fee: 10.50 EUR } }
    `);
    expect(config.customers.map((customer) => customer.currency)).toEqual(['EUR', 'USD', 'JPY']);
  });

  it('never lets a decimal become a binary number', async () => {
    const config = await good(yaml`
      plans: { p: { prices: [{ unit: input_tokens, amount: 0.100000000000000001, per: 1M }] } }
    `);
    expect(config.plans[0]?.prices[0]?.amount).toBe('0.100000000000000001');
  });
});

describe('variables of the environment', () => {
  it('are replaced in values, with defaults, anywhere in a text', async () => {
    const config = await good(
      yaml`
        gateway: { host: "${variable('HOST:-127.0.0.1')}", port: ${variable('PORT:-8000')} }
        upstreams: { lab: { wire: openai, base_url: "http://${variable('LAB')}:8000/v1", models: [a], headers: { x-a: ${variable('LAB')} } } }
      `,
      { LAB: 'gpu-1', HOST: '' },
    );
    expect(config.gateway).toMatchObject({ host: '127.0.0.1', port: 8000 });
    expect(config.upstreams.get('lab')?.addresses).toEqual({ openai: 'http://gpu-1:8000/v1' });
  });

  it('cannot change the structure of the file', async () => {
    const config = await good(`customers: { a: { name: ${variable('NAME')} } }`, {
      NAME: 'x }, b: { name: "y" } # \n',
    });
    expect(config.customers.map((customer) => customer.id)).toEqual(['a']);
    expect(config.customers[0]?.name).toBe('x }, b: { name: "y" } # \n');
  });

  it('are a mistake when they are missing, said once', async () => {
    expect(
      await problems(
        `upstreams:\n  openai: { wire: openai, key: ${variable('NOPE')} }\ngateway: { port: ${variable('PORT')} }\n`,
      ),
    ).toEqual([
      'w:2:32 upstreams.openai.key: The environment has no variable NOPE.',
      'w:3:18 gateway.port: The environment has no variable PORT.',
    ]);
  });

  it('stay as they are with two dollars, and are not looked for in comments', async () => {
    const config = await good(`# ${variable('NOPE')}\ncustomers: { a: { name: "$${variable('NOPE')}" } }`);
    expect(config.customers[0]?.name).toBe(variable('NOPE'));
  });

  it('are no names of fields', async () => {
    expect(await problems(`customers: { "${variable('A')}": {} }`, { A: 'b' })).toEqual([
      'w:1:14 customers: The name of a field must be plain text.',
    ]);
  });
});

describe('secrets in plain text', () => {
  const secret = newSecret('live');
  const hash = createHash('sha256').update(secret).digest('hex');
  const text = `customers: { a: { keys: { k: { secret: ${secret} } } } }`;

  it('are refused, of keys and of upstreams', async () => {
    const found = await problems(yaml`
      upstreams: { openai: { wire: openai, key: sk-1, headers: { Authorization: Bearer x } } }
      ${text}
    `);
    expect(found.map((line) => line.replace(/: is a secret.*/, ''))).toEqual([
      'w:1:43 upstreams.openai.key',
      'w:1:75 upstreams.openai.headers.Authorization',
      'w:2:40 customers.a.keys.k.secret',
    ]);
    expect(found.join()).not.toContain(secret);
  });

  it('are taken and hashed when the file allows it', async () => {
    const config = await good(`allow_plaintext_secrets: true\n${text}`);
    expect(config.customers[0]?.keys[0]?.secretHashes).toEqual([hash]);
  });

  it('are no such when they come from the environment', async () => {
    const config = await good(`customers: { a: { keys: { k: { secret: ${variable('SECRET')} } } } }`, {
      SECRET: secret,
    });
    expect(config.customers[0]?.keys[0]?.secretHashes).toEqual([hash]);
    expect(await problems(`customers: { a: { keys: { k: { secret: "${variable(`S:-${secret}`)}" } } } }`)).toHaveLength(
      1,
    );
  });

  it('are refused when they are mistyped or too short, without being repeated', async () => {
    const wrong = `${secret.slice(0, -1)}${secret.endsWith('x') ? 'y' : 'x'}`;
    for (const one of [wrong, 'short', `sha256:${'A'.repeat(64)}`]) {
      const found = await problems(`allow_plaintext_secrets: true\n${text.replace(secret, one)}`);
      expect(found).toHaveLength(1);
      expect(found[0]).toMatch(/^w:2:40 customers.a.keys.k.secret: must be "sha256:" and/);
      expect(found[0]).not.toContain(one.slice(0, 20) === 'short' ? 'short"' : one);
    }
  });

  it('may not be shared by two keys, however they are written', async () => {
    const found = await problems(yaml`
      allow_plaintext_secrets: true
      customers:
        a: { keys: { k: { secret: ${secret} } } }
        b: { keys: { l: { secret: "sha256:${hash}" } } }
    `);
    expect(found).toEqual(['w:4:29 customers.b.keys.l.secret: is the secret of key "k" already']);
  });
});

describe('mistakes', () => {
  it('are all reported at once, each with its line', async () => {
    const text = yaml`
      gatway: { port: 8080 }
      gateway:
        call_timeout: 2 weeks
      upstreams:
        openai: { wire: openai, key: ${variable('OPENAI_KEY')} }
      routes:
        - { model: "gpt-*", to: [{ upstream: opnai }] }
      customers:
        acme:
          timezone: Europe/Pariss
          plan: grwoth
      plans:
        growth: {}
    `;
    expect(await problems(text)).toEqual([
      'w:1:1 gatway: is no field that is known here; did you mean "gateway"?',
      'w:3:17 gateway.call_timeout: must be a duration from 10ms to 24h, such as 500ms, 30s, 5m or 1h, not "2 weeks"',
      'w:5:32 upstreams.openai.key: The environment has no variable OPENAI_KEY.',
      'w:7:40 routes[0].to[0].upstream: no upstream is named "opnai"; did you mean "openai"?',
      'w:10:15 customers.acme.timezone: must be an IANA time zone such as Europe/Paris',
      'w:11:11 customers.acme.plan: no plan is named "grwoth"; did you mean "growth"?',
    ]);
  });

  it('in what is switched off are reported: a halt of nothing, or of an upstream that is not there', async () => {
    const text = yaml`
      upstreams:
        openai: { wire: openai }
      halts:
        - { cut_open: true }
        - { upstream: opnai, customer: acme }
        - { model: gpt-4o, usr: ann }
    `;
    expect(await problems(text)).toEqual([
      'w:4:5 halts[0]: must name a customer, a key, an upstream or a model',
      'w:5:17 halts[1].upstream: no upstream is named "opnai"; did you mean "openai"?',
      'w:6:22 halts[2].usr: is no field that is known here; known are customer, cut_open, key, model, upstream',
    ]);
  });

  it('in YAML itself are reported with their place', async () => {
    expect(await problems('customers:\n  a: {\n')).toEqual([expect.stringMatching(/^w:\d+:\d+ .+\.$/)]);
    expect(await problems('gateway: { port: 1 }\ngateway: {}\n')).toEqual(['w:2:1 Map keys must be unique.']);
    expect(await problems('a: &a [*a]\n')).toHaveLength(2);
    expect(await problems('- 1\n')).toEqual(['w:1:1 must be a map of fields']);
    expect(await problems('just text')).toEqual(['w:1:1 must be a map of fields']);
  });

  const cases: [string, string, string][] = [
    ['a field that is missing', 'upstreams: { openai: {} }\nroutes: [{ to: [openai] }]', 'routes[0].model: is missing'],
    [
      'an address with a credential',
      'upstreams: { a: { wire: openai, models: [x], base_url: "http://u:p@h/v1" } }',
      'upstreams.a.base_url: must be an http or https address without',
    ],
    [
      'an upstream without an address',
      'upstreams: { a: { wire: openai, models: [x] } }',
      'upstreams.a: must have a `base_url`',
    ],
    [
      'an address where nobody knows what is spoken',
      'upstreams: { a: { models: [x], base_url: "http://h/v1" } }',
      'upstreams.a: must have a `wire`',
    ],
    [
      'two ways to give addresses',
      'upstreams: { a: { models: [x], wire: openai, base_urls: { openai: "http://h/v1" } } }',
      'upstreams.a: must have either `base_urls` or',
    ],
    [
      'a wire that its provider has no address for',
      'upstreams: { openai: { wire: anthropic } }',
      'upstreams.openai: must have a `base_url`, since no address of OpenAI for "anthropic" is known',
    ],
    [
      'an upstream that nothing leads to',
      'upstreams: { a: { wire: openai, base_url: http://h/v1 } }',
      'upstreams.a: is never used',
    ],
    [
      'a provider that nobody knows',
      'upstreams: { a: { wire: openai, base_url: http://h/v1, models: [x], provider: opnai } }',
      'did you mean "openai"?',
    ],
    [
      'a header of our own',
      'upstreams: { openai: { wire: openai, headers: { Host: x } } }',
      'upstreams.openai.headers.Host: is set by the gateway itself',
    ],
    [
      'a header with a line break',
      'upstreams: { openai: { wire: openai, headers: { x-a: "a\\nb" } } }',
      'has characters that a header cannot have',
    ],
    ['a route to nowhere', 'routes: [{ model: x, to: [] }]', 'routes[0].to: must name at least one upstream'],
    [
      'a route without weight',
      'upstreams: { openai: { wire: openai } }\nroutes: [{ model: x, to: [{ upstream: openai, weight: 0 }] }]',
      'must have a weight above 0',
    ],
    [
      'a route that is never reached',
      'upstreams: { openai: { wire: openai } }\nroutes: [{ model: "*", to: [openai] }, { model: x, to: [openai] }]',
      'w:2:49 routes[1].model: is never reached',
    ],
    [
      'a wrong weight',
      'upstreams: { openai: { wire: openai } }\nroutes: [{ model: x, to: [{ upstream: openai, weight: -1 }] }]',
      'routes[0].to[0].weight: must be a whole number',
    ],
    [
      'a price for one token',
      'plans: { p: { prices: [{ unit: input_tokens, amount: 3 }] } }',
      'plans.p.prices[0].per: is missing; it must be said for tokens',
    ],
    [
      'a unit that there is not',
      'plans: { p: { prices: [{ unit: input_token, amount: 3, per: 1M }] } }',
      'did you mean "input_tokens"?',
    ],
    [
      'a price in another currency',
      'plans: { p: { prices: [{ unit: calls, amount: 3 EUR }] } }',
      'plans.p.prices[0].amount: must be in USD',
    ],
    [
      'a price that is hidden',
      'plans: { p: { prices: [{ unit: calls, amount: 3 }, { unit: calls, amount: 4, model: x }] } }',
      'plans.p.prices[1]: is never used',
    ],
    [
      'a fee finer than the currency',
      'plans: { p: { currency: JPY, fee: 10.5 } }',
      'plans.p.fee: must have at most 0 decimals in JPY',
    ],
    ['a plan of another period', 'plans: { p: { interval: year } }', '"year" is not supported yet'],
    [
      'a plan in another currency',
      'plans: { p: { currency: EUR } }\ncustomers: { a: { plan: p, currency: USD } }',
      'customers.a.currency: must be EUR',
    ],
    ['a currency that is none', 'customers: { a: { currency: usd } }', 'customers.a.currency: must be a currency'],
    [
      'a model for nobody',
      'models: [{ provider: lab, model: x }]',
      'models[0].provider: is the provider of no upstream',
    ],
    [
      'a part larger than its whole',
      'gateway: { headers_timeout: 2m, call_timeout: 1m }',
      'gateway.headers_timeout: must not exceed `call_timeout`',
    ],
    [
      'a journal of one segment',
      'gateway: { journal: { bytes_max: 1MiB, segment_bytes_max: 1MiB } }',
      'gateway.journal.segment_bytes_max: must be at most half',
    ],
    ['an id that is none', 'customers: { "a b": {} }', 'customers.a b: is no name for a customer'],
    ['a list that is none', 'customers: { a: { limits: { requests: 1 } } }', 'customers.a.limits: must be a list'],
    [
      'a key in two places',
      `customers: { a: { keys: { k: { secret: "${HASH}" } } }, b: { keys: { k: { secret: "sha256:${'b'.repeat(64)}" } } } }`,
      'customers.b.keys.k: is the id of a key of "a" already',
    ],
    [
      'too many secrets',
      `customers: { a: { keys: { k: { secret: ["${HASH}", x, y] } } } }`,
      'must be a list of at most 2',
    ],
    [
      'a date that is none',
      `customers: { a: { keys: { k: { secret: "${HASH}", expires: 2027-02-30 } } } }`,
      'customers.a.keys.k.expires: must be a day',
    ],
    ['too deep a file', `a: ${'['.repeat(40)}${']'.repeat(40)}`, 'nested too deeply'],
  ];
  it.each(cases)('such as %s are named', async (_, text, sentence) => {
    expect((await problems(text)).join('\n')).toContain(sentence);
  });

  const limits: [string, string][] = [
    ['{ requests: 10 }', 'must say per which window'],
    ['{ requests: 0, per: minute }', 'requests: must be a whole number from 1'],
    ['{ requests: 1.5, per: minute }', 'not "1.5"'],
    ['{ tokens: 3G, per: hour }', 'tokens: must be at most 2501999792 per hour'],
    ['{ tokens: 1, per: hour, burst: 3G }', 'burst: must be at most 2501999792'],
    ['{ tokens: 2M, per: day, burst: 5 }', 'burst: has a meaning for windows only'],
    ['{ tokens: 2M, per: fortnight }', 'per: must be "second", "minute"'],
    ['{ budget: 5 USD, per: minute }', 'per: has no meaning for a budget'],
    ['{ budget: 5 USD }', 'must say per which period'],
    ['{ budget: 5, per: month }', 'must be an amount with its currency'],
    ['{ budget: 5 EUR, per: month }', 'budget: must be in USD'],
    ['{ budget: 9000001 USD, per: month }', 'budget: must be at most 9000000 USD'],
    ['{ budget: 5 USD, per: month, mode: strict }', 'mode: must be "hard"'],
    ['{ budget: 5 USD, per: month, warn_at: [0.8] }', 'warn_at[0]: must be a percentage'],
    ['{ tokens: 5, per: minute, warn_at: [80%] }', 'warn_at: has a meaning for calendar periods'],
    ['{ concurrency: 5, per: minute }', 'per: has no meaning for calls in flight'],
    ['{ concurrency: 5, burst: 5 }', 'burst: has a meaning for windows only'],
    ['{ quantity: 5, per: day }', 'must say which unit'],
    ['{ quantity: 5, unit: imges, per: day }', 'did you mean "images"'],
    ['{ tokens: 5, unit: images, per: day }', 'unit: has a meaning for `quantity` only'],
    ['{ budget: 5 USD, per: session, by: session }', 'by: is said by `per: session` already'],
    ['{ requests: 5, per: day, by: team }', 'by: must be user, session, model or label:NAME'],
    ['{ requests: 5, per: day, basis: price }', 'basis: has a meaning for budgets only'],
    ['{ budget: 5 USD, per: day, basis: price }', 'basis: needs a customer with a plan'],
    ['{ requests: 5, per: day, override: { until: 2027-01-01 } }', 'override: must say another amount of requests'],
    ['{ requests: 5, per: day, override: { tokens: 5, until: 2027-01-01 } }', 'override: must say another amount'],
    ['{ requests: 5, per: day, override: { requests: 9 } }', 'override.until: is missing; it must be a day'],
    ['{ requests: 5, per: day, on_store_down: local }', 'on_store_down: must say how much'],
    ['{ requests: 5, per: day, local: { requests: 1 } }', 'local: has a meaning with'],
    [
      '{ tokens: 5, per: hour, on_store_down: local, local: { tokens: 3G } }',
      'local.tokens: must be at most 2501999792',
    ],
    ['{ requests: 5, tokens: 5, per: minute }', 'must limit one of'],
    ['{ per: minute }', 'must limit one of'],
    ['{ requests: 5, per: minute }, { requests: 6, per: minute }', 'limits[1]: limits the same in the same window'],
  ];
  it.each(limits)('in a limit %s are named', async (text, sentence) => {
    expect((await problems(`customers: { a: { limits: [${text}] } }`)).join('\n')).toContain(sentence);
  });

  const aliases: [string, string][] = [
    ['max_budget: 5, budget_duration: 30m', 'budget_duration: must be "1d"'],
    ['max_budget: 0, budget_duration: 1mo', 'max_budget: must be above 0'],
    ['budget_duration: 1mo', 'has no meaning without `max_budget`'],
    ['rpm_limit: 5, limits: [{ requests: 6, per: minute }]', "one of LiteLLM's names"],
    ['soft_budget: 5 EUR', 'soft_budget: must be in USD'],
    ['model_max_budget: { a: 5 }', 'model_max_budget: is not supported yet'],
  ];
  it.each(aliases)("in LiteLLM's names %s are named", async (text, sentence) => {
    expect((await problems(`customers: { a: { keys: { k: { secret: "${HASH}", ${text} } } } }`)).join('\n')).toContain(
      sentence,
    );
  });

  it('end at a bound, and say how many more there are', async () => {
    const found = await problems(Array.from({ length: 300 }, (_, i) => `field-${i}: 1`).join('\n'));
    expect(found).toHaveLength(201);
    expect(found[200]).toBe('w:201:1 And 100 more problems from here on.');
  });

  it('make a Fault that lists them', async () => {
    await expect(good('gateway: { prt: 1 }')).rejects.toMatchObject({
      code: 'config_invalid',
      detail: '\n  weir.yaml:1:12 gateway.prt: is no field that is known here; did you mean "port"?',
    });
  });
});
