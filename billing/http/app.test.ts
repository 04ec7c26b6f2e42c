import { z } from '@hono/zod-openapi';
import { describe, expect, it } from 'vitest';
import type { Database } from '#billing/db/database.ts';
import { Fault } from '#core/fault.ts';
import { SILENT } from '#core/log.ts';
import { createApp } from './app.ts';
import { READERS } from './role.ts';
import type { Api } from './route.ts';
import { idParams } from './schema.ts';

/** A database that is not there: the routes of this test need none. */
const noDatabase: Database = {
  query: () => Promise.reject(new Error('connection refused')),
  script: () => Promise.reject(new Error('connection refused')),
  transaction: (work) => work(noDatabase),
  close: () => Promise.resolve(),
};

const Thing = z.object({ id: z.string(), size: z.int() });

function thingRoutes(api: Api): void {
  api.route({
    method: 'get',
    path: '/v1/things/{id}',
    noun: 'things',
    summary: 'Get a thing',
    roles: READERS,
    params: idParams,
    query: z.strictObject({ big: z.enum(['yes', 'no']).optional() }),
    answer: Thing,
    run: async ({ params }) => {
      if (params.id === 'none')
        throw new Fault('not_found', { detail: 'There is no thing none.', story: 'secret story' });
      if (params.id === 'bug') throw new Error('a bug with secret details');
      if (params.id === 'odd') return { id: 'odd', size: 0.5 };
      const thing = { id: params.id, size: 1, secret: 'must not leave' };
      return thing;
    },
  });
  api.route({
    method: 'put',
    path: '/v1/things/{id}',
    noun: 'things',
    summary: 'Put a thing',
    roles: ['admin'],
    params: idParams,
    body: z.strictObject({ size: z.int().min(1), parts: z.array(z.strictObject({ 'a/b': z.string() })).default([]) }),
    answer: Thing,
    bodyBytesMax: 200,
    run: async ({ params, body }) => ({ id: params.id, size: body.size }),
  });
}

const app = createApp({
  db: noDatabase,
  clock: () => Date.UTC(2026, 10, 20),
  log: SILENT,
  authenticate: async (bearer) => {
    if (bearer === 'adm') return { token: 'tok_1', role: 'admin' };
    if (bearer === 'see') return { token: 'tok_2', role: 'viewer' };
    throw new Fault('unauthenticated');
  },
  routes: thingRoutes,
  version: '0.0.0',
});

async function call(method: string, path: string, options: { token?: string; body?: string; type?: string } = {}) {
  const headers: Record<string, string> = { authorization: `Bearer ${options.token ?? 'adm'}` };
  if (options.body !== undefined) headers['content-type'] = options.type ?? 'application/json';
  const response = await app.fetch(
    new Request(`http://weir${path}`, {
      method,
      headers,
      ...(options.body === undefined ? {} : { body: options.body }),
    }),
  );
  return { status: response.status, headers: response.headers, json: await response.json() };
}

describe('the frame around every route', () => {
  it('sends what the schema names and nothing else', async () => {
    const answer = await call('GET', '/v1/things/a', { token: 'see' });
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ id: 'a', size: 1 });
    expect(answer.headers.get('x-request-id')).toMatch(/^req_/);
    expect(answer.headers.get('cache-control')).toBe('no-store');
  });

  it('refuses who brings no token, an unknown one or the wrong role', async () => {
    const none = await app.fetch(new Request('http://weir/v1/things/a'));
    expect(none.status).toBe(401);
    expect(none.headers.get('www-authenticate')).toBe('Bearer');
    expect((await call('GET', '/v1/things/a', { token: 'who' })).json.code).toBe('unauthenticated');
    const forbidden = await call('PUT', '/v1/things/a', { token: 'see', body: '{"size":1}' });
    expect(forbidden.json).toMatchObject({ status: 403, code: 'forbidden' });
  });

  it('names everything that is wrong at once, with pointers, parameters and unknown fields', async () => {
    const answer = await call('PUT', '/v1/things/%20?big=1', {
      body: JSON.stringify({ size: 0, parts: [{ 'a/b': 1 }, { c: '' }], sise: 1 }),
    });
    expect(answer.status).toBe(422);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    const places = answer.json.errors.map((e: { pointer?: string; parameter?: string }) => e.pointer ?? e.parameter);
    expect(places.sort()).toEqual(['#/parts/0/a~1b', '#/parts/1/a~1b', '#/parts/1/c', '#/sise', '#/size', 'big', 'id']);
  });

  it('refuses bodies that are no JSON, too large or of another type', async () => {
    expect((await call('PUT', '/v1/things/a', { body: '{' })).json.code).toBe('invalid_json');
    expect((await call('PUT', '/v1/things/a', { body: 'a=1', type: 'text/plain' })).json.code).toBe('invalid_request');
    const large = await call('PUT', '/v1/things/a', { body: JSON.stringify({ size: 1, pad: 'x'.repeat(300) }) });
    expect(large.json).toMatchObject({ status: 413, code: 'body_too_large' });
    expect((await call('PUT', '/v1/things/a', { body: '' })).json.errors).toHaveLength(1);
  });

  it('tells a path that is not there from a method that it does not take', async () => {
    expect((await call('GET', '/v1/thing')).json).toMatchObject({ status: 404, code: 'route_not_found' });
    const answer = await call('DELETE', '/v1/things/a');
    expect(answer.json).toMatchObject({ status: 405, code: 'method_not_allowed' });
    expect(answer.headers.get('allow')).toBe('GET, PUT');
  });

  it('keeps the internal story of a fault, a bug and a wrong answer to itself', async () => {
    const missing = await call('GET', '/v1/things/none');
    expect(missing.json).toMatchObject({ status: 404, code: 'not_found', detail: 'There is no thing none.' });
    for (const id of ['bug', 'odd']) {
      const answer = await call('GET', `/v1/things/${id}`);
      expect(answer.json).toMatchObject({ status: 500, code: 'internal' });
      expect(JSON.stringify([missing.json, answer.json])).not.toMatch(/secret|schema/);
    }
  });

  it('is healthy without its database, and not ready', async () => {
    expect((await call('GET', '/healthz')).status).toBe(200);
    expect((await call('GET', '/readyz')).json).toMatchObject({ status: 503, code: 'database_unavailable' });
  });

  it('serves its OpenAPI 3.1 document with the roles of each route, and a page to browse it', async () => {
    const document = (await call('GET', '/openapi.json')).json;
    expect(document.openapi).toBe('3.1.0');
    expect(document.paths['/v1/things/{id}'].put['x-weir-roles']).toEqual(['admin']);
    const page = await app.fetch(new Request('http://weir/docs'));
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  });
});
