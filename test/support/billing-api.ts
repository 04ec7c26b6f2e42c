import { type App, createApp } from '#billing/http/app.ts';
import { ROLES, type Role } from '#billing/http/role.ts';
import { type PolicyFeed, policyFeed } from '#billing/policies/feed.ts';
import { billingRoutes } from '#billing/routes.ts';
import { tokenAuthenticator } from '#billing/tokens/token.ts';
import { builtinPriceBook } from '#config/price-book.ts';
import { type Log, SILENT } from '#core/log.ts';
import type { PriceBook } from '#core/price.ts';
import type { Clock } from '#core/time.ts';
import { type DatabaseKind, type TestDatabase, testDatabase } from './database.ts';

export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: what an answer holds is what the test is about
  json: any;
}

export interface CallOptions {
  /** The bootstrap admin's unless given. */
  token?: string;
  body?: unknown;
  idempotencyKey?: string;
  signal?: AbortSignal;
}

/** The whole billing API on a database of its own, called without a network. */
export interface TestApi {
  test: TestDatabase;
  app: App;
  policies: PolicyFeed;
  /** Stands still unless moved. */
  clock: { nowMs: number };
  /** A bearer token of each role. */
  tokens: Record<Role, string>;
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  close(): Promise<void>;
}

export const ADMIN_TOKEN = 'wr_api_the-admin-token-of-the-tests';

export async function testApi(
  kind: DatabaseKind,
  options: { log?: Log; priceBook?: () => PriceBook } = {},
): Promise<TestApi> {
  const test = await testDatabase(kind);
  const { db } = test;
  const time = { nowMs: Date.UTC(2026, 10, 20, 12) };
  const clock: Clock = () => time.nowMs;
  const log = options.log ?? SILENT;
  const policies = policyFeed({ db, clock, log });
  const app = createApp({
    db,
    clock,
    log,
    authenticate: tokenAuthenticator({ db, clock, adminToken: ADMIN_TOKEN }),
    routes: billingRoutes({ policies, priceBook: options.priceBook ?? builtinPriceBook }),
    version: '0.0.0',
  });

  const call = async (method: string, path: string, { token, body, idempotencyKey, signal }: CallOptions = {}) => {
    const headers = new Headers({ authorization: `Bearer ${token ?? ADMIN_TOKEN}` });
    if (body !== undefined) headers.set('content-type', 'application/json');
    if (idempotencyKey !== undefined) headers.set('idempotency-key', idempotencyKey);
    const response = await app.fetch(
      new Request(`http://weir${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal ? { signal } : {}),
      }),
    );
    return { status: response.status, headers: response.headers, json: await response.json() };
  };

  const tokens: Partial<Record<Role, string>> = {};
  for (const role of ROLES) {
    const answer = await call('POST', '/v1/tokens', { body: { name: `the ${role}`, role } });
    tokens[role] = answer.json.secret;
  }
  return {
    test,
    app,
    policies,
    clock: time,
    tokens: tokens as Record<Role, string>,
    call,
    close: async () => {
      policies.close();
      await test.drop();
    },
  };
}
