import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROLES } from '#billing/http/role.ts';
import { type TestApi, testApi } from '#test/support/billing-api.ts';

/** Holds for every route there is and every one to come: nothing here names one. */
const isProblem = (answer: { headers: Headers }) => answer.headers.get('content-type') === 'application/problem+json';

describe('every route of the billing API', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await testApi('postgres');
  });
  afterAll(() => api.close());

  /** A call that reaches the route, whatever it makes of it. */
  const probe = (route: { method: string; path: string }, token: string) =>
    api.call(route.method.toUpperCase(), route.path.replaceAll(/\{\w+\}/g, 'none'), {
      token,
      ...(route.method === 'get' || route.method === 'delete' ? {} : { body: {} }),
    });

  it('lets in the roles that it declares and no other', async () => {
    for (const route of api.app.routes) {
      for (const role of ROLES) {
        const answer = await probe(route, api.tokens[role]);
        const place = `${role} ${route.method} ${route.path}: ${JSON.stringify(answer.json).slice(0, 300)}`;
        if (route.roles.includes(role)) {
          expect([401, 403, 405, 500], place).not.toContain(answer.status);
          expect(answer.json.code, place).not.toBe('route_not_found');
        } else {
          expect(answer.status, place).toBe(403);
          if (isProblem(answer)) expect(answer.json, place).toMatchObject({ status: 403, code: 'forbidden' });
        }
      }
      expect(route.roles, `${route.method} ${route.path}`).toContain('admin');
      expect((await probe(route, 'wr_api_unknown')).status).toBe(401);
    }
  });

  it('lets a viewer change nothing, and a gateway see nothing but what is its own', () => {
    for (const route of api.app.routes) {
      if (route.method !== 'get') expect(route.roles, `${route.method} ${route.path}`).not.toContain('viewer');
    }
    const ofGateways = api.app.routes.filter((route) => route.roles.includes('ingest'));
    expect(ofGateways.filter((route) => /customers|keys|tokens|invoices|plans/.test(route.path))).toEqual([]);
  });

  it('stands in the OpenAPI document with its roles, its answer and its problems', async () => {
    const document = (await api.call('GET', '/openapi.json')).json;
    for (const route of api.app.routes) {
      const operation = document.paths[route.path]?.[route.method];
      expect(operation, `${route.method} ${route.path}`).toMatchObject({
        tags: [expect.any(String)],
        summary: expect.any(String),
        'x-weir-roles': route.roles,
        responses: { default: { content: { 'application/problem+json': { schema: expect.anything() } } } },
      });
      const success = Object.entries<Record<string, unknown>>(operation.responses).find(
        ([status]) => status !== 'default',
      );
      expect(success?.[1]).toMatchObject({ content: { 'application/json': { schema: expect.anything() } } });
      const names = (operation.parameters ?? []).map((parameter: { name: string }) => parameter.name);
      for (const [, name] of route.path.matchAll(/\{(\w+)\}/g)) expect(names).toContain(name);
      if (route.method === 'post') expect(names).toContain('idempotency-key');
    }
  });

  it('takes no field and no parameter that it does not know', async () => {
    const document = (await api.call('GET', '/openapi.json')).json;
    // Where each row stands alone, an unknown field is a problem of its row.
    const takesRows = (route: { method: string; path: string }) =>
      'text/csv' in (document.paths[route.path][route.method].requestBody?.content ?? {});
    for (const route of api.app.routes) {
      const path = route.path.replaceAll(/\{\w+\}/g, 'none');
      const odd = await api.call(route.method.toUpperCase(), `${path}?not_a_parameter=1`, {
        ...(route.method === 'get' || route.method === 'delete' ? {} : { body: { not_a_field: 1 } }),
      });
      const place = `${route.method} ${route.path}`;
      // Where other protocols are spoken, unknown fields are theirs to ignore.
      if (!isProblem(odd)) continue;
      expect(odd.json.code, place).toBe('validation_failed');
      expect(odd.json.errors, place).toContainEqual({ parameter: 'not_a_parameter', detail: expect.any(String) });
      if (route.method === 'get' || route.method === 'delete' || takesRows(route)) continue;
      expect(
        odd.json.errors.some((error: { pointer?: string }) => error.pointer?.startsWith('#')),
        place,
      ).toBe(true);
    }
  });

  it('stands in docs/openapi.json as it is in the code (npx vitest run billing/routes.test.ts -u writes it)', async () => {
    const version: string = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')).version;
    const document = api.app.openapi() as { info: { version: string } };
    document.info.version = version;
    await expect(`${JSON.stringify(document, null, 2)}\n`).toMatchFileSnapshot('../docs/openapi.json');
  });
});
